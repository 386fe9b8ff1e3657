# SPDX-License-Identifier: Apache-2.0
"""Preflight requests of browsers (CORS) that are about to send a signed S3 request.

They carry no signature, so no bucket's own list can be looked up: the operator says in
cors_preflight_allow_origin which pages may ask. The answer to the request itself is then allowed
by its container's X-Container-Meta-Access-Control-Allow-Origin, as in the native API.
"""

from swift.common.conf import config_list
from swift.common.exceptions import ConfigError
from swift.common.request import Response, answer

METHODS = 'GET, HEAD, PUT, POST, DELETE, OPTIONS'
_NATIVE = ('/v1/', '/v1.0/')
_MARKS = ('AWSAccessKeyId=', 'X-Amz-Credential=')


def read_origins(conf):
    """The option; ConfigError when it names origins beside all of them."""
    origins = config_list(conf.get('cors_preflight_allow_origin', ''))
    if '*' in origins and len(origins) > 1:
        raise ConfigError('cors_preflight_allow_origin: * must be the only entry')
    return origins


def is_preflight(env):
    """Whether a browser asks before it sends a signed S3 request."""
    if env['REQUEST_METHOD'] != 'OPTIONS' or not env.get('HTTP_ORIGIN'):
        return False
    asked = env.get('HTTP_ACCESS_CONTROL_REQUEST_HEADERS', '').lower()
    if 'authorization' in asked and not env['PATH_INFO'].startswith(_NATIVE):
        return True
    return any(mark in env.get('QUERY_STRING', '') for mark in _MARKS)


def preflight(env, origins):
    """The Response: who may ask is told what may be sent, others 401 and nothing more."""
    origin = env['HTTP_ORIGIN']
    if origins != ['*'] and origin not in origins:
        return answer(401, headers=[('Allow', METHODS)])
    asked = [name.strip() for name in
             env.get('HTTP_ACCESS_CONTROL_REQUEST_HEADERS', '').lower().split(',')]
    names = ', '.join(dict.fromkeys(filter(None, asked)))
    return Response(200, [
        ('Allow', METHODS), ('Access-Control-Allow-Origin', origin),
        ('Access-Control-Allow-Methods', METHODS),
        ('Vary', 'Origin, Access-Control-Request-Headers'), ('Content-Length', '0'),
        *([('Access-Control-Allow-Headers', names)] if names else [])])
