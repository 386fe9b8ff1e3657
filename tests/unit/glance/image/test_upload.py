# SPDX-License-Identifier: Apache-2.0
"""The stream of an upload: counted, hashed, limited, watched."""

import contextlib
import hashlib
import io
import os
import zlib

import pytest

from glance import exceptions
from glance.image import upload
from glance.image.formats import Inspector
from glance.store import blocks

DATA = bytes(range(256)) * 9000


def stream(data=DATA, size=None, **options):
    source = data if hasattr(data, "read") else io.BytesIO(data)
    return upload.UploadStream(source, size, Inspector("raw", "bare"), **{
        "check_size": lambda _size: None, "on_beat": lambda _bytes: None, **options})


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_digests(size):
    taken = stream(size=size)
    assert b"".join(taken) == DATA
    assert taken.digests() == {
        "size": len(DATA), "virtual_size": len(DATA),
        "checksum": hashlib.md5(DATA).hexdigest(), "os_hash_algo": "sha256",
        "os_hash_value": hashlib.sha256(DATA).hexdigest()}
    assert taken.crc32 == zlib.crc32(DATA)


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_the_same_bytes_into_memory_of_the_store(size, tmp_path):
    taken, plain = stream(size=size), stream(size=size)
    list(plain)
    with contextlib.closing(blocks.Writer(tmp_path / "image", 0o600)) as writer:
        assert writer.fill(taken.readinto) == len(DATA)
        writer.finish()
    assert (tmp_path / "image").read_bytes() == DATA
    assert (taken.digests(), taken.crc32) == (plain.digests(), plain.crc32)


def test_whole_blocks_and_a_rest_into_memory_of_the_store(tmp_path):
    data = os.urandom(2 * blocks.BLOCK + 4097)
    with contextlib.closing(blocks.Writer(tmp_path / "image", 0o600)) as writer:
        assert writer.fill(stream(data).readinto) == len(data)
        writer.finish()
    assert (tmp_path / "image").read_bytes() == data


def test_reads_no_further_than_announced():
    source = io.BytesIO(DATA)
    assert b"".join(stream(source, 100)) == DATA[:100]
    assert source.tell() == 100


def test_too_few_bytes():
    with pytest.raises(exceptions.ClientDisconnected, match="announced"):
        list(stream(size=len(DATA) + 1))


def test_pieces_are_handed_on_only_after_the_cap():
    def check_size(size):
        if size > 1 << 20:
            raise exceptions.LimitExceeded("size")

    seen = []
    with pytest.raises(exceptions.LimitExceeded):
        for piece in stream(check_size=check_size):
            seen.append(len(piece))
    assert 0 < sum(seen) <= 1 << 20


def test_a_slow_client_is_read_in_small_pieces(monkeypatch):
    """A delete stops its upload soon; a fast one costs few turns a gigabyte."""
    now = [0.0]
    took = [0.0] * 8 + [2 * upload.SLUGGISH] * 3 + [0.0] * 100

    class Source(io.BytesIO):
        def read(self, size):
            now[0] += took.pop(0)
            return super().read(size)

    monkeypatch.setattr(upload.time, "monotonic", lambda: now[0])
    sizes = [len(piece) for piece in stream(Source(bytes(20 << 20)))]
    fast = [upload.SMALLEST << step for step in range(7)] + [upload.LARGEST]
    assert sizes[:11] == [*fast, upload.LARGEST, upload.LARGEST // 2, upload.LARGEST // 4]
    assert sum(sizes) == 20 << 20


def test_beats_between_pieces(monkeypatch):
    monkeypatch.setattr(upload, "BEAT_INTERVAL", 0.0)
    beats = []
    list(stream(on_beat=beats.append))
    assert len(beats) > 3 and beats == sorted(beats) and beats[-1] == len(DATA)


def test_announced_checksum():
    assert list(stream(checksum=hashlib.md5(DATA).hexdigest()))
    with pytest.raises(exceptions.Invalid, match="checksum"):
        list(stream(checksum="0" * 32))
