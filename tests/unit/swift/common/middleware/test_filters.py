# SPDX-License-Identifier: Apache-2.0
"""The small filters: errors, gate, logs, listings."""

import json
import logging
import time
import types
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.common.exceptions import ChunkReadTimeout
from swift.common.middleware import catch_errors, gatekeeper, healthcheck, listing_formats
from swift.common.middleware.proxy_logging import SEEN, ProxyLogging
from swift.common.request import Response


def run(app, method='GET', path='/v1/a/c', query='', **env):
    got = {}

    def start(status, headers, exc_info=None):
        got.update(status=int(status[:3]), headers=headers)
    env = {'REQUEST_METHOD': method, 'PATH_INFO': path, 'RAW_PATH_INFO': path,
           'QUERY_STRING': query, 'SERVER_PROTOCOL': 'HTTP/1.1', **env}
    got['body'] = b''.join(app(env, start))
    got['env'] = env
    return got


def test_catch_errors_gives_ids_and_catches():
    def broken(env, start):
        raise KeyError('secret')
    app = catch_errors.CatchErrors(broken, {'trans_id_suffix': '-zone1'})
    got = run(app, HTTP_X_TRANS_ID_EXTRA='me\r\nyou')
    ids = [v for n, v in got['headers'] if n in ('X-Trans-Id', 'X-Openstack-Request-Id')]
    assert got['status'] == 500 and len(ids) == 2 and ids[0] == ids[1]
    assert ids[0].startswith('tx') and ids[0].endswith('-zone1-meyou')
    assert b'secret' not in got['body']

    def silent(env, start):
        raise ChunkReadTimeout(None)
    assert run(catch_errors.CatchErrors(silent, {}))['status'] == 408


@pytest.mark.parametrize('name', [
    'X-Backend-Storage-Policy-Index', 'X-Object-Sysmeta-A', 'X-Container-Sysmeta-A',
    'X-Account-Sysmeta-A', 'X-Object-Transient-Sysmeta-A', 'X-Timestamp', 'X-Container-Host',
    'X-Container-Device', 'X-Container-Partition', 'X-Account-Host', 'X-Account-Device',
    'X-Account-Partition', 'X-Delete-At-Host', 'X-Delete-At-Device', 'X-Delete-At-Partition',
    'X-Delete-At-Container', 'X-Backend-Replication', 'X-Remove-Account-Sysmeta-A',
    'X-Account-Override-Deleted'])
def test_security_gatekeeper_keeps_inner_headers_out_and_in(name):
    """S20, U8, S3: neither from clients nor to them."""
    seen = {}

    def app(env, start):
        seen.update(env)
        start('200 OK', [('X-Object-Sysmeta-A', '1'), ('x-backend-x', '2'),
                         ('X-Account-Sysmeta-B', '3'), ('X-Object-Transient-Sysmeta-C', '4'),
                         ('X-Object-Meta-D', '5'), ('X-Timestamp', '6')])
        return [b'']
    key = 'HTTP_' + name.upper().replace('-', '_')
    got = run(gatekeeper.Gatekeeper(app, {}), **{key: '1'})
    assert key not in seen
    assert [n for n, _ in got['headers']] == ['X-Object-Meta-D', 'X-Timestamp']


def test_healthcheck(tmp_path):
    app = healthcheck.HealthCheck(None, {'disable_path': str(tmp_path / 'off')})
    assert run(app, path='/healthcheck')['body'] == b'OK'
    (tmp_path / 'off').touch()
    assert run(app, path='/healthcheck')['status'] == 503


def test_access_log_line(caplog):
    app = ProxyLogging(None, {})
    app.logger.propagate = True
    with caplog.at_level(logging.INFO):
        env = run(lambda e, s: s('200 OK', []) or [b''], path='/v1/a/c o', query='temp_url_sig='
                  + 'a' * 40 + '&x=1', HTTP_X_AUTH_TOKEN='AUTH_tk' + 'b' * 40,
                  HTTP_USER_AGENT='a "b"\nc=100%')['env']
        app.access_log({**env, SEEN: True}, '200 OK', 5, 1.0, 2.0)
    line = caplog.messages[0]
    assert '\n' not in line and 'GET /v1/a/c%2520o%3Ftemp_url_sig%3D' in line
    assert line.split(' ')[8] == 'a%20%22b%22%0Ac%3D100%25'


def test_what_is_answered_before_the_log_has_no_line(caplog):
    """A load balancer asks for /healthcheck every second."""
    log = ProxyLogging(lambda env, start: start('200 OK', []) or [b''], {})
    log.logger.propagate = True
    app = healthcheck.HealthCheck(log, {})
    with caplog.at_level(logging.INFO):
        for path in ('/healthcheck', '/v1/a'):
            env = run(app, path=path)['env']
            log.access_log(env, '200 OK', 0, 1.0, 2.0)
    assert [line.split(' ')[4] for line in caplog.messages] == ['/v1/a']


@pytest.mark.parametrize('length, read, told', [('5', 3, '3'), ('5', 0, '-'), (None, 5, '5'),
                                                ('0', 0, '-')])
def test_bytes_are_those_that_were_read(caplog, length, read, told):
    app = ProxyLogging(None, {})
    app.logger.propagate = True
    body = types.SimpleNamespace(received=read)
    with caplog.at_level(logging.INFO):
        env = run(lambda e, s: s('200 OK', []) or [b''], path='/v1/a/c/o')['env']
        env.update({SEEN: True, 'wsgi.input': body})
        if length is not None:
            env['CONTENT_LENGTH'] = length
        app.access_log(env, '200 OK', 0, 1.0, 2.0)
    assert caplog.messages[0].split(' ')[10:12] == [told, '-']


def test_bytes_of_another_filters_request_are_those_read_for_it(caplog):
    body = types.SimpleNamespace(received=7)

    def proxy(env, start):
        body.received += 4
        start('200 OK', [])
        return [b'']
    app = ProxyLogging(proxy, {})
    app.logger.propagate = True
    with caplog.at_level(logging.INFO):
        run(app, **{'swift.source': 'BD', 'wsgi.input': body})
    assert caplog.messages[0].split(' ')[10] == '4'


def test_security_no_whole_token_or_signature_in_the_log(caplog):
    """L13, L14."""
    app = ProxyLogging(None, {})
    app.logger.propagate = True
    with caplog.at_level(logging.INFO):
        for name in ('temp_url_sig', 'Signature', 'X-Amz-Signature', 'swiftinfo_sig', '%73ig'):
            env = {'REQUEST_METHOD': 'GET', 'PATH_INFO': '/', 'QUERY_STRING':
                   f'a=b&{name}=' + 'f' * 40, 'SERVER_PROTOCOL': 'HTTP/1.1',
                   'HTTP_X_AUTH_TOKEN': 'AUTH_tk' + 'b' * 40, SEEN: True}
            app.access_log(env, '200 OK', 0, 0, 0)
    assert 'f' * 17 not in caplog.text and 'b' * 12 not in caplog.text


# -- listings ------------------------------------------------------------------
LISTING = [{'name': 'a', 'hash': 'h', 'bytes': 1, 'content_type': 't', 'last_modified': 'l'},
           {'subdir': 'b/'}]


def listing_app(listing):
    def app(env, start):
        return Response(200, [('Content-Type', 'application/json; charset=utf-8')],
                        json.dumps(listing).encode())(env, start)
    return listing_formats.ListingFormats(app)


def test_listing_forms():
    app = listing_app(LISTING)
    assert run(app)['body'] == b'a\nb/\n'
    assert json.loads(run(app, query='format=json')['body']) == LISTING
    root = ElementTree.fromstring(run(app, query='format=xml')['body'])
    assert [c.tag for c in root] == ['object', 'subdir'] and root.get('name') == 'c'
    assert run(app, query='format=json', method='HEAD')['status'] == 204
    assert run(listing_app([]))['status'] == 204
    assert run(listing_app([]), query='format=json')['body'] == b'[]'


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_security_any_name_gives_well_formed_xml(name, subdir, container):
    """X4."""
    listing = [dict(LISTING[0], name=name, content_type=subdir), {'subdir': subdir}]
    root = ElementTree.fromstring(listing_formats.to_xml(listing, 'acc', container))
    assert len(root) == 2 and root[1].tag == 'subdir'
    ElementTree.fromstring(listing_formats.to_xml(
        [{'name': name, 'count': 1, 'bytes': 2}], container, None))
    clean = [c for c in name if c.isprintable()]
    if len(clean) == len(name):
        assert root[0].find('name').text == name


@pytest.mark.parametrize('accept', [
    'a/b;q="' + '\\' * 8000, 'a' * 8192, ',' * 8192, '*/*;' * 2000, 'a/b;' + 'q' * 8000,
    'text/plain;q=' + '1' * 8000, '"' * 8000, ('text/xml;q=0.5,' * 550)[:-1]])
def test_security_no_accept_header_takes_long(accept):
    """X5."""
    start = time.process_time()    # a busy machine does not make it longer
    assert run(listing_app(LISTING), HTTP_ACCEPT=accept)['status'] in (200, 400, 406)
    assert time.process_time() - start < 0.05


@given(st.text(st.characters(max_codepoint=255)))
def test_any_accept_header_is_answered(accept):
    assert run(listing_app(LISTING), HTTP_ACCEPT=accept)['status'] in (200, 400, 406)
