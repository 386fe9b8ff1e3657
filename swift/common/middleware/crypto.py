# SPDX-License-Identifier: Apache-2.0
"""How encrypted objects are stored: keys, ciphers and their description, as in OpenStack Swift.

A root secret never encrypts anything: the key of an object is its HMAC-SHA256 of ``/a/c/o``, that
of a container of ``/a/c``. Each body has a key of its own, which the object's key wraps. All is
AES-256 in counter mode; every text has a fresh IV.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
from urllib.parse import quote_plus, unquote_plus

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

CIPHER = 'AES_CTR_256'
KEY, BLOCK = 32, 16
VERSIONS = ('1', '2', '3')


class CryptoError(Exception):
    """What is stored cannot be decrypted: its description is broken, or its secret not known."""


def ctr(key, iv, offset=0):
    """A function that encrypts or decrypts, which is the same, from a byte of the text on."""
    start = (int.from_bytes(iv, 'big') + offset // BLOCK) % (1 << 8 * BLOCK)
    context = Cipher(algorithms.AES(key), modes.CTR(start.to_bytes(BLOCK, 'big'))).encryptor()
    if offset % BLOCK:
        context.update(b'\0' * (offset % BLOCK))
    return context.update


def b64(data):
    """Bytes in base64, as text."""
    return base64.b64encode(data).decode('ascii')


def from_b64(text, size=None):
    """The bytes of base64; CryptoError for what is none, or of another size."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as e:
        raise CryptoError(f'not base64: {e}') from e
    if size is not None and len(data) != size:
        raise CryptoError(f'{len(data)} bytes where {size} should be')
    return data


def dump_meta(meta):
    """A description as it is stored."""
    def shown(value):
        if isinstance(value, dict):
            return {k: shown(v) for k, v in value.items()}
        return b64(value) if isinstance(value, bytes) else value
    return quote_plus(json.dumps(shown(meta), sort_keys=True))


def load_meta(text):
    """The description that `dump_meta` made; CryptoError for what is none of ours."""
    try:
        meta = json.loads(unquote_plus(text))
        if meta['cipher'] != CIPHER:
            raise CryptoError(f"unknown cipher {meta['cipher']!r}")
        if 'iv' in meta:
            meta['iv'] = from_b64(meta['iv'], BLOCK)
        if 'body_key' in meta:
            wrapped = meta['body_key']
            meta['body_key'] = {'key': from_b64(wrapped['key'], KEY),
                                'iv': from_b64(wrapped['iv'], BLOCK)}
    except (ValueError, KeyError, TypeError) as e:
        raise CryptoError(f'broken description: {e}') from e
    return meta


def encrypt_text(text, key, key_id=None):
    """A header's value, encrypted, with its description behind it."""
    meta = {'cipher': CIPHER, 'iv': os.urandom(BLOCK)}
    if key_id is not None:
        meta['key_id'] = key_id
    data = ctr(key, meta['iv'])(text.encode('latin-1'))
    return f'{b64(data)}; swift_meta={dump_meta(meta)}'


def split_text(value):
    """``(bytes, description)`` of what `encrypt_text` made; None for what it did not make."""
    text, found, meta = value.partition('; swift_meta=')
    return (from_b64(text), load_meta(meta)) if found else None


def decrypt_text(value, key):
    """The text of `encrypt_text`; what is not encrypted is given back."""
    found = split_text(value)
    if found is None:
        return value
    data, meta = found
    if 'iv' not in meta:
        raise CryptoError('a description without an IV')
    return ctr(key, meta['iv'])(data).decode('latin-1')


def etag_mac(key, etag):
    """What stands for an ETag where clients' conditions are compared with it."""
    return b64(hmac.new(key, etag.encode('latin-1'), hashlib.sha256).digest())


class Keys:
    """The root secrets, and the keys that follow from them.

    ``secrets`` maps ids (None for the one without) to bytes; ``active`` is the one to encrypt with.
    """

    def __init__(self, secrets, active, version='2'):
        self.secrets, self.active, self.version = secrets, active, version

    def key_id(self, path):
        """What is stored to find a key again; ``path`` is /a/c/o, bytes as text."""
        found = {'v': self.version, 'path': path}
        if self.active is not None:
            found['secret_id'] = self.active
        return found

    def _path(self, key_id):
        try:
            path, version = key_id['path'], str(key_id['v'])
            if version not in VERSIONS:
                raise CryptoError(f'unknown version {version} of key ids')
            # The first version has encoded names that are not ASCII twice.
            wire = path.encode('utf-8' if version == '1' else 'latin-1')
        except (KeyError, TypeError, AttributeError, UnicodeError) as e:
            raise CryptoError(f'broken key id: {e}') from e
        return wire

    def _derive(self, key_id, path):
        secret = self.secrets.get(key_id.get('secret_id'))
        if secret is None:
            raise CryptoError(f"no root secret with the id {key_id.get('secret_id')!r}")
        return hmac.new(secret, path, hashlib.sha256).digest()

    def object_key(self, key_id):
        """The key of the object that a key id names."""
        return self._derive(key_id, self._path(key_id))

    def container_key(self, key_id):
        """The key of the container that a key id names, or its object is in."""
        return self._derive(key_id, b'/'.join(self._path(key_id).split(b'/', 3)[:3]))

    def object_keys(self, path):
        """The keys an object may have, by each of the root secrets."""
        return [hmac.new(secret, path.encode('latin-1'), hashlib.sha256).digest()
                for secret in self.secrets.values()]
