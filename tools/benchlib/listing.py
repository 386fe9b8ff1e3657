# SPDX-License-Identifier: Apache-2.0
"""tools/bench listing: what a page of a container's listing costs, with few rows and with many.

The rows go straight into the database's file; a container server in this process is asked. Names
are those of a log archive: 0000/000/000000000, 1000 objects in a folder, 1000 folders in a year.
"""
from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swift.common import storage, storage_policy
from swift.common.storage import hash_path
from swift.container.backend import ContainerBroker
from swift.container.server import ContainerApp

MANY, FEW = 10_000_000, 10_000
ROUNDS = 5
PAGE = 1000
_T = "1700000000.00000"


def names(count: int) -> Iterator[str]:
    """The names, in order."""
    for number in range(count):
        yield f"{number // 1_000_000:04}/{number // 1000 % 1000:03}/{number:09}"


def questions(count: int) -> dict[str, str]:
    """Label -> query of each page that is asked for."""
    last = list(names_at(count - 1, count - PAGE // 2))
    middle, = names_at(count // 2)
    year, folder = middle.split("/")[:2]
    return {
        "first page": "",
        "page after a marker in the middle": f"marker={middle}",
        "last page": f"marker={last[1]}",
        "reverse, first page": "reverse=on",
        "reverse, after a marker in the middle": f"reverse=on&marker={middle}",
        "delimiter, top": "delimiter=/",
        "delimiter, folders of a year": f"delimiter=/&prefix={year}/",
        "delimiter, their second half": f"delimiter=/&prefix={year}/&marker={year}/{folder}/",
        "delimiter, reverse": f"delimiter=/&prefix={year}/&reverse=on",
        "a folder by its prefix": f"prefix={year}/{folder}/",
        "in a year, after a marker": f"prefix={year}/&marker={middle}",
        "in a year, reverse, after a marker": f"prefix={year}/&marker={middle}&reverse=on",
        "between two markers": f"marker={middle}&end_marker={year}/{folder}~",
    }


def names_at(*numbers: int) -> list[str]:
    """The names of these numbers."""
    return [f"{number // 1_000_000:04}/{number // 1000 % 1000:03}/{number:09}"
            for number in numbers]


def fill(folder: Path, count: int) -> ContainerApp:
    """A container server with one container a/c of `count` objects."""
    app = ContainerApp({"devices": str(folder), "mount_check": "false", "log_level": "CRITICAL",
                        "log_address": "/none"})
    name_hash = hash_path("a", "c")
    place = folder / f"sda/containers/0/{name_hash[-3:]}/{name_hash}"
    place.mkdir(parents=True)
    path = str(place / f"{name_hash}.db")
    ContainerBroker(path, "a", "c").initialize(_T, 0)
    with sqlite3.connect(path) as conn:
        # Counted and hashed row by row, ten million would take an hour.
        triggers = conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND"
                                " name LIKE 'object_insert%'").fetchall()
        for name, _ in triggers:
            conn.execute(f"DROP TRIGGER {name}")
        conn.executemany(
            "INSERT INTO object (name, created_at, size, content_type, etag) VALUES (?, ?, 4096,"
            " 'application/octet-stream', 'd41d8cd98f00b204e9800998ecf8427e')",
            ((name, _T) for name in names(count)))
        conn.execute("UPDATE policy_stat SET object_count = ?, bytes_used = ?",
                     (count, 4096 * count))
        for _, sql in triggers:
            conn.execute(sql)
    conn.close()
    return app


def ask(app: ContainerApp, query: str) -> tuple[int, float]:
    """(bytes, CPU seconds) of one page; the least of several tries, others are at work here."""
    seconds = []
    size = 0
    for _ in range(ROUNDS):
        env: dict[str, Any] = {
            "REQUEST_METHOD": "GET", "PATH_INFO": "/sda/0/a/c", "RAW_PATH_INFO": "/sda/0/a/c",
            "QUERY_STRING": f"format=json&limit={PAGE}&{query}", "SERVER_PROTOCOL": "HTTP/1.1"}
        begun = time.process_time()
        body = b"".join(app(env, lambda *_: None))
        seconds.append(time.process_time() - begun)
        size = len(body)
    return size, min(seconds)


def measure(count: int) -> dict[str, float]:
    """Label -> CPU milliseconds of each page of a container of so many objects."""
    with tempfile.TemporaryDirectory(prefix="snakestack-listing-") as folder:
        app = fill(Path(folder), count)
        found = {}
        for label, query in questions(count).items():
            size, seconds = ask(app, query)
            if not size:
                raise RuntimeError(f"{label}: nothing was listed")
            found[label] = 1000 * seconds
        return found


def run(count: int) -> str:
    """The table."""
    before = storage._secrets, storage_policy._policies
    storage.set_hash_secrets(b"", b"listing")
    storage_policy.set_policies(storage_policy.parse_policies({}))
    try:
        few, many = measure(FEW), measure(count)
    finally:
        storage._secrets, storage_policy._policies = before
    lines = [f"{f'CPU ms of a page of {PAGE}':<40}{f'{FEW:,}':>14}{f'{count:,}':>14}"]
    lines += [f"{label:<40}{few[label]:>14.2f}{many[label]:>14.2f}" for label in many]
    return "\n".join(lines)
