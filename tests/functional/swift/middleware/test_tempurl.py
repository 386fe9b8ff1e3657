# SPDX-License-Identifier: Apache-2.0
"""Signed addresses through real processes."""

import hmac
import itertools
import json
import time
from urllib.parse import quote, unquote, urlencode

import pytest

_numbers = itertools.count()
KEY, CONTAINER_KEY = 'the key', 'another one'


def sign(method, path, key=KEY, expires=None, digest='sha256', lead='', **more):
    """The address of a path with its signature."""
    expires = int(time.time()) + 600 if expires is None else expires
    signed = more.pop('signed', unquote(path))
    text = f'{lead}{method}\n{expires}\n{signed}'
    return path + '?' + urlencode({
        'temp_url_sig': hmac.new(key.encode(), text.encode(), digest).hexdigest(),
        'temp_url_expires': expires, **more})


@pytest.fixture
def path(user, container):
    user('POST', '', {'X-Account-Meta-Temp-Url-Key': KEY})
    user('POST', '/' + container, {'X-Container-Meta-Temp-Url-Key': CONTAINER_KEY})
    user('PUT', f'/{container}/dir/o%20%C3%A9', {'X-Object-Meta-Secret': 's',
                                                 'X-Object-Meta-Public-P': 'p'}, b'body')
    return f'{user.base}/{container}/dir/o%20%C3%A9'


@pytest.mark.parametrize('key', [KEY, CONTAINER_KEY])
@pytest.mark.parametrize('digest', ['sha1', 'sha256', 'sha512'])
def test_get(cluster, path, key, digest):
    status, headers, body = cluster.request('GET', sign('GET', path, key, digest=digest))
    assert (status, body) == (200, b'body')
    assert headers['content-disposition'].startswith('attachment; filename="o ')
    assert 'x-object-meta-secret' not in headers and headers['x-object-meta-public-p'] == 'p'
    assert cluster.request('HEAD', sign('GET', path, key, digest=digest))[0] == 200
    assert cluster.request('PUT', sign('GET', path, key, digest=digest), body=b'x')[0] == 401


def test_what_does_not_fit_is_refused(cluster, path):
    good = sign('GET', path)
    for bad in (good[:-1], good.replace('/dir/', '/rid/'), sign('GET', path, 'wrong'),
                sign('GET', path, expires=int(time.time()) - 1), path + '?temp_url_sig=' + 'é',
                sign('GET', path, expires='soon'), path + '?temp_url_expires=99999999999',
                sign('GET', path, expires='9' * 30), sign('COPY', path), sign('GET', path, ''),
                sign('GET', path, digest='md5')):
        assert cluster.request('GET', quote(bad, safe='/?=&%'))[0] == 401, bad
    assert cluster.request('GET', path)[0] == 401
    assert cluster.request('GET', sign('GET', path.rsplit('/dir', 1)[0]))[0] == 401


def test_prefix(cluster, path):
    base = path.rsplit('/', 1)[0]
    good = sign('GET', path, signed=f'prefix:{base}/', temp_url_prefix='dir/')
    assert cluster.request('GET', good)[0] == 200
    assert cluster.request('GET', good.replace('/dir/', '/other/'))[0] == 401
    other = sign('GET', path, signed=f'prefix:{base}/', temp_url_prefix='')
    assert cluster.request('GET', other)[0] == 401


def test_address_range(cluster, path):
    for network, status in (('127.0.0.0/8', 200), ('10.0.0.0/8', 401), ('nonsense', 401)):
        address = sign('GET', path, lead=f'ip={network}\n', temp_url_ip_range=network)
        assert cluster.request('GET', address, {'X-Forwarded-For': '10.1.1.1'})[0] == status


def test_filename(cluster, path):
    address = sign('GET', path, filename='a"b\r\nX-Evil: 1')
    headers = cluster.request('GET', address)[1]
    assert 'x-evil' not in headers and headers['content-disposition'].startswith(
        'attachment; filename="a%22b%0D%0AX-Evil%3A 1"')
    assert cluster.request('GET', sign('GET', path, inline=''))[1][
        'content-disposition'] == 'inline'


@pytest.mark.parametrize('headers', [
    {'X-Object-Manifest': 'c/p'}, {'X-Symlink-Target': 'c/o'}, {'X-Copy-From': '/c/o'},
    {'X-Symlink-Target-Account': 'a'}, {'X-Copy-From-Account': 'a'},
    {'X-Static-Large-Object': 'true'}])
def test_security_a_put_is_no_reference(cluster, user, path, headers):
    """S9, S10: nothing that makes the object stand for another one."""
    assert cluster.request('PUT', sign('PUT', path), headers, b'')[0] == 400
    assert user('GET', path[len(user.base):])[2] == b'body'
    if 'X-Object-Manifest' in headers:
        assert cluster.request('POST', sign('POST', path), headers)[0] == 400


@pytest.mark.parametrize('more', [{'multipart-manifest': 'put'}, {'extract-archive': 'tar'},
                                  {'bulk-delete': ''}, {'version-id': 'x'}])
def test_security_a_put_is_only_a_put(cluster, user, path, more):
    """S9: parameters are not signed, so they must not count."""
    status, _headers, body = cluster.request('PUT', sign('PUT', path, **more), body=b'[]')
    # The bulk filter stands before this one and says in a report that nothing came of it.
    assert status == 400 or 'extract-archive' in more and b'Response Status: 40' in body
    assert user('GET', path[len(user.base):])[2] == b'body'


@pytest.fixture
def lists(cluster):
    """A proxy with lists of its own while a test lasts."""
    options = ('incoming_remove_headers = X-Delete-* x-object-meta-no content-encoding\n'
               'incoming_allow_headers = x-object-meta-no x-delete-at x-symlink-*\n'
               'outgoing_remove_headers = x-object-meta-public-* content-encoding\n'
               'outgoing_allow_headers = x-object-meta-public-p\n')
    url = cluster.another_proxy(9, **{'use = egg:swift#tempurl\n':
                                      'use = egg:swift#tempurl\n' + options})
    port, cluster.proxy_port = cluster.proxy_port, int(url.rpartition(':')[2])
    yield
    cluster.proxy_port = port
    cluster.kill('proxy', 9)


def test_a_site_has_lists_of_its_own(cluster, lists, user, path):
    late = str(int(time.time()) + 3600)
    headers = {'X-Object-Meta-Yes': '1', 'X-Object-Meta-No': '2', 'X-Delete-After': '9',
               'Content-Encoding': 'zip', 'X-Object-Meta-Public-P': 'p', 'X-Delete-At': late,
               'X-Object-Meta-Public-Q': 'q'}
    assert cluster.request('PUT', sign('PUT', path), headers, b'new')[0] == 201
    got = user('HEAD', path[len(user.base):])[1]
    assert (got['x-object-meta-yes'], got['x-object-meta-no']) == ('1', '2')
    assert got['x-delete-at'] == late and 'content-encoding' not in got
    user('POST', path[len(user.base):], {**headers, 'X-Delete-After': ''})
    seen = cluster.request('GET', sign('GET', path))[1]
    assert (seen['x-object-meta-yes'], seen['x-object-meta-public-p']) == ('1', 'p')
    assert not {'x-object-meta-public-q', 'content-encoding'} & seen.keys()
    told = json.loads(cluster.request('GET', '/info')[2])['tempurl']
    assert {'x-*', 'x-delete-*'} <= set(told['incoming_remove_headers'])
    assert 'x-symlink-*' in told['incoming_allow_headers']
    assert told['allowed_digests'] == ['sha1', 'sha256', 'sha512']
    assert told['deprecated_digests'] == ['sha1']
    assert told['outgoing_allow_headers'] == ['x-object-meta-public-p']
    # What makes an object stand for another one no list allows.
    assert cluster.request('PUT', sign('PUT', path), {'X-Symlink-Target': 'c/o'}, b'')[0] == 400


def test_security_unknown_headers_are_dropped(cluster, user, path):
    """S10: an allow list of headers."""
    headers = {'X-Object-Meta-A': '1', 'X-Timestamp': '5', 'X-Fresh-Metadata': 'true',
               'X-If-Delete-At': '7', 'X-Auth-Token': 'AUTH_tkx', 'X-Delete-After': '90'}
    assert cluster.request('PUT', sign('PUT', path), headers, b'new')[0] == 201
    got = user('HEAD', path[len(user.base):])[1]
    assert got['x-object-meta-a'] == '1' and 'x-delete-at' in got


def test_security_a_containers_key_opens_nothing_else(cluster, user, container, path):
    """S9: a manifest in the container whose parts lie elsewhere."""
    other = f'{container}-other'
    user('PUT', '/' + other)
    user('PUT', f'/{other}/seg', body=b'secret')
    user('PUT', f'/{container}/dlo', {'X-Object-Manifest': f'{other}/s'}, b'')
    user('PUT', f'/{container}/slo?multipart-manifest=put', {},
         f'[{{"path": "/{other}/seg"}}]'.encode())
    base = path.rsplit('/dir', 1)[0]
    for name in ('dlo', 'slo'):
        status, _, body = cluster.request('GET', sign('GET', f'{base}/{name}', CONTAINER_KEY))
        assert status in (401, 409) and b'secret' not in body
        assert cluster.request('GET', sign('GET', f'{base}/{name}'))[2] == b'secret'


def test_security_all_keys_are_tried(monkeypatch):
    """S4: no early exit over the keys, and only the constant-time compare."""
    from swift.common.middleware import signatures
    calls = []

    def compare(a, b):
        calls.append(a)
        return a == b
    monkeypatch.setattr(signatures.hmac, 'compare_digest', compare)
    meta = {'temp-url-key': 'a', 'temp-url-key-2': 'b'}
    for name in ('get_account_info', 'get_container_info'):
        monkeypatch.setattr(signatures, name, lambda env, app: {'status': 200, 'meta': meta})
    right = hmac.new(b'a', b'text', 'sha256').hexdigest()
    assert signatures.signed_scope({}, None, 'a', 'c', [b'text'], 'sha256', right) == ('a', None)
    assert len(calls) == 4
