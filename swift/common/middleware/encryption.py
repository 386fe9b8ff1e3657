# SPDX-License-Identifier: Apache-2.0
"""Encryption at rest: bodies, ETags and user metadata of objects, as OpenStack Swift stores them.

To stand right after `keymaster`, below everything that looks into objects. An object's ETag is
known only when its last byte is, and the storage servers want it first: a body that is longer than
``spool_memory`` waits on the proxy's disk, encrypted.
"""

import hashlib
import os
import tempfile

from swift.common.concurrency import run_in_thread
from swift.common.conf import config_int, config_true
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
from swift.common.middleware.versions_common import denied
from swift.common.request import PathError, Request, answer, split_path
from swift.proxy.cached_info import get_container_info

CHUNK = 65536
EMPTY = 'd41d8cd98f00b204e9800998ecf8427e'
BODY, ETAG = 'X-Object-Sysmeta-Crypto-Body-Meta', 'X-Object-Sysmeta-Crypto-Etag'
MAC, OVERRIDE = ETAG + '-Mac', 'X-Object-Sysmeta-Container-Update-Override-Etag'
META, USER = 'X-Object-Transient-Sysmeta-Crypto-Meta', 'HTTP_X_OBJECT_META_'
CONDITIONS = ('HTTP_IF_MATCH', 'HTTP_IF_NONE_MATCH')


class Spooled:
    """A file as wsgi.input."""

    def __init__(self, source):
        self.source = source

    def read(self, size=-1):
        """``size`` bytes, or all."""
        return self.source.read(size)

    read1 = read


class Encryption(Decryption):
    """Filter; options disable_encryption, spool_dir, spool_memory."""

    def __init__(self, app, conf):
        self.app = app
        self.logger = get_logger(conf, conf.get('log_name', 'encryption'))
        self.disabled = config_true(conf.get('disable_encryption', 'false'))
        self.spool_dir = conf.get('spool_dir') or None
        self.spool_memory = config_int(conf, 'spool_memory', 1 << 20)
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
        info = get_container_info(env, self.app)
        req = Request(env)
        length, most = req.content_length, self.constraints.max_file_size
        if info['status'] // 100 != 2 or length is None and not req.chunked or \
                length is not None and length > most:
            return self.app(env, start_response)         # which says what is wrong
        refused = denied(env, info['write_acl']) or self.constraints.check_metadata(req, 'object')
        if refused is not None:
            return refused(env, start_response)
        keys = env['swift.crypto_keys']
        key_id = keys.key_id(self._place(env))
        key = keys.object_key(key_id)
        with tempfile.SpooledTemporaryFile(self.spool_memory, dir=self.spool_dir) as spool:
            stored = self._spool(env, spool, key, key_id)
            if stored is None:
                return answer(413)(env, start_response)
            size, etag, sent, meta = stored
            given = env.pop('HTTP_ETAG', '').strip('"').lower()
            if given and given != etag:
                return answer(422)(env, start_response)
            self._encrypt_metadata(env, key, key_id)
            self._describe(env, size, etag, sent, meta, key, key_id)
            env.pop('HTTP_TRANSFER_ENCODING', None)
            env.update({'CONTENT_LENGTH': str(size), 'wsgi.input': Spooled(spool)})

            def start(status, headers, exc_info=None):
                return start_response(status, [
                    (n, etag) if n.lower() == 'etag' else (n, v) for n, v in headers])

            return list(self.app(env, start))

    def _spool(self, env, spool, key, key_id):
        """``(size, ETag, ETag of what is stored, description)``; None for a body too long."""
        wrap_iv, body_key, iv = os.urandom(BLOCK), os.urandom(KEY), os.urandom(BLOCK)
        encrypt = ctr(body_key, iv)
        plain, cipher = (hashlib.md5(usedforsecurity=False) for _ in range(2))
        size, read = 0, env['wsgi.input'].read
        left = int(env['CONTENT_LENGTH']) if env.get('CONTENT_LENGTH') else None
        while left is None or left > 0:
            data = read(CHUNK if left is None else min(CHUNK, left))
            if not data:
                break
            size += len(data)
            if size > self.constraints.max_file_size:
                return None
            left = None if left is None else left - len(data)
            plain.update(data)
            data = encrypt(data)
            cipher.update(data)
            if size > self.spool_memory:
                run_in_thread(spool.write, data)             # a disk may be slow
            else:
                spool.write(data)
        spool.seek(0)
        meta = {'cipher': CIPHER, 'iv': iv, 'key_id': key_id, 'body_key': {
            'key': ctr(key, wrap_iv)(body_key), 'iv': wrap_iv}}
        return size, plain.hexdigest(), cipher.hexdigest(), meta

    @staticmethod
    def _describe(env, size, etag, sent, meta, key, key_id):
        """Headers that let the object be decrypted. An empty body is stored as it is."""
        req = Request(env)
        override = req.get(OVERRIDE)
        if size:
            req.set('Etag', sent)
            req.set(BODY, dump_meta(meta))
            req.set(ETAG, encrypt_text(etag, key))
            req.set(MAC, etag_mac(key, etag))
            override = override or etag
        if override and override != EMPTY:
            container_key = env['swift.crypto_keys'].container_key(key_id)
            req.set(OVERRIDE, encrypt_text(override, container_key, key_id))


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: Encryption(app, conf)


