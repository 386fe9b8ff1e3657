# SPDX-License-Identifier: Apache-2.0
"""Static large objects through real processes."""

import hashlib
import json

import pytest


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def put(user, path, entries, **headers):
    return user('PUT', path + '?multipart-manifest=put', headers, json.dumps(entries).encode())


@pytest.fixture
def segments(user, container):
    """Three segments of 100,000 bytes."""
    for letter in 'abc':
        user('PUT', f'/{container}/{letter}', body=letter.encode() * 100_000)
    return [{'path': f'/{container}/{x}', 'size_bytes': 100_000,
             'etag': md5(x.encode() * 100_000)} for x in 'abc']


@pytest.fixture
def large(user, container, segments):
    assert put(user, f'/{container}/m', segments)[0] == 201
    return f'/{container}/m'


WHOLE = b''.join(x * 100_000 for x in (b'a', b'b', b'c'))


def test_reads_as_one_object(user, large, segments, container):
    status, headers, body = user('GET', large)
    assert status == 200 and body == WHOLE
    etag = '"' + md5(''.join(s['etag'] for s in segments).encode()) + '"'
    assert headers['etag'] == etag and headers['content-length'] == '300000'
    assert not any('sysmeta' in n for n in headers)
    assert 'swift_bytes' not in headers['content-type']
    head = user('HEAD', large)[1]
    assert (head['etag'], head['content-length']) == (etag, '300000')
    row = next(r for r in json.loads(user('GET', f'/{container}?format=json')[2])
               if r['name'] == 'm')
    assert row['bytes'] == 300_000 and row['slo_etag'] == etag
    raw = user('GET', large + '?multipart-manifest=get&format=raw')[2]
    assert json.loads(raw) == segments


@pytest.mark.parametrize(('start', 'stop'), [(0, 1), (99_999, 100_001), (5, 250_000),
                                             (200_000, 300_000), (299_999, 300_000)])
def test_ranges(user, large, container, start, stop):
    got = user('GET', large, {'Range': f'bytes={start}-{stop - 1}'})
    assert got[0] == 206 and got[2] == WHOLE[start:stop]
    assert got[1]['content-range'] == f'bytes {start}-{stop - 1}/300000'
    size = int(user('HEAD', large)[1]['content-length'])
    assert put(user, f'/{container}/outer', [
        {'path': large, 'range': f'{start}-{stop - 1}'}, {'path': f'/{container}/a'},
        {'data': 'eHl6'}])[0] == 201
    assert user('GET', f'/{container}/outer')[2] == WHOLE[start:stop] + WHOLE[:100_000] + b'xyz'
    assert user('GET', large, {'Range': f'bytes={size}-'})[0] == 416


def test_a_changed_segment_breaks_it(user, large, container):
    user('PUT', f'/{container}/a', body=b'A' * 100_000)
    assert user('GET', large)[0] == 409
    assert user('GET', large, {'Range': 'bytes=100000-100001'})[2] == b'bb'
    user('DELETE', f'/{container}/a')
    assert user('GET', large)[0] == 409


def test_what_is_wrong_with_segments_is_said(user, container, segments):
    segments[0]['etag'] = 'x'
    segments[1]['size_bytes'] = 5
    segments[2]['path'] = f'/{container}/none'
    status, _, body = put(user, f'/{container}/m', segments)
    assert status == 400
    for text in (b'a, Etag Mismatch', b'b, Size Mismatch', b'none, 404 Not Found'):
        assert text in body
    assert user('HEAD', f'/{container}/m')[0] == 404


def test_delete_with_segments(user, large, container):
    put(user, f'/{container}/outer', [{'path': large}, {'path': f'/{container}/a'}])
    status, _, body = user('DELETE', f'/{container}/outer?multipart-manifest=delete',
                           {'Accept': 'application/json'})
    assert status == 200
    assert json.loads(body) == {'Number Deleted': 5, 'Number Not Found': 0, 'Response Body': '',
                                'Response Status': '200 OK', 'Errors': []}
    assert user('GET', '/' + container)[0] == 204
    user('PUT', f'/{container}/plain', body=b'x')
    body = user('DELETE', f'/{container}/plain?multipart-manifest=delete')[2]
    assert b'Not an SLO manifest' in body and user('HEAD', f'/{container}/plain')[0] == 200


def test_security_only_checked_manifests_are_manifests(user, container):
    """S12: the marker of a manifest is not a client's to set."""
    body = b'[{"name": "/other/o", "bytes": 5, "hash": "x"}]'
    marked = {'X-Static-Large-Object': 'True'}
    size = {'X-Object-Sysmeta-Slo-Size': '7'}
    assert user('PUT', f'/{container}/m', size, body)[0] == 201
    for method in ('PUT', 'POST'):
        assert user(method, f'/{container}/m', marked, body)[0] == 400
    status, headers, got = user('GET', f'/{container}/m')
    assert (status, got) == (200, body) and 'x-static-large-object' not in headers
    checked = f'/{container}/m?multipart-manifest=put'      # says by itself what it is
    assert user('PUT', checked, marked, body)[0] == 400
    user('PUT', f'/{container}/segment', body=b'x')
    path = f'[{{"path": "/{container}/segment"}}]'.encode()
    assert user('PUT', checked, {'X-Static-Large-Object': 'no'}, path)[0] == 201
    assert user('HEAD', f'/{container}/m')[1]['x-static-large-object'] == 'True'


def test_security_segments_are_read_with_the_readers_rights(cluster, user, large, container):
    """A reader of the manifest's container alone gets nothing of the segments."""
    other = container + 'x'
    assert user('PUT', '/' + other, {'X-Container-Read': '.r:*'})[0] == 201
    assert put(user, f'/{other}/m', [{'path': large}])[0] == 201
    path = f'{user.base}/{other}/m'
    assert cluster.request('GET', path)[0] == 409
    user('POST', '/' + container, {'X-Container-Read': '.r:*'})
    assert cluster.request('GET', path)[2] == WHOLE
    assert cluster.request('DELETE', path + '?multipart-manifest=delete')[2].startswith(
        b'Number Deleted: 0')
