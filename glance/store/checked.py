# SPDX-License-Identifier: Apache-2.0
"""Whether what a store gives back is what it was given."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from isal import isal_zlib

from glance import exceptions
from glance.store.blocks import Reading, Sink

Piece = TypeVar("Piece", bytes, memoryview)


class Checked:
    """Pieces of which the last is handed out only if all of them have the right checksum.

    :param size: of all pieces together.
    :param crc32: of all of them.
    :param on_bad: told what is wrong before `CorruptData` is raised.
    """

    def __init__(self, pieces: Iterator[bytes], size: int, crc32: int,
                 on_bad: Callable[[str], None]) -> None:
        self._pieces = pieces
        self._left = size
        self._expected = crc32
        self._seen = 0
        self._on_bad = on_bad

    def __iter__(self) -> Checked:
        return self

    def __next__(self) -> bytes:
        with self._telling():
            piece = next(self._pieces, b"")
            if piece or self._left:
                return self._check(piece)
        raise StopIteration

    def _check(self, piece: Piece) -> Piece:
        self._seen = isal_zlib.crc32(piece, self._seen)
        self._left -= len(piece)
        if (not self._left or not piece) and self._seen != self._expected:
            raise exceptions.CorruptData(
                f"crc32 of the image data is {self._seen:08x}, was {self._expected:08x}")
        return piece

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except exceptions.CorruptData as error:
            self._on_bad(error.message)
            raise

    def close(self) -> None:
        """Let go of what the pieces come from."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


class CheckedFile(Checked):
    """The same of a file, which can be transferred."""

    _pieces: Reading

    def transfer(self, sink: Sink) -> None:
        """As `Reading.transfer`."""
        with self._telling():
            self._pieces.transfer(lambda piece: sink(self._check(piece)))


def checked(pieces: Iterator[bytes], size: int, crc32: int,
            on_bad: Callable[[str], None]) -> Checked:
    """`pieces`, checked; they can be transferred if they could be before."""
    kind = CheckedFile if isinstance(pieces, Reading) else Checked
    return kind(pieces, size, crc32, on_bad)
