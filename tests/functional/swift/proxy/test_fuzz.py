# SPDX-License-Identifier: Apache-2.0
"""Whatever comes, the answer is no 500 and the next request is served."""

import socket
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

METHODS = st.sampled_from(['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'COPY', 'OPTIONS', 'FROB'])
NAMES = st.one_of(st.sampled_from(['c', 'fuzz', 'o', '.', '..', '', '%2e', 'a b']),
                  st.binary(max_size=40).map(quote_from_bytes), st.text(
                      st.characters(codec='ascii', exclude_characters=' \r\n\0?#'), max_size=300))
HEADERS = st.sampled_from([
    'Range', 'If-Match', 'If-None-Match', 'If-Modified-Since', 'If-Unmodified-Since', 'If-Range',
    'Content-Type', 'ETag', 'X-Delete-At', 'X-Delete-After', 'X-Copy-From', 'Destination',
    'X-Copy-From-Account', 'Destination-Account', 'X-Newest', 'Accept', 'X-Object-Meta-A',
    'X-Container-Meta-A', 'X-Account-Meta-A', 'X-Container-Read', 'X-Container-Write',
    'X-Account-Access-Control', 'X-Storage-Policy', 'X-Timestamp', 'X-Trans-Id-Extra',
    'X-Fresh-Metadata', 'Content-Encoding', 'Content-Disposition', 'X-Object-Manifest', 'Origin',
    'Access-Control-Request-Method', 'X-Versions-Location', 'X-If-Delete-At', 'Referer',
    'X-Auth-User', 'X-Auth-Key', 'X-Service-Token', 'X-Remove-Container-Meta-A', 'Expect',
    'X-Backend-Storage-Policy-Index', 'X-Container-Sync-To', 'Transfer-Encoding',
    'X-Open-Expired', 'X-Detect-Content-Type', 'X-Symlink-Target', 'X-Container-Host'])
VALUES = st.one_of(
    st.sampled_from(['', '0', '-1', '1', '9' * 30, '1e400', 'nan', 'true', '*', '"', 'bytes=0-',
                     'bytes=-', 'bytes=1-2,3-', 'c/o', '/c/o', '%00/%ff', '{"admin":[]}', '{',
                     '.r:*', '.r:-', ',,,', ';', 'a;b="', 'chunked', 'Thu, 01 Jan 1970 00:00 GMT',
                     '1_0', '٣', 'a/b; charset=x; swift_bytes=1', 'inf', '0x10', ' ']),
    st.text(st.characters(max_codepoint=255, exclude_characters='\r\n\0'), max_size=60))
PARAMS = st.sampled_from(['limit', 'marker', 'end_marker', 'prefix', 'delimiter', 'path', 'reverse',
                          'format', 'multipart-manifest', 'states', 'x', 'swiftinfo_sig'])
QUERY = st.lists(st.tuples(PARAMS, st.one_of(st.sampled_from(
    ['', '0', '-1', '10000', '10001', '9' * 40, 'json', 'xml', '%00', '%ff', 'a%2fb', 'true']),
    st.binary(max_size=20).map(quote_from_bytes))), max_size=4)
LIMITS = settings(max_examples=150, deadline=None,
                  suppress_health_check=[HealthCheck.function_scoped_fixture])


def exchange(cluster, data):
    """Status of the answer to raw bytes, None when the connection was just closed."""
    with socket.create_connection(('127.0.0.1', cluster.proxy_port), timeout=20) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        got = b''
        while piece := sock.recv(65536):
            got += piece
    while got.startswith(b'HTTP/1.1 100'):
        got = got.partition(b'\r\n\r\n')[2]
    return int(got[9:12]) if got else None


@pytest.fixture
def fuzz(user):
    user('PUT', '/fuzz')
    user('PUT', '/fuzz/o', body=b'0123456789')
    return user


@LIMITS
@given(METHODS, st.lists(NAMES, max_size=4), QUERY,
       st.lists(st.tuples(HEADERS, VALUES), max_size=5), st.binary(max_size=30))
def test_no_request_is_a_500(cluster, fuzz, method, names, query, headers, body):
    path = '/'.join(['/v1/AUTH_test', *names]).replace(' ', '%20')
    if method == 'DELETE' and len([n for n in names if n]) < 2:
        method = 'GET'                  # the account and the container stay
    if query:
        path += '?' + '&'.join(f'{k}={v}' for k, v in query)
    lines = [f'{method} {path} HTTP/1.1', 'Host: x', f'X-Auth-Token: {fuzz.token}',
             *(f'{n}: {v}' for n, v in headers)]
    if not any(n == 'Transfer-Encoding' for n, _ in headers):
        lines.append(f'Content-Length: {len(body)}')
    data = '\r\n'.join([*lines, '', '']).encode('latin-1', 'replace') + body
    status = exchange(cluster, data)
    assert status is None or status < 500 or status == 501, (method, path, headers)


@LIMITS
@given(st.lists(NAMES, max_size=5), st.lists(st.tuples(HEADERS, VALUES), max_size=3))
def test_no_login_is_a_500(cluster, names, headers):
    path = '/'.join(['/auth', *names])
    lines = [f'GET {path} HTTP/1.1', 'Host: x', *(f'{n}: {v}' for n, v in headers)]
    status = exchange(cluster, '\r\n'.join([*lines, '', '']).encode('latin-1', 'replace'))
    assert status is None or status < 500 or status == 501


@LIMITS
@given(st.text(st.characters(max_codepoint=255, exclude_characters='\r\n\0'), max_size=200))
def test_no_token_is_a_500(cluster, token):
    for name in ('X-Auth-Token', 'X-Storage-Token', 'X-Service-Token'):
        status = exchange(cluster, (f'GET /v1/AUTH_test HTTP/1.1\r\nHost: x\r\n'
                                    f'{name}: AUTH_tk{token}\r\n\r\n').encode('latin-1'))
        assert status in (400, 401, 403)


@LIMITS
@given(st.binary(max_size=200))
def test_no_bytes_are_a_500(cluster, data):
    status = exchange(cluster, data + b'\r\n\r\n')
    assert status is None or status < 500 or status in (501, 505)
