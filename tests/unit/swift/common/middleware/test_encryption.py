# SPDX-License-Identifier: Apache-2.0
"""Encryption at rest: what is stored cannot be read, what is read is what was stored, and what
OpenStack Swift has stored is read, too."""

import base64
import hashlib
import json
import logging

import pytest
from wsgi_call import call, environ

from swift.common.exceptions import ConfigError
from swift.common.middleware import crypto, encryption, keymaster
from swift.common.request import Abort, Request, Response
from swift.proxy.cached_info import account_entry, cache_key, container_entry
from swift.proxy.footers import footers_of

SECRET = base64.b64encode(b'k' * 32).decode()
BODY = bytes(range(256)) * 40
# Stored by OpenStack Swift 2.38.3 with the secret above, at /v1/a/c/o.
FOREIGN = {
    'X-Object-Sysmeta-Crypto-Etag':
        'LJwJvNRwGKBiUckyOh/UdVSCWOXjwDBd3fQyRTqOVsE=; swift_meta=%7B%22cipher%22%3A+%22AES_CTR_256'
        '%22%2C+%22iv%22%3A+%22u3jWyV8ZEVTSuqT8vCPoZQ%3D%3D%22%7D',
    'X-Object-Sysmeta-Crypto-Body-Meta':
        '%7B%22body_key%22%3A+%7B%22iv%22%3A+%22sEAThdeCMPw39ANW7s7MQQ%3D%3D%22%2C+%22key%22%3A+%22'
        'AbeLqMCPKdkKDa5hppM5VTd2ybMvPc5ztYmG3vUCLQ4%3D%22%7D%2C+%22cipher%22%3A+%22AES_CTR_256%22'
        '%2C+%22iv%22%3A+%223jHlRxpyswTxnFSjHIfDmg%3D%3D%22%2C+%22key_id%22%3A+%7B%22path%22%3A+%22'
        '%2Fa%2Fc%2Fo%22%2C+%22v%22%3A+%222%22%7D%7D',
    'X-Object-Sysmeta-Crypto-Etag-Mac': 'YKLTtIrZjL7T35MkvGRQY9Dd/A1TNAM2NooIsJEyzLk=',
    'X-Object-Transient-Sysmeta-Crypto-Meta-Color':
        'lYBZ5w==; swift_meta=%7B%22cipher%22%3A+%22AES_CTR_256%22%2C+%22iv%22%3A+%22fuxPG%2BWsnczs'
        'xtpkOPG3QQ%3D%3D%22%7D',
    'X-Object-Transient-Sysmeta-Crypto-Meta':
        '%7B%22cipher%22%3A+%22AES_CTR_256%22%2C+%22key_id%22%3A+%7B%22path%22%3A+%22%2Fa%2Fc%2Fo'
        '%22%2C+%22v%22%3A+%222%22%7D%7D'}
FOREIGN_BODY = base64.b64decode('sxaegpBt6KNR5M8=')
FOREIGN_ROW = (
    'Hmfl/W/3oQjC74x4BDm1vmmL4vuFj3vBgR6pvf4M7Rw=; swift_meta=%7B%22cipher%22%3A+%22AES_CTR_256%22'
    '%2C+%22iv%22%3A+%22K2Kfh9TurdxSy2mlV8SzOw%3D%3D%22%2C+%22key_id%22%3A+%7B%22path%22%3A+%22%2Fa'
    '%2Fc%2Fo%22%2C+%22v%22%3A+%222%22%7D%7D')
HELLO = hashlib.md5(b'hello world').hexdigest()


class Store:
    """Keeps one object as an object server does, and its row."""

    def __init__(self):
        self.headers, self.body, self.row = {}, None, None

    def __call__(self, env, start):
        req = Request(env)
        if req.method == 'PUT':
            body = env['wsgi.input'].read(int(env['CONTENT_LENGTH']))
            try:
                for name, value in footers_of(env).items():
                    req.set(name, value)
            except Abort as e:
                return e.response(env, start)
            self.body = body
            self.headers = {n: v for n, v in req.header_items()
                            if n.startswith(('X-Object-', 'Content-Type'))}
            etag = hashlib.md5(self.body).hexdigest()
            assert req.get('Etag', etag) == etag
            self.row = req.get(encryption.OVERRIDE, etag)
            return Response(201, [('Etag', etag)])(env, start)
        if req.method == 'POST':
            self.headers = {n: v for n, v in self.headers.items() if 'ransient' not in n}
            self.headers.update((n, v) for n, v in req.header_items() if n.startswith('X-Object-'))
            return Response(202)(env, start)
        if env['PATH_INFO'].count('/') == 3:
            return Response(200, [], json.dumps([{'name': 'o', 'hash': self.row}]).encode())(
                env, start)
        return self.get(req)(env, start)

    def get(self, req):
        etag = hashlib.md5(self.body).hexdigest()
        if req.get('If-Match'):
            at = [self.headers[n] for n in req.get('X-Backend-Etag-Is-At', '').split(',')
                  if n in self.headers] or [etag]
            if f'"{at[0]}"' not in req.get('If-Match'):
                return Response(412, [('Etag', etag), *self.headers.items()])
        headers = [('Etag', etag), *self.headers.items()]
        if req.get('Range'):
            first, last = (int(n) for n in req.get('Range')[6:].split('-'))
            headers.append(('Content-Range', f'bytes {first}-{last}/{len(self.body)}'))
            return Response(206, headers, self.body[first:last + 1])
        return Response(200, headers, iter([self.body[:100], self.body[100:]]))


def pipeline(store, **options):
    options = options or {'encryption_root_secret': SECRET}
    app = keymaster.Keymaster(encryption.Encryption(store, {}), options)

    def send(method, path='/v1/a/c/o', headers=None, body=b''):
        infos = {cache_key('a', 'c'): container_entry(200, {}), cache_key('a'): account_entry(
            200, {})}
        env = {**environ(method, path, headers, body), 'swift.infocache': infos}
        return call(lambda _e, start: app(env, start), method, path)
    return send


@pytest.fixture
def store():
    return Store()


def test_a_round(store):
    send = pipeline(store)
    etag = hashlib.md5(BODY).hexdigest()
    status, headers, _ = send('PUT', headers={'X-Object-Meta-Color': 'blue', 'ETag': etag,
                                              'Content-Type': 't/p'}, body=BODY)
    assert status == 201 and headers['etag'] == etag
    held = store.body + repr(store.headers).encode() + store.row.encode()
    assert len(store.body) == len(BODY) and BODY[:32] not in held
    assert b'blue' not in held and etag.encode() not in held
    status, headers, body = send('GET')
    assert (status, body) == (200, BODY)
    assert headers['x-object-meta-color'] == 'blue' and headers['etag'] == etag
    assert not any('crypto' in name for name in headers)
    assert json.loads(send('GET', '/v1/a/c')[2]) == [{'name': 'o', 'hash': etag}]
    for first, last in ((0, 0), (5, 40), (16, 31), (1000, 10239)):
        assert send('GET', headers={'Range': f'bytes={first}-{last}'})[2] == BODY[first:last + 1]
    assert send('POST', headers={'X-Object-Meta-Color': 'red'})[0] == 202
    assert send('HEAD')[1]['x-object-meta-color'] == 'red' and b'red' not in repr(
        store.headers).encode()


def test_conditions(store):
    send = pipeline(store)
    send('PUT', body=BODY)
    assert send('GET', headers={'If-Match': f'"{hashlib.md5(BODY).hexdigest()}"'})[0] == 200
    status, headers, _ = send('GET', headers={'If-Match': '"other"'})
    assert status == 412 and headers['etag'] == hashlib.md5(BODY).hexdigest()


def test_scripts_of_other_origins_see_the_metadata(store):
    send = pipeline(store)
    send('PUT', headers={'X-Object-Meta-Color': 'blue'}, body=BODY)
    store.headers['Access-Control-Expose-Headers'] = 'etag, x-trans-id'
    assert send('GET')[1]['access-control-expose-headers'] == \
        'etag, x-object-meta-color, x-trans-id'


def test_a_wrong_etag_stores_nothing(store):
    send = pipeline(store)
    assert send('PUT', headers={'ETag': '0' * 32}, body=BODY)[0] == 422
    assert store.body is None


def test_an_empty_body_is_stored_as_it_is(store):
    send = pipeline(store)
    assert send('PUT')[0] == 201
    assert not any('Crypto' in name for name in store.headers)
    override = encryption.EMPTY + '; symlink_target=c/x'
    send('PUT', headers={encryption.OVERRIDE: override})
    assert 'symlink' not in store.row
    assert json.loads(send('GET', '/v1/a/c')[2])[0]['hash'] == override
    assert send('GET')[1][encryption.OVERRIDE.lower()] == override


def test_what_swift_has_stored_is_read(store):
    store.headers, store.body, store.row = dict(FOREIGN), FOREIGN_BODY, FOREIGN_ROW
    send = pipeline(store)
    status, headers, body = send('GET', headers={'If-Match': f'"{HELLO}"'})
    assert (status, body, headers['etag']) == (200, b'hello world', HELLO)
    assert headers['x-object-meta-color'] == 'blue'
    assert json.loads(send('GET', '/v1/a/c')[2])[0]['hash'] == HELLO


def test_names_that_are_not_ascii(store):
    """As OpenStack Swift has it: the key of the path's bytes, its text in the key's id."""
    keys = crypto.Keys({None: b'k' * 32}, None)
    key = keys.object_key(keys.key_id('/a/\xc3\xa9/o'))
    etag = hashlib.md5(b'x').hexdigest()
    assert crypto.etag_mac(key, etag) == 'd5OVFEQmRaNRJD4VrZQzgB134hoaAr2eYzF9d1ev06s='


def test_secrets_can_be_changed(store):
    old = pipeline(store)
    old('PUT', body=BODY)
    both = {'encryption_root_secret': SECRET, 'active_root_secret_id': 'new',
            'encryption_root_secret_new': base64.b64encode(b'n' * 40).decode()}
    send = pipeline(store, **both)
    assert send('GET')[2] == BODY
    send('PUT', body=BODY)
    assert '%22secret_id%22%3A+%22new%22' in store.headers[encryption.BODY]
    assert send('GET', headers={'If-Match': hashlib.md5(BODY).hexdigest()})[2] == BODY
    assert old('GET')[0] == 500


def test_several_ranges():
    key, iv = b'k' * 32, b'\xff' * 16                    # the counter runs over
    secret = crypto.ctr(key, iv)(BODY)
    body = b''.join(b'--B\r\nContent-Type: t/p\r\nContent-Range: bytes %d-%d/%d\r\n\r\n%b\r\n' % (
        a, b, len(BODY), secret[a:b + 1]) for a, b in ((3, 500), (0, 0), (4096, 10239))) + b'--B--'
    from swift.common.middleware.decryption import multipart
    for size in (1, 7, 100000):
        pieces = (body[at:at + size] for at in range(0, len(body), size))
        clear = b''.join(multipart(pieces, b'B', key, iv))
        parts = [part.partition(b'\r\n\r\n')[2][:-2] for part in clear.split(b'--B')[1:-1]]
        assert parts == [BODY[3:501], BODY[:1], BODY[4096:]]


@pytest.mark.parametrize('broken', [
    'nonsense', '%7B%7D', crypto.quote_plus(json.dumps({'cipher': 'ROT13'})),
    crypto.quote_plus(json.dumps({'cipher': 'AES_CTR_256', 'iv': 'AAAA', 'key_id': {}})),
    crypto.quote_plus(json.dumps({'cipher': 'AES_CTR_256', 'key_id': {'v': '9', 'path': '/'}}))])
def test_a_broken_description_is_an_error(store, broken, caplog):
    """Neither ciphertext nor a reason that tells of keys is given out."""
    send = pipeline(store)
    send('PUT', body=BODY)
    store.headers[encryption.BODY] = broken
    with caplog.at_level(logging.CRITICAL):
        status, _, body = send('GET')
    assert status == 500 and body == b'Error decrypting object'


def test_secrets_have_to_be_good(tmp_path):
    short = base64.b64encode(b'k' * 31).decode()
    for conf in ({}, {'encryption_root_secret': short}, {'encryption_root_secret': '*'},
                 {'encryption_root_secret': SECRET, 'active_root_secret_id': 'x'},
                 {'encryption_root_secret': SECRET, 'meta_version_to_write': '4'}):
        with pytest.raises(ConfigError) as error:
            keymaster.Keymaster(None, conf)
        assert short not in str(error.value)
    path = tmp_path / 'keymaster.conf'
    path.write_text(f'[keymaster]\nencryption_root_secret = {SECRET}\n')
    made = keymaster.Keymaster(None, {'keymaster_config_path': str(path)})
    assert made.keys.secrets == {None: b'k' * 32}
