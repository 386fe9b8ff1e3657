# SPDX-License-Identifier: Apache-2.0
"""The books of the image cache: what is there, and when it was used."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import os
import pathlib
import sqlite3
import time
from collections.abc import Callable, Iterator

from glance.store.base import SAFE_ID

BUSY_TIMEOUT = 10.0


@dataclasses.dataclass(frozen=True)
class Entry:
    """One cached image; times are seconds since 1970."""

    image_id: str
    os_hash: str
    size: int
    crc32: int
    hits: int = 0
    last_accessed: float = 0.0
    last_modified: float = 0.0


class Driver(abc.ABC):
    """Every driver passes tests/functional/glance/cache; several processes may use one."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory

    @abc.abstractmethod
    def put(self, entry: Entry) -> None:
        """Enter a copy whose file has its name already."""

    @abc.abstractmethod
    def get(self, image_id: str) -> Entry | None:
        """The entry of an image, or None."""

    @abc.abstractmethod
    def hit(self, image_id: str) -> None:
        """Count a use."""

    @abc.abstractmethod
    def delete(self, image_id: str) -> None:
        """Strike an entry; harmless if there is none."""

    @abc.abstractmethod
    def entries(self) -> list[Entry]:
        """All entries, the least recently used first."""


class SqliteDriver(Driver):
    """``cache.db`` in the directory."""

    _COLUMNS = ", ".join(field.name for field in dataclasses.fields(Entry))

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory)
        with self._connected() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS cached (image_id TEXT PRIMARY KEY, os_hash TEXT, "
                "size INTEGER, crc32 INTEGER, hits INTEGER, last_accessed REAL, "
                "last_modified REAL)")

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.directory / "cache.db", timeout=BUSY_TIMEOUT)
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def put(self, entry: Entry) -> None:
        moment = time.time()
        with self._connected() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO cached ({self._COLUMNS}) VALUES (?, ?, ?, ?, 0, ?, ?)",
                (entry.image_id, entry.os_hash, entry.size, entry.crc32, moment, moment))

    def get(self, image_id: str) -> Entry | None:
        with self._connected() as connection:
            row = connection.execute(f"SELECT {self._COLUMNS} FROM cached WHERE image_id = ?",
                                     (image_id,)).fetchone()
        return None if row is None else Entry(*row)

    def hit(self, image_id: str) -> None:
        with self._connected() as connection:
            connection.execute("UPDATE cached SET hits = hits + 1, last_accessed = ? "
                               "WHERE image_id = ?", (time.time(), image_id))

    def delete(self, image_id: str) -> None:
        with self._connected() as connection:
            connection.execute("DELETE FROM cached WHERE image_id = ?", (image_id,))

    def entries(self) -> list[Entry]:
        with self._connected() as connection:
            return [Entry(*row) for row in connection.execute(
                f"SELECT {self._COLUMNS} FROM cached ORDER BY last_accessed")]


class XattrDriver(Driver):
    """Extended attributes of the image files; the file system must have them."""

    _PREFIX = "user.image_cache."

    def _write(self, path: pathlib.Path, **values: object) -> None:
        for name, value in values.items():
            os.setxattr(path, self._PREFIX + name, str(value).encode())

    def put(self, entry: Entry) -> None:
        moment = time.time()
        # the size last: without it there is no entry
        self._write(self.directory / entry.image_id, os_hash=entry.os_hash, crc32=entry.crc32,
                    hits=0, last_accessed=moment, last_modified=moment, size=entry.size)

    def get(self, image_id: str) -> Entry | None:
        path = self.directory / image_id
        try:
            text = {field.name: os.getxattr(path, self._PREFIX + field.name).decode()
                    for field in dataclasses.fields(Entry) if field.name != "image_id"}
            return Entry(image_id, text["os_hash"], int(text["size"]), int(text["crc32"]),
                         int(text["hits"]), float(text["last_accessed"]),
                         float(text["last_modified"]))
        except (OSError, ValueError):  # no file, no attribute, or not one of ours
            return None

    def hit(self, image_id: str) -> None:
        entry = self.get(image_id)
        if entry is not None:
            with contextlib.suppress(FileNotFoundError):
                self._write(self.directory / image_id, hits=entry.hits + 1,
                            last_accessed=time.time())

    def delete(self, image_id: str) -> None:
        with contextlib.suppress(OSError):  # no file, no attribute: nothing to strike
            os.removexattr(self.directory / image_id, self._PREFIX + "size")

    def entries(self) -> list[Entry]:
        found = [self.get(path.name) for path in self.directory.iterdir()
                 if SAFE_ID.fullmatch(path.name)]
        return sorted((entry for entry in found if entry is not None),
                      key=lambda entry: entry.last_accessed)


DRIVERS: dict[str, Callable[[pathlib.Path], Driver]] = {
    "sqlite": SqliteDriver, "xattr": XattrDriver}
