# SPDX-License-Identifier: Apache-2.0
"""Connections to the SQLite files of containers and accounts, kept open between requests.

Opening a database and setting it up costs more than most requests do with it, so connections stay
open, the least recently used go first. A kept connection is good as long as the path still leads
to the same file. SQLite calls never switch green threads; waiting for another process's lock does.
"""
from __future__ import annotations

import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import md5
from typing import Any, TypeVar

from swift.common.concurrency import pause
from swift.common.exceptions import DatabaseConnectionError, LockTimeout

T = TypeVar("T")
MAX_KEPT = 48
BUSY_SECONDS = 25.0

_kept: OrderedDict[str, tuple[sqlite3.Connection, int, int]] = OrderedDict()


def chexor(old: str, name: str, timestamp: str) -> str:
    """The running hash of a table after a row came or went: md5(name-timestamp) XORed in."""
    if name is None:
        raise ValueError("name is None")
    new = md5(f"{name}-{timestamp}".encode("utf-8", "surrogateescape"), usedforsecurity=False)
    return f"{int(old, 16) ^ int.from_bytes(new.digest(), 'big'):032x}"


def connect(path: str, create: bool = False) -> sqlite3.Connection:
    """A connection as all code here expects it: rows by name, autocommit off, chexor known."""
    try:
        conn = sqlite3.connect(path if create else f"file:{_quote(path)}?mode=rw",
                               uri=not create, timeout=0, check_same_thread=False,
                               isolation_level=None, cached_statements=64)
        conn.row_factory = sqlite3.Row
        conn.create_function("chexor", 3, chexor, deterministic=True)
        conn.text_factory = _text
        conn.execute("PRAGMA synchronous = NORMAL")
        conn.execute("PRAGMA temp_store = MEMORY")
        conn.execute("PRAGMA cache_size = -1024")
    except sqlite3.Error as exc:
        raise DatabaseConnectionError(path, str(exc)) from exc
    return conn


def create(path: str, schema: str, fill: Callable[[sqlite3.Connection], object]) -> None:
    """Make the file `path` with the tables of `schema` and what `fill(connection)` enters.

    In one transaction, written and synced once: a statement at a time each table, index and
    trigger would cost three syncs, half a second for a container. A file that was not finished is
    left for the caller to remove; nobody must know its name until then.
    """
    conn = connect(path, create=True)
    try:
        conn.execute("PRAGMA journal_mode = MEMORY")
        conn.executescript(f"BEGIN;{schema}")
        fill(conn)
        conn.execute("COMMIT")
    finally:
        conn.close()


def connect_patiently(path: str, deadline: float | None = None) -> sqlite3.Connection:
    """`connect`, waiting while another process holds the file's lock; then LockTimeout."""
    if deadline is None:
        deadline = time.monotonic() + BUSY_SECONDS
    delay = 0.002
    while True:
        try:
            return connect(path)
        except DatabaseConnectionError as exc:
            if not isinstance(exc.__cause__, sqlite3.Error) or not is_busy(exc.__cause__):
                raise
            if time.monotonic() > deadline:
                raise LockTimeout(None, path) from exc
        pause(delay)
        delay = min(delay * 2, 0.1)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _quote(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def is_busy(exc: sqlite3.Error) -> bool:
    """Whether someone else holds the database's lock."""
    return isinstance(exc, sqlite3.OperationalError) and "locked" in str(exc)


def is_corrupt(exc: BaseException) -> bool:
    """Whether the file is no longer a good database."""
    text = str(exc)
    return isinstance(exc, sqlite3.DatabaseError) and any(words in text for words in (
        "malformed", "not a database", "disk I/O error", "no such table: container_stat",
        "no such table: account_stat"))


def _take(path: str, deadline: float) -> sqlite3.Connection:
    """A connection for the caller alone."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        raise DatabaseConnectionError(path, "DB doesn't exist") from None
    entry = _kept.pop(path, None)
    if entry is not None:
        conn, device, inode = entry
        if (device, inode) == (stat.st_dev, stat.st_ino):
            return conn
        conn.close()
    return connect_patiently(path, deadline)


def _give_back(path: str, conn: sqlite3.Connection) -> None:
    """Keep the connection for the next caller, unless there is one or the file is gone."""
    if path in _kept:
        conn.close()
        return
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        conn.close()
        return
    _kept[path] = (conn, stat.st_dev, stat.st_ino)
    while len(_kept) > MAX_KEPT:
        _, (old, _, _) = _kept.popitem(last=False)
        old.close()


def forget(path: str) -> None:
    """Close the kept connection to `path`, as before the file is moved or removed."""
    entry = _kept.pop(path, None)
    if entry is not None:
        entry[0].close()


def forget_all() -> None:
    """Close all (tests, and before a fork)."""
    while _kept:
        _kept.popitem()[1][0].close()


def run_unsynced(path: str, work: Callable[[sqlite3.Connection], T], write: bool) -> T:
    """`work(connection)` in one transaction of a file whose name nobody knows yet; its result.

    Nothing is synced: a crash leaves a file to be thrown away. Whoever gives it its name syncs it
    before.
    """
    conn = connect_patiently(path)
    try:
        conn.execute("PRAGMA synchronous = OFF")
        conn.execute("PRAGMA journal_mode = MEMORY")
        return _once(conn, work, write)
    finally:
        conn.close()


def run(path: str, work: Callable[[sqlite3.Connection], T], write: bool, keep: bool = True,
        timeout: float = BUSY_SECONDS) -> T:
    """`work(connection)` in one transaction; its result.

    Repeated while another process holds the lock, up to `timeout` seconds, then LockTimeout.
    `work` must not switch green threads. Errors of SQLite other than that pass through.
    """
    deadline = time.monotonic() + timeout
    conn = _take(path, deadline)
    good = False
    delay = 0.002
    try:
        while True:
            try:
                result = _once(conn, work, write)
                good = True
                return result
            except sqlite3.OperationalError as exc:
                if not is_busy(exc):
                    raise
                if time.monotonic() > deadline:
                    raise LockTimeout(None, path) from exc
            pause(delay)
            delay = min(delay * 2, 0.1)
    finally:
        if good and keep:
            _give_back(path, conn)
        else:
            conn.close()


def _once(conn: sqlite3.Connection, work: Callable[[Any], T], write: bool) -> T:
    conn.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        result = work(conn)
        conn.execute("COMMIT")
        return result
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
