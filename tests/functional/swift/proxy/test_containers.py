# SPDX-License-Identifier: Apache-2.0
"""Containers and accounts through the proxy: life, listings in all forms, metadata."""

import json
from xml.etree import ElementTree

import pytest

NAMES = ['a', 'a/b', 'a/c/d', 'b', 'b-1', 'c/', 'c/x', 'é', '☃']


@pytest.fixture
def filled(user, container):
    from urllib.parse import quote
    for name in NAMES:
        assert user('PUT', f'/{container}/{quote(name)}', body=b'x')[0] == 201
    return '/' + container


def names(user, path):
    status, headers, body = user('GET', path)
    assert status in (200, 204), body
    return body.decode().splitlines()


def test_life(user):
    assert user('PUT', '/life')[0] == 201
    assert user('PUT', '/life')[0] == 202
    assert user('HEAD', '/life')[0] == 204
    assert 'life' in names(user, '')
    assert user('PUT', '/life/x', body=b'')[0] == 201
    assert user('DELETE', '/life')[0] == 409
    assert user('DELETE', '/life/x')[0] == 204
    assert user('DELETE', '/life')[0] == 204
    assert user('DELETE', '/life')[0] == 404
    assert user('HEAD', '/life')[0] == 404
    assert 'life' not in names(user, '')
    assert user('PUT', '/life/x', body=b'')[0] == 404


@pytest.mark.parametrize(('query', 'want'), [
    ('', NAMES), ('limit=2', NAMES[:2]), ('marker=b', NAMES[4:]),
    ('end_marker=b', NAMES[:3]), ('prefix=a/', ['a/b', 'a/c/d']),
    ('delimiter=/', ['a', 'a/', 'b', 'b-1', 'c/', 'é', '☃']),
    ('prefix=a/&delimiter=/', ['a/b', 'a/c/']), ('path=a', ['a/b']),
    ('reverse=true', NAMES[::-1]), ('reverse=true&marker=b&limit=1', ['a/c/d']),
    ('marker=a&end_marker=b', ['a/b', 'a/c/d']), ('prefix=nothing', []),
    ('limit=0', []), ('limit=x', NAMES)])
def test_listings(user, filled, query, want):
    assert names(user, f'{filled}?{query}') == want
    listing = json.loads(user('GET', f'{filled}?format=json&{query}')[2])
    assert [e.get('name', e.get('subdir')) for e in listing] == want
    root = ElementTree.fromstring(user('GET', f'{filled}?format=xml&{query}')[2])
    assert [e.find('name').text for e in root] == want


def test_formats_by_accept_header(user, filled):
    for accept, want in (('application/json', 'application/json'), ('text/xml', 'text/xml'),
                         ('*/*', 'text/plain'), ('application/*', 'application/json'),
                         ('text/plain;q=0.1, application/xml', 'application/xml'),
                         ('', 'text/plain')):
        status, headers, _ = user('GET', filled, {'Accept': accept})
        assert (status, headers['content-type']) == (200, want + '; charset=utf-8')
    assert user('GET', filled, {'Accept': 'image/png'})[0] == 406
    assert user('GET', filled, {'Accept': 'nonsense'})[0] == 400
    assert user('GET', filled + '?format=json', {'Accept': 'image/png'})[0] == 200


def test_too_high_a_limit_and_bad_utf8(user, filled):
    assert user('GET', filled + '?limit=10001')[0] == 412
    assert user('GET', '?limit=10001')[0] == 412
    status, _, text = user('GET', filled + '?marker=%ff')
    assert status in (400, 412) and b'marker' in text


def test_metadata(user, container):
    path = '/' + container
    assert user('POST', path, {'X-Container-Meta-A': '1', 'X-Container-Meta-B': '2'})[0] == 204
    headers = user('HEAD', path)[1]
    assert (headers['x-container-meta-a'], headers['x-container-meta-b']) == ('1', '2')
    assert user('POST', path, {'X-Container-Meta-A': '', 'X-Remove-Container-Meta-B': 'x'})[0] \
        == 204
    headers = user('HEAD', path)[1]
    assert 'x-container-meta-a' not in headers and 'x-container-meta-b' not in headers
    assert user('POST', '/not-there')[0] == 404
    assert user('POST', path, {'X-Container-Meta-A': 'v' * 257})[0] == 400


def test_names(user):
    assert user('PUT', '/' + 'n' * 257)[0] == 400
    assert user('PUT', '/%E2%98%83')[0] == 201
    assert '☃' in names(user, '')
    assert user('DELETE', '/%E2%98%83')[0] == 204


def test_account(cluster):
    user = cluster.login('admin:admin')
    user.base = '/v1/AUTH_listed'       # no other test's
    status, headers, body = user('GET')
    assert (status, body) == (204, b'') and headers['x-account-container-count'] == '0'
    assert json.loads(user('GET', '?format=json')[2]) == []
    for name in ('one', 'three', 'two'):
        assert user('PUT', '/' + name)[0] == 201
    assert names(user, '') == ['one', 'three', 'two']
    assert names(user, '?prefix=t&reverse=on') == ['two', 'three']
    assert user('POST', '', {'X-Account-Meta-Colour': 'red'})[0] == 204
    headers = user('HEAD')[1]
    assert headers['x-account-meta-colour'] == 'red'
    assert headers['x-account-container-count'] == '3'
    root = ElementTree.fromstring(user('GET', '?format=xml')[2])
    assert root.get('name') == 'AUTH_listed' and len(root) == 3


def test_empty_account_looks_like_one(cluster):
    admin = cluster.login('admin:admin')
    admin.base = '/v1/AUTH_nobody'
    assert admin('HEAD')[0] == 204
    assert json.loads(admin('GET', '?format=json')[2]) == []
    assert admin('GET', '/c')[0] == 404


def test_account_delete_needs_an_admin_and_no_query(cluster):
    admin = cluster.login('admin:admin')
    admin.base = '/v1/AUTH_doomed'
    assert admin('PUT')[0] == 201
    assert admin('DELETE', '?bulk-delete')[0] == 411         # the filter's: no list
    assert admin('DELETE', '?bulk-deleted')[0] == 400
    assert admin('HEAD')[0] == 204
    assert admin('DELETE')[0] == 204
    assert admin('GET')[0] == 410
    owner = cluster.login()
    assert owner('DELETE')[0] == 403


def test_info_and_healthcheck(cluster):
    status, headers, body = cluster.request('GET', '/info')
    info = json.loads(body)
    assert status == 200 and info['swift']['max_file_size'] == 5368709122
    assert [p['name'] for p in info['swift']['policies']] == ['policy0', 'policy1', 'policy2']
    assert info['swift']['max_request_line'] == 8192
    assert info['tempauth']['account_acls'] is True
    assert 'admin' not in info
    assert cluster.request('GET', '/info?swiftinfo_sig=x&swiftinfo_expires=9999999999')[0] == 403
    assert cluster.request('POST', '/info')[0] == 405
    assert cluster.request('GET', '/healthcheck')[2] == b'OK'


@pytest.mark.parametrize(('path', 'status'), [
    ('/', 404), ('/v1', 412), ('/nope', 412), ('/v9/AUTH_test', 400), ('/v1//c', 404),
    ('/v1/AUTH_test//o', 404)])
def test_paths_that_are_none(cluster, user, path, status):
    assert cluster.request('GET', path, {'X-Auth-Token': user.token})[0] == status


def test_unknown_verbs(user, container):
    status, headers, _ = user('FROB', f'/{container}/o')
    assert status == 405 and 'PUT' in headers['allow']


def test_options_and_cors(cluster, user, container):
    path = f'{user.base}/{container}'
    status, headers, _ = cluster.request('OPTIONS', path)
    assert status == 200 and 'GET' in headers['allow']
    ask = {'Origin': 'http://a.example', 'Access-Control-Request-Method': 'GET'}
    assert cluster.request('OPTIONS', path, ask)[0] == 401
    assert cluster.request('OPTIONS', path, {'Origin': 'http://a.example'})[0] == 401
    status, headers, _ = cluster.request('OPTIONS', user.base, ask)
    assert status == 200 and 'PUT' in headers['allow']
    assert not any(name.startswith('access-control-') for name in headers)
    user('POST', '/' + container, {
        'X-Container-Meta-Access-Control-Allow-Origin': 'http://a.example',
        'X-Container-Meta-Access-Control-Max-Age': '5'})
    status, headers, _ = cluster.request('OPTIONS', path, ask)
    assert (status, headers['access-control-allow-origin'],
            headers['access-control-max-age']) == (200, 'http://a.example', '5')
    headers = user('GET', '/' + container, {'Origin': 'http://a.example'})[1]
    assert headers['access-control-allow-origin'] == 'http://a.example'
    assert 'etag' in headers['access-control-expose-headers']
    headers = user('GET', '/' + container, {'Origin': 'http://b.example'})[1]
    assert 'access-control-allow-origin' not in headers
