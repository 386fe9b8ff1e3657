# SPDX-License-Identifier: Apache-2.0
"""Keeps headers of the inner circle inside: neither taken from clients nor shown to them."""

import re

from swift.common.conf import config_true

# As environ keys. A client's X-Timestamp is kept aside, for container sync to look at.
INBOUND_PREFIXES = ('HTTP_X_ACCOUNT_SYSMETA_', 'HTTP_X_CONTAINER_SYSMETA_',
                    'HTTP_X_OBJECT_SYSMETA_', 'HTTP_X_OBJECT_TRANSIENT_SYSMETA_',
                    'HTTP_X_BACKEND_', 'HTTP_X_REMOVE_ACCOUNT_SYSMETA_',
                    'HTTP_X_REMOVE_CONTAINER_SYSMETA_', 'HTTP_X_REMOVE_OBJECT_SYSMETA_')
# Headers by which servers tell each other whom to inform: never a client's business.
INBOUND = frozenset('HTTP_' + name for name in (
    'X_CONTAINER_HOST', 'X_CONTAINER_DEVICE', 'X_CONTAINER_PARTITION', 'X_CONTAINER_PATH',
    'X_ACCOUNT_HOST', 'X_ACCOUNT_DEVICE', 'X_ACCOUNT_PARTITION', 'X_ACCOUNT_OVERRIDE_DELETED',
    'X_DELETE_AT_HOST', 'X_DELETE_AT_DEVICE', 'X_DELETE_AT_PARTITION', 'X_DELETE_AT_CONTAINER',
    'X_PUT_TIMESTAMP', 'X_DELETE_TIMESTAMP', 'X_SIZE', 'X_ETAG',
    'X_CONTENT_TYPE', 'X_OBJECT_COUNT', 'X_BYTES_USED', 'X_CONTAINER_ROOT_DB_STATE'))
_outbound = re.compile(
    r'x-(account|container|object)-(sysmeta|transient-sysmeta)-|x-backend|'
    r'x-container-update-override', re.IGNORECASE)


class Gatekeeper:
    """Filter; options ``shunt_inbound_x_timestamp`` and ``allow_reserved_names_header``."""

    def __init__(self, app, conf):
        self.app = app
        self.shunt = config_true(conf.get('shunt_inbound_x_timestamp', 'true'))
        self.reserved = config_true(conf.get('allow_reserved_names_header', 'false'))

    def __call__(self, env, start_response):
        drop = [k for k in env if k[:7] == 'HTTP_X_' and (
            k in INBOUND or k.startswith(INBOUND_PREFIXES))]
        for key in drop:
            del env[key]
        if 'HTTP_X_TIMESTAMP' in env:
            stamp = env.pop('HTTP_X_TIMESTAMP')
            if self.shunt:
                env['swift.client_x_timestamp'] = stamp
        if self.reserved and 'HTTP_X_ALLOW_RESERVED_NAMES' in env:
            env['HTTP_X_BACKEND_ALLOW_RESERVED_NAMES'] = env['HTTP_X_ALLOW_RESERVED_NAMES']
        match = _outbound.match

        def start(status, headers, exc_info=None):
            kept = [h for h in headers if h[0][:2] not in ('X-', 'x-') or not match(h[0])]
            if exc_info is None:
                return start_response(status, kept)
            return start_response(status, kept, exc_info)

        return self.app(env, start)


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: Gatekeeper(app, conf)
