# SPDX-License-Identifier: Apache-2.0
"""An account's database: one row per container, with what is in it as far as is known."""
from __future__ import annotations

import sqlite3
from typing import Any

from swift.account.schema import SCHEMA
from swift.common.db import Broker, Row
from swift.common.listing import Query, walk
from swift.common.timestamp import Timestamp

DATADIR = "accounts"
_COLUMNS = ("name", "put_timestamp", "delete_timestamp", "object_count", "bytes_used", "deleted",
            "storage_policy_index")


class AccountBroker(Broker):
    """The database of one account."""

    db_type = "account"
    rows_table = "container"
    stat_table = "account_stat"
    info_table = "account_stat"

    def schema(self) -> str:
        return SCHEMA

    def insert_stat(self, conn: sqlite3.Connection, put_timestamp: str,
                    policy_index: int) -> None:
        if not self.account:
            raise ValueError("an account's database needs an account")
        conn.execute(
            "INSERT INTO account_stat (account, created_at, id, put_timestamp,"
            " status_changed_at, container_count) VALUES (?, ?, ?, ?, ?, 0)",
            (self.account, Timestamp.now().internal, self.new_id(), put_timestamp, put_timestamp))

    # -- rows in ---------------------------------------------------------

    def put_container(self, name: str, put_timestamp: str, delete_timestamp: str,
                      object_count: int, bytes_used: int, storage_policy_index: int = 0) -> None:
        """Take the row of a container."""
        self.put_record({
            "name": name, "put_timestamp": put_timestamp, "delete_timestamp": delete_timestamp,
            "object_count": object_count, "bytes_used": bytes_used,
            "deleted": int(delete_timestamp > put_timestamp and not object_count),
            "storage_policy_index": storage_policy_index})

    def make_pending(self, record: Row) -> tuple:
        return tuple(record[column] for column in _COLUMNS)

    def load_pending(self, entry: tuple) -> Row:
        if not isinstance(entry, tuple) or not 6 <= len(entry) <= 7:
            raise ValueError("not the row of a container")
        row = dict(zip(_COLUMNS, (*entry, 0)[:7], strict=True))
        if not isinstance(row["name"], str):
            raise ValueError("a name is no text")
        for column in ("put_timestamp", "delete_timestamp"):
            Timestamp(row[column])
            row[column] = str(row[column])
        for column in ("object_count", "bytes_used", "deleted", "storage_policy_index"):
            row[column] = int(row[column])
        return row

    def merge_items(self, items: list[Row], source: str | None = None) -> None:
        def work(conn: sqlite3.Connection) -> None:
            for item in items:
                _merge_one(conn, item)
            if source is not None and items:
                self._merge_syncs(conn, [{"remote_id": source, "sync_point": max(
                    item["ROWID"] for item in items)}], "incoming_sync")
        self.write(work)

    # -- what it is ------------------------------------------------------

    @staticmethod
    def stat_is_deleted(stat: Row) -> bool:
        return stat["status"] == "DELETED" or (
            not stat["container_count"]
            and Timestamp(stat["delete_timestamp"]) > Timestamp(stat["put_timestamp"]))

    def policy_stats(self) -> list[Row]:
        """Counts per storage policy."""
        return self.read(lambda conn: [dict(row) for row in conn.execute(
            "SELECT storage_policy_index, container_count, object_count, bytes_used"
            " FROM policy_stat ORDER BY storage_policy_index")])

    def _reclaim_rows(self, conn: sqlite3.Connection, age_timestamp: str) -> None:
        conn.execute("DELETE FROM container WHERE deleted = 1 AND delete_timestamp < ?",
                     (age_timestamp,))

    def list_containers(self, query: Query) -> list[Any]:
        """Rows (name, object_count, bytes_used, put_timestamp, storage_policy_index), or (name,)
        for what was folded."""
        def work(conn: sqlite3.Connection) -> list[Any]:
            def fetch(where: str, arguments: list[Any], reverse: bool, limit: int) -> list[Any]:
                cursor = conn.cursor()
                cursor.row_factory = None
                return cursor.execute(
                    "SELECT name, object_count, bytes_used, put_timestamp, storage_policy_index"
                    f" FROM container WHERE {where + ' AND ' if where else ''} deleted = 0"
                    f" ORDER BY name{' DESC' if reverse else ''} LIMIT ?",
                    [*arguments, limit]).fetchall()
            return walk(fetch, query)
        return self.read(work)


def _merge_one(conn: sqlite3.Connection, item: Row) -> None:
    """Merge a row: times only grow, counts are those of the newer report."""
    row = {column: item.get(column, 0) for column in _COLUMNS}
    old = conn.execute(
        "SELECT ROWID, put_timestamp, delete_timestamp, object_count, bytes_used, deleted,"
        " storage_policy_index FROM container WHERE name = ? AND deleted IN (0, 1)",
        (row["name"],)).fetchone()
    if old is not None:
        if row["put_timestamp"] is None or old["put_timestamp"] > row["put_timestamp"]:
            row["put_timestamp"] = old["put_timestamp"]
        if row["delete_timestamp"] is None or old["delete_timestamp"] > row["delete_timestamp"]:
            row["delete_timestamp"] = old["delete_timestamp"]
        for column in ("object_count", "bytes_used"):
            if row[column] is None:
                row[column] = old[column]
    row["deleted"] = int(row["delete_timestamp"] > row["put_timestamp"]
                         and not row["object_count"])
    if old is not None:
        if all(old[column] == row[column] for column in _COLUMNS if column != "name"):
            return
        conn.execute("DELETE FROM container WHERE ROWID = ?", (old["ROWID"],))
    conn.execute(
        f"INSERT INTO container ({', '.join(_COLUMNS)})"
        f" VALUES ({', '.join(':' + column for column in _COLUMNS)})", row)
