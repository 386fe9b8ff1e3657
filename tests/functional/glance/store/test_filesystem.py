# SPDX-License-Identifier: Apache-2.0
"""What only the filesystem store has to do."""

import errno
import os
import random
import shutil
import uuid

import pytest

from glance import exceptions
from glance.store import blocks, filesystem
from glance.store.filesystem import FilesystemStore


@pytest.fixture
def store(tmp_path):
    store = FilesystemStore("file", tmp_path / "images")
    store.check()
    return store


def test_files_are_private(store, tmp_path):
    """R3: nobody else on the machine reads images."""
    image_id = str(uuid.uuid4())
    store.add(image_id, iter([b"x"]), None)
    assert (tmp_path / "images" / image_id).stat().st_mode & 0o777 == 0o600


def test_data_is_synced_before_it_gets_its_name(store, tmp_path, monkeypatch):
    """P2: file first, then its name, then the directory; in this order."""
    calls = []
    for name in ("fsync", "link", "unlink"):
        real = getattr(os, name)

        def spy(*args, _real=real, _name=name, **kwargs):
            calls.append(_name)
            return _real(*args, **kwargs)

        monkeypatch.setattr(os, name, spy)
    store.add(str(uuid.uuid4()), iter([b"x"]), None)
    assert calls[:2] == ["fsync", "link"]
    assert calls[-1] == "fsync" or "fsync" in calls[2:]


def test_a_symbolic_link_in_the_store_is_not_followed(store, tmp_path):
    """F17: a link planted in the directory leads nowhere."""
    canary = tmp_path / "canary"
    canary.write_text("secret")
    image_id = str(uuid.uuid4())
    (tmp_path / "images" / image_id).symlink_to(canary)
    with pytest.raises(exceptions.NotFound):
        store.read(f"file:///{image_id}")


@pytest.mark.parametrize("code, kind", [
    (errno.ENOSPC, exceptions.StorageFull), (errno.EDQUOT, exceptions.StorageFull),
    (errno.EIO, exceptions.Unavailable)])
def test_errors_say_nothing_of_the_place(store, tmp_path, monkeypatch, code, kind):
    def fail(_descriptor, _chunk):
        raise OSError(code, os.strerror(code), str(tmp_path))

    monkeypatch.setattr(blocks, "write_all", fail)
    with pytest.raises(kind) as caught:
        store.add(str(uuid.uuid4()), iter([b"x"]), None)
    assert str(tmp_path) not in caught.value.message
    assert list(store.list_ids()) == []


def test_announced_size_is_reserved_at_once(store, monkeypatch):
    """A full disk shows before gigabytes have travelled."""
    def fail(_descriptor, _offset, _size):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    taken = []

    def chunks():
        taken.append(1)
        yield b"x"

    with pytest.raises(exceptions.StorageFull):
        store.add(str(uuid.uuid4()), chunks(), 1 << 40)
    assert taken == []


def test_a_directory_that_cannot_be(tmp_path):
    (tmp_path / "images").write_text("a file")
    with pytest.raises(exceptions.ConfigurationError, match="filesystem_store_datadir"):
        FilesystemStore("file", tmp_path / "images").check()


def test_data_that_ends_early_is_noticed(store, tmp_path):
    image_id = str(uuid.uuid4())
    url = store.add(image_id, iter([b"x" * 100]), None).url
    pieces = store.read(url, 0, 100)
    os.truncate(tmp_path / "images" / image_id, 50)
    with pytest.raises(exceptions.CorruptData):
        b"".join(pieces)


@pytest.mark.parametrize("size", [1, blocks.CHUNK, blocks.BLOCK, 2 * blocks.BLOCK + 4097])
@pytest.mark.parametrize("chunk", [4096, 1000003, 6 << 20])
def test_blocks_and_what_is_left_over(store, size, chunk):
    """Whatever pieces data comes in, it is that data, read either way."""
    data = random.Random(size).randbytes(size)
    url = store.add(str(uuid.uuid4()), (data[start:start + chunk]
                                        for start in range(0, size, chunk)), size).url
    for offset in {0, min(4096, size - 1), size // 2}:
        got = []
        store.read(url, offset).transfer(lambda piece, got=got: got.append(bytes(piece)))
        assert b"".join(got) == data[offset:]
        reader = store.read(url, offset, size - offset)
        got = [next(reader)]
        reader.transfer(lambda piece, got=got: got.append(bytes(piece)))
        assert b"".join(got) == data[offset:]
    assert b"".join(store.read(url)) == data


def test_a_disk_that_fills_up_while_a_block_is_on_its_way(store, monkeypatch):
    def fail(_descriptor, _data):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(blocks, "write_all", fail)
    with pytest.raises(exceptions.StorageFull):
        store.add(str(uuid.uuid4()), iter([bytes(blocks.BLOCK)] * 3), None)
    assert list(store.list_ids()) == []


def test_an_unreadable_disk_is_told_as_corrupt_data(store, monkeypatch):
    """And in words that name no place."""
    url = store.add(str(uuid.uuid4()), iter([b"x" * 100]), None).url

    def fail(*_arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(exceptions.CorruptData):
        next(store.read(url))
    with pytest.raises(exceptions.CorruptData):
        store.read(url).transfer(lambda _piece: None)


def test_what_two_read_in_an_hour_stays_in_the_page_cache(store, monkeypatch):
    url = store.add(str(uuid.uuid4()), iter([b"x" * 100]), None).url
    kept = []
    monkeypatch.setattr(blocks, "Reading", lambda *_arguments, keep: kept.append(keep))
    clock = iter([0.0, 10.0, 20.0 + filesystem.DEMAND])
    monkeypatch.setattr(filesystem.time, "monotonic", lambda: next(clock))
    for _ in range(3):
        store.read(url)
    assert kept == [False, True, False]


def test_directories_by_priority_then_by_room(tmp_path, monkeypatch):
    room = {"small": 10, "big": 1000, "preferred": 100}
    monkeypatch.setattr(filesystem.shutil, "disk_usage",
                        lambda path: shutil._ntuple_diskusage(0, 0, room[path.name]))
    store = FilesystemStore("file", (tmp_path / "small", 1), (tmp_path / "big", 1),
                            (tmp_path / "preferred", 5))
    store.check()
    for size, place in ((50, "preferred"), (500, "big")):
        image_id = str(uuid.uuid4())
        url = store.add(image_id, iter([b"x" * size]), size).url
        assert (tmp_path / place / image_id).exists()
        assert b"".join(store.read(url)) == b"x" * size
        # a file that an operator moved to another of the directories is found there
        (tmp_path / place / image_id).rename(tmp_path / "small" / image_id)
        assert store.size(url) == size
        store.delete(url)
    with pytest.raises(exceptions.StorageFull):
        store.add(str(uuid.uuid4()), iter([b"x"]), 2000)
    assert list(store.list_ids()) == []


def test_directories_from_the_configuration(make_conf, tmp_path):
    lines = f"{tmp_path}/a\nfilesystem_store_datadirs = {tmp_path}/b:200"
    store = FilesystemStore.from_conf(make_conf(file={"filesystem_store_datadirs": lines}), "file")
    assert store._directories == [(tmp_path / "a", 0), (tmp_path / "b", 200)]
    with pytest.raises(exceptions.ConfigurationError, match="PRIORITY"):
        FilesystemStore.from_conf(make_conf(x={"filesystem_store_datadirs": "/a:high"}), "x")
