# SPDX-License-Identifier: Apache-2.0
"""What every store has to do, the read-only one too; run against each of them."""

import pytest

from glance import exceptions

DATA = bytes(range(256)) * 9000


@pytest.mark.parametrize("offset, length", [(0, 5), (7, None), (1 << 20, 3), (0, None),
                                            (len(DATA) - 1, 1), (5, 0)])
def test_parts(stocked, offset, length):
    store, url = stocked(DATA)
    end = None if length is None else offset + length
    assert b"".join(store.read(url, offset, length)) == DATA[offset:end]


def test_pieces_are_of_bounded_size(stocked):
    store, url = stocked(DATA * 2)
    assert max(len(piece) for piece in store.read(url)) <= 1 << 20
    assert store.size(url) == 2 * len(DATA)


def test_a_reader_may_stop_at_any_time(stocked):
    store, url = stocked(DATA)
    pieces = store.read(url)
    next(pieces)
    pieces.close()
    assert b"".join(store.read(url)) == DATA


@pytest.mark.parametrize("url", [
    "file:///etc/passwd", "FILE:///etc/passwd", "filesystem:///etc/passwd", "/etc/passwd", "",
    "swift://user:key@host/c/o", "swift+config://deep/glance/../other", "http://127.0.0.1/x",
    "swift+config://deep/other/00000000-0000-0000-0000-000000000000",
    "s3+config://deep/other/00000000-0000-0000-0000-000000000000",
    "s3://key:secret@host/bucket/o", "rbd://pool/image", "cinder://volume", "file:"])
def test_addresses_of_other_places_are_refused(stocked, url):
    """U1, U2, F17: only addresses this store made, or may fetch, lead anywhere."""
    store, _ = stocked(DATA[:10])
    for call in (store.size, store.read, *(() if store.read_only else (store.delete,))):
        with pytest.raises(exceptions.NotFound):
            call(url)


def test_what_is_shown_of_a_store_holds_no_credentials(stocked):
    store, _ = stocked(DATA[:10])
    assert store.kind and all(secret not in str(store.details())
                              for secret in ("s3cret", "t0ken", "AKIDEXAMPLE", "images:glance"))
