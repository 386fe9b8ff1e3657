# SPDX-License-Identifier: Apache-2.0
"""Objects while their ring's partition power grows: each has its place of now and one to come.

Before the increase (`prepare`) a write is linked into the place to come as well, and the relinker
links what was written before; after it (`increase`) the relinker removes the places of before. The
same file, two names: no byte is copied. Callers: the object server's writes and swift.obj.relinker.
"""
from __future__ import annotations

import logging
import os
from collections.abc import Callable

from swift.common import durable
from swift.common.backend_server import Answer
from swift.obj import hashes


def parse(header: str | None) -> int:
    """X-Backend-Next-Part-Power; 0 without it, 400 when it cannot be one."""
    if header is None:
        return 0
    if not header.isascii() or not header.isdigit() or not 0 < int(header) <= 32:
        raise Answer(400, f"X-Backend-Next-Part-Power is no partition power: {header[:20]!r}")
    return int(header)


def partition_of(name_hash: str, power: int) -> int:
    """The partition of a hash by a ring of that power."""
    return int(name_hash[:8], 16) >> (32 - power)


def place(hash_dir: str, power: int) -> str:
    """Where an object's directory is by a ring of another partition power."""
    base, name_hash = os.path.split(hash_dir)
    base, suffix = os.path.split(base)
    return f"{os.path.dirname(base)}/{partition_of(name_hash, power)}/{suffix}/{name_hash}"


class Collision(OSError):
    """Another file has the name a link was to get."""


def link(source: str, target: str) -> bool:
    """Give a file of an object its name in another place, too, durably; whether it was new there.

    A source that has just been replaced by something newer is no error. Collision when the name is
    another file's.
    """
    directory = os.path.dirname(target)
    while True:
        changed = durable.make_dirs(directory)
        try:
            os.link(source, target)
            break
        except FileExistsError:
            try:
                if os.path.samefile(source, target):
                    return False
            except FileNotFoundError:
                continue
            raise Collision(f"{target} is another file than {source}") from None
        except FileNotFoundError:
            if os.path.isdir(directory):
                return False
            # An empty directory was cleaned up this moment: once more.
    durable.fsync_dirs(directory, changed)
    return True


def follow(hash_dir: str, name: str, next_power: int, clean_up: Callable[[str], object],
           logger: logging.Logger) -> None:
    """Do for the object's other place what was just done here: `name` was written.

    Whatever fails is logged only: the write itself is done, and the relinker finds what is missing.
    """
    other = place(hash_dir, next_power)
    try:
        if other == hash_dir:           # the increase is done: the other place is that of before
            other = place(hash_dir, next_power - 1)
            if other == hash_dir or not os.path.isdir(other):
                return
        else:
            link(f"{hash_dir}/{name}", f"{other}/{name}")
            hashes.invalidate(os.path.dirname(other))
        clean_up(other)
    except OSError as exc:
        logger.error("ERROR linking %s/%s to %s: %s", hash_dir, name, other, exc)
