# SPDX-License-Identifier: Apache-2.0
"""Limits an owner sets on a container: X-Container-Meta-Quota-Bytes and -Count.

They are soft: what the container servers know of its size may be some seconds old.
"""

from urllib.parse import unquote

from swift.common.middleware.authbase import need_auth_above
from swift.common.request import PathError, Request, answer, split_path
from swift.proxy.cached_info import get_container_info
from swift.proxy.controllers.info import register

HEADERS = {'HTTP_X_CONTAINER_META_QUOTA_BYTES': 'bytes', 'HTTP_X_CONTAINER_META_QUOTA_COUNT':
           'count'}


def as_limit(value):
    """A limit as a number, None when there is none or it is not one."""
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 19 \
        else None


def exceeded(req, acl):
    """413, or what the auth filter says to someone who may not write there anyhow."""
    authorize = req.environ.get('swift.authorize')
    if authorize is not None:
        req.acl = acl
        denied = authorize(req)
        if denied is not None:
            return denied
    return answer(413, 'Upload exceeds quota.')


class ContainerQuotas:
    """Filter."""

    def __init__(self, app):
        need_auth_above(app, 'container-quotas')
        self.app = app
        register('container_quotas')

    def __call__(self, env, start_response):
        method = env['REQUEST_METHOD']
        if method not in ('PUT', 'POST'):
            return self.app(env, start_response)
        try:
            _, _, container, obj = split_path(env)
        except PathError:
            return self.app(env, start_response)
        if obj is not None:
            refused = self._check(env) if method == 'PUT' else None
        elif container is not None:
            refused = self._settings(env)
        else:
            refused = None
        return (refused or self.app)(env, start_response)

    @staticmethod
    def _settings(env):
        for key, what in HEADERS.items():
            value = env.get(key)
            if value and as_limit(value) is None:
                return answer(400, f'Invalid {what} quota.')
        return None

    def _check(self, env):
        info = get_container_info(env, self.app)
        meta = info['meta']
        if 'quota-bytes' not in meta and 'quota-count' not in meta:
            return None
        req = Request(env)
        if 'quota-bytes' in meta and 'versions-container' in info['sysmeta']:
            hidden = get_container_info(env, self.app, unquote(
                info['sysmeta']['versions-container']))
            info = {**info, 'bytes': int(info['bytes'] or 0) + int(hidden['bytes'] or 0)}
        size, count = as_limit(meta.get('quota-bytes')), as_limit(meta.get('quota-count'))
        if size is not None and int(info['bytes'] or 0) + (req.content_length or 0) > size or \
                count is not None and int(info['object_count'] or 0) + 1 > count:
            return exceeded(req, info['write_acl'])
        return None


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    return ContainerQuotas
