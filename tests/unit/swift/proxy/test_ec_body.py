# SPDX-License-Identifier: Apache-2.0
"""Decoding while nodes fail: what a client gets is whole, or cut off, never wrong."""
import os
from types import SimpleNamespace

import pytest

from swift.common.ec import Coding
from swift.common.exceptions import ChunkReadError
from swift.proxy.ec_body import Decoder, Source
from swift.proxy.get import SourceLost

CODING = Coding("liberasurecode_rs_vand", 2, 2, segment_size=1000)
BODY = os.urandom(3500)
ARCHIVES = [b"".join(row) for row in zip(*(CODING.encode(BODY[i:i + 1000])
                                           for i in range(0, 3500, 1000)), strict=True)]


class Reply:
    """A node's answer; ends or breaks after some bytes."""

    def __init__(self, data, start=0, limit=None):
        self.data, self.limit, self.closed = data[start:], limit, False
        self.status = 206 if start else 200
        self.left = len(self.data)
        self.headers = {"content-range": f"bytes {start}-{len(data) - 1}/{len(data)}"}

    def read(self, size, _timeout):
        size = min(size, 77)
        if self.limit is not None:
            size = min(size, self.limit)
            self.limit -= size
            if not size:
                raise ChunkReadError("the node died")
        data, self.data = self.data[:size], self.data[size:]
        return data

    def close(self):
        self.closed = True

    drain = close


def decoder(sources, spares=(), start=0, stop=3500):
    failed = []
    app = SimpleNamespace(recoverable_node_timeout=1, object_chunk_size=500,
                          failed=lambda node, *_: failed.append(node))
    spares = list(spares)

    def replace(used, position, end):
        assert end == len(ARCHIVES[0])
        for index, data in spares:
            if index not in used:
                spares.remove((index, data))
                return Source(index, Reply(data, position), f"spare{index}")
        raise SourceLost("none")

    return Decoder(app, CODING, sources, start, stop, replace, "/a/c/o"), failed


def source(index, **more):
    return Source(index, Reply(ARCHIVES[index], **more), f"node{index}")


@pytest.mark.parametrize("indexes", [(0, 1), (0, 3), (2, 3), (3, 1)])
def test_any_two_fragments_make_the_object(indexes):
    made, failed = decoder([source(i) for i in indexes])
    assert b"".join(made) == BODY and not failed
    made, _ = decoder([source(i) for i in indexes], start=999, stop=2001)
    assert b"".join(made) == BODY[999:2001]
    made, _ = decoder([source(i, start=CODING.fragment_size - 5) for i in indexes],
                      start=1500, stop=3500)
    assert b"".join(made) == BODY[1500:]


@pytest.mark.parametrize("after", [0, 10, CODING.fragment_size, CODING.fragment_size * 3 + 1])
def test_a_node_that_dies_is_replaced(after):
    made, failed = decoder([source(0), source(1, limit=after)], [(0, ARCHIVES[0]),
                                                                 (3, ARCHIVES[3])])
    assert b"".join(made) == BODY and failed == ["node1"]


def test_both_die():
    made, failed = decoder([source(0, limit=700), source(1, limit=1200)],
                           [(2, ARCHIVES[2]), (3, ARCHIVES[3])])
    assert b"".join(made) == BODY and sorted(failed) == ["node0", "node1"]


def test_a_broken_fragment_is_replaced():
    size = CODING.fragment_size
    broken = ARCHIVES[1][:size] + b"\0" * 80 + ARCHIVES[1][size + 80:]
    bad = Source(1, Reply(broken), "node1")
    also = ARCHIVES[2][:size] + b"\0" * 80 + ARCHIVES[2][size + 80:]
    made, failed = decoder([source(0), bad], [(2, also), (3, ARCHIVES[3])])
    assert b"".join(made) == BODY and failed == ["node1", "spare2"]


def test_without_another_node_the_body_is_cut():
    made, _ = decoder([source(0), source(1, limit=CODING.fragment_size)])
    got = []
    with pytest.raises(SourceLost):
        for piece in made:
            got.append(piece)
    assert b"".join(got) == BODY[:1000]
    assert all(s.reply.closed for s in made.sources)
