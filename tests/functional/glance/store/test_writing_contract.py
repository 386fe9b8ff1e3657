# SPDX-License-Identifier: Apache-2.0
"""What every store that can be written to has to do; run against each of them."""

import tracemalloc
import uuid

import pytest

from glance import exceptions

DATA = bytes(range(256)) * 9000
PIECES = [DATA[:1000], DATA[1000:1 << 20], DATA[1 << 20:]]


def new_id():
    return str(uuid.uuid4())


def failing(error):
    yield DATA[:1000]
    raise error


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_round_trip(store, size):
    stored = store.add(new_id(), iter(PIECES), size)
    assert stored.size == len(DATA)
    assert store.size(stored.url) == len(DATA)
    assert b"".join(store.read(stored.url)) == DATA
    assert stored.url.partition(":")[0] in store.schemes


def test_no_bytes_at_all(store):
    stored = store.add(new_id(), iter([]), 0)
    assert store.size(stored.url) == 0
    assert b"".join(store.read(stored.url)) == b""


def test_data_is_never_replaced(store):
    image_id = new_id()
    url = store.add(image_id, iter(PIECES), None).url
    with pytest.raises(exceptions.Duplicate):
        store.add(image_id, iter([b"other"]), None)
    assert b"".join(store.read(url)) == DATA
    assert list(store.list_ids()) == [image_id]


@pytest.mark.parametrize("error", [exceptions.Gone("deleted"), KeyboardInterrupt()])
@pytest.mark.parametrize("size", [None, len(DATA)])
def test_a_broken_upload_leaves_nothing(store, error, size):
    image_id = new_id()
    with pytest.raises(type(error)):
        store.add(image_id, failing(error), size)
    assert list(store.list_ids()) == []
    assert store.add(image_id, iter(PIECES), size).size == len(DATA)


def test_fewer_bytes_than_announced(store):
    with pytest.raises(exceptions.GlanceError):
        store.add(new_id(), iter([DATA[:100]]), len(DATA))
    assert list(store.list_ids()) == []


def test_delete(store):
    url = store.add(new_id(), iter(PIECES), None).url
    store.delete(url)
    for call in (store.delete, store.size, store.read):
        with pytest.raises(exceptions.NotFound):
            call(url)
    assert list(store.list_ids()) == []


def test_discard_removes_what_is_there_and_does_not_mind_nothing(store):
    image_id = new_id()
    store.discard(image_id)
    store.add(image_id, iter(PIECES), None)
    store.discard(image_id)
    assert list(store.list_ids()) == []


def test_list_ids_of_several(store):
    made = {new_id() for _ in range(5)}
    for image_id in made:
        store.add(image_id, iter([b"x"]), None)
    assert sorted(store.list_ids()) == sorted(made)


@pytest.mark.parametrize("image_id", [
    "", "..", "../../etc/passwd", "a;id", "`id`", "$(id)", "a\nb", "-rf", "A" * 36,
    "0" * 36, "00000000-0000-0000-0000-00000000000/"])
def test_only_ids_become_names(store, image_id):
    """U3, F17: nothing but a UUID gets near a file system or a URL."""
    with pytest.raises(ValueError, match="not an image id"):
        store.add(image_id, iter([b"x"]), None)
    with pytest.raises(ValueError, match="not an image id"):
        store.discard(image_id)


def test_addresses_hold_no_credentials(store):
    """L17: neither user nor key nor token."""
    url = store.add(new_id(), iter([b"x"]), None).url
    for secret in ("s3cret", "t0ken", "AUTH_images", "images:glance", "AKIDEXAMPLE", "@"):
        assert secret not in url


def test_more_than_fits_into_one_piece_of_the_store(store):
    """Segments and parts: the same bytes come back, whole and across their seams."""
    big = bytes(range(251)) * 45000
    for size in (None, len(big)):
        url = store.add(new_id(), (big[at:at + 700001] for at in range(0, len(big), 700001)),
                        size).url
        assert store.size(url) == len(big)
        assert b"".join(store.read(url)) == big
        seam = 5 << 20
        assert b"".join(store.read(url, seam - 10, 20)) == big[seam - 10:seam + 10]
        store.delete(url)
    assert list(store.list_ids()) == []


def test_a_broken_upload_of_many_pieces_leaves_nothing(store):
    def breaking():
        for _ in range(11):
            yield b"x" * (1 << 20)
        raise exceptions.Gone("deleted")

    for size in (None, 20 << 20):
        with pytest.raises(exceptions.Gone):
            store.add(new_id(), breaking(), size)
        assert list(store.list_ids()) == []


def test_memory_stays_flat(store):
    """However large the image: no more than a few pieces of it are held at once."""
    total = 40 << 20
    block = b"\0" * (1 << 18)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        url = store.add(new_id(), (block for _ in range(total // len(block))), total).url
        seen = sum(len(piece) for piece in store.read(url))
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert seen == total
    assert peak < getattr(store, "held_by_test", 0) + (20 << 20)
