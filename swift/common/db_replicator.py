# SPDX-License-Identifier: Apache-2.0
"""The replicator of databases: makes every replica of an account or container hold the same rows.

A peer that has no such database gets the file; one that lacks many rows gets the file and merges
its own into it; else it gets the rows after the point up to which it is known to be in step.

A database that was in step with all its peers and was not written to since is looked at in full
only every tenth pass: a change anywhere else is pushed by whoever has it.
"""
from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from swift.common import db_connection, db_files, durable, left_over, node_client
from swift.common.concurrency import GreenPool, Semaphore, Timeout, run_in_thread
from swift.common.conf import config_float, config_int, config_true
from swift.common.daemon import DEVICES, PARTITIONS, Daemon, Option
from swift.common.db import Broker, Row, device_of
from swift.common.db_courier import Courier
from swift.common.devices import (
    Brake,
    Rsync,
    Selection,
    databases,
    is_local,
    local_addresses,
    mounted_devices,
)
from swift.common.exceptions import DatabaseConnectionError, LockTimeout
from swift.common.progress import HOUR, Progress
from swift.common.ring import Ring
from swift.common.timestamp import Timestamp

FULL_EVERY = 10
WAITING = 24                  # databases that may wait for an rsync beside those being worked on
Node = dict[str, Any]
Call = Callable[..., node_client.NodeAnswer]
_SYNC_ARGS = ("max_row", "hash", "id", "created_at", "put_timestamp", "delete_timestamp",
              "metadata")


class _DeviceOut(Exception):
    """The peer's device is not mounted."""


class DbReplicator(Daemon):
    """Base of the account and the container replicator.

    Options: devices, mount_check, swift_dir, bind_ip, ring_ip, bind_port, interval, concurrency,
    databases_per_second, per_diff, max_diffs, reclaim_age, node_timeout, conn_timeout, rsync_*
    and those of `Selection`.
    """

    broker_class: type[Broker] = Broker
    datadir = ""
    kind = ""
    default_port = 0
    more_sync_args: tuple[str, ...] = ()
    options: tuple[Option, ...] = (DEVICES, PARTITIONS)

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.interval = config_float(conf, "interval", config_float(conf, "run_pause", 30))
        self.devices = conf.get("devices", "/srv/node")
        self.mount_check = config_true(conf.get("mount_check", "true"))
        self.swift_dir = conf.get("swift_dir", "/etc/swift")
        self.concurrency = config_int(conf, "concurrency", 8, 1)
        self.brake = Brake(config_float(conf, "databases_per_second", 100))
        self.per_diff = config_int(conf, "per_diff", 1000, 1)
        self.max_diffs = config_int(conf, "max_diffs", 100, 1)
        self.reclaim_age = config_float(conf, "reclaim_age", 604800)
        self.node_timeout = config_float(conf, "node_timeout", 10)
        self.conn_timeout = config_float(conf, "conn_timeout", 0.5)
        self.addresses = local_addresses(conf)
        self.port = config_int(conf, "bind_port", self.default_port)
        self.courier = Courier(Rsync(conf, self.kind, self.default_port, self.logger),
                               Semaphore(self.concurrency))
        self.selection = Selection(conf)
        self.handoffs_only = config_true(conf.get("handoffs_only", "no"))
        delete = conf.get("handoff_delete", "auto")
        self.handoff_delete = 0 if delete == "auto" else config_int(conf, "handoff_delete", 0)
        self.pass_number = 0
        self._ring: Ring | None = None
        self._in_step: dict[str, tuple] = {}
        self.counts: dict[str, int] = {}

    @property
    def ring(self) -> Ring:
        """The ring of accounts or containers."""
        if self._ring is None:
            self._ring = Ring(self.swift_dir, ring_name=self.kind)
        return self._ring

    def run_once(self) -> None:
        """Look at every database of every local device once."""
        start = time.monotonic()
        self.counts = dict.fromkeys(("databases", "unchanged", "in_step", "rows", "rsyncs",
                                     "removed", "failures"), 0)
        local = {dev["device"]: dev["id"] for dev in self.ring.devs
                 if dev and is_local(dev, self.addresses, self.port)}
        pool = GreenPool(self.concurrency + WAITING)
        progress = Progress(self.logger, HOUR)
        for db_file, device, partition in databases(self.devices, self.datadir, self.mount_check,
                                                    self.logger):
            if device in local and self.selection.device(device) and \
                    self.selection.partition(partition):
                pool.spawn_n(self._replicate_logged, db_file, partition, local[device])
                self.brake.spend()
                progress.tell(f"Databases in this pass of {self.section}",
                              self.counts["databases"])
        pool.waitall()
        for device, path in mounted_devices(self.devices, self.mount_check, self.logger):
            if device in local:
                left_over.remove(f"{path}/tmp")
        self.pass_number += 1
        self.measure(attempts=self.counts["databases"], failures=self.counts["failures"],
                     no_changes=self.counts["unchanged"] + self.counts["in_step"],
                     rsyncs=self.counts["rsyncs"])
        busy = any(self.counts[name] for name in ("rows", "rsyncs", "removed", "failures"))
        self.logger.log(logging.INFO if busy else logging.DEBUG, "Replication pass: %s in %.2f s",
                        ", ".join(f"{count} {name}" for name, count in self.counts.items()),
                        time.monotonic() - start)

    def facts(self) -> dict[str, Any]:
        counts = self.counts
        return {"replication_stats": {
            "attempted": counts["databases"], "failure": counts["failures"],
            "success": max(0, counts["databases"] - counts["failures"]),
            "no_change": counts["unchanged"] + counts["in_step"], "diff": counts["rows"],
            "rsync": counts["rsyncs"], "remove": counts["removed"]}}

    def _replicate_logged(self, db_file: str, partition: str, device_id: int) -> None:
        with self.courier.turns:
            self.counts["databases"] += 1
            began = time.monotonic()
            try:
                self.replicate(db_file, partition, device_id)
            except (OSError, sqlite3.Error, ValueError, KeyError, TypeError,
                    DatabaseConnectionError, LockTimeout) as exc:
                self.counts["failures"] += 1
                self.logger.error("ERROR replicating %s: %s", db_file, exc)
            finally:
                self.took("timing", began)

    def replicate(self, db_file: str, partition: str, device_id: int) -> None:
        """Bring one database in step with its peers."""
        nodes = self.ring.get_part_nodes(int(partition))
        others = [node for node in nodes if node["id"] != device_id]
        belongs = len(others) < len(nodes)
        peers = tuple(node["id"] for node in others)
        turn = (self.pass_number + int(partition)) % FULL_EVERY == 0
        if belongs and self.handoffs_only:
            self.counts["unchanged"] += 1
            return
        if belongs and not turn and self._in_step.get(db_file) == (*db_files.look(db_file), peers):
            self.counts["unchanged"] += 1
            return
        try:
            self._replicate(db_file, partition, others, belongs, turn)
        finally:
            db_connection.forget(db_file)

    def _replicate(self, db_file: str, partition: str, others: list[Node], belongs: bool,
                   turn: bool) -> None:
        broker = self.broker_class(db_file, logger=self.logger)
        peers = tuple(node["id"] for node in others)
        if turn:
            now = time.time()
            old = Timestamp(max(0.0, now - self.reclaim_age)).internal
            broker.reclaim(old, str(int(now - self.reclaim_age)))
        info = broker.replication_info()
        results = self._to_all(broker, partition, info, others)
        self.measure(successes=sum(results))
        self.after_replication(broker, info, results)
        done = all(results)
        look = db_files.look(broker.db_file)
        if done and belongs:
            self._in_step[db_file] = (*look, peers)
            self.counts["in_step"] += 1
        else:
            self._in_step.pop(db_file, None)
        enough = done or bool(self.handoff_delete) and sum(results) >= self.handoff_delete
        if not belongs and enough and results and self.removable(broker) or \
                done and self._was_deleted(info) and self.reclaimable(broker):
            after = broker.replication_info()
            if (after["max_row"], after["hash"]) == (info["max_row"], info["hash"]):
                broker.remove_files()
                self.counts["removed"] += 1
                self.measure(**{f"removes.{os.path.basename(device_of(db_file))}": 1})

    def after_replication(self, broker: Broker, info: Row, results: list[bool]) -> None:
        """What else is to be done when a database, which was as `info` says, went to its peers."""

    def removable(self, broker: Broker) -> bool:
        """Whether a database that belongs elsewhere may go, once it is there."""
        return True

    def _was_deleted(self, info: Row) -> bool:
        """Whether it may be `reclaimable`, as far as `info` tells: most are not."""
        return info["status"] == "DELETED" or info["delete_timestamp"] > info["put_timestamp"]

    def reclaimable(self, broker: Broker) -> bool:
        """Whether the database was deleted long enough ago to go."""
        stat = broker.stat()
        return broker.stat_is_deleted(stat) and broker.empty() and \
            float(Timestamp(stat["delete_timestamp"])) < time.time() - self.reclaim_age

    def _to_all(self, broker: Broker, partition: str, info: Row, nodes: list[Node]
                ) -> list[bool]:
        """Bring each node in step; for each whether it is."""
        more = self.ring.get_more_nodes(int(partition))
        results = []
        attempts = list(nodes)
        while attempts:
            node = attempts.pop(0)
            try:
                results.append(self._to_node(broker, partition, info, node))
            except _DeviceOut:
                results.append(False)
                handoff = next(more, None)
                if handoff is not None and len(results) < 2 * len(nodes):
                    attempts.append(handoff)
            except (OSError, Timeout, ValueError, KeyError) as exc:
                results.append(False)
                self.counts["failures"] += 1
                self.logger.error("ERROR replicating %s to %s:%s/%s: %s", broker.db_file,
                                  node["ip"], node["port"], node["device"], exc)
        return results

    # -- one peer --------------------------------------------------------

    def _call(self, node: Node, partition: str, name_hash: str, op: str, *args: Any
              ) -> node_client.NodeAnswer:
        answer = node_client.request(
            node.get("replication_ip") or node["ip"],
            node.get("replication_port") or node["port"], "REPLICATE",
            node_client.path_of(node["device"], partition, name_hash),
            {"Content-Type": "application/json"}, json.dumps([op, *args]).encode(),
            self.conn_timeout, self.node_timeout)
        if answer.status == 507:
            raise _DeviceOut
        return answer

    def _to_node(self, broker: Broker, partition: str, info: Row, node: Node) -> bool:
        name_hash = os.path.basename(broker.db_dir)
        args = [info[name] for name in (*_SYNC_ARGS, *self.more_sync_args)]
        answer = self._call(node, partition, name_hash, "sync", *args)
        if answer.status == 404:
            return self._send_file(broker, partition, name_hash, node, "complete_rsync")
        if answer.status // 100 != 2:
            raise OSError(f"sync answered {answer.status}")
        theirs = json.loads(answer.body)
        decided = self.after_answer(broker, info, theirs, partial(
            self._call, node, partition, name_hash))
        if decided is not None:
            return decided
        point = theirs["point"]
        if point < info["max_row"]:
            point = max(point, broker.sync_point(theirs["id"], incoming=False))
        if point >= info["max_row"]:
            return True
        if theirs["hash"] == info["hash"]:
            self.measure(hashmatches=1)
            broker.merge_syncs([{"remote_id": theirs["id"], "sync_point": info["max_row"]}],
                               incoming=False)
            return True
        missing = info["max_row"] - theirs["max_row"]
        if missing > self.per_diff and theirs["max_row"] < info["max_row"] / 2:
            self.measure(remote_merges=1)
            return self._send_file(broker, partition, name_hash, node, "rsync_then_merge")
        return self._send_rows(broker, partition, name_hash, node, info, theirs["id"], point)

    def after_answer(self, broker: Broker, info: Row, theirs: Row, call: Call) -> bool | None:
        """Take what else a peer's answer to `info` tells; `call` asks the peer more.

        None to go on with rows, else whether the two are in step without."""
        return None

    def _send_rows(self, broker: Broker, partition: str, name_hash: str, node: Node, info: Row,
                   remote_id: str, point: int) -> bool:
        self.measure(diffs=1)
        for _ in range(self.max_diffs):
            rows = broker.items_since(point, self.per_diff)
            if not rows:
                self._call(node, partition, name_hash, "merge_syncs", broker.syncs())
                broker.merge_syncs([{"remote_id": remote_id, "sync_point": point}],
                                   incoming=False)
                return True
            answer = self._call(node, partition, name_hash, "merge_items", rows, info["id"])
            if answer.status // 100 != 2:
                raise OSError(f"merge_items answered {answer.status}")
            self.counts["rows"] += len(rows)
            point = rows[-1]["ROWID"]
        self.measure(diff_caps=1)
        return False                          # much to do: the next pass goes on

    def _send_file(self, broker: Broker, partition: str, name_hash: str, node: Node, op: str
                   ) -> bool:
        """Copy the database as it is at one moment; the peer puts it in place."""
        self.counts["rsyncs"] += 1
        broker.commit_pending()
        info = broker.replication_info()
        folder = f"{device_of(broker.db_file)}/tmp/{uuid.uuid4().hex}.copy"
        copy = f"{folder}/{info['id']}"
        os.makedirs(folder)
        try:
            run_in_thread(_snapshot, broker.db_file, copy)
            if not self.courier.bring(copy, node):
                return False
        finally:
            durable.unlink_quietly(copy)
            durable.rmdir_quietly(folder)
        answer = self._call(node, partition, name_hash, op, info["id"],
                            os.path.basename(broker.db_file))
        if answer.status == 404:
            return False                      # another peer's came first: the next pass compares
        if answer.status // 100 != 2:
            raise OSError(f"{op} answered {answer.status}")
        return True


def _snapshot(db_file: str, target: str) -> None:
    """A copy of a database at one moment, whoever writes to it."""
    source = db_connection.connect_patiently(db_file)
    copy = db_connection.connect(target, create=True)
    try:
        copy.execute("PRAGMA synchronous = OFF")      # it is removed when it has been sent
        copy.execute("PRAGMA journal_mode = OFF")
        source.backup(copy)
    finally:
        copy.close()
        source.close()
