# SPDX-License-Identifier: Apache-2.0
"""A container's database: one row per object, the newest of each name and storage policy."""
from __future__ import annotations

import sqlite3
from typing import Any

from swift.common.db import Row
from swift.common.listing import Query, walk
from swift.common.timestamp import Timestamp, decode_timestamps, encode_timestamps, is_normal
from swift.container import shard_table
from swift.container.schema import SCHEMA
from swift.container.shard_broker import ShardBroker

DATADIR = "containers"


class ContainerBroker(ShardBroker):
    """The database of one container."""

    db_type = "container"
    rows_table = "object"
    stat_table = "container_stat"
    info_table = "container_info"

    def schema(self) -> str:
        return SCHEMA

    def insert_stat(self, conn: sqlite3.Connection, put_timestamp: str,
                    policy_index: int) -> None:
        if not self.account or not self.container:
            raise ValueError("a container's database needs an account and a container")
        conn.execute(
            "INSERT INTO container_info (account, container, created_at, id, put_timestamp,"
            " status_changed_at, storage_policy_index) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self.account, self.container, Timestamp.now().internal, self.new_id(),
             put_timestamp, put_timestamp, policy_index))
        conn.execute("INSERT INTO policy_stat (storage_policy_index) VALUES (?)", (policy_index,))

    # -- rows in ---------------------------------------------------------

    def put_object(self, name: str, timestamp: str, size: int, content_type: str, etag: str,
                   deleted: int = 0, storage_policy_index: int = 0,
                   ctype_timestamp: str | None = None, meta_timestamp: str | None = None) -> None:
        """Take the row of an object."""
        self.put_record({
            "name": name, "created_at": timestamp, "size": size, "content_type": content_type,
            "etag": etag, "deleted": deleted, "storage_policy_index": storage_policy_index,
            "ctype_timestamp": ctype_timestamp, "meta_timestamp": meta_timestamp})

    def delete_object(self, name: str, timestamp: str, storage_policy_index: int = 0) -> None:
        """Take a row that says the object was deleted."""
        self.put_object(name, timestamp, 0, "application/deleted", "noetag", 1,
                        storage_policy_index)

    def make_pending(self, record: Row) -> tuple:
        return (record["name"], record["created_at"], record["size"], record["content_type"],
                record["etag"], record["deleted"], record["storage_policy_index"],
                record["ctype_timestamp"], record["meta_timestamp"])

    def load_pending(self, entry: tuple) -> Row:
        if not isinstance(entry, tuple) or not 6 <= len(entry) <= 9:
            raise ValueError("not the row of an object")
        name, created_at, size, content_type, etag, deleted, *more = entry
        policy, ctype, meta = (more + [0, None, None][len(more):])
        if not is_normal(created_at):
            decode_timestamps(created_at)
        if not all(isinstance(value, str) for value in (name, content_type, etag)):
            raise ValueError("a name, type or etag is no text")
        return {"name": name, "created_at": created_at, "size": int(size),
                "content_type": content_type, "etag": etag, "deleted": int(deleted),
                "storage_policy_index": int(policy), "ctype_timestamp": ctype,
                "meta_timestamp": meta}

    def merge_items(self, items: list[Row], source: str | None = None) -> None:
        def work(conn: sqlite3.Connection) -> None:
            self._merge(conn, items)
            if source is not None and items:
                self._merge_syncs(conn, [{"remote_id": source, "sync_point": max(
                    item["ROWID"] for item in items)}], "incoming_sync")
        self.write(work)

    @staticmethod
    def _merge(conn: sqlite3.Connection, items: list[Row]) -> None:
        existing = _existing_rows(conn, [item["name"] for item in items])
        gone: list[tuple[int]] = []
        fresh: dict[tuple[str, int], Row] = {}
        for item in items:
            key = (item["name"], item.get("storage_policy_index", 0))
            old = fresh.get(key) or existing.get(key)
            row = merge_row(item, old)
            if row is None:
                continue
            if key in existing:
                gone.append((existing.pop(key)["ROWID"],))
            fresh[key] = row
        conn.executemany("DELETE FROM object WHERE ROWID = ?", gone)
        conn.executemany(
            "INSERT INTO object (name, created_at, size, content_type, etag, deleted,"
            " storage_policy_index) VALUES (:name, :created_at, :size, :content_type, :etag,"
            " :deleted, :storage_policy_index)", list(fresh.values()))

    # -- what it is ------------------------------------------------------

    @staticmethod
    def stat_is_deleted(stat: Row) -> bool:
        return not stat["object_count"] and \
            Timestamp(stat["delete_timestamp"]) > Timestamp(stat["put_timestamp"])

    def empty(self) -> bool:
        """Whether no policy's row of it is that of a live object, in no file and in no shard."""
        def work(conn: sqlite3.Connection) -> bool:
            return conn.execute("SELECT 1 FROM policy_stat WHERE object_count > 0 LIMIT 1"
                                ).fetchone() is None
        if not self.read(work) or len(self.files) > 1 and not self.oldest().read(work):
            return False
        # Counts of shards reach only the root.
        return not (self.is_root() and self.sharding_initiated()) or self.usage()[0] <= 0

    def recreate(self, timestamp: str, policy_index: int) -> None:
        """Make a deleted container exist again, in this policy."""
        def work(conn: sqlite3.Connection) -> None:
            conn.execute("UPDATE container_info SET storage_policy_index = ?, status = ''",
                         (policy_index,))
            conn.execute("INSERT OR IGNORE INTO policy_stat (storage_policy_index) VALUES (?)",
                         (policy_index,))
            conn.execute("UPDATE container_info SET put_timestamp = ? WHERE put_timestamp < ?",
                         (timestamp, timestamp))
            self._update_status_changed_at(conn, timestamp)
        self.write(work)

    def set_policy_index(self, policy_index: int, timestamp: str) -> None:
        """Take over another replica's storage policy."""
        def work(conn: sqlite3.Connection) -> None:
            conn.execute("INSERT OR IGNORE INTO policy_stat (storage_policy_index) VALUES (?)",
                         (policy_index,))
            # Rows that were in the right policy until now have to be looked at again.
            conn.execute("UPDATE container_info SET storage_policy_index = ?,"
                         " status_changed_at = MAX(?, status_changed_at),"
                         " reconciler_sync_point = -1 WHERE storage_policy_index <> ?",
                         (policy_index, timestamp, policy_index))
        self.write(work)

    def misplaced_since(self, start: int, count: int) -> list[Row]:
        """Up to `count` rows after row number `start` that are of another policy than the
        container."""
        return self.read(lambda conn: [dict(row) for row in conn.execute(
            "SELECT * FROM object WHERE ROWID > ? AND storage_policy_index <> ("
            "SELECT storage_policy_index FROM container_info) ORDER BY ROWID LIMIT ?",
            (start, count))])

    def has_other_policies(self) -> bool:
        """Whether it ever held rows of another policy, or had another one itself."""
        return self.read(lambda conn: conn.execute("SELECT COUNT(*) FROM policy_stat"
                                                   ).fetchone()[0] > 1)

    def set_reconciler_point(self, point: int) -> None:
        """Note up to which row misplaced objects are in the reconciler's queue."""
        self.write(lambda conn: conn.execute(
            "UPDATE container_info SET reconciler_sync_point = ?", (point,)))

    def set_sync_points(self, first: int | None = None, second: int | None = None) -> None:
        """How far the rows are sent to where the container is synchronised to: by one node each,
        and seen to by all."""
        def work(conn: sqlite3.Connection) -> None:
            for number, point in ((1, first), (2, second)):
                if point is not None:
                    conn.execute(f"UPDATE container_info SET x_container_sync_point{number} = ?",
                                 (point,))
        self.write(work)

    def reported(self, stat: Row) -> None:
        """Note that the account servers know `stat`."""
        self.write(lambda conn: conn.execute(
            "UPDATE container_info SET reported_put_timestamp = ?, reported_delete_timestamp = ?,"
            " reported_object_count = ?, reported_bytes_used = ?",
            (stat["put_timestamp"], stat["delete_timestamp"], stat["object_count"],
             stat["bytes_used"])))

    def _reset_reported(self, conn: sqlite3.Connection) -> None:
        conn.execute(
            "UPDATE container_info SET reported_put_timestamp = '0',"
            " reported_delete_timestamp = '0', reported_object_count = 0, reported_bytes_used = 0")

    def _reclaim_rows(self, conn: sqlite3.Connection, age_timestamp: str) -> None:
        conn.execute("DELETE FROM object WHERE deleted = 1 AND created_at < ?", (age_timestamp,))
        shard_table.reclaim(conn, self.own_name(conn), age_timestamp)

    # -- rows for shards -------------------------------------------------

    def rows_in(self, lower: str, upper: str, since_row: int, deleted: int, limit: int
                ) -> list[Row]:
        """Rows of all policies whose names are above `lower`, up to and with `upper` (empty: no
        bound), by name."""
        conditions, values = ["deleted = ?", "ROWID > ?"], [deleted, since_row]
        if lower:
            conditions.append("name > ?")
            values.append(lower)                                  # type: ignore[arg-type]
        if upper:
            conditions.append("name <= ?")
            values.append(upper)                                  # type: ignore[arg-type]
        return self.read(lambda conn: [dict(row) for row in conn.execute(
            "SELECT ROWID, name, created_at, size, content_type, etag, deleted,"
            f" storage_policy_index FROM object WHERE {' AND '.join(conditions)}"
            " ORDER BY name LIMIT ?", [*values, limit])])

    def remove_rows(self, lower: str, upper: str, max_row: int) -> None:
        """Remove the rows of such names up to a row number."""
        self.write(lambda conn: conn.execute(
            "DELETE FROM object WHERE deleted IN (0, 1) AND ROWID <= ? AND name > ?"
            " AND (? = '' OR name <= ?)", (max_row, lower, upper, upper)))

    def upper_after(self, lower: str, count: int) -> str | None:
        """The name of the `count`th object above `lower`; None when there are fewer."""
        def work(conn: sqlite3.Connection) -> str | None:
            row = conn.execute("SELECT name FROM object WHERE deleted = 0 AND name > ?"
                               " ORDER BY name LIMIT 1 OFFSET ?", (lower, count - 1)).fetchone()
            return row[0] if row is not None else None
        return self.read(work)

    def tombstone_count(self) -> int:
        """How many rows say that an object was deleted."""
        return self.read(lambda conn: conn.execute(
            "SELECT COUNT(*) FROM object WHERE deleted = 1").fetchone()[0])

    # -- listing ---------------------------------------------------------

    def list_objects(self, query: Query, policy_index: int | None = None) -> list[Any]:
        """Rows (name, created_at, size, content_type, etag), or (name,) for what was folded."""
        def work(conn: sqlite3.Connection) -> list[Any]:
            index = policy_index
            if index is None:
                index = conn.execute("SELECT storage_policy_index FROM container_info"
                                     ).fetchone()[0]

            def fetch(where: str, arguments: list[Any], reverse: bool, limit: int) -> list[Any]:
                cursor = conn.cursor()
                cursor.row_factory = None
                return cursor.execute(
                    "SELECT name, created_at, size, content_type, etag FROM object"
                    f" WHERE {where + ' AND ' if where else ''} deleted = 0"
                    " AND storage_policy_index = ? ORDER BY name"
                    f"{' DESC' if reverse else ''} LIMIT ?", [*arguments, index, limit]).fetchall()

            return walk(fetch, query)
        return self.read(work)


def _existing_rows(conn: sqlite3.Connection, names: list[str]) -> dict[tuple[str, int], Row]:
    """Rows of these names, by name and policy."""
    found = {}
    for start in range(0, len(names), 500):
        part = names[start:start + 500]
        for row in conn.execute(
                "SELECT ROWID, name, created_at, size, content_type, etag, deleted,"
                " storage_policy_index FROM object WHERE deleted IN (0, 1) AND name IN"
                f" ({','.join('?' * len(part))})", part):
            found[row["name"], row["storage_policy_index"]] = dict(row)
    return found


def merge_row(item: Row, old: Row | None) -> Row | None:
    """The row that `item` and the stored one make together; None if `item` brings nothing new.

    Data, content type and metadata each have a time of their own, and each is decided by it.
    """
    if old is None and is_normal(item["created_at"]) and not item.get("ctype_timestamp") \
            and not item.get("meta_timestamp"):
        return {"storage_policy_index": 0, **item}
    data, ctype, meta = decode_timestamps(item["created_at"])
    if item.get("ctype_timestamp"):
        ctype = Timestamp(item["ctype_timestamp"])
    if item.get("meta_timestamp"):
        meta = Timestamp(item["meta_timestamp"])
    row = {"name": item["name"], "size": item["size"], "content_type": item["content_type"],
           "etag": item["etag"], "deleted": item["deleted"],
           "storage_policy_index": item.get("storage_policy_index", 0)}
    if old is not None:
        old_data, old_ctype, old_meta = decode_timestamps(old["created_at"])
        assert ctype and meta and old_ctype and old_meta
        if not (data > old_data or ctype > old_ctype or meta > old_meta):
            return None
        if not data > old_data:
            data = old_data
            for column in ("size", "etag", "deleted"):
                row[column] = old[column]
            row["content_type"] = _keep_bytes(row["content_type"], old["content_type"])
        if not ctype > old_ctype:
            ctype, row["content_type"] = old_ctype, old["content_type"]
        meta = max(meta, old_meta)
    row["created_at"] = encode_timestamps(data, ctype, meta)
    return row


def _keep_bytes(new: str, old: str) -> str:
    """A new content type with the size an old one carries: that belongs to the data."""
    _, found, size = old.partition(";swift_bytes=")
    if not found or "swift_bytes=" in new:
        return new
    return f"{new};swift_bytes={size.partition(';')[0]}"
