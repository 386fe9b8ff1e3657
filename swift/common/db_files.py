# SPDX-License-Identifier: Apache-2.0
"""Names of database files: `<hash>.db`, and of a container once it was sharded
`<hash>_<epoch>.db`.

While a container is being sharded both are there: the older one retires, the one of the latest
epoch counts.
"""
from __future__ import annotations

import os
import re
import time

SETTLED_NS = 2_000_000_000        # by then a write has another time than the one before
DIRECTORY_SETTLED_NS = 100_000_000       # ten ticks of the coarsest clock a file system has
MAX_LISTED = 4096
# path -> (directory, its time and inode, the files there were), of directories that had settled
# when they were listed: a look at one tells whether they still are there
_listed: dict[str, tuple[str, int, int, tuple[str, ...]]] = {}
_NAME = re.compile(r"([0-9a-f]{32})(?:_([0-9]{10}\.[0-9]{5}))?\.db\Z")


def base_of(path: str) -> str:
    """The name without an epoch; what is no such name stays as it is."""
    if path.rfind("_") < path.rfind("/"):
        return path
    directory, name = os.path.split(path)
    match = _NAME.match(name)
    return os.path.join(directory, match[1] + ".db") if match else path


def epoch_of(path: str) -> str | None:
    """The epoch in a name, None without."""
    match = _NAME.match(os.path.basename(path))
    return match[2] if match else None


def with_epoch(path: str, epoch: str | None) -> str:
    """The name of the file of an epoch."""
    base = base_of(path)
    return f"{base[:-3]}_{epoch}.db" if epoch else base


def is_name(name: str, name_hash: str) -> bool:
    """Whether `name` can be a database file of the container with this hash."""
    match = _NAME.match(name)
    return match is not None and match[1] == name_hash


def files_of(path: str) -> list[str]:
    """The files there are beside `path`, the latest epoch last; just `path` for another name."""
    try:
        known = _listed.get(path)
        if known is not None:
            stat = os.stat(known[0])
            if known[1] == stat.st_mtime_ns and known[2] == stat.st_ino:
                return [*known[3]]
        return _list(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _list(path: str) -> list[str]:
    directory, name = os.path.split(path)
    match = _NAME.match(name)
    if match is None:
        return [path] if os.path.exists(path) else []
    stat = os.stat(directory)
    # A point sorts before an underscore: the name without an epoch comes first.
    files = [f"{directory}/{found}" for found in sorted(os.listdir(directory))
             if is_name(found, match[1])]
    if files and stat.st_mtime_ns < time.time_ns() - DIRECTORY_SETTLED_NS:
        if len(_listed) >= MAX_LISTED:
            _listed.clear()
        _listed[path] = (directory, stat.st_mtime_ns, stat.st_ino, tuple(files))
    return files


def look(path: str) -> tuple[int, int, int]:
    """What tells whether a database was written to."""
    stat = os.stat(path)
    try:
        pending = os.stat(path + ".pending").st_size
    except FileNotFoundError:
        pending = 0
    return stat.st_mtime_ns, stat.st_ino, pending


class Idle:
    """The databases in which a daemon found nothing to do, and nobody has written to since.

    To open one costs a hundred times what a look at its file does.
    """

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int, int]] = {}
        self._now: dict[str, tuple[int, int, int]] = {}

    def begin(self) -> None:
        """A pass begins: what the last one did not come by is gone."""
        self._before, self._now = self._now, {}

    def has(self, path: str) -> bool:
        """Whether one is still as it was."""
        known = self._before.get(path)
        if known is None or known != look(path):
            return False
        self._now[path] = known
        return True

    def note(self, path: str, looked: tuple[int, int, int]) -> None:
        """There is nothing to do in one that was looked at before it was read. One that was just
        written to is read again: the next write may have the same time."""
        if looked[0] < time.time_ns() - SETTLED_NS:
            self._now[path] = looked
