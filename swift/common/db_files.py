# SPDX-License-Identifier: Apache-2.0
"""Names of database files: `<hash>.db`, and of a container once it was sharded
`<hash>_<epoch>.db`.

While a container is being sharded both are there: the older one retires, the one of the latest
epoch counts.
"""
from __future__ import annotations

import os
import re

_NAME = re.compile(r"([0-9a-f]{32})(?:_([0-9]{10}\.[0-9]{5}))?\.db\Z")


def base_of(path: str) -> str:
    """The name without an epoch; what is no such name stays as it is."""
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
    directory, name = os.path.split(path)
    match = _NAME.match(name)
    if match is None:
        return [path] if os.path.exists(path) else []
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    # A point sorts before an underscore: the name without an epoch comes first.
    return [os.path.join(directory, found) for found in sorted(names)
            if is_name(found, match[1])]
