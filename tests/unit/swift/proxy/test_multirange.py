# SPDX-License-Identifier: Apache-2.0
"""Several ranges from nodes that die at every possible byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.common.exceptions import ChunkReadError
from swift.proxy.multirange import MultiRange, resolve

DATA = bytes(range(65, 91)) * 2          # 52 bytes
SPEC = 'bytes=0-4,10-19,-5'


def body_of(spec, boundary):
    """``(content type, body)`` as a storage node answers."""
    ranges = resolve(spec, len(DATA))
    if len(ranges) == 1:
        return 'text/plain', DATA[ranges[0][0]:ranges[0][1] + 1]
    out = b''
    for first, last in ranges:
        out += (b'--%b\r\nContent-Type: text/plain\r\nContent-Range: bytes %d-%d/%d\r\n\r\n%b\r\n'
                % (boundary, first, last, len(DATA), DATA[first:last + 1]))
    return f'multipart/byteranges;boundary={boundary.decode()}', out + b'--' + boundary + b'--'


class FakeReply:
    status = 206

    def __init__(self, spec, boundary, cut, step):
        kind, self.body = body_of(spec, boundary)
        self.headers = {'content-type': kind, 'etag': 'e'}
        self.cut, self.step, self.at, self.closed = cut, step, 0, False

    @property
    def done(self):
        return self.at >= len(self.body)

    def read(self, size, timeout):
        if self.done:
            return b''
        if self.cut is not None and self.at >= self.cut:
            raise ChunkReadError('cut')
        end = min(self.at + min(size, self.step), len(self.body))
        if self.cut is not None:
            end = min(end, max(self.cut, self.at))
        if end == self.at:
            raise ChunkReadError('cut')
        data, self.at = self.body[self.at:end], end
        return data

    def read_all(self, timeout):
        out = b''
        while data := self.read(1000, timeout):
            out += data
        return out

    def close(self):
        self.closed = True


def run(cuts, step):
    boundaries = iter([b'11111111', b'22222222', b'33333333', b'44444444'])
    cuts = iter(cuts)
    errors = []

    def again(line, etag):
        assert etag == 'e'
        return FakeReply(line.partition(':')[2].strip(), next(boundaries), next(cuts, None),
                         step), 'next'

    first = FakeReply(SPEC, next(boundaries), next(cuts, None), step)
    body = MultiRange(first, 'node', SPEC, 7, 1, again, lambda n, e: errors.append(e),
                      (ChunkReadError,))
    return b''.join(body.pieces()), errors


WANT = body_of(SPEC, b'11111111')[1]


def test_undisturbed():
    assert run([], 5) == (WANT, [])


@pytest.mark.parametrize('step', [1, 5, 1000])
def test_a_cut_at_every_byte(step):
    head = WANT.index(b'\r\n\r\n') + 4
    for cut in range(head, len(WANT)):
        got, errors = run([cut], step)
        assert got == WANT and len(errors) <= 1, cut


def test_a_cut_before_the_first_range_is_an_error():
    with pytest.raises(ChunkReadError):
        run([10], 5)


@settings(max_examples=200, deadline=None)
@given(st.integers(75, 300), st.integers(1, 300), st.integers(1, 300), st.integers(1, 20))
def test_several_cuts(one, two, three, step):
    try:
        got, _ = run([one, two, three], step)
    except ChunkReadError:
        return
    assert got == WANT


@pytest.mark.parametrize(('spec', 'want'), [
    ('bytes=0-4', [(0, 4)]), ('bytes=5-', [(5, 9)]), ('bytes=-3', [(7, 9)]),
    ('bytes=-99', [(0, 9)]), ('bytes=8-99,20-30', [(8, 9)]), ('bytes=-0', [])])
def test_resolve(spec, want):
    assert resolve(spec, 10) == want
