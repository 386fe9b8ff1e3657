# SPDX-License-Identifier: Apache-2.0
"""Answers that were once others than OpenStack Swift's; each table row was one difference.

tests/conformance/swift/test_same_proxy_answers.py asks a real one the same and more.
"""

import hashlib
import hmac
import http.client
import json
import socket
import types

import pytest
from wsgi_call import call, environ

from swift.common.middleware import list_endpoints
from swift.common.request import Request
from swift.proxy.controllers.info import InfoController

BODY = b'The quick brown fox'
ETAG = hashlib.md5(BODY).hexdigest()
FUTURE = 'Sat, 28 Nov 2037 17:29:47 GMT'


@pytest.fixture
def obj(user, container):
    path = f'/{container}/o'
    assert user('PUT', path, {'Content-Type': 'a/b; c=d'}, BODY)[0] == 201
    return path


def test_headers_of_listings(cluster, user, container, obj):
    """Where ranges are taken, what the form depends on, and what other origins may see."""
    user('POST', f'/{container}', {'X-Container-Meta-Access-Control-Allow-Origin': 'http://a'})
    for path in ('', f'/{container}'):
        for method in ('GET', 'HEAD'):
            headers = user(method, path)[1]
            assert (headers['accept-ranges'], headers['vary']) == ('bytes', 'Accept')
            assert 'vary' not in user(method, path + '?format=json')[1]
    conn = http.client.HTTPConnection('127.0.0.1', cluster.proxy_port, timeout=10)
    conn.request('GET', f'{user.base}/{container}', headers={
        'X-Auth-Token': user.token, 'Origin': 'http://a'})
    assert sorted(v for n, v in conn.getresponse().getheaders() if n == 'Vary') == [
        'Accept', 'Origin']
    conn.close()


@pytest.mark.parametrize(('accept', 'status', 'kind'), [
    ('application/json, text/plain', 200, 'application/json'),
    ('text/xml, application/xml', 200, 'text/xml'),
    ('text/*;q=0.1,application/json;q=0.1', 200, 'application/json'),
    ('text/plain;q=2', 200, 'text/plain'), ('*', 400, None), ('application/json,', 400, None),
    (',', 400, None), (';', 400, None), ('application/json/x', 400, None),
    ('application/json;q=0', 406, None), ('text/plain;q=nan', 400, None)])
def test_forms_of_listings(user, obj, container, accept, status, kind):
    got, headers, _ = user('GET', f'/{container}', {'Accept': accept})
    assert got == status and (kind is None or headers['content-type'].startswith(kind + ';'))


def test_listings(user, container, obj):
    listing = json.loads(user('GET', f'/{container}?format=json')[2])
    assert listing[0]['content_type'] == 'a/b;c=d'
    assert user('HEAD', f'/{container}?format=%FF')[0] == 400
    for query, status in (('limit=99999', 412), ('prefix=%FF', 400), ('limit=abc', 200)):
        assert user('GET', f'/{container}?{query}')[0] == status
        assert user('HEAD', f'/{container}?{query}')[0] == 204       # lists nothing anyhow
    user('PUT', f'/{container}-empty')
    assert user('GET', f'/{container}-empty?format=xml')[2].endswith(
        f'<container name="{container}-empty" />'.encode())
    assert b'<account name="AUTH_test">\n<container>' in user('GET', '?format=xml')[2]


def test_names_are_measured_in_letters(user, container):
    for name, status in (('ä' * 256, 201), ('ä' * 257, 400)):
        assert user('PUT', '/' + quoted(name))[0] == status
    assert user('DELETE', '/' + quoted('ä' * 256))[0] == 204
    assert user('PUT', f'/{container}/' + quoted('ä' * 700), body=b'')[0] == 201
    assert user('PUT', f'/{container}/' + quoted('ä' * 1025), body=b'')[0] == 400


def quoted(name):
    return ''.join(f'%{byte:02X}' for byte in name.encode())


def test_what_is_set_counts_more_than_what_is_removed(user, container):
    for path in ('', f'/{container}'):
        kind = 'Container' if path else 'Account'
        assert user('POST', path, {f'X-Remove-{kind}-Meta-Q': 'x', f'X-{kind}-Meta-Q': 'y'})[
            0] == 204
        assert user('HEAD', path)[1][f'x-{kind.lower()}-meta-q'] == 'y'


@pytest.mark.parametrize(('headers', 'status'), [
    ({'If-Match': f'W/"{ETAG}"'}, 412), ({'If-None-Match': f'W/"{ETAG}"'}, 304),
    ({'If-Unmodified-Since': 'Sat, 28 Nov 1937 17:29:47 GMT'}, 412),
    ({'If-Modified-Since': 'Sat, 32 Nov 2037 17:29:47 GMT'}, 200),
    ({'If-Modified-Since': FUTURE}, 304),
    ({'Range': 'bytes=99999999999999999999-'}, 416),
    ({'Range': 'bytes=0-99999999999999999999'}, 206),
    ({'Range': f'bytes={"9" * 900}-'}, 416),
    ({'Range': 'bytes=0-5,3-8,4-9'}, 416), ({'Range': 'bytes=0-5,3-8,8-9'}, 206),
    ({'Range': 'bytes=0-0,0-0,0-0'}, 206), ({'Range': 'bytes=0-0,0-0,0-0,0-0'}, 416)])
def test_conditions_and_ranges(user, obj, headers, status):
    assert user('GET', obj, headers)[0] == status


def test_the_last_bytes_of_nothing(user, container):
    user('PUT', f'/{container}/e', body=b'')
    for spec, status in (('-1', 200), ('-1,-2', 200), ('-0', 416), ('0-', 416)):
        assert user('GET', f'/{container}/e', {'Range': 'bytes=' + spec})[0] == status


def test_writes(cluster, user, container, obj):
    assert b'accepted' in user('POST', obj)[2] and b'accepted' in user('PUT', f'/{container}')[2]
    assert user('PUT', obj, {'X-Copy-From': ''}, BODY)[0] == 201
    for method in ('PUT', 'POST'):
        assert user(method, obj, {'X-Static-Large-Object': 'true'}, b'')[0] == 400
    assert cluster.request('GET', '/v1/', {'X-Auth-Token': user.token})[0] == 412
    for version, status in (('', 200), ('x', 400)):
        assert user('GET', f'{obj}?version-id={version}')[0] == status
    deleted = user('DELETE', obj + '?version-id=null')
    assert deleted[0] == 204 and 'x-object-version-id' not in deleted[1]
    assert deleted[1]['content-length'] == '0'


def test_a_body_that_is_not_wanted_is_not_sent(cluster, user, obj):
    with socket.create_connection(('127.0.0.1', cluster.proxy_port), timeout=10) as sock:
        sock.sendall(f'PUT {user.base}{obj} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {user.token}\r\n'
                     'Content-Length: 5\r\nIf-None-Match: *\r\nExpect: 100-continue\r\n\r\n'
                     .encode())
        assert sock.recv(12) == b'HTTP/1.1 412'


@pytest.mark.parametrize(('headers', 'status'), [
    ({'If-Match': 'x'}, 412), ({'If-Match': ETAG}, 201), ({'If-None-Match': ETAG}, 304),
    ({'If-None-Match': 'x'}, 201), ({'If-Modified-Since': FUTURE}, 304), ({'ETag': 'x'}, 201),
    ({'X-Copy-From-Account': ''}, 201)])
def test_conditions_of_copies_are_on_the_source(user, container, obj, headers, status):
    for method, path, more in (
            ('PUT', f'/{container}/copy', {'X-Copy-From': obj}),
            ('COPY', obj, {'Destination': f'{container}/copy'})):
        assert user(method, path, {**headers, **more})[0] == status


def test_copies_tell_what_they_have(user, container, obj):
    user('POST', obj, {'X-Object-Meta-Old': 'o', 'X-Delete-At': '4000000000'})
    _, headers, _ = user('COPY', obj, {'Destination': f'{container}/copy',
                                       'X-Object-Meta-New': 'n'})
    assert [headers.get(name) for name in ('x-object-meta-old', 'x-object-meta-new',
                                           'x-delete-at')] == ['o', 'n', '4000000000']
    assert user('COPY', obj, {'Destination': f'{container}/copy', 'If-None-Match': '*'})[0] == 412


def test_manifests(user, container, obj):
    user('PUT', f'/{container}/e', body=b'')

    def put(segments):
        return user('PUT', f'/{container}/m?multipart-manifest=put', body=json.dumps(
            [{'path': f'/{container}/{name}'} for name in segments]).encode())[0]
    for segments, status in (('oe', 201), ('eo', 400), ('', 201), ('o', 201)):
        assert put(segments) == status
        if status == 201:
            assert user('GET', f'/{container}/m')[::2] == (200, BODY if 'o' in segments else b'')
    assert user('GET', f'/{container}/m?part-number=1', {'Range': 'bytes=0-1'})[0] == 400
    raw = user('GET', f'/{container}/m?multipart-manifest=get&format=raw')[2].decode()
    assert list(json.loads(raw)[0]) == ['etag', 'path', 'size_bytes']
    for value in (obj, f'{container}%2Fo', f'{container}/'):
        assert user('PUT', f'/{container}/d', {'X-Object-Manifest': value}, b'')[0] == 400


def test_links(user, container, obj):
    link = f'/{container}/link'
    for headers in ({'X-Symlink-Target': obj}, {'X-Symlink-Target': obj[1:],
                                                'X-Symlink-Target-Account': ''}):
        assert user('PUT', link, headers, b'')[0] == 412
    for account, shown in (('AUTH_test', 'AUTH_test'), ('AUTH_%C3%A4', 'AUTH_%C3%A4')):
        assert user('PUT', link, {'X-Symlink-Target': obj[1:],
                                  'X-Symlink-Target-Account': account}, b'')[0] == 201
        assert user('HEAD', link + '?symlink=get')[1]['x-symlink-target-account'] == shown
    assert user('GET', link)[1]['content-location'] == f'/v1/AUTH_%C3%A4{obj}'
    for more in ({}, {'X-Symlink-Target-Etag': ETAG}):
        user('PUT', link, {'X-Symlink-Target': obj[1:], **more}, b'')
        status, headers, _ = user('POST', link)
        assert status == 307 and 'x-symlink-target' not in headers
        assert headers.get('x-symlink-target-etag') == more.get('X-Symlink-Target-Etag')


def test_other_origins_see_refusals(cluster, user, container, obj):
    user('POST', f'/{container}', {'X-Container-Meta-Access-Control-Allow-Origin': 'http://a *'})
    path, origin = user.base + obj, {'Origin': 'http://a'}
    for answer in (cluster.request('GET', path, origin), user('PUT', f'/{container}', origin),
                   user('GET', f'/{container}/no', origin)):
        assert answer[1]['access-control-allow-origin'] == 'http://a'
    refused = cluster.request('OPTIONS', path, {
        'Origin': 'http://a', 'Access-Control-Request-Method': 'FOO'})
    assert refused[0] == 401 and 'GET' in refused[1]['allow']


def test_logins(cluster, user):
    good = {'X-Auth-User': 'test:tester', 'X-Auth-Key': 'testing'}
    assert cluster.request('GET', '/auth/v1.0/', good)[0] == 200
    for path, headers, realm in (
            ('/auth/v1.0', {**good, 'X-Auth-Key': 'x'}, 'test'), ('/auth/v1.0', {}, 'unknown'),
            ('/auth/v1/other/auth', good, 'other')):
        status, got, _ = cluster.request('GET', path, headers)
        assert (status, got['www-authenticate']) == (401, f'Swift realm="{realm}"')
    assert user('GET', '', {'X-Service-Token': 'nonsense'})[0] == 200
    for query, status in (('swiftinfo_sig=x', 403), ('swiftinfo_expires=4000000000', 403),
                          ('swiftinfo_sig=', 200)):
        assert cluster.request('GET', '/info?' + query)[0] == status    # no key is configured


def test_the_size_of_all_versions(user, container):
    user('POST', f'/{container}', {'X-Versions-Enabled': 'true'})
    for body in (b'one', b'two2'):
        user('PUT', f'/{container}/o', body=body)
    for query in ('', '?versions'):
        assert user('GET', f'/{container}{query}')[1]['x-container-bytes-used'] == '7'


def test_sites(cluster, user, container):
    base = f'{user.base}/{container}'
    user('PUT', f'/{container}/sub/index.html', body=b'page')
    user('PUT', f'/{container}/index.html', body=b'first')
    assert user('GET', f'/{container}', {'X-Web-Mode': 'true'})[0] == 404       # it is no site
    user('POST', f'/{container}', {'X-Container-Meta-Web-Index': 'index.html'})
    assert cluster.request('GET', base)[0] == 401               # not a word that it is one
    user('POST', f'/{container}', {'X-Container-Read': '.r:*'})
    for path, status in (('', 401), ('/', 401), ('/sub', 301), ('/sub/', 200)):
        assert cluster.request('GET', base + path)[0] == status
    user('POST', f'/{container}', {'X-Container-Read': '.r:*,.rlistings'})
    for path, status in (('', 301), ('/', 200)):
        assert cluster.request('GET', base + path)[0] == status


@pytest.mark.parametrize('listings', ['true', ''])
def test_security_no_site_tells_which_names_there_are(cluster, user, container, listings):
    """A redirect to a page that is for those who may list would tell that there is something."""
    base = f'{user.base}/{container}'
    user('PUT', f'/{container}/secret/name', body=b'x')
    user('POST', f'/{container}', {
        'X-Container-Meta-Web-Index': 'index.html', 'X-Container-Read': '.r:*',
        'X-Container-Meta-Web-Listings': listings})
    for path in ('/secret', '/none'):
        assert cluster.request('GET', base + path)[0] == 404
    user('POST', f'/{container}', {'X-Container-Read': '.r:*,.rlistings'})
    assert cluster.request('GET', base + '/secret')[0] == 301


def test_a_challenge_is_for_the_account_of_the_path(cluster):
    for path, realm in (('/v1/nobody', 'nobody'), ('/v1/nobody/c', 'nobody'),
                        ('/v1/AUTH_x', 'AUTH_x')):
        status, headers, _ = cluster.request('GET', path)
        assert (status, headers['www-authenticate']) == (401, f'Swift realm="{realm}"')


def test_reports_and_addresses(cluster, user, container, obj):
    report = user('POST', '?bulk-delete', {'Accept': 'text/xml'}, f'{container}/no'.encode())[2]
    assert report.startswith(b'<delete>\n<number_deleted>0</number_deleted>\n')
    user('POST', f'/{container}', {'X-Container-Meta-Temp-Url-Key': 'k'})
    path = user.base + obj
    good = hmac.new(b'k', f'GET\n4000000000\n{path}'.encode(), 'sha256').hexdigest()
    for signature, status in ((f'{good}&temp_url_sig=x', 200), (f'x&temp_url_sig={good}', 401)):
        assert cluster.request('GET', f'{path}?temp_url_expires=4000000000'
                               f'&temp_url_sig={signature}')[0] == status


def test_what_is_told_of_versions(user, container):
    user('POST', f'/{container}', {'X-Versions-Enabled': 'true'})
    path = f'/{container}/o'
    first, second, third = (user('PUT', path, body=body)[1]['x-object-version-id']
                            for body in (b'1', b'2', b'3'))
    status, headers, _ = user('PUT', f'{path}?version-id={first}')
    assert status == 201 and 'last-modified' in headers
    for source, version in ((path, first), (f'{path}?version-id={second}', second)):
        copied = user('COPY', source, {'Destination': f'{container}/copy'})
        assert (copied[0], copied[1]['x-copied-from-version-id']) == (201, version)
    for version, current in ((third, first), (first, 'null'), (first, 'null'), (second, 'null')):
        headers = user('DELETE', f'{path}?version-id={version}')[1]
        assert headers['x-object-version-id'] == version
        assert headers['x-object-current-version-id'] == current


def test_pages_of_other_origins_may_ask_what_a_cluster_can(cluster):
    for method in ('GET', 'HEAD'):
        headers = cluster.request(method, '/info', {'Origin': 'http://a.com'})[1]
        assert headers['access-control-allow-origin'] == 'http://a.com'
    assert 'access-control-allow-origin' not in cluster.request('GET', '/info')[1]


def test_a_wrong_signature_of_info_is_challenged():
    app = types.SimpleNamespace(expose_info=True, admin_key='k')
    env = environ('GET', '/info?swiftinfo_sig=x&swiftinfo_expires=4000000000')
    response = InfoController(app, Request(env)).handle()
    assert response.status == 401
    assert ('Www-Authenticate', 'Swift realm="unknown"') in response.headers


@pytest.mark.parametrize(('path', 'status', 'ends'), [
    ('/a', 200, '/a'), ('/v1/a/', 200, '/a/'), ('/1.0/a/c', 200, '/a/c'), ('/v1.0/a', 200, '/a'),
    ('/v3/a', 400, None), ('/v/a', 400, None), ('/V1/a', 200, '/V1/a')])
def test_places_are_told_in_known_versions_only(in_process, path, status, ends):
    app = list_endpoints.ListEndpoints(None, {'swift_dir': str(in_process.etc)})
    got, _, body = call(app, 'GET', '/endpoints' + path)
    assert got == status
    if ends is not None:
        found = json.loads(body)
        assert len(found) == 3 and all(url.split('/', 5)[5] == ends[1:] for url in found)


def test_places_as_an_object(in_process):
    app = list_endpoints.ListEndpoints(None, {'swift_dir': str(in_process.etc)})
    for version in ('v2', 'v2.0', '2', '2.0'):
        told = json.loads(call(app, 'GET', f'/endpoints/{version}/a/c')[2])
        assert len(told['endpoints']) == 3 and told['headers'] == {}
