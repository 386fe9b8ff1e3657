# SPDX-License-Identifier: Apache-2.0
"""The container updater: tells account servers what containers hold."""
from __future__ import annotations

import logging
import os
import sqlite3
import time
from typing import Any

from swift.common import db_files, node_client
from swift.common.concurrency import GreenPool, Timeout
from swift.common.conf import config_float, config_int, config_rate, config_true
from swift.common.daemon import Daemon
from swift.common.db import Row
from swift.common.devices import Brake, databases
from swift.common.exceptions import DatabaseConnectionError, LockTimeout
from swift.common.progress import HOUR, Progress
from swift.common.ring import Ring
from swift.container.backend import DATADIR, ContainerBroker


class ContainerUpdater(Daemon):
    """Reports counts and sizes of containers that changed to their accounts.

    Options: devices, mount_check, swift_dir, interval, concurrency, containers_per_second,
    slowdown, account_suppression_time, node_timeout, conn_timeout.
    """

    section = "container-updater"

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.interval = config_float(conf, "interval", 300)
        self.devices = conf.get("devices", "/srv/node")
        self.mount_check = config_true(conf.get("mount_check", "true"))
        self.swift_dir = conf.get("swift_dir", "/etc/swift")
        self.concurrency = config_int(conf, "concurrency", 4, 1)
        self.brake = Brake(config_rate(conf, "containers_per_second"))
        self.suppression = config_float(conf, "account_suppression_time", 60)
        self.node_timeout = config_float(conf, "node_timeout", 3)
        self.conn_timeout = config_float(conf, "conn_timeout", 0.5)
        self._suppressed: dict[str, float] = {}
        self._seen: dict[str, tuple] = {}
        self._ring: Ring | None = None

    @property
    def account_ring(self) -> Ring:
        """The ring that says where accounts are."""
        if self._ring is None:
            self._ring = Ring(self.swift_dir, ring_name="account")
        return self._ring

    def run_once(self) -> None:
        """Report every container whose account does not know its latest."""
        now = time.monotonic()
        self._suppressed = {account: until for account, until in self._suppressed.items()
                            if until > now}
        pool = GreenPool(self.concurrency)
        progress = Progress(self.logger, HOUR)
        for seen, (db_file, _, _) in enumerate(databases(self.devices, DATADIR, self.mount_check,
                                                         self.logger)):
            progress.tell("Containers in this pass of the updater", seen)
            pool.spawn_n(self._process_logged, db_file)
            self.brake.spend()
        pool.waitall()

    def _process_logged(self, db_file: str) -> None:
        began = time.monotonic()
        try:
            if self._seen.get(db_file) == db_files.look(db_file):
                return
            if self.process(db_file):
                self._seen[db_file] = db_files.look(db_file)
        except FileNotFoundError:
            self._seen.pop(db_file, None)
        except (OSError, sqlite3.Error, DatabaseConnectionError, LockTimeout) as exc:
            self.logger.error("ERROR container update of %s: %s", db_file, exc)
        finally:
            self.took("timing", began)

    def process(self, db_file: str) -> bool:
        """Report one container if need be; whether its account now knows it."""
        broker = ContainerBroker(db_file, logger=self.logger, keep=False)
        stat = broker.stat()
        if stat["account"] in self._suppressed:
            return False
        if all(stat[name] == stat["reported_" + name] for name in (
                "put_timestamp", "delete_timestamp", "object_count", "bytes_used")):
            self.measure(no_changes=1)
            return True
        part, nodes = self.account_ring.get_nodes(stat["account"])
        pool = GreenPool(len(nodes) or 1)
        statuses = list(pool.imap(lambda node: self._send(node, part, stat), nodes))
        if sum(status // 100 == 2 for status in statuses) > len(nodes) // 2:
            broker.reported(stat)
            self.measure(successes=1)
            return True
        self.logger.error("ERROR account update of %s/%s failed: %s", stat["account"],
                          stat["container"], statuses)
        self._suppressed[stat["account"]] = time.monotonic() + self.suppression
        self.measure(failures=1)
        return False

    def _send(self, node: dict[str, Any], part: int, stat: Row) -> int:
        headers = {
            "X-Put-Timestamp": stat["put_timestamp"],
            "X-Delete-Timestamp": stat["delete_timestamp"],
            "X-Object-Count": str(stat["object_count"]),
            "X-Bytes-Used": str(stat["bytes_used"]),
            "X-Account-Override-Deleted": "yes",
            "X-Backend-Storage-Policy-Index": str(stat["storage_policy_index"]),
            "User-Agent": f"container-updater {os.getpid()}",
        }
        try:
            return node_client.request(
                node.get("replication_ip") or node["ip"],
                node.get("replication_port") or node["port"], "PUT",
                node_client.path_of(node["device"], part, stat["account"], stat["container"]),
                headers, b"", self.conn_timeout, self.node_timeout).status
        except (OSError, ValueError, Timeout) as exc:
            self.logger.error("ERROR account update to %s:%s/%s: %s", node["ip"], node["port"],
                              node["device"], exc)
            return 500
