# SPDX-License-Identifier: Apache-2.0
"""What a database server does for the replicators of its peers: the REPLICATE verb.

The body is a JSON list: the operation and its arguments. `sync` compares, `merge_items` and
`merge_syncs` bring rows, `complete_rsync` and `rsync_then_merge` put a file in place that rsync has
laid into the device's tmp directory.
"""
from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from swift.common import db_connection, disk_sync, durable
from swift.common.backend_server import Answer
from swift.common.db import Broker, Row
from swift.common.db_files import is_name
from swift.common.exceptions import DatabaseConnectionError
from swift.common.group_commit import sync_names
from swift.common.storage import is_hash, storage_directory

MakeBroker = Callable[[str], Broker]
_SYNC_FIELDS = ("max_row", "hash", "id", "created_at", "put_timestamp", "delete_timestamp",
                "metadata")


class ReplicatorRpc:
    """Answers REPLICATE for one kind of database."""

    def __init__(self, devices: Callable[[str], str], datadir: str,
                 make_broker: MakeBroker) -> None:
        self.device_path = devices
        self.datadir = datadir
        self.make_broker = make_broker

    def dispatch(self, device: str, partition: str, name_hash: str, body: bytes) -> Answer:
        """Do what the body says. 400 for what it cannot say."""
        try:
            op, *args = json.loads(body)
        except (ValueError, TypeError, RecursionError):
            raise Answer(400, "The body is not a list of an operation and its arguments") from None
        if not is_hash(name_hash) or not isinstance(op, str):
            raise Answer(400, "Not a hash, or not an operation")
        device_path = self.device_path(device)
        db_file = (f"{device_path}/{storage_directory(self.datadir, partition, name_hash)}/"
                   f"{name_hash}.db")
        handler = getattr(self, "op_" + op, None) if op.isidentifier() else None
        if handler is None:
            raise Answer(400, f"Unknown operation {op[:40]!r}")
        try:
            if op in ("rsync_then_merge", "complete_rsync"):
                return handler(device_path, db_file, args)
            broker = self.make_broker(db_file)
            if not broker.exists():
                # The peer sends the whole file now, and rsync makes no folder on its way.
                os.makedirs(f"{device_path}/tmp", exist_ok=True)
                return Answer(404, "No such database")
            return handler(broker, args)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
            raise Answer(400, f"Bad arguments of {op}: {exc}") from exc
        except DatabaseConnectionError:
            return Answer(404, "No such database")

    # -- operations ------------------------------------------------------

    def op_sync(self, broker: Broker, args: list[Any]) -> Answer:
        """Take the peer's times and metadata; how far we have its rows, and what we are."""
        remote = self._remote_info(args)
        info = broker.replication_info()
        times = (remote["created_at"], remote["put_timestamp"], remote["delete_timestamp"])
        metadata = self._remote_metadata(remote)
        # Most have it all, and each look at a database costs half of what all of this does.
        if not broker.has_times(info, *times) or \
                not broker.has_metadata(broker.metadata_of(info), metadata):
            broker.merge_timestamps(*times)
            broker.update_metadata(metadata)
            info = broker.replication_info()
        if self.after_sync(broker, info, remote):
            info = broker.replication_info()
        point = broker.sync_point(remote["id"])
        if remote["hash"] == info["hash"] and point < remote["max_row"]:
            broker.merge_syncs([{"remote_id": remote["id"], "sync_point": remote["max_row"]}])
            point = remote["max_row"]
        info["point"] = point
        return Answer(200, json.dumps(info), content_type="application/json")

    @staticmethod
    def _remote_info(args: list[Any]) -> Row:
        if len(args) < len(_SYNC_FIELDS):
            raise ValueError("too few")
        remote = dict(zip(_SYNC_FIELDS, args, strict=False))
        for name in ("created_at", "put_timestamp", "delete_timestamp", "id", "hash"):
            if not isinstance(remote[name], str):
                raise ValueError(f"{name} is no text")
        remote["max_row"] = int(remote["max_row"])
        if len(args) > len(_SYNC_FIELDS) + 2:         # containers; the ninth is a count
            remote["status_changed_at"] = str(args[7])
            remote["count"] = int(args[8])
            remote["storage_policy_index"] = int(args[9])
        return remote

    @staticmethod
    def _remote_metadata(remote: Row) -> dict[str, tuple[str, str]]:
        metadata = json.loads(remote["metadata"]) if remote["metadata"] else {}
        return {str(name): (str(value), str(stamp)) for name, (value, stamp) in metadata.items()}

    def after_sync(self, broker: Broker, info: Row, remote: Row) -> bool:
        """Take what else there is of the peer to take for a database that is as `info` says;
        whether that changed it."""
        return False

    def op_merge_items(self, broker: Broker, args: list[Any]) -> Answer:
        """Rows of a peer, and its id."""
        items, source = args[0], args[1]
        for item in items:
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise ValueError("a row has no name")
        broker.merge_items(items, source)
        return Answer(202)

    def op_merge_syncs(self, broker: Broker, args: list[Any]) -> Answer:
        """Sync points a peer knows of."""
        broker.merge_syncs([{"remote_id": str(point["remote_id"]),
                             "sync_point": int(point["sync_point"])} for point in args[0]])
        return Answer(202)

    def refuses_merge(self, ours: Broker) -> bool:
        """Whether a file of a peer's must not take the place of this database."""
        return False

    def before_replacement(self, ours: Broker, theirs: Broker) -> None:
        """What else of ours goes into the file that takes its place."""

    @staticmethod
    def _temp_file(device_path: str, args: list[Any]) -> str:
        name = args[0]
        if not isinstance(name, str) or "/" in name or name in ("", ".", ".."):
            raise ValueError("not the name of a file")
        return f"{device_path}/tmp/{name}"

    def op_complete_rsync(self, device_path: str, db_file: str, args: list[Any]) -> Answer:
        """A whole database has arrived where there was none."""
        temp = self._temp_file(device_path, args)
        if len(args) > 1:                  # a container's file may be named by an epoch
            if not isinstance(args[1], str) or not is_name(args[1], os.path.basename(db_file)[:-3]):
                raise ValueError("not the name of a database file of this hash")
            db_file = f"{os.path.dirname(db_file)}/{args[1]}"
        try:
            if not os.path.exists(db_file) and os.path.exists(temp):
                broker = self._unnamed(temp)
                broker.become_copy(args[0])
                if _place(temp, db_file):
                    return Answer(204)
        finally:
            durable.unlink_quietly(temp)
        return Answer(404, "Exists already, or nothing has arrived")

    def _unnamed(self, temp: str) -> Broker:
        """What has arrived and is nobody's database yet."""
        broker = self.make_broker(temp)
        broker.lasting = False
        return broker

    def op_rsync_then_merge(self, device_path: str, db_file: str, args: list[Any]) -> Answer:
        """A database far ahead of ours has arrived: our rows go into it and it takes our place."""
        temp = self._temp_file(device_path, args)
        try:
            ours, theirs = self.make_broker(db_file), self._unnamed(temp)
            if not ours.exists() or not os.path.exists(temp) or self.refuses_merge(ours):
                return Answer(404, "There is nothing to merge with, or nothing has arrived")
            self._replace(ours, theirs, args[0])
        finally:
            durable.unlink_quietly(temp)
        return Answer(204)

    def _replace(self, ours: Broker, theirs: Broker, remote_id: str) -> None:
        """Put `theirs`, a file that came from `remote_id`, with all of ours in place of `ours`."""
        temp, db_file = theirs.db_file, ours.db_file
        ours.commit_pending()
        point = -1
        while rows := ours.items_since(point, 1000):
            theirs.merge_items(rows)
            point = rows[-1]["ROWID"]
        stat = ours.stat()
        theirs.update_metadata({name: (pair[0], pair[1])
                                for name, pair in ours.metadata().items()})
        theirs.merge_timestamps(stat["created_at"], stat["put_timestamp"],
                                stat["delete_timestamp"])
        self.before_replacement(ours, theirs)
        theirs.become_copy(remote_id)
        db_connection.forget(db_file)
        _sync(temp, os.fsync)              # nobody else's turn: what he wrote to ours would be lost
        with durable.lock_path(os.path.dirname(db_file)):
            durable.rename(temp, db_file)


def _sync(path: str, sync: Callable[[int], None]) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        sync(fd)
    finally:
        os.close(fd)


def _place(temp: str, db_file: str) -> bool:
    """Give a file that is whole its name, durable when this returns; False if another has it.

    Others run while the disk works: of many files that arrive at a time each would wait for all.
    """
    _sync(temp, disk_sync.fsync)
    directory = os.path.dirname(db_file)
    parents = durable.make_dirs(directory)
    with durable.lock_path(directory):
        if os.path.exists(db_file):
            return False
        os.rename(temp, db_file)
        sync_names(directory, parents)
    return True
