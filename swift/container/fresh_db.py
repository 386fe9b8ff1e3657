# SPDX-License-Identifier: Apache-2.0
"""From one database file to the next: a container that is sharded gets a fresh file, named by the
epoch, beside the one that retires; when all rows of that are in shards it is removed.

For the sharder only.
"""
from __future__ import annotations

import os
import sqlite3
import uuid

from swift.common import db_connection, durable
from swift.common.db import Broker
from swift.common.db_files import with_epoch
from swift.container import shard_table
from swift.container.backend import ContainerBroker
from swift.container.shard_broker import SHARDING, UNSHARDED
from swift.container.shard_table import Which


def begin_sharding(broker: ContainerBroker) -> bool:
    """Give the container a fresh file; False, and a warning, when its own range has no epoch or
    it is being sharded already."""
    epoch = broker.own_range().epoch
    state = broker.db_state()
    if not epoch or state != UNSHARDED:
        broker.logger.warning("%s cannot begin to shard: %s", broker.path,
                              f"it is {state}" if epoch else "its own range has no epoch")
        return False
    target = with_epoch(broker.db_file, epoch)
    temp = f"{broker.db_dir}/fresh{uuid.uuid4().hex}.db.tmp"
    try:
        _make(broker, temp)

        def prepare() -> str | None:
            if os.path.exists(target):
                return f"{target} is there already"
            _number_rows_from(temp, Broker._run(broker, broker._max_row, False))
            durable.rename(temp, target)
            return None
        return broker.swap_files(prepare)
    finally:
        durable.unlink_quietly(temp)


def _make(broker: ContainerBroker, temp: str) -> None:
    """A database like the broker's, without rows of objects."""
    stat = Broker.stat(broker)
    metadata, syncs = broker.metadata(), [(broker.syncs(True), "incoming_sync"),
                                          (broker.syncs(False), "outgoing_sync")]
    ranges = broker.shard_ranges(Which(deleted=True, own=True))
    fresh = ContainerBroker(temp, stat["account"], stat["container"], broker.logger, keep=False)
    fresh.db_dir = broker.db_dir

    def fill(conn: sqlite3.Connection) -> None:
        fresh.insert_stat(conn, stat["put_timestamp"], stat["storage_policy_index"])
        conn.execute("UPDATE container_info SET id = ?, created_at = ?, delete_timestamp = ?,"
                     " status = ?, status_changed_at = ?",
                     (broker.new_id(), stat["created_at"], stat["delete_timestamp"],
                      stat["status"], stat["status_changed_at"]))
        for points, table in syncs:
            fresh._merge_syncs(conn, points, table)
        shard_table.merge(conn, ranges)

    db_connection.create(temp, fresh.schema(), fill)
    fresh.update_metadata({name: (value, stamp) for name, (value, stamp) in metadata.items()})


def _number_rows_from(path: str, max_row: int) -> None:
    """Let row numbers go on where the retiring file's end: peers remember how far they have it."""
    if max_row < 1:
        return
    conn = db_connection.connect(path)
    try:
        conn.execute("BEGIN")
        conn.execute("DELETE FROM sqlite_sequence WHERE name = 'object'")
        conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('object', ?)", (max_row,))
        conn.execute("COMMIT")
    finally:
        conn.close()


def finish_sharding(broker: ContainerBroker, cleaved_to_row: int) -> bool:
    """Remove the retiring file, whose rows up to `cleaved_to_row` are in shards; False, and a
    warning, when it has got more or there is no fresh one."""
    if broker.db_state() != SHARDING:
        broker.logger.warning("%s cannot end to shard: it is %s", broker.path, broker.db_state())
        return False
    retiring = broker.oldest()

    def prepare() -> str | None:
        if Broker._run(retiring, retiring._max_row, False) != cleaved_to_row:
            return f"{retiring.db_file} has got more rows"
        db_connection.forget(retiring.db_file)
        os.unlink(retiring.db_file)
        durable.fsync_dir(broker.db_dir)
        return None
    return broker.swap_files(prepare) and len(broker.files) == 1
