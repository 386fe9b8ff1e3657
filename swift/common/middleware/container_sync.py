# SPDX-License-Identifier: Apache-2.0
"""The receiving end of container sync: requests signed with a realm's key and the container's.

``X-Container-Sync-Auth: <realm> <nonce> <HMAC>``. Nothing else counts: neither the address a
request comes from, nor headers that tell of another one. To stand before the auth filter.
"""

import hmac
import os
from urllib.parse import quote

from swift.common.conf import SWIFT_DIR, config_true
from swift.common.container_sync_realms import Realms, signature
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger
from swift.common.request import ALLOW_RESERVED, PathError, answer, split_path
from swift.common.timestamp import Timestamp
from swift.proxy.cached_info import get_container_info
from swift.proxy.controllers.info import register

FULL = ('Full URLs are not allowed for X-Container-Sync-To values. Only realm values of the format '
        '//realm/cluster/account/container are allowed.\n')


class ContainerSync:
    """Filter; options swift_dir, current (//realm/cluster, the one this is), allow_full_urls."""

    def __init__(self, app, conf):
        self.app = app
        self.logger = get_logger(conf, conf.get('log_name', 'container_sync'))
        swift_dir = conf.get('swift_dir') or os.environ.get('SWIFT_DIR', SWIFT_DIR)
        self.realms = Realms(os.path.join(swift_dir, 'container-sync-realms.conf'), self.logger)
        self.allow_full_urls = config_true(conf.get('allow_full_urls', 'true'))
        self.current = ()
        current = conf.get('current', '').strip()
        if current:
            parts = current.strip('/').split('/')
            if not current.startswith('//') or len(parts) != 2 or not all(parts):
                raise ConfigError(f'current = {current}: should be //realm/cluster')
            self.current = tuple(p.upper() for p in parts)
        self._describe()

    def _describe(self):
        shown = {}
        for realm in self.realms.all():
            shown[realm.name] = {'clusters': {
                name: {'current': True} if (realm.name, name) == self.current else {}
                for name in realm.clusters}}
        register('container_sync', realms=shown)

    def __call__(self, env, start_response):
        if 'HTTP_X_CONTAINER_SYNC_AUTH' not in env and 'HTTP_X_CONTAINER_SYNC_TO' not in env:
            return self.app(env, start_response)
        try:
            parts = split_path(env)
        except PathError:
            return self.app(env, start_response)
        refused = None
        if parts[2] is not None and parts[3] is None and \
                env['REQUEST_METHOD'] in ('PUT', 'POST'):
            refused = self._target(env.get('HTTP_X_CONTAINER_SYNC_TO'))
        if refused is None and 'HTTP_X_CONTAINER_SYNC_AUTH' in env:
            refused = self._authenticate(env, env.pop('HTTP_X_CONTAINER_SYNC_AUTH'))
        return (refused or self.app)(env, start_response)

    def _target(self, value):
        """A Response for an X-Container-Sync-To that leads nowhere."""
        if not value:
            return None
        if not value.startswith('//'):
            return None if self.allow_full_urls else answer(400, FULL)
        parts = value.split('/')
        if len(parts) != 6 or not all(parts[2:]):
            return answer(400, 'Invalid X-Container-Sync-To format; should be '
                          '//realm/cluster/account/container')
        if self.realms.realm(parts[2]) is None:
            return answer(400, f'No realm key for {parts[2]!r}')
        if self.realms.endpoint(parts[2], parts[3]) is None:
            return answer(400, f'No cluster endpoint for {parts[2]!r} {parts[3]!r}')
        return None

    def _authenticate(self, env, given):
        """Let a signed request pass the auth filter; a Response when the signature is wrong."""
        _, account, container, _ = split_path(env)
        words = given.split()
        realm = self.realms.realm(words[0]) if len(words) == 3 else None
        stamp = env.pop('swift.client_x_timestamp', None) or env.get('HTTP_X_TIMESTAMP')
        info = get_container_info(env, self.app) if container is not None else {}
        key = info.get('sync_key')
        right = False
        if realm is not None and key and stamp and _is_time(stamp):
            path = env['PATH_INFO'].encode('latin-1').decode('utf-8', 'surrogateescape')
            for realm_key in realm.keys():
                wanted = signature(env['REQUEST_METHOD'], path, stamp, words[1], realm_key,
                                   key.encode('latin-1').decode('utf-8', 'surrogateescape'))
                right |= hmac.compare_digest(
                    wanted.encode(), words[2].encode('utf-8', 'surrogateescape'))
        if not right:
            self.logger.info('container sync to %s refused', env['PATH_INFO'])
            return answer(401, 'X-Container-Sync-Auth header not valid; contact cluster operator '
                          'for support.', [('Www-Authenticate', 'SwiftContainerSync realm='
                                            f'"{quote(account)}"')])
        env['HTTP_X_TIMESTAMP'] = stamp
        env.pop(ALLOW_RESERVED, None)
        env['swift.authorize_override'] = True
        env['swift.authorize'] = lambda req: None
        env['swift.slo_override'] = env['swift.symlink_override'] = True
        env['REMOTE_USER'] = '.wsgi.container_sync'
        return None


def _is_time(text):
    try:
        return bool(Timestamp(text))
    except ValueError:
        return False


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: ContainerSync(app, conf)
