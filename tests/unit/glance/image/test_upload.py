# SPDX-License-Identifier: Apache-2.0
"""The stream of an upload: counted, hashed, limited, watched."""

import hashlib
import io
import zlib

import pytest

from glance import exceptions
from glance.image import upload
from glance.image.formats import Inspector

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
        "checksum": hashlib.md5(DATA).hexdigest(), "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(DATA).hexdigest()}
    assert taken.crc32 == zlib.crc32(DATA)


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
    assert seen == [1 << 20]


def test_beats_between_pieces(monkeypatch):
    monkeypatch.setattr(upload, "BEAT_INTERVAL", 0.0)
    beats = []
    list(stream(on_beat=beats.append))
    assert beats == [1 << 20, 2 << 20, len(DATA)]


def test_announced_checksum():
    assert list(stream(checksum=hashlib.md5(DATA).hexdigest()))
    with pytest.raises(exceptions.Invalid, match="checksum"):
        list(stream(checksum="0" * 32))
