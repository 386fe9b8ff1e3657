# SPDX-License-Identifier: Apache-2.0
"""Encryption at rest: bodies, ETags and user metadata of objects, as OpenStack Swift stores them.

To stand right after `keymaster`, below everything that looks into objects. What is known only when
the last byte is - ETags, and the object's in the listing - goes to the storage servers as footers
(see swift.proxy.footers).
"""

import hashlib
import os
from typing import Any

from swift.common.conf import config_true
from swift.common.constraints import Constraints
from swift.common.log import get_logger
from swift.common.middleware.crypto import (
    BLOCK,
    CIPHER,
    KEY,
    CryptoError,
    ctr,
    dump_meta,
    encrypt_text,
    etag_mac,
)
from swift.common.middleware.decryption import Decryption
from swift.common.request import Abort, PathError, Request, answer, split_path
from swift.proxy.footers import CALLBACK

EMPTY = 'd41d8cd98f00b204e9800998ecf8427e'
BODY, ETAG = 'X-Object-Sysmeta-Crypto-Body-Meta', 'X-Object-Sysmeta-Crypto-Etag'
MAC, OVERRIDE = ETAG + '-Mac', 'X-Object-Sysmeta-Container-Update-Override-Etag'
META, USER = 'X-Object-Transient-Sysmeta-Crypto-Meta', 'HTTP_X_OBJECT_META_'
CONDITIONS = ('HTTP_IF_MATCH', 'HTTP_IF_NONE_MATCH')


class Encryption(Decryption):
    """Filter; option disable_encryption."""

    def __init__(self, app, conf):
        self.app = app
        self.logger = get_logger(conf, conf.get('log_name', 'encryption'))
        self.disabled = config_true(conf.get('disable_encryption', 'false'))
        self.constraints = Constraints.load()

    def __call__(self, env, start_response):
        method = env['REQUEST_METHOD']
        if method not in ('PUT', 'POST', 'GET', 'HEAD') or 'swift.crypto_keys' not in env:
            return self.app(env, start_response)
        try:
            _, _, container, obj = split_path(env)
        except PathError:
            return self.app(env, start_response)
        try:
            if obj is not None:
                if method in ('GET', 'HEAD'):
                    self._mask_conditions(env)
                    return self.read(env, start_response)
                if not self.disabled:
                    return (self._put if method == 'PUT' else self._post)(env, start_response)
            elif container is not None and method == 'GET':
                return self.listing(env, start_response)
        except CryptoError as e:
            self.logger.error('ERROR %s cannot be decrypted: %s', env['PATH_INFO'], e)
            return answer(500, 'Error decrypting object')(env, start_response)
        return self.app(env, start_response)

    @staticmethod
    def _place(env):
        """/account/container/object, bytes as text."""
        return '/' + env['PATH_INFO'].split('/', 2)[2]

    def _mask_conditions(self, env):
        """Have conditions on ETags compared with what is stored for them."""
        tagged = False
        for name in CONDITIONS:
            value = env.get(name)
            if not value or value.strip() == '*':
                continue
            tags = [tag.strip() for tag in value.split(',')]
            plain = [t.removeprefix('W/').strip('"') for t in tags]
            tags += [f'"{etag_mac(key, etag)}"' for etag in plain
                     for key in env['swift.crypto_keys'].object_keys(self._place(env))
                     if etag.isascii()]
            env[name] = ', '.join(tags)
            tagged = True
        if tagged:
            known = env.get('HTTP_X_BACKEND_ETAG_IS_AT')
            env['HTTP_X_BACKEND_ETAG_IS_AT'] = f'{known},{MAC}' if known else MAC

    # -- metadata ------------------------------------------------------------
    def _encrypt_metadata(self, env, key, key_id):
        """Turn user metadata with a value into encrypted ones."""
        req, found = Request(env), False
        for name in [n for n in env if n.startswith(USER) and env[n]]:
            rest = name[len(USER):].replace('_', '-').title()
            req.set(f'{META}-{rest}', encrypt_text(env.pop(name), key))
            found = True
        if found:
            req.set(META, dump_meta({'cipher': CIPHER, 'key_id': key_id}))

    def _post(self, env, start_response):
        keys = env['swift.crypto_keys']
        bad = self.constraints.check_metadata(Request(env), 'object')
        if bad is not None:
            return bad(env, start_response)
        key_id = keys.key_id(self._place(env))
        self._encrypt_metadata(env, keys.object_key(key_id), key_id)
        return self.app(env, start_response)

    # -- bodies --------------------------------------------------------------
    def _put(self, env, start_response):
        # The environ given is the server's: it looks into it when all is over.
        env = dict(env)
        refused = self.constraints.check_metadata(Request(env), 'object')
        if refused is not None:
            return refused(env, start_response)
        keys = env['swift.crypto_keys']
        key_id = keys.key_id(self._place(env))
        key = keys.object_key(key_id)
        self._encrypt_metadata(env, key, key_id)
        body = env['wsgi.input'] = Encrypted(env['wsgi.input'], key, key_id)
        given = env.pop('HTTP_ETAG', '').strip('"').lower()
        override = Request(env).get(OVERRIDE)
        inner = env.get(CALLBACK)

        def footers_of_body(footers):
            if inner is not None:
                inner(footers)
            self._describe(footers, body, keys, footers.get('Etag') or given,
                           footers.get(OVERRIDE, override))

        env[CALLBACK] = footers_of_body

        def start(status, headers, exc_info=None):
            etag = body.etag
            return start_response(status, [
                (n, etag) if etag is not None and n.lower() == 'etag' and
                v.strip('"') == body.stored_etag else (n, v) for n, v in headers])

        return self.app(env, start)

    @staticmethod
    def _describe(footers, body, keys, given, override):
        """What lets the object be decrypted. An empty body is stored as it is."""
        etag = body.etag
        if etag is not None:
            if given and given != etag:
                raise Abort(answer(422))
            footers['Etag'] = body.stored_etag
            footers[BODY] = dump_meta(body.meta)
            footers[ETAG] = encrypt_text(etag, body.key)
            footers[MAC] = etag_mac(body.key, etag)
            override = override or etag
        elif given:
            footers['Etag'] = given
        if override and override != EMPTY:
            container_key = keys.container_key(body.key_id)
            footers[OVERRIDE] = encrypt_text(override, container_key, body.key_id)


class Encrypted:
    """A request's body, enciphered as it is read.

    `etag` is that of what was read so far, `stored_etag` that of what was given out, None while
    that is nothing; `meta` describes how it was done.
    """

    def __init__(self, source, key, key_id):
        self.source, self.key, self.key_id = source, key, key_id
        self.meta: dict = {}
        self._cipher: Any = None
        self._plain, self._stored = (hashlib.md5(usedforsecurity=False) for _ in range(2))

    @property
    def etag(self):
        return self._plain.hexdigest() if self._cipher is not None else None

    @property
    def stored_etag(self):
        return self._stored.hexdigest() if self._cipher is not None else None

    def _start(self):
        wrap_iv, body_key, iv = os.urandom(BLOCK), os.urandom(KEY), os.urandom(BLOCK)
        self._cipher = ctr(body_key, iv)
        self.meta = {'cipher': CIPHER, 'iv': iv, 'key_id': self.key_id, 'body_key': {
            'key': ctr(self.key, wrap_iv)(body_key), 'iv': wrap_iv}}

    def _pass(self, data):
        if not data:
            return data
        if self._cipher is None:
            self._start()
        self._plain.update(data)
        data = self._cipher(data)
        self._stored.update(data)
        return data

    def read(self, size=-1):
        """``size`` bytes, or all."""
        return self._pass(self.source.read(size))

    def read1(self, size=65536):
        """Some bytes, at most ``size``."""
        return self._pass(getattr(self.source, 'read1', self.source.read)(size))


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: Encryption(app, conf)


