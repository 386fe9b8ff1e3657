# SPDX-License-Identifier: Apache-2.0
"""What every store has to do; run against each of them."""

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


@pytest.mark.parametrize("offset, length", [(0, 5), (7, None), (1 << 20, 3), (0, None),
                                            (len(DATA) - 1, 1), (5, 0)])
def test_parts(store, offset, length):
    url = store.add(new_id(), iter(PIECES), len(DATA)).url
    end = None if length is None else offset + length
    assert b"".join(store.read(url, offset, length)) == DATA[offset:end]


def test_pieces_are_of_bounded_size(store):
    url = store.add(new_id(), iter([DATA * 2]), None).url
    assert max(len(piece) for piece in store.read(url)) <= 1 << 20


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


@pytest.mark.parametrize("url", [
    "file:///etc/passwd", "FILE:///etc/passwd", "filesystem:///etc/passwd", "/etc/passwd", "",
    "swift://user:key@host/c/o", "swift+config://deep/glance/../other", "http://127.0.0.1/x",
    "swift+config://deep/other/00000000-0000-0000-0000-000000000000",
    "s3://key:secret@host/bucket/o", "rbd://pool/image", "cinder://volume", "file:"])
def test_addresses_of_other_places_are_refused(store, url):
    """U1, U2, F17: only addresses this store made lead anywhere."""
    for call in (store.delete, store.size, store.read):
        with pytest.raises(exceptions.NotFound):
            call(url)


def test_addresses_hold_no_credentials(store):
    """L17: neither user nor key nor token."""
    url = store.add(new_id(), iter([b"x"]), None).url
    for secret in ("s3cret", "t0ken", "images", "@"):
        if secret != "images" or store.schemes != ("file", "filesystem"):
            assert secret not in url
