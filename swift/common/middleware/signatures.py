# SPDX-License-Identifier: Apache-2.0
"""HMAC signatures by the keys of accounts and containers, as tempurl and formpost take them."""

import base64
import hmac

from swift.common.conf import config_list
from swift.common.exceptions import ConfigError
from swift.proxy.cached_info import get_account_info, get_container_info

DIGESTS = {40: 'sha1', 64: 'sha256', 128: 'sha512'}          # by length in hexadecimal
DEPRECATED = frozenset(('sha1',))
KEYS = ('temp-url-key', 'temp-url-key-2')


def read_digests(conf):
    """The option allowed_digests; ConfigError for a digest nobody knows."""
    digests = config_list(conf.get('allowed_digests', 'sha1 sha256 sha512').replace(' ', ','))
    unknown = set(digests) - set(DIGESTS.values())
    if unknown or not digests:
        raise ConfigError(f'allowed_digests: {sorted(unknown)} are not known')
    return digests


def shown_digests(digests):
    """What /info says of them, as keyword arguments: also which of them better were not used."""
    old = sorted(DEPRECATED & set(digests))
    return {'allowed_digests': sorted(digests)} | ({'deprecated_digests': old} if old else {})


def parse_signature(text):
    """``(digest name, hexadecimal)`` of a signature; ValueError when it cannot be one."""
    name, colon, rest = text.partition(':')
    if colon:
        if name not in DIGESTS.values() or not rest.isascii():
            raise ValueError('unknown digest')
        raw = base64.b64decode(rest.replace('-', '+').replace('_', '/') + '=' * (-len(rest) % 4),
                               validate=True)
        value = raw.hex()
        if DIGESTS.get(len(value)) != name:
            raise ValueError('the signature is of another length than the digest')
        return name, value
    found = DIGESTS.get(len(text))
    if found is None or not text.isascii():
        raise ValueError('no digest is of this length')
    return found, text


def signed_scope(env, app, account, container, texts, digest, given):
    """``(account, container or None)`` of the first key that made the signature, None when none
    did. Each key is tried on each text, whatever fits: the time taken tells nothing."""
    scope = None
    given = given.lower().encode()
    for info, where in ((get_account_info(env, app), (account, None)),
                        (get_container_info(env, app), (account, container))):
        meta = info['meta'] if info['status'] // 100 == 2 else {}
        for name in KEYS:
            key = meta.get(name)
            if not key:
                continue
            for text in texts:
                right = hmac.new(key.encode('latin-1'), text, digest).hexdigest().encode()
                if hmac.compare_digest(right, given) and scope is None:
                    scope = where
    return scope
