# SPDX-License-Identifier: Apache-2.0
"""Old wounds of object stores, asked of a running one."""

import socket
import time

import pytest


@pytest.fixture
def listener():
    """A server nobody should talk to."""
    with socket.create_server(('127.0.0.1', 0)) as sock:
        sock.settimeout(0.3)
        yield sock


@pytest.mark.parametrize('kind', ['Container', 'Account', 'Delete-At'])
def test_security_clients_do_not_say_whom_servers_tell(user, container, listener, kind):
    """U8: update headers of a client reach no object server."""
    port = listener.getsockname()[1]
    headers = {f'X-{kind}-Host': f'127.0.0.1:{port}', f'X-{kind}-Partition': '1',
               f'X-{kind}-Device': 'sda', f'X-{kind}-Root-Db-State': 'x'}
    for method, path, body in (('PUT', f'/{container}/o', b'x'), ('POST', f'/{container}/o', b''),
                               ('DELETE', f'/{container}/o', b''), ('PUT', f'/{container}', b''),
                               ('POST', f'/{container}', b'')):
        assert user(method, path, headers, body)[0] < 300
    with pytest.raises(TimeoutError):
        listener.accept()


def test_security_a_client_does_not_set_the_time(user, container):
    """S3: an X-Timestamp from outside is nothing."""
    path = f'/{container}/o'
    for stamp in ('0000000001.00000', '9999999999.00000', 'x', '-1'):
        assert user('PUT', path, {'X-Timestamp': stamp}, b'1')[0] == 201
        assert abs(float(user('HEAD', path)[1]['x-timestamp']) - time.time()) < 60
        assert user('DELETE', path, {'X-Timestamp': stamp})[0] == 204
    assert user('POST', path, {'X-Timestamp': 'x'})[0] == 404        # S27: as without


def test_security_challenge_cannot_be_split_or_scripted(cluster):
    """S5."""
    for account in ('AUTH_%22%3E%3Cscript%3E', 'AUTH_x%0d%0aX-Evil:%20yes', 'AUTH_%E2%98%83'):
        status, headers, body = cluster.request('GET', '/v1/' + account)
        assert status == 401 and 'x-evil' not in headers and b'<script>' not in body
        assert '<' not in headers['www-authenticate']


def test_security_limits_hold_for_the_sum_of_posts(user, container):
    """S6: containers keep what earlier requests set, so the limit is of all."""
    path = '/' + container
    assert user('POST', path, {f'X-Container-Meta-A{i}': 'v' for i in range(89)})[0] == 204
    assert user('POST', path, {'X-Container-Meta-B': 'v', 'X-Container-Meta-C': 'v'})[0] == 400
    headers = user('HEAD', path)[1]
    assert sum(h.startswith('x-container-meta-') for h in headers) == 89


def test_security_owner_headers_are_the_owners(cluster, user, container):
    """Access lists and keys are neither shown to nor set by those who may only read or write."""
    path = '/' + container
    assert user('POST', path, {'X-Container-Read': 'test2', 'X-Container-Write': 'test2',
                               'X-Container-Meta-Temp-Url-Key': 'k'})[0] == 204
    other = cluster.login('test2:tester2')
    other.base = user.base
    headers = other('HEAD', path)[1]
    assert not {'x-container-read', 'x-container-write', 'x-container-meta-temp-url-key'} & set(
        headers)
    other('POST', path, {'X-Container-Read': 'evil', 'X-Container-Meta-Temp-Url-Key': 'e'})
    headers = user('HEAD', path)[1]
    assert (headers['x-container-read'], headers['x-container-meta-temp-url-key']) == (
        'test2', 'k')
    assert other('PUT', path + '/o', body=b'x')[0] == 201
    assert other('DELETE', path)[0] in (204, 403, 409)


def test_security_a_stranger_gets_nowhere(cluster, user, container):
    """T17-like: every verb on every level, with no token, a bad one and a foreign one."""
    user('PUT', f'/{container}/o', body=b'secret')
    other = cluster.login('test2:tester2')
    for token in (None, 'AUTH_tkbad.x', other.token):
        headers = {'X-Auth-Token': token} if token else {}
        for method in ('GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'COPY'):
            for path in ('', f'/{container}', f'/{container}/o', f'/{container}/none', '/none'):
                more = {'Destination': f'{container}/p'} if method == 'COPY' else {}
                status, _, body = cluster.request(method, user.base + path,
                                                  {**headers, **more})
                # Only objects can be copied; that is said before who may.
                assert status in (401, 403) or (method == 'COPY' and status == 405), (method, path)
                assert b'secret' not in body
    assert user('GET', f'/{container}/o')[2] == b'secret'


def test_security_copies_need_both_rights(cluster, user, container):
    """S8-like: neither a source that may not be read nor a target that may not be written."""
    user('PUT', f'/{container}/o', body=b'secret')
    other = cluster.login('test2:tester2')
    other('PUT', '/mine')
    account = user.base.split('/')[-1]
    status, _, body = other('PUT', '/mine/stolen', {
        'X-Copy-From': f'/{container}/o', 'X-Copy-From-Account': account, 'Content-Length': '0'})
    assert status == 403 and other('GET', '/mine/stolen')[0] == 404
    other('PUT', '/mine/o', body=b'x')
    assert other('COPY', '/mine/o', {'Destination': f'{container}/o',
                                     'Destination-Account': account})[0] == 403
    assert user('GET', f'/{container}/o')[2] == b'secret'


def test_security_too_many_ranges(user, container):
    """X8: ranges that only make disks seek."""
    user('PUT', f'/{container}/o', body=b'0123456789' * 1000)
    many = ','.join(f'{i * 10}-{i * 10 + 1}' for i in range(51))
    overlapping = ','.join('0-100' for _ in range(6))
    descending = ','.join(f'{i * 10}-{i * 10 + 1}' for i in range(10, 0, -1))
    for spec in (many, overlapping, descending):
        assert user('GET', f'/{container}/o', {'Range': 'bytes=' + spec})[0] == 416


def test_security_no_token_in_the_logs(cluster, user):
    """L14."""
    user('GET', '?x=1')
    for kind, n in cluster.all():
        assert user.token not in cluster.log(kind, n)


def test_security_aborted_downloads_leak_nothing(cluster, user, container):
    """S11: descriptors of the proxy return to where they were."""
    import os
    user('PUT', f'/{container}/big', body=b'x' * 5_000_000)
    fds = f"/proc/{cluster.processes['proxy', 0].pid}/fd"

    def abort():
        sock = socket.create_connection(('127.0.0.1', cluster.proxy_port))
        sock.sendall(f'GET {user.base}/{container}/big HTTP/1.1\r\nHost: x\r\n'
                     f'X-Auth-Token: {user.token}\r\n\r\n'.encode())
        sock.recv(1000)
        sock.close()
    for _ in range(10):
        abort()
    time.sleep(0.5)
    before = len(os.listdir(fds))
    for _ in range(150):
        abort()
    deadline = time.monotonic() + 10
    while len(os.listdir(fds)) > before + 10 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(os.listdir(fds)) <= before + 10


def test_security_s23_only_listed_origins_are_told_anything(cluster, user, container):
    """S23: no wildcard with credentials, nothing about a container to origins it does not list."""
    path = f'{user.base}/{container}'
    ask = {'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'x-auth-token'}

    def preflight(origin):
        status, headers, body = cluster.request('OPTIONS', path, {'Origin': origin, **ask})
        assert 'access-control-allow-credentials' not in headers
        return status, headers, body

    user('POST', '/' + container, {'X-Container-Meta-Secret': 'hidden',
                                   'X-Container-Meta-Access-Control-Allow-Origin':
                                       'https://a.example https://b.example'})
    for origin in ('https://c.example', 'https://a.example.evil', 'null', 'https://a',
                   'https://a.example https://b.example', '*', ''):
        status, headers, body = preflight(origin)
        if origin:
            assert status == 401, origin
        assert not any(name.startswith(('access-control-', 'x-container-')) for name in headers)
        assert b'hidden' not in body
        # ... nor does the answer to what it may read: a script there must not see it.
        headers = user('GET', '/' + container, {'Origin': origin})[1]
        assert 'access-control-allow-origin' not in headers
    for origin in ('https://a.example', 'https://b.example'):
        status, headers, _ = preflight(origin)
        assert status == 200 and headers['access-control-allow-origin'] == origin
        assert headers['vary'] and 'x-container-meta-secret' not in headers
    user('POST', '/' + container, {'X-Container-Meta-Access-Control-Allow-Origin': '*'})
    status, headers, _ = preflight('https://c.example')
    assert (status, headers['access-control-allow-origin']) == (200, '*')
    # One that is not there, or another's, answers as one that lists nobody.
    for other in (f'{user.base}/none-such', '/v1/AUTH_test2/private'):
        assert cluster.request('OPTIONS', other, {'Origin': 'https://a.example', **ask})[0] == 401
