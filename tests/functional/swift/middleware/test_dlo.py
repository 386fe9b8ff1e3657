# SPDX-License-Identifier: Apache-2.0
"""Dynamic large objects through real processes."""

import hashlib
import os
import socket
import time

import pytest

from swift.common.exceptions import ConfigError
from swift.common.middleware.dlo import DynamicLargeObjects


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def large(user, container):
    """The path of a manifest over three segments of ten bytes, and a fourth object beside them."""
    for name, letter in (('seg/a', b'a'), ('seg/b', b'b'), ('seg/c %?', b'c'), ('z', b'z')):
        path = f'/{container}/{name}'.replace(' ', '%20').replace('%?', '%25%3F')
        assert user('PUT', path, body=letter * 10)[0] == 201
    assert user('PUT', f'/{container}/man', {'X-Object-Manifest': f'{container}/seg/'})[0] == 201
    return f'/{container}/man'


def test_reads_as_one_object(user, large):
    status, headers, body = user('GET', large)
    assert (status, body) == (200, b'a' * 10 + b'b' * 10 + b'c' * 10)
    etag = md5(''.join(md5(c * 10) for c in (b'a', b'b', b'c')).encode())
    assert headers['etag'] == f'"{etag}"' and headers['content-length'] == '30'
    status, head, _ = user('HEAD', large)
    assert status == 200 and head['etag'] == headers['etag'] and head['content-length'] == '30'
    assert user('GET', large + '?multipart-manifest=get')[2] == b''


@pytest.mark.parametrize(('spec', 'status', 'body'), [
    ('bytes=8-11', 206, b'aabb'), ('bytes=-12', 206, b'bb' + b'c' * 10),
    ('bytes=29-', 206, b'c'), ('bytes=30-', 416, None), ('bytes=10-19', 206, b'b' * 10),
    ('bytes=0-1,5-6', 200, b'a' * 10 + b'b' * 10 + b'c' * 10), ('octets=1-2', 200, None)])
def test_ranges(user, large, spec, status, body):
    got, headers, data = user('GET', large, {'Range': spec})
    assert got == status
    assert body is None or data == body
    if status == 416:
        assert headers['content-range'] == 'bytes */30'


def test_conditions_are_on_the_whole(user, large):
    etag = user('HEAD', large)[1]['etag']
    assert user('GET', large, {'If-Match': etag})[0] == 200
    assert user('GET', large, {'If-None-Match': etag})[0] == 304
    assert user('GET', large, {'If-Match': md5(b'')})[0] == 412
    assert user('GET', large, {'If-None-Match': md5(b'')})[0] == 200
    assert user('GET', large, {'If-Range': etag, 'Range': 'bytes=0-1'})[2] == b'aa'
    assert user('GET', large, {'If-Range': '"other"', 'Range': 'bytes=0-1'})[0] == 200


@pytest.mark.parametrize('value', ['', 'container', 'c/', '/', 'c//x', 'c/x?y', 'c/x&y', 'c/%ff'])
def test_what_names_no_prefix_is_refused(user, container, value):
    status = user('PUT', f'/{container}/m', {'X-Object-Manifest': value})[0]
    assert status == 400


def test_a_copy_is_the_content(user, large, container):
    assert user('COPY', large, {'Destination': f'{container}/copied'})[0] == 201
    status, headers, body = user('GET', f'/{container}/copied')
    assert len(body) == 30 and 'x-object-manifest' not in headers
    assert headers['etag'] == md5(body)


def test_segments_are_read_with_the_readers_rights(cluster, user, container, large):
    """Whoever may read the manifest does not thereby read the segments."""
    other = container + 'x'
    assert user('PUT', '/' + other, {'X-Container-Read': '.r:*'})[0] == 201
    assert user('PUT', f'/{other}/man', {'X-Object-Manifest': f'{container}/seg/'})[0] == 201
    path = f'{user.base}/{other}/man'
    assert cluster.request('GET', path)[0] == 401
    user('POST', '/' + container, {'X-Container-Read': '.r:*'})
    assert cluster.request('GET', path)[0] == 401           # objects, but not their listing
    user('POST', '/' + container, {'X-Container-Read': '.r:*,.rlistings'})
    assert cluster.request('GET', path)[2][:1] == b'a'


def test_security_vanished_clients_leave_no_sockets(cluster, user, container):
    """S11: readers of a large object that go away in the middle."""
    for n in range(2):
        assert user('PUT', f'/{container}/big/{n}', body=b'x' * (4 << 20))[0] == 201
    assert user('PUT', f'/{container}/m', {'X-Object-Manifest': f'{container}/big/'})[0] == 201
    fds = f'/proc/{cluster.processes["proxy", 0].pid}/fd'
    head = (f'GET {user.base}/{container}/m HTTP/1.1\r\nHost: x\r\n'
            f'X-Auth-Token: {user.token}\r\n\r\n').encode()
    before = None
    for n in range(60):
        with socket.create_connection(('127.0.0.1', cluster.proxy_port), 10) as sock:
            sock.sendall(head)
            assert sock.recv(100).startswith(b'HTTP/1.1 200')
        if n == 5:
            before = len(os.listdir(fds))
    deadline = time.monotonic() + 20
    while len(os.listdir(fds)) > before + 8 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(os.listdir(fds)) <= before + 8


def test_security_auth_below_is_refused():
    """S17."""
    class Auth:
        authorize = None
        app = None
    with pytest.raises(ConfigError, match='dlo'):
        DynamicLargeObjects(Auth(), {})
