# SPDX-License-Identifier: Apache-2.0
"""Objects through the proxy: storing, reading in parts and on conditions, copying, deleting."""

import hashlib
import http.client
import json
import os
import time

import pytest

BODY = b'The quick brown fox jumps over the lazy dog'
ETAG = hashlib.md5(BODY).hexdigest()


@pytest.fixture
def obj(user, container):
    path = f'/{container}/fox'
    status, headers, _ = user('PUT', path, {'X-Object-Meta-Color': 'red',
                                            'Content-Type': 'text/x-fox'}, BODY)
    assert status == 201 and headers['etag'] == ETAG
    return path


def test_put_get_head_delete(user, container, obj):
    status, headers, body = user('GET', obj)
    assert (status, body) == (200, BODY)
    assert headers['etag'] == ETAG and headers['content-type'] == 'text/x-fox'
    assert headers['x-object-meta-color'] == 'red' and headers['accept-ranges'] == 'bytes'
    assert headers['x-trans-id'] == headers['x-openstack-request-id']
    assert not [h for h in headers if h.startswith(('x-backend', 'x-object-sysmeta'))]
    status, headers, body = user('HEAD', obj)
    assert (status, body, headers['content-length']) == (200, b'', str(len(BODY)))
    listing = json.loads(user('GET', f'/{container}?format=json')[2])
    assert [(o['name'], o['bytes'], o['hash']) for o in listing] == [('fox', len(BODY), ETAG)]
    assert user('DELETE', obj)[0] == 204
    assert user('GET', obj)[0] == 404
    assert user('DELETE', obj)[0] == 404
    assert user('GET', f'/{container}')[0] == 204


@pytest.mark.parametrize('size', [0, 1, 65535, 65536, 65537, 1 << 20])
@pytest.mark.parametrize('chunked', [False, True])
def test_every_way_of_sending(user, container, size, chunked):
    data = os.urandom(size)
    path = f'/{container}/s{size}'
    if chunked:
        status, headers, _ = user('PUT', path, None,
                                  iter([data[i:i + 10000] for i in range(0, size, 10000)]))
    else:
        status, headers, _ = user('PUT', path, {'Content-Length': str(size)}, data)
    assert (status, headers['etag']) == (201, hashlib.md5(data).hexdigest())
    assert user('GET', path)[2] == data


@pytest.mark.parametrize(('spec', 'status', 'want'), [
    ('bytes=4-8', 206, BODY[4:9]), ('bytes=40-', 206, BODY[40:]), ('bytes=-3', 206, BODY[-3:]),
    ('bytes=0-999', 206, BODY), ('bytes=43-', 416, None), ('bytes=-0', 416, None),
    ('bytes=5-1', 200, BODY), ('lines=1-2', 200, BODY), ('bytes=a-b', 200, BODY)])
def test_single_ranges(user, obj, spec, status, want):
    got, headers, body = user('GET', obj, {'Range': spec})
    assert got == status
    if want is not None:
        assert body == want
    else:
        assert headers['content-range'] == f'bytes */{len(BODY)}'


def test_several_ranges(user, obj):
    status, headers, body = user('GET', obj, {'Range': 'bytes=0-2,10-14,-3'})
    assert status == 206 and headers['content-type'].startswith('multipart/byteranges')
    boundary = headers['content-type'].partition('boundary=')[2].encode()
    parts = body.split(b'--' + boundary)[1:-1]
    assert [p.partition(b'\r\n\r\n')[2].removesuffix(b'\r\n') for p in parts] == [
        BODY[0:3], BODY[10:15], BODY[-3:]]
    assert b'Content-Range: bytes 10-14/43' in parts[1]


@pytest.mark.parametrize(('header', 'value', 'status'), [
    ('If-Match', f'"{ETAG}"', 200), ('If-Match', '"x"', 412), ('If-Match', '*', 200),
    ('If-None-Match', f'"x", "{ETAG}"', 304), ('If-None-Match', '"x"', 200),
    ('If-None-Match', '*', 304),
    ('If-Modified-Since', 'Thu, 01 Jan 1970 00:00:01 GMT', 200),
    ('If-Modified-Since', 'Fri, 01 Jan 2100 00:00:01 GMT', 304),
    ('If-Unmodified-Since', 'Thu, 01 Jan 1970 00:00:01 GMT', 412),
    ('If-Unmodified-Since', 'Fri, 01 Jan 2100 00:00:01 GMT', 200),
    ('If-Modified-Since', 'nonsense', 200)])
def test_conditions(user, obj, header, value, status):
    got, headers, body = user('GET', obj, {header: value})
    assert got == status
    assert body == (BODY if status == 200 else body) and (status != 304 or body == b'')
    assert user('HEAD', obj, {header: value})[0] == status
    if status != 412:
        assert headers['etag'] == ETAG


def test_put_only_if_new(user, obj, container):
    assert user('PUT', obj, {'If-None-Match': '*'}, b'x')[0] == 412
    assert user('PUT', obj, {'If-None-Match': '"abc"'}, b'x')[0] == 400
    assert user('PUT', f'/{container}/new', {'If-None-Match': '*'}, b'x')[0] == 201
    assert user('PUT', obj, {'If-None-Match': '*'}, b'x' * 100_000)[0] == 412
    assert user('GET', obj)[2] == BODY


@pytest.mark.parametrize('size', [43, 200_000])
def test_wrong_etag_is_refused(user, container, size):
    path = f'/{container}/e{size}'
    assert user('PUT', path, {'ETag': '0' * 32}, b'x' * size)[0] == 422
    assert user('GET', path)[0] == 404


def test_post_replaces_metadata(user, obj):
    assert user('POST', obj, {'X-Object-Meta-Size': 'big'})[0] == 202
    headers = user('HEAD', obj)[1]
    assert headers['x-object-meta-size'] == 'big' and 'x-object-meta-color' not in headers
    assert headers['content-type'] == 'text/x-fox'
    assert user('POST', obj + 'x')[0] == 404


def test_copy_both_ways(user, container, obj):
    status, headers, _ = user('COPY', obj, {'Destination': f'{container}/a%20copy'})
    assert status == 201 and headers['x-copied-from'] == f'{container}/fox'
    status, headers, body = user('GET', f'/{container}/a%20copy')
    assert (body, headers['x-object-meta-color'], headers['content-type']) == (
        BODY, 'red', 'text/x-fox')
    status = user('PUT', f'/{container}/b', {
        'X-Copy-From': f'/{container}/fox', 'Content-Length': '0', 'X-Fresh-Metadata': 'true',
        'X-Object-Meta-New': '1'})[0]
    headers = user('HEAD', f'/{container}/b')[1]
    assert status == 201 and headers['x-object-meta-new'] == '1'
    assert 'x-object-meta-color' not in headers
    status = user('PUT', f'/{container}/part', {
        'X-Copy-From': f'{container}/fox', 'Content-Length': '0', 'Range': 'bytes=4-8'})[0]
    assert status == 201 and user('GET', f'/{container}/part')[2] == BODY[4:9]


@pytest.mark.parametrize(('headers', 'status'), [
    ({'X-Copy-From': 'nowhere'}, 412), ({'X-Copy-From': 'no/where'}, 404),
    ({'X-Copy-From': '/%ff/x'}, 412)])
def test_bad_copy_sources(user, container, headers, status):
    assert user('PUT', f'/{container}/x', {'Content-Length': '0', **headers})[0] == status


def test_copy_needs_a_destination_and_no_body(user, container, obj):
    assert user('COPY', obj)[0] == 412
    assert user('COPY', obj, {'Destination': 'x'})[0] == 412
    assert user('COPY', obj, {'Destination': f'{container}/y'}, b'body')[0] == 400
    assert user('PUT', obj, {'X-Copy-From': f'{container}/fox'}, b'body')[0] == 400


def test_large_copy(user, container):
    data = os.urandom(1_000_000)
    user('PUT', f'/{container}/big', body=data)
    assert user('COPY', f'/{container}/big', {'Destination': f'{container}/big2'})[0] == 201
    assert user('GET', f'/{container}/big2')[2] == data


@pytest.mark.parametrize(('headers', 'status', 'says'), [
    ({'X-Delete-At': 'soon'}, 400, b'X-Delete-At'), ({'X-Delete-At': '5'}, 400, b'in past'),
    ({'X-Delete-After': 'x'}, 400, b'X-Delete-After'),
    ({'X-Delete-After': '-1'}, 400, b'X-Delete-After'),
    ({'X-Object-Meta-' + 'n' * 129: 'v'}, 400, b'name too long'),
    ({'X-Object-Meta-N': 'v' * 257}, 400, b'longer than 256'),
    ({f'X-Object-Meta-{i}': 'v' for i in range(91)}, 400, b'max 90'),
    ({f'X-Object-Meta-{i}': 'v' * 255 for i in range(17)}, 400, b'max 4096'),
    ({'X-Object-Meta-': 'v'}, 400, b'empty')])
def test_refused_headers_say_why(user, container, headers, status, says):
    for body in (b'x', b'x' * 100_000):
        got, _, text = user('PUT', f'/{container}/o', headers, body)
        assert got == status and says in text


def test_expiry(user, container):
    path = f'/{container}/short'
    before = int(time.time())
    assert user('PUT', path, {'X-Delete-After': '1000'}, b'x')[0] == 201
    assert before + 1000 <= int(user('HEAD', path)[1]['x-delete-at']) <= time.time() + 1001
    at = int(time.time()) + 4
    assert user('PUT', path, {'X-Delete-At': str(at)}, b'x')[0] == 201
    time.sleep(max(0, at - time.time() + 0.1))
    assert user('GET', path)[0] == 404


def test_names(user, container):
    for name in ('a b', 'a/b//c/', 'ünï☃', 'a%2fb', 'x?y', '..', 'a' * 1024, "quo\"te'<&>"):
        from urllib.parse import quote
        path = f'/{container}/{quote(name)}'
        assert user('PUT', path, body=name.encode())[0] == 201
        assert user('GET', path)[2] == name.encode()
    assert user('PUT', f"/{container}/{'a' * 1025}", body=b'')[0] == 400
    assert user('PUT', f'/{container}/%ff', body=b'')[0] == 412
    assert user('PUT', f'/{container}/%00', body=b'')[0] == 412


def test_guessed_and_cleaned_content_types(user, container):
    for headers, want in (({}, 'image/jpeg'), ({'Content-Type': ''}, 'image/jpeg'),
                          ({'Content-Type': 'a/b', 'X-Detect-Content-Type': 'true'},
                           'image/jpeg')):
        user('PUT', f'/{container}/a.jpg', headers, b'')
        assert user('HEAD', f'/{container}/a.jpg')[1]['content-type'] == want
    own = {'Content-Type': 'a/b; swift_bytes=5; c=d'}       # parameters that filters set
    assert user('PUT', f'/{container}/a.jpg', own, b'')[0] == 400
    assert user('POST', f'/{container}/a.jpg', own)[0] == 202
    assert user('HEAD', f'/{container}/a.jpg')[1]['content-type'] == 'a/b; c=d'


def test_no_length_and_too_long(cluster, user, container):
    conn = http.client.HTTPConnection('127.0.0.1', cluster.proxy_port, timeout=10)
    conn.putrequest('PUT', f'{user.base}/{container}/x')
    conn.putheader('X-Auth-Token', user.token)
    conn.endheaders()
    assert conn.getresponse().status == 411
    conn.close()
    conn.putrequest('PUT', f'{user.base}/{container}/x')
    conn.putheader('X-Auth-Token', user.token)
    conn.putheader('Content-Length', str(6 << 30))
    conn.endheaders()
    assert conn.getresponse().status == 413
    conn.close()


def test_to_a_container_that_is_not_there(user):
    for size in (1, 100_000):
        assert user('PUT', '/nowhere/x', body=b'x' * size)[0] == 404
    assert user('GET', '/nowhere/x')[0] == 404


def test_second_policy(user, container):
    assert user('PUT', '/silver', {'X-Storage-Policy': 'policy1'})[0] == 201
    assert user('HEAD', '/silver')[1]['x-storage-policy'] == 'policy1'
    assert user('HEAD', '/' + container)[1]['x-storage-policy'] == 'policy0'
    assert user('PUT', '/silver/x', body=BODY)[0] == 201
    assert user('GET', '/silver/x')[2] == BODY
    status, _, text = user('PUT', '/bronze', {'X-Storage-Policy': 'bronze'})
    assert status == 400 and b'X-Storage-Policy' in text


def test_newest(user, obj):
    assert user('GET', obj, {'X-Newest': 'true'})[2] == BODY
