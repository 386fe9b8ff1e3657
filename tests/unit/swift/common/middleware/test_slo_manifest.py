# SPDX-License-Identifier: Apache-2.0
"""Manifests as clients send them, and the parts they stand for."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.common.exceptions import ConfigError
from swift.common.middleware.segments import Part, SegmentError, cut
from swift.common.middleware.slo import StaticLargeObjects
from swift.common.middleware.slo_manifest import (
    ManifestError,
    load_parts,
    parse_input,
    slo_etag,
)

GOOD = {'path': '/c/o', 'etag': None, 'size_bytes': 3}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(['path', 'etag', 'size_bytes', 'range', 'data', 'x']), inner, max_size=4),
    max_leaves=12)


@pytest.mark.parametrize('entries', [
    {}, 'x', [1], [{}], [{'path': 'c'}], [{'path': '/c/'}], [{'path': '//o'}],
    [{'path': '/c/o\0'}], [{'path': '/c/\ud800'}], [{'path': 1}], [{**GOOD, 'size_bytes': 0}],
    [{**GOOD, 'size_bytes': True}], [{**GOOD, 'size_bytes': '3x'}], [{**GOOD, 'etag': 5}],
    [{**GOOD, 'range': '0-1,3-4'}], [{**GOOD, 'range': 5}], [{**GOOD, 'teag': 'x'}],
    [{**GOOD, 'path': '/own/manifest'}], [{'data': 'YQ=='}], [GOOD, {'data': ''}],
    [GOOD, {'data': '%%'}], [GOOD, {'data': 5}], [GOOD, {'data': 'YQ==', 'path': '/c/o'}]])
def test_what_is_no_manifest_is_refused(entries):
    with pytest.raises(ManifestError):
        parse_input(json.dumps(entries), '/own/manifest', 1000)


def test_depth_of_json_is_no_crash():
    with pytest.raises(ManifestError):
        parse_input(b'[' * 200_000, '/c/m', 1000)


@given(JSON)
def test_any_json_is_taken_or_refused(value):
    try:
        assert parse_input(json.dumps(value), '/c/m', 1000) == value
    except ManifestError:
        pass


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_cut_is_slicing(sizes, data):
    parts = [Part('', 0, n - 1, n, data=bytes([i]) * n) for i, n in enumerate(sizes)]
    whole = b''.join(p.data for p in parts)
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start + 1, len(whole)))
    got = b''.join(p.data[p.first:p.last + 1] for p in cut(parts, start, stop))
    assert got == whole[start:stop]


def test_stored_form():
    entries = [{'name': '/c/o', 'bytes': 10, 'hash': 'e' * 32, 'range': '2-5', 'sub_slo': True},
               {'data': base64.b64encode(b'abc').decode()}]
    parts = load_parts(json.dumps(entries), '/v1/a')
    assert parts[0][:5] == ('/v1/a/c/o', 2, 5, 10, 'e' * 32) and parts[0].nested
    assert parts[1].data == b'abc' and sum(p.length for p in parts) == 7
    assert len(slo_etag(entries)) == 32
    for broken in ('{', '[{}]', '[5]', '{"a": 1}', '[{"name": "x", "bytes": "y", "hash": ""}]'):
        with pytest.raises(SegmentError):
            load_parts(broken, '/v1/a')


def test_security_auth_below_is_refused():
    """S17."""
    class Auth:
        authorize = None
        app = None
    with pytest.raises(ConfigError, match='slo'):
        StaticLargeObjects(Auth(), {})
