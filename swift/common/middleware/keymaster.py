# SPDX-License-Identifier: Apache-2.0
"""Knows the root secrets that encryption at rest needs; to stand right before `encryption`.

``encryption_root_secret``, and ``encryption_root_secret_<id>`` with ``active_root_secret_id``, are
at least 32 bytes in base64. They may stand in a file of their own, keymaster_config_path.
"""

import base64
import binascii

from swift.common.conf import read_sections
from swift.common.exceptions import ConfigError
from swift.common.middleware.crypto import VERSIONS, Keys

OPTION = 'encryption_root_secret'
LEAST = 32


def read_secrets(conf):
    """Root secrets by id; ConfigError, which never shows one, for what is none."""
    found = {}
    for name, value in conf.items():
        if name != OPTION and not name.startswith(OPTION + '_'):
            continue
        try:
            secret = base64.b64decode(value.replace('\n', ''), validate=True)
        except (binascii.Error, ValueError):
            secret = b''
        if len(secret) < LEAST:
            raise ConfigError(f'{name} must be at least {LEAST} bytes in base64')
        found[name[len(OPTION) + 1:] or None] = secret
    return found


class Keymaster:
    """Filter; options encryption_root_secret, encryption_root_secret_<id>,
    active_root_secret_id, keymaster_config_path, meta_version_to_write."""

    def __init__(self, app, conf):
        self.app = app
        path = conf.get('keymaster_config_path')
        if path:
            if read_secrets(conf):
                raise ConfigError('keymaster_config_path and a root secret beside it')
            conf = read_sections(path).get('keymaster', {})
        secrets = read_secrets(conf)
        active = conf.get('active_root_secret_id') or None
        if active not in secrets:
            raise ConfigError(f'keymaster: no root secret with the id {active!r}' if active else
                              'keymaster: encryption_root_secret is not set')
        version = conf.get('meta_version_to_write', '2').strip()
        if version not in VERSIONS:
            raise ConfigError(f'meta_version_to_write: {version} is none of {VERSIONS}')
        self.keys = Keys(secrets, active, version)

    def __call__(self, env, start_response):
        env['swift.crypto_keys'] = self.keys
        return self.app(env, start_response)


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: Keymaster(app, conf)
