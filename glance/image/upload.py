# SPDX-License-Identifier: Apache-2.0
"""One upload: the bytes pass once, and are counted, hashed, inspected and stored on the way."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from isal import isal_zlib

from glance import concurrency, exceptions
from glance.image.formats import Inspector

#: makes os_hash_value; OpenStack's default, sha512, costs twice as much as this
HASH = "sha256"
#: bytes per read, from a client that is slow to one that is fast: what happens between two reads
#: should neither wait for long, nor cost more than hashing what came
SMALLEST, LARGEST = 1 << 16, 1 << 22
#: seconds between which a read should take
PROMPT, SLUGGISH = 0.25, 1.0
#: seconds between signs of life; also how soon a delete stops a running upload
BEAT_INTERVAL = 2.0

Chunk = bytes | memoryview


class Readable(Protocol):
    """Where the bytes come from: a WSGI input, a file."""

    def read(self, size: int, /) -> bytes: ...


class UploadStream:
    """The chunks of an upload, for a store to take.

    Iterating ends well only when everything was right: the announced size came, the cap was kept,
    the content is of the declared format.  Otherwise it raises, and the store drops what it has.

    :param size: the announced number of bytes, or None for a chunked body.
    :param checksum: an md5 the caller announced, to be compared at the end.
    :param check_size: raises `LimitExceeded` for a size that is too large.
    :param algorithm: of the hash that proves the content.
    :param on_beat: told the bytes so far every `BEAT_INTERVAL` seconds; may raise to stop.
    """

    def __init__(self, source: Readable, size: int | None, inspector: Inspector, *,
                 check_size: Callable[[int], None], on_beat: Callable[[int], None],
                 checksum: str | None = None, algorithm: str = HASH) -> None:
        self.algorithm = algorithm
        self._source = source
        self._receiving, self._hashing = concurrency.Hand(), concurrency.Hand()
        self._intake = concurrency.Intake(source, self._receiving)
        self._looks: list[Callable[[], None]] = []
        self.announced = size
        self._inspector = inspector
        self._check_size = check_size
        self._on_beat = on_beat
        self._expected_checksum = checksum
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._strong = hashlib.new(self.algorithm)
        self.crc32 = 0
        self.received = 0
        self._wanted = SMALLEST
        self._last_beat = time.monotonic()
        self.virtual_size: int | None = None

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._take(self._source.read, LARGEST):
            yield bytes(chunk)

    def readinto(self, buffer: memoryview) -> int:
        """Put what follows into `buffer`; how much it was, 0 at the end.

        As `iter`, without the copy of each piece that whoever has a buffer of his own would make.
        What was put there is still being looked at until the next call returns.
        """
        def read(size: int) -> memoryview:
            return buffer[:self._intake.readinto(buffer[:size])]

        return len(self._take(read, len(buffer)))

    def _take(self, read: Callable[[int], Chunk], most: int) -> Chunk:
        """What follows, got by `read(size)`, and looked at; at the end nothing, and all is well."""
        chunk = self._next(read, most)
        if not chunk:
            self._end()
            return chunk
        self._digest(chunk)
        if time.monotonic() - self._last_beat >= BEAT_INTERVAL:
            self._on_beat(self.received)
            self._last_beat = time.monotonic()
        return chunk

    def _end(self) -> None:
        self._await_looks()
        if self.announced is not None and self.received != self.announced:
            raise exceptions.ClientDisconnected(
                f"image data: {self.announced} bytes were announced, {self.received} arrived")
        if self._expected_checksum not in (None, self.checksum):
            raise exceptions.Invalid(
                f"checksum: {self._expected_checksum} was announced, the data has {self.checksum}")
        self.virtual_size = self._inspector.finish()

    def _next(self, read: Callable[[int], Chunk], most: int) -> Chunk:
        wanted = min(self._wanted, most)
        if self.announced is not None:
            wanted = min(wanted, self.announced - self.received)
        if wanted <= 0:
            return b""
        began = time.monotonic()
        try:
            chunk = read(wanted)
        except (OSError, ValueError) as error:  # a lost or silent client, a malformed chunk
            raise exceptions.ClientDisconnected(
                f"image data: broken off after {self.received} bytes "
                f"({type(error).__name__})") from None
        self._suit(time.monotonic() - began)
        self.received += len(chunk)
        self._check_size(self.received)
        return chunk

    def _suit(self, seconds: float) -> None:
        """Ask for more next time, or for less, by how long this took."""
        if seconds < PROMPT:
            self._wanted = min(LARGEST, 2 * self._wanted)
        elif seconds > SLUGGISH:
            self._wanted = max(SMALLEST, self._wanted // 2)

    def _digest(self, chunk: Chunk) -> None:
        """Both hashes at a time, while the next piece comes: more processors make it sooner."""
        self._await_looks()
        self._looks = [self._hashing.start(self._md5.update, chunk),
                       self._receiving.start(self._look_at, chunk)]

    def _await_looks(self) -> None:
        looks, self._looks = self._looks, []
        for look in looks:
            look()

    def _look_at(self, chunk: Chunk) -> None:
        self._strong.update(chunk)
        self.crc32 = isal_zlib.crc32(chunk, self.crc32)
        self._inspector.eat(chunk)

    @property
    def checksum(self) -> str:
        """md5 of the bytes so far, for clients of old; never a proof of anything."""
        return self._md5.hexdigest()

    def digests(self) -> dict[str, Any]:
        """The fields of an image that its bytes decide."""
        return {"size": self.received, "checksum": self.checksum,
                "os_hash_algo": self.algorithm, "os_hash_value": self._strong.hexdigest(),
                "virtual_size": self.virtual_size}
