# SPDX-License-Identifier: Apache-2.0
"""What once hurt Swift's filters for versions, links, web sites and forms, in real processes."""

import hmac
import os
import socket
import time
from urllib.parse import quote

import pytest


@pytest.fixture
def reader(cluster):
    """A user of the account who owns nothing."""
    return cluster.login('test:tester3')


@pytest.fixture
def stranger(cluster):
    return cluster.login('test2:tester2')


def names(user, container, query=''):
    status, _, body = user('GET', f'/{container}?{query}')
    assert status in (200, 204)
    return body.decode().split('\n')[:-1]


@pytest.mark.parametrize('header', ['X-Versions-Location', 'X-History-Location'])
def test_nothing_is_kept_for_who_may_not_write(cluster, user, stranger, container, header):
    """S7, S8: neither PUT, DELETE, POST nor COPY by a stranger makes or moves a version, also not
    with leave to list the versions."""
    versions = container + '-v'
    assert user('PUT', '/' + versions, {'X-Container-Read': 'test2:*,.rlistings,test2'})[0] == 201
    user('POST', '/' + container, {header: versions, 'X-Container-Read': 'test2'})
    for body in (b'one', b'two'):
        assert user('PUT', f'/{container}/o', body=body)[0] == 201
    kept = names(user, versions)
    assert len(kept) == 1
    path = f'{user.base}/{container}/o'
    token = {'X-Auth-Token': stranger.token}
    for method, more, body in (('PUT', {}, b'x'), ('DELETE', {}, None), ('POST', {}, None),
                               ('COPY', {'Destination': f'{container}/p'}, None),
                               ('PUT', {'X-Copy-From': f'{container}/o',
                                        'X-Copy-From-Account': 'AUTH_test'}, b'')):
        assert cluster.request(method, path, {**token, **more}, body)[0] == 403, method
    assert names(user, versions) == kept and user('GET', f'/{container}/o')[2] == b'two'
    assert user('DELETE', f'/{container}/o')[0] == 204


def test_versions_are_their_owners(cluster, user, reader, container):
    """S7, S8 of the other kind: a reader of the container reads the current version only, and
    nobody sees or names what is hidden."""
    user('POST', '/' + container, {'X-Versions-Enabled': 'true',
                                   'X-Container-Read': 'test:tester3'})
    first = user('PUT', f'/{container}/o', body=b'one')[1]['x-object-version-id']
    user('PUT', f'/{container}/o', body=b'two')
    assert reader('GET', f'/{container}/o')[2] == b'two'
    for method, body in (('GET', None), ('HEAD', None), ('DELETE', None), ('PUT', b'')):
        status = reader(method, f'/{container}/o?version-id={first}', body=body)[0]
        assert status == 403, method
    for method in ('PUT', 'DELETE', 'POST'):
        assert reader(method, f'/{container}/o', body=b'')[0] == 403
    assert user('GET', f'/{container}/o?version-id={first}')[2] == b'one'
    hidden = quote(f'\0versions\0{container}')
    for client in (user, reader):
        for path in ('/' + hidden, f'/{hidden}/x', f'/{container}/' + quote('\0o\x001')):
            assert client('GET', path, {'X-Backend-Allow-Reserved-Names': 'true'})[0] == 412
    assert not any('\0' in name for name in names(user, '')), 'hidden containers are listed'
    for query in ('prefix=%00', 'delimiter=%00', 'marker=%00', 'format=json&prefix=%00'):
        for base in ('', '/' + container):
            assert b'versions' not in user('GET', f'{base}?{query}')[2], query
    assert user('DELETE', '/' + container)[0] == 409


def test_a_link_gives_no_rights(cluster, user, stranger, container):
    """S9: what a link leads to is read with the reader's rights, by a token as by a signature."""
    user('POST', '/' + container, {'X-Container-Meta-Temp-Url-Key': 'k'})
    assert user('PUT', f'/{container}-secret')[0] == 201
    user('PUT', f'/{container}-secret/o', body=b'secret')
    assert user('PUT', f'/{container}/link', {'X-Symlink-Target': f'{container}-secret/o'},
                b'')[0] == 201
    assert user('GET', f'/{container}/link')[2] == b'secret'
    user('POST', '/' + container, {'X-Container-Read': '.r:*'})
    path, expires = f'{user.base}/{container}/link', int(time.time()) + 600
    signature = hmac.new(b'k', f'GET\n{expires}\n{path}'.encode(), 'sha256').hexdigest()
    signed = f'{path}?temp_url_sig={signature}&temp_url_expires={expires}'
    for status, headers, body in (cluster.request('GET', path), cluster.request('GET', signed),
                                  cluster.request('GET', path, {'X-Auth-Token': stranger.token})):
        assert status in (401, 403) and b'secret' not in body
        assert headers['content-location'] == f'{user.base}/{container}-secret/o'
    # Nor can anybody make a link that the filter did not check, or learn of what may not be read.
    user('PUT', f'/{container}/forged', {
        'X-Object-Sysmeta-Symlink-Target': f'{container}-secret/o',
        'X-Object-Sysmeta-Allow-Reserved-Names': 'true'}, b'plain')
    assert user('GET', f'/{container}/forged')[2] == b'plain'
    mine = stranger('PUT', '/links')[0]
    assert mine in (201, 202)
    status, _, _ = stranger('PUT', '/links/l', {
        'X-Symlink-Target': f'{container}-secret/o', 'X-Symlink-Target-Account': 'AUTH_test',
        'X-Symlink-Target-Etag': '5ebe2294ecd0e0f08eab7690d2a6ee69'}, b'')
    assert status == 403


BAD = '<script>alert("x")</script>\'&'


def test_a_web_page_is_text(cluster, user, container):
    """S18: what users wrote is escaped, and who may not list gets no listing."""
    user('POST', '/' + container, {
        'X-Container-Read': '.r:*,.rlistings', 'X-Container-Meta-Web-Listings': 'true',
        'X-Container-Meta-Web-Listings-Label': BAD, 'X-Container-Meta-Web-Listings-Css': BAD})
    for name in (BAD, f'{BAD}/{BAD}'):
        assert user('PUT', f'/{container}/{quote(name)}', body=b'')[0] == 201
    for path in ('', quote(BAD) + '/'):
        status, headers, page = cluster.request('GET', f'{user.base}/{container}/{path}')
        assert status == 200 and headers['content-type'].startswith('text/html')
        assert b'<script' not in page and b'&lt;script&gt;' in page
        assert page.count(b'"') % 2 == 0
    user('POST', '/' + container, {'X-Container-Read': '.r:*'})
    status, _, page = cluster.request('GET', f'{user.base}/{container}/')
    assert status == 401 and b'Listing' not in page


def test_a_signed_page_stays_in_its_prefix(cluster, user, container):
    """S18: a signature for a prefix lists what begins with it only."""
    user('POST', '/' + container, {'X-Container-Meta-Web-Listings': 'true',
                                   'X-Container-Meta-Temp-Url-Key': 'k'})
    for name in ('in/a', 'out/b'):
        user('PUT', f'/{container}/{name}', body=b'')
    expires = int(time.time()) + 600
    text = f'GET\n{expires}\nprefix:{user.base}/{container}/in/'
    signature = hmac.new(b'k', text.encode(), 'sha256').hexdigest()
    tail = f'?temp_url_sig={signature}&temp_url_expires={expires}&temp_url_prefix=in/'
    base = f'{user.base}/{container}/'
    status, headers, page = cluster.request('GET', base + 'in/' + tail)
    assert status == 200 and b'>a</a>' in page and b'href="..' not in page
    assert 'content-disposition' not in headers
    for path in ('', 'out/', 'in'):
        status, _, page = cluster.request('GET', base + path + tail)
        assert status in (401, 404) and b'<a ' not in page, path


def form(user, container, key=b'k', size=10, count=2, expires=None, redirect='', files=(b'body',),
         **changed):
    """``(path, headers, body)`` of a signed form; ``changed`` are fields edited after that."""
    path = f'{user.base}/{container}/up-'
    expires = int(time.time()) + 600 if expires is None else expires
    text = f'{path}\n{redirect}\n{size}\n{count}\n{expires}'.encode()
    fields = {'redirect': redirect, 'max_file_size': size, 'max_file_count': count,
              'expires': expires, 'signature': hmac.new(key, text, 'sha256').hexdigest(), **changed}
    body = b''.join(f'--B\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode()
                    for n, v in fields.items())
    body += b''.join(
        f'--B\r\nContent-Disposition: form-data; name="f{i}"; filename="file{i}"\r\n'
        'Content-Type: text/x-form\r\n\r\n'.encode() + data + b'\r\n'
        for i, data in enumerate(files)) + b'--B--\r\n'
    return path, {'Content-Type': 'multipart/form-data; boundary=B'}, body


def test_a_form(cluster, user, container):
    """S25: what is signed is stored, and nothing else."""
    user('POST', '/' + container, {'X-Container-Meta-Temp-Url-Key': 'k'})

    def post(**options):
        path, headers, body = form(user, container, **options)
        return cluster.request('POST', path, headers, body)

    assert post(files=(b'a\r\n-', b'0123456789'))[0] == 201
    status, headers, body = user('GET', f'/{container}/up-file0')
    assert (status, body, headers['content-type']) == (200, b'a\r\n-', 'text/x-form')
    for name in ('up-file0', 'up-file1'):
        user('DELETE', f'/{container}/{name}')
    later = int(time.time()) + 9000
    for options, status in (
            ({'key': b'wrong'}, 401), ({'expires': int(time.time()) - 5}, 401),
            ({'max_file_size': 100}, 401), ({'max_file_count': 9}, 401), ({'expires': later,
             'signature': '0' * 64}, 401), ({'redirect': '', 'signature': ''}, 401),
            ({'files': (b'x' * 11,)}, 400), ({'files': ()}, 400), ({'max_file_size': 'x'}, 400)):
        assert post(**options)[0] == status, options
    assert names(user, container) == []
    assert post(files=(b'1', b'2', b'3'))[0] == 400
    assert len(names(user, container)) == 2          # the third is one too many
    status, headers, _ = post(redirect='http://example.com/?a=1')
    assert status == 303
    assert headers['location'] == 'http://example.com/?a=1&status=201&message='
    # A redirect that was not signed, or is no web page, is not followed.
    path, headers, body = form(user, container, redirect='javascript:alert(1)')
    assert cluster.request('POST', path, headers, body)[0] == 201
    status, headers, _ = post(**{'signature': '0' * 64, 'redirect': 'http://evil.example.com'})
    assert status == 401 and 'location' not in headers


def test_a_form_cut_off_stores_nothing(cluster, user, container):
    """X6: a body that ends inside a part is an error at once."""
    user('POST', '/' + container, {'X-Container-Meta-Temp-Url-Key': 'k'})
    path, headers, body = form(user, container)
    for cut in (5, 200, len(body) - 9, len(body) - 4):
        assert cluster.request('POST', path, headers, body[:cut])[0] in (400, 408, 499)
    assert names(user, container) == []


def test_readers_of_links_that_go_away_leave_nothing(cluster, user, container):
    """S11: descriptors of the proxy return to where they were, for links and for versions."""
    user('POST', '/' + container, {'X-Versions-Enabled': 'true'})
    user('PUT', f'/{container}/big', body=b'x' * 3_000_000)
    user('PUT', f'/{container}/link', {'X-Symlink-Target': f'{container}/big'}, b'')
    fds = f"/proc/{cluster.processes['proxy', 0].pid}/fd"

    def abort():
        sock = socket.create_connection(('127.0.0.1', cluster.proxy_port))
        sock.sendall(f'GET {user.base}/{container}/link HTTP/1.1\r\nHost: x\r\n'
                     f'X-Auth-Token: {user.token}\r\n\r\n'.encode())
        assert b' 200 ' in sock.recv(1000)
        sock.close()

    for _ in range(5):
        abort()
    before = len(os.listdir(fds))
    for _ in range(60):
        abort()
    deadline = time.monotonic() + 30
    while len(os.listdir(fds)) > before + 10 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(os.listdir(fds)) <= before + 10
