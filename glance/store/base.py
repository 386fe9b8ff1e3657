# SPDX-License-Identifier: Apache-2.0
"""The contract of a store: where the bytes of images are kept.

Every store passes the same suites: `tests/functional/glance/store/test_reading_contract.py`, and
those that can be written to `test_writing_contract.py` beside it.
"""

from __future__ import annotations

import abc
import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

# What an image id, and so the name of a file or an object, may look like.
SAFE_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclasses.dataclass(frozen=True)
class Stored:
    """Bytes that are safe: the store's address for them (no credentials in it) and their count."""

    url: str
    size: int


@runtime_checkable
class Fillable(Protocol):
    """Data that can be put straight into the memory it is stored from."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Put what follows into `buffer`; how much, 0 at the end.

        It must stay as it is until the next call has returned.
        """


class Store(abc.ABC):
    """A place for image data, named in ``enabled_backends``.

    Errors are `glance.exceptions`: `NotFound` for missing data, `StorageFull` when there is no
    room, `Unavailable` when the place cannot be reached; their messages name no path, address or
    account, for clients read them.
    """

    #: URL schemes this store understands
    schemes: tuple[str, ...] = ()
    #: what kind of store this is, in the words of ``enabled_backends``
    kind = ""
    #: a store that cannot be written to holds data of other people: nothing of it is removed
    read_only = False

    def __init__(self, name: str) -> None:
        self.name = name
        #: of several stores that hold an image, those with more are read first
        self.weight = 0

    def details(self) -> dict[str, Any]:
        """What an administrator may know of how this store is set up; never credentials."""
        return {}

    @abc.abstractmethod
    def check(self) -> None:
        """Raise unless data can be stored here now; called at start and by the health check."""

    @abc.abstractmethod
    def add(self, image_id: str, chunks: Iterable[bytes], size: int | None) -> Stored:
        """Take all of `chunks` and return once they survive a crash of the machine.

        Nothing can be read before the last chunk is in; an exception out of `chunks`, or any
        failure, leaves nothing behind.  `size`, when known, is checked.  Data under the same id
        is `Duplicate` and stays as it is.
        """

    @abc.abstractmethod
    def read(self, url: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from `offset`, `length` of them or all the rest, in pieces of up to 1 MiB.

        `NotFound` comes from this call, not from the first piece.  Fewer bytes than asked for is
        `CorruptData` at the end.
        """

    @abc.abstractmethod
    def size(self, url: str) -> int:
        """How many bytes lie at `url`."""

    @abc.abstractmethod
    def delete(self, url: str) -> None:
        """Remove the data at `url`, for good once this returns; `NotFound` if there is none."""

    @abc.abstractmethod
    def discard(self, image_id: str) -> None:
        """Remove whatever an unfinished `add` for this id may have left; harmless if nothing."""

    @abc.abstractmethod
    def list_ids(self) -> Iterator[str]:
        """Ids of images with finished or unfinished data here, for the audit."""


def checked_id(image_id: str) -> str:
    """`image_id` if it can safely be part of a name in a store, else `ValueError`."""
    if not SAFE_ID.fullmatch(image_id):
        raise ValueError(f"not an image id: {image_id!r}")
    return image_id
