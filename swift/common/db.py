# SPDX-License-Identifier: Apache-2.0
"""What the databases of containers and accounts have in common.

A row that comes in is first appended to `<db>.pending` (one write, no transaction) and merged with
all others that wait there before anything is read: hence a listing after a PUT shows it, while a
hundred PUTs cost one transaction. Merging twice changes nothing, so a crash in between is harmless.
"""
from __future__ import annotations

import base64
import errno
import json
import logging
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterable
from pickle import UnpicklingError
from typing import Any, TypeVar

from swift.common import db_connection, durable, safe_pickle
from swift.common.db_connection import is_corrupt
from swift.common.exceptions import DatabaseAlreadyExists, DatabaseConnectionError

T = TypeVar("T")
Row = dict[str, Any]
PENDING_CAP = 131072
NO_HASH = "0" * 32

SYNC_SCHEMA = "".join(f"""
CREATE TABLE {table} (
    remote_id TEXT UNIQUE,
    sync_point INTEGER,
    updated_at TEXT DEFAULT 0
);
CREATE TRIGGER {table}_insert AFTER INSERT ON {table}
BEGIN
    UPDATE {table} SET updated_at = STRFTIME('%s', 'NOW') WHERE ROWID = new.ROWID;
END;
CREATE TRIGGER {table}_update AFTER UPDATE ON {table}
BEGIN
    UPDATE {table} SET updated_at = STRFTIME('%s', 'NOW') WHERE ROWID = new.ROWID;
END;
""" for table in ("outgoing_sync", "incoming_sync"))


class MetadataTooLarge(ValueError):
    """Metadata that was to be stored would exceed a limit; the message says which."""


class Broker:
    """One database file. `db_type` is `container` or `account`, `rows_table` holds its rows.

    With `keep` false (daemons that visit every database once) the connection is closed after use.
    With `lasting` false nothing is synced, which is for a file whose name nobody knows yet.
    `busy_seconds` may be raised for what must not fail because others are at the file.
    """

    db_type = ""
    rows_table = ""                # object, container
    stat_table = ""                # container_stat (a view), account_stat
    info_table = ""                # where the single row of the stat really is
    kept_metadata: frozenset[str] = frozenset()     # names (lower case) that a deletion leaves

    def __init__(self, db_file: str, account: str | None = None, container: str | None = None,
                 logger: logging.Logger | None = None, keep: bool = True,
                 lock_timeout: float = 10) -> None:
        self.db_file = db_file
        self.pending_file = db_file + ".pending"
        self.db_dir = os.path.dirname(db_file)
        self.account = account
        self.container = container
        self.logger = logger or logging.getLogger("swift.db")
        self.keep = keep
        self.lasting = True
        self.lock_timeout = lock_timeout
        self.busy_seconds = db_connection.BUSY_SECONDS

    # -- access ----------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is a file."""
        return os.path.exists(self.db_file)

    def _run(self, work: Callable[[sqlite3.Connection], T], write: bool) -> T:
        try:
            if not self.lasting:
                return db_connection.run_unsynced(self.db_file, work, write)
            return db_connection.run(self.db_file, work, write, self.keep, self.busy_seconds)
        except (sqlite3.DatabaseError, DatabaseConnectionError) as exc:
            cause = exc.__cause__ if isinstance(exc, DatabaseConnectionError) else exc
            if cause is not None and is_corrupt(cause):
                if not self.lasting:      # it is in no directory of its own
                    raise DatabaseConnectionError(self.db_file, str(cause)) from cause
                target = self.quarantine(str(cause))
                raise DatabaseConnectionError(
                    self.db_file, f"{cause}; quarantined to {target}") from cause
            raise

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work(connection)` in a transaction that only reads, after merging pending rows."""
        self.commit_pending()
        return self._run(work, False)

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work(connection)` in a transaction; durable, if `lasting`, when it returns."""
        return self._run(work, True)

    def quarantine(self, reason: str) -> str:
        """Move the database's directory away; where it is now."""
        db_connection.forget(self.db_file)
        device = self.db_dir.rsplit("/", 4)[0]
        base = f"{device}/quarantined/{self.db_type}s"
        os.makedirs(base, exist_ok=True)
        target = f"{base}/{os.path.basename(self.db_dir)}"
        try:
            os.rename(self.db_dir, target)
        except FileNotFoundError:
            return target
        except OSError as exc:
            if exc.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            target = f"{target}-{uuid.uuid4().hex}"
            os.rename(self.db_dir, target)
        self.logger.error("ERROR quarantined %s to %s: %s", self.db_dir, target, reason)
        return target

    # -- creation --------------------------------------------------------

    def schema(self) -> str:
        """The SQL that makes the tables."""
        raise NotImplementedError

    def insert_stat(self, conn: sqlite3.Connection, put_timestamp: str,
                    policy_index: int) -> None:
        """Enter the single row of the stat table."""
        raise NotImplementedError

    def device_name(self) -> str:
        """The device the database is on, as its path says."""
        parts = self.db_file.split("/")
        return parts[-6] if len(parts) > 6 else ""

    def new_id(self) -> str:
        """An id no other database has."""
        return f"{uuid.uuid4()}-{self.device_name()}"

    def initialize(self, put_timestamp: str, policy_index: int = 0) -> None:
        """Make the file, whole or not at all. DatabaseAlreadyExists if someone was faster."""
        device = self.db_dir.rsplit("/", 4)[0]
        temp_dir = f"{device}/tmp"
        os.makedirs(temp_dir, exist_ok=True)
        temp = f"{temp_dir}/{uuid.uuid4().hex}.db"
        try:
            db_connection.create(temp, self.schema(), lambda conn: self.insert_stat(
                conn, put_timestamp, policy_index))
            changed = durable.make_dirs(self.db_dir)
            with durable.lock_path(self.db_dir, self.lock_timeout):
                if os.path.exists(self.db_file):
                    raise DatabaseAlreadyExists(self.db_file)
                durable.rename(temp, self.db_file)
            for directory in changed:
                durable.fsync_dir(directory)
        finally:
            durable.unlink_quietly(temp)

    # -- pending rows ----------------------------------------------------

    def make_pending(self, record: Row) -> tuple:
        """The tuple a row is in the pending file."""
        raise NotImplementedError

    def load_pending(self, entry: tuple) -> Row:
        """The row of such a tuple; ValueError or TypeError if it is none."""
        raise NotImplementedError

    def put_record(self, record: Row) -> None:
        """Take a row; it is in what any later read shows."""
        line = b":" + base64.b64encode(safe_pickle.dumps(self.make_pending(record)))
        with durable.lock_path(self.db_dir, self.lock_timeout):
            fd = os.open(self.pending_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                durable.write_all(fd, line)
                size = os.fstat(fd).st_size
            finally:
                os.close(fd)
        if size > PENDING_CAP:
            self.commit_pending()

    def commit_pending(self) -> None:
        """Merge the rows that wait in the pending file."""
        try:
            if os.stat(self.pending_file).st_size == 0:
                return
        except FileNotFoundError:
            return
        if not self.exists():
            raise DatabaseConnectionError(self.db_file, "DB doesn't exist")
        with durable.lock_path(self.db_dir, self.lock_timeout):
            try:
                with open(self.pending_file, "r+b") as pending:
                    records = list(self._parse_pending(pending.read()))
                    if records:
                        self.merge_items(records)
                    os.truncate(pending.fileno(), 0)
            except FileNotFoundError:
                return

    def _parse_pending(self, data: bytes) -> Iterable[Row]:
        for line in data.split(b":"):
            if not line:
                continue
            try:
                yield self.load_pending(safe_pickle.loads(base64.b64decode(line)))
            except (ValueError, TypeError, UnpicklingError) as exc:
                self.logger.error("ERROR invalid pending entry in %s: %s (%r)",
                                  self.pending_file, exc, line[:80])

    def merge_items(self, items: list[Row], source: str | None = None) -> None:
        """Merge rows, newest wins; note in incoming_sync how far we have those of `source`."""
        raise NotImplementedError

    # -- what it is ------------------------------------------------------

    def stat(self) -> Row:
        """The single row of the stat table."""
        def work(conn: sqlite3.Connection) -> Row:
            return dict(conn.execute(f"SELECT * FROM {self.stat_table}").fetchone())
        return self.read(work)

    @staticmethod
    def stat_is_deleted(stat: Row) -> bool:
        """Whether the stat row is that of something deleted."""
        raise NotImplementedError

    def is_deleted(self) -> bool:
        """Whether it was deleted, or is not there at all."""
        return not self.exists() or self.stat_is_deleted(self.stat())

    def empty(self) -> bool:
        """Whether it has no rows that are not deleted."""
        def work(conn: sqlite3.Connection) -> bool:
            return conn.execute(f"SELECT 1 FROM {self.rows_table} WHERE deleted = 0 LIMIT 1"
                                ).fetchone() is None
        return self.read(work)

    def delete_db(self, timestamp: str) -> None:
        """Mark it deleted as of `timestamp`, unless it was put later; metadata is cleared."""
        def work(conn: sqlite3.Connection) -> None:
            self._clear_metadata(conn, timestamp)
            conn.execute(
                f"UPDATE {self.stat_table} SET delete_timestamp = ?, status = 'DELETED',"
                " status_changed_at = ? WHERE delete_timestamp < ?",
                (timestamp, timestamp, timestamp))
        self.commit_pending()
        self.write(work)

    def _clear_metadata(self, conn: sqlite3.Connection, timestamp: str) -> None:
        row = conn.execute(f"SELECT metadata FROM {self.stat_table}").fetchone()
        metadata = json.loads(row[0]) if row[0] else {}
        for name, (_, stamp) in list(metadata.items()):
            if stamp < timestamp and name.lower() not in self.kept_metadata:
                metadata[name] = ["", timestamp]
        conn.execute(f"UPDATE {self.stat_table} SET metadata = ?", (_dump(metadata),))

    def update_put_timestamp(self, timestamp: str) -> None:
        """Raise put_timestamp to `timestamp`."""
        self.write(lambda conn: conn.execute(
            f"UPDATE {self.stat_table} SET put_timestamp = ? WHERE put_timestamp < ?",
            (timestamp, timestamp)))

    def update_status_changed_at(self, timestamp: str) -> None:
        """Raise status_changed_at to `timestamp`."""
        self.write(lambda conn: self._update_status_changed_at(conn, timestamp))

    def _update_status_changed_at(self, conn: sqlite3.Connection, timestamp: str) -> None:
        conn.execute(f"UPDATE {self.stat_table} SET status_changed_at = ?"
                     " WHERE status_changed_at < ?", (timestamp, timestamp))

    def merge_timestamps(self, created_at: str, put_timestamp: str, delete_timestamp: str) -> None:
        """Take the older creation and the newer put and delete; the status follows."""
        if self.has_times(self.stat(), created_at, put_timestamp, delete_timestamp):
            return                        # as nearly always, and a transaction costs three fsyncs

        def work(conn: sqlite3.Connection) -> None:
            before = dict(conn.execute(f"SELECT * FROM {self.stat_table}").fetchone())
            conn.execute(
                f"UPDATE {self.stat_table} SET created_at = MIN(?, created_at),"
                " put_timestamp = MAX(?, put_timestamp),"
                " delete_timestamp = MAX(?, delete_timestamp)",
                (created_at, put_timestamp, delete_timestamp))
            after = dict(conn.execute(f"SELECT * FROM {self.stat_table}").fetchone())
            deleted = after["delete_timestamp"] > after["put_timestamp"]
            status = "DELETED" if deleted else ""
            if before["status"] != status:
                conn.execute(f"UPDATE {self.stat_table} SET status = ?", (status,))
                self._update_status_changed_at(
                    conn, max(after["delete_timestamp"], after["put_timestamp"]))
        self.write(work)

    @staticmethod
    def has_times(stat: Row, created_at: str, put_timestamp: str, delete_timestamp: str) -> bool:
        """Whether what has this stat row would be the same after `merge_timestamps`."""
        return stat["created_at"] <= created_at and stat["put_timestamp"] >= put_timestamp and \
            stat["delete_timestamp"] >= delete_timestamp and \
            (stat["status"] == "DELETED") == (stat["delete_timestamp"] > stat["put_timestamp"])

    # -- metadata --------------------------------------------------------

    def metadata(self) -> dict[str, list[str]]:
        """Name -> [value, timestamp]; an empty value marks one that was removed."""
        return self.metadata_of(self.stat())

    @staticmethod
    def metadata_of(stat: Row) -> dict[str, list[str]]:
        """The metadata in a stat row."""
        return json.loads(stat["metadata"]) if stat.get("metadata") else {}

    @staticmethod
    def has_metadata(current: dict[str, list[str]], updates: dict[str, tuple[str, str]]) -> bool:
        """Whether what has this metadata would be the same after `update_metadata`."""
        return set(updates).issubset(current) and all(
            current[name][1] >= stamp for name, (_, stamp) in updates.items())

    def update_metadata(self, updates: dict[str, tuple[str, str]],
                        check: Callable[[dict[str, str]], None] | None = None) -> None:
        """Merge (value, timestamp) by name, newest wins.

        `check` gets all user-visible values that would result and may raise; then nothing changes.
        """
        if self.has_metadata(self.metadata(), updates):
            return

        def work(conn: sqlite3.Connection) -> None:
            row = conn.execute(f"SELECT metadata FROM {self.stat_table}").fetchone()
            metadata = json.loads(row[0]) if row[0] else {}
            for name, (value, stamp) in updates.items():
                if name not in metadata or stamp > metadata[name][1]:
                    metadata[name] = [value, stamp]
            if check is not None:
                check({name: value for name, (value, _) in metadata.items() if value})
            conn.execute(f"UPDATE {self.stat_table} SET metadata = ?", (_dump(metadata),))
        self.write(work)

    # -- replication -----------------------------------------------------

    def max_row(self) -> int:
        """The highest row number there ever was, -1 without any."""
        return self.read(self._max_row)

    def _max_row(self, conn: sqlite3.Connection) -> int:
        row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = ?",
                           (self.rows_table,)).fetchone()
        return row[0] if row is not None else -1

    def replication_info(self) -> Row:
        """What a peer needs to know: the stat row with hash, id, metadata, count and max_row."""
        def work(conn: sqlite3.Connection) -> Row:
            info = dict(conn.execute(f"SELECT * FROM {self.stat_table}").fetchone())
            info["max_row"] = self._max_row(conn)
            self._add_info(conn, info)
            return info
        info = self.read(work)
        info["count"] = info.pop("object_count" if self.rows_table == "object"
                                 else "container_count")
        return info

    def _add_info(self, conn: sqlite3.Connection, info: Row) -> None:
        """What else a peer needs to know of a kind of database."""

    def items_since(self, start: int, count: int) -> list[Row]:
        """Up to `count` rows after row number `start`."""
        def work(conn: sqlite3.Connection) -> list[Row]:
            return [dict(row) for row in conn.execute(
                f"SELECT * FROM {self.rows_table} WHERE ROWID > ? ORDER BY ROWID ASC LIMIT ?",
                (start, count))]
        return self.read(work)

    def sync_point(self, remote_id: str, incoming: bool = True) -> int:
        """Up to which row we are in step with the database `remote_id`; -1: not at all."""
        table = "incoming_sync" if incoming else "outgoing_sync"

        def work(conn: sqlite3.Connection) -> int:
            row = conn.execute(f"SELECT sync_point FROM {table} WHERE remote_id = ?",
                               (remote_id,)).fetchone()
            return row[0] if row is not None else -1
        return self.read(work)

    def syncs(self, incoming: bool = True) -> list[Row]:
        """All sync points."""
        table = "incoming_sync" if incoming else "outgoing_sync"
        return self.read(lambda conn: [dict(row) for row in conn.execute(
            f"SELECT remote_id, sync_point FROM {table}")])

    def merge_syncs(self, points: list[Row], incoming: bool = True) -> None:
        """Raise sync points to those given."""
        table = "incoming_sync" if incoming else "outgoing_sync"
        self.write(lambda conn: self._merge_syncs(conn, points, table))

    @staticmethod
    def _merge_syncs(conn: sqlite3.Connection, points: list[Row], table: str) -> None:
        for point in points:
            conn.execute(
                f"INSERT INTO {table} (sync_point, remote_id) VALUES (?, ?)"
                " ON CONFLICT (remote_id) DO UPDATE SET"
                " sync_point = MAX(excluded.sync_point, sync_point)",
                (point["sync_point"], point["remote_id"]))

    def become_copy(self, remote_id: str) -> None:
        """A file that came from `remote_id` gets an id of its own, in step with its origin."""
        def work(conn: sqlite3.Connection) -> None:
            max_row = self._max_row(conn)
            conn.execute(f"UPDATE {self.info_table} SET id = ?", (self.new_id(),))
            self._merge_syncs(conn, [{"sync_point": max_row, "remote_id": remote_id}],
                              "incoming_sync")
            self._reset_reported(conn)
        self.write(work)

    def _reset_reported(self, conn: sqlite3.Connection) -> None:
        """Forget what was reported on (containers only)."""

    def reclaim(self, age_timestamp: str, sync_timestamp: str) -> None:
        """Remove rows and metadata deleted before `age_timestamp`, and old sync points."""
        def work(conn: sqlite3.Connection) -> None:
            self._reclaim_rows(conn, age_timestamp)
            for table in ("outgoing_sync", "incoming_sync"):
                conn.execute(f"DELETE FROM {table} WHERE updated_at < ?", (sync_timestamp,))
            row = conn.execute(f"SELECT metadata FROM {self.stat_table}").fetchone()
            metadata = json.loads(row[0]) if row[0] else {}
            kept = {name: pair for name, pair in metadata.items()
                    if pair[0] != "" or pair[1] >= age_timestamp}
            if len(kept) != len(metadata):
                conn.execute(f"UPDATE {self.stat_table} SET metadata = ?", (_dump(kept),))
        self.commit_pending()
        self.write(work)

    def _reclaim_rows(self, conn: sqlite3.Connection, age_timestamp: str) -> None:
        raise NotImplementedError

    def remove_files(self) -> None:
        """Remove the database's directory from the disk, for good."""
        db_connection.forget(self.db_file)
        for name in os.listdir(self.db_dir):
            durable.unlink_quietly(f"{self.db_dir}/{name}")
        durable.rmdir_quietly(self.db_dir)
        durable.rmdir_quietly(os.path.dirname(self.db_dir))


def _dump(metadata: dict[str, list[str]]) -> str:
    return json.dumps(metadata)


def device_of(db_file: str) -> str:
    """The device directory of a database's path."""
    return db_file.rsplit("/", 5)[0]
