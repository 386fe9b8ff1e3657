# SPDX-License-Identifier: Apache-2.0
"""The end of what a guest wrote to its serial console.

virtlogd writes the file and turns it over at a size of its own (two megabytes): the guest cannot
fill the disk, and what is read here is bounded by the reader.
"""

from pathlib import Path


def tail(log: Path, limit: int) -> bytes:
    """Return the last ``limit`` bytes of a log and, if it was just turned over, of the one before.

    A log that is not there is empty.
    """
    if limit <= 0:
        return b""
    newest = _tail(log, limit)
    if len(newest) < limit:
        return _tail(log.with_name(log.name + ".0"), limit - len(newest)) + newest
    return newest


def _tail(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - limit))
            return file.read(limit)
    except FileNotFoundError:
        return b""
