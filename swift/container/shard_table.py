# SPDX-License-Identifier: Apache-2.0
"""The table shard_range of a container's database: what `ContainerBroker` reads and merges there.

Functions take a connection within a transaction. Databases of older releases may lack the table,
or its last two columns: they read as if empty or unknown, and a writer adds them.
"""
from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from swift.common.shards import COLUMNS, COUNTED, ShardRange, merged
from swift.container.schema import SHARD_RANGE

_ADDED = {"reported": "INTEGER DEFAULT 0", "tombstones": "INTEGER DEFAULT -1"}
_ABSENT = {"reported": "0", "tombstones": "-1"}
_CHUNK = 500


@dataclass(slots=True)
class Which:
    """Which rows are wanted; by default all but the container's own and deleted ones.

    `marker` and `end_marker` leave out ranges wholly below or above; `includes` wants the range
    of one object's name.
    """

    marker: str = ""
    end_marker: str = ""
    includes: str | None = None
    states: Iterable[int] | None = None
    deleted: bool = False
    own: bool = False


def columns(conn: sqlite3.Connection) -> set[str]:
    """The columns the table has, none without a table."""
    return {row[1] for row in conn.execute("PRAGMA table_info(shard_range)")}


def _select(present: set[str]) -> str:
    return "SELECT " + ", ".join(
        name if name in present else f"{_ABSENT[name]} AS {name}" for name in COLUMNS
    ) + " FROM shard_range"


def ranges(conn: sqlite3.Connection, own_name: str, which: Which) -> list[ShardRange]:
    """The ranges wanted, sorted."""
    present = columns(conn)
    if not present:
        return []
    conditions, values = _conditions(own_name, which)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    found = [ShardRange(**row) for row in conn.execute(_select(present) + where, values)]
    found.sort(key=lambda shard: shard.sort_key)
    return found if which.includes is None else found[:1]


def _conditions(own_name: str, which: Which) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []

    def need(condition: str, *wanted: Any) -> None:
        conditions.append(condition)
        values.extend(wanted)
    if not which.deleted:
        need("deleted = 0")
    if not which.own:
        need("name <> ?", own_name)
    if which.states is not None:
        states = [int(state) for state in which.states]
        need(f"state IN ({','.join('?' * len(states))})", *states)
    if which.includes is not None:
        need("lower < ?", which.includes)
        need("(upper = '' OR upper >= ?)", which.includes)
    else:
        if which.end_marker:
            need("lower < ?", which.end_marker)
        if which.marker:
            need("(upper = '' OR upper > ?)", which.marker)
    return conditions, values


def own(conn: sqlite3.Connection, own_name: str) -> ShardRange | None:
    """The row of the container itself, deleted or not."""
    present = columns(conn)
    if not present:
        return None
    row = conn.execute(_select(present) + " WHERE name = ? LIMIT 1", (own_name,)).fetchone()
    return ShardRange(**row) if row is not None else None


def has_others(conn: sqlite3.Connection, own_name: str) -> bool:
    """Whether there is a range that is neither deleted nor the container's own."""
    return bool(columns(conn)) and conn.execute(
        "SELECT 1 FROM shard_range WHERE deleted = 0 AND name <> ? LIMIT 1",
        (own_name,)).fetchone() is not None


def usage(conn: sqlite3.Connection, own_name: str) -> tuple[int, int]:
    """(objects, bytes) of all shards that count."""
    if not columns(conn):
        return 0, 0
    states = sorted(int(state) for state in COUNTED)
    row = conn.execute(
        "SELECT COALESCE(SUM(object_count), 0), COALESCE(SUM(bytes_used), 0) FROM shard_range"
        f" WHERE state IN ({','.join('?' * len(states))}) AND deleted = 0 AND name <> ?",
        [*states, own_name]).fetchone()
    return row[0], row[1]


def merge(conn: sqlite3.Connection, incoming: Iterable[ShardRange]) -> int:
    """Merge ranges into the table; how many rows that changed."""
    _ensure(conn)
    new = list(incoming)
    known: dict[str, ShardRange] = {}
    for start in range(0, len(new), _CHUNK):
        names = [shard.name for shard in new[start:start + _CHUNK]]
        for row in conn.execute(f"SELECT {', '.join(COLUMNS)} FROM shard_range"
                                f" WHERE name IN ({','.join('?' * len(names))})", names):
            known[row["name"]] = ShardRange(**row)
    changed: dict[str, ShardRange] = {}
    for shard in new:
        result = merged(shard, changed.get(shard.name) or known.get(shard.name))
        if result is not None:
            changed[shard.name] = result
    conn.executemany("DELETE FROM shard_range WHERE name = ?",
                     [(name,) for name in changed if name in known])
    conn.executemany(
        f"INSERT INTO shard_range ({', '.join(COLUMNS)})"
        f" VALUES ({', '.join(':' + name for name in COLUMNS)})",
        [shard.row() for shard in changed.values()])
    return len(changed)


def _ensure(conn: sqlite3.Connection) -> None:
    present = columns(conn)
    if not present:
        for statement in SHARD_RANGE:
            conn.execute(statement)
        return
    for name, kind in _ADDED.items():
        if name not in present:
            conn.execute(f"ALTER TABLE shard_range ADD COLUMN {name} {kind}")


def reclaim(conn: sqlite3.Connection, own_name: str, age_timestamp: str) -> None:
    """Forget ranges deleted before `age_timestamp`, but never the container's own."""
    if columns(conn):
        conn.execute("DELETE FROM shard_range WHERE deleted = 1 AND timestamp < ? AND name <> ?",
                     (age_timestamp, own_name))


def max_row(conn: sqlite3.Connection) -> int:
    """The highest row number there ever was, -1 without any."""
    row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'shard_range'").fetchone()
    return row[0] if row is not None else -1
