# SPDX-License-Identifier: Apache-2.0
"""The auditor of databases: opens each now and then, so that a broken one is found and moved away
while its replicas are still good."""
from __future__ import annotations

import logging
import sqlite3
import time
from typing import Any

from swift.common import db_connection
from swift.common.concurrency import run_in_thread
from swift.common.conf import config_float, config_true
from swift.common.daemon import Daemon
from swift.common.db import Broker
from swift.common.devices import Brake, databases
from swift.common.exceptions import DatabaseConnectionError, LockTimeout
from swift.common.progress import HOUR, Progress


class DbAuditor(Daemon):
    """Base of the account and the container auditor.

    Options: devices, mount_check, interval, accounts_per_second or containers_per_second.
    """

    broker_class: type[Broker] = Broker
    datadir = ""
    kind = ""

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.interval = config_float(conf, "interval", 1800)
        self.devices = conf.get("devices", "/srv/node")
        self.mount_check = config_true(conf.get("mount_check", "true"))
        self.brake = Brake(config_float(conf, f"{self.kind}s_per_second", 200))
        self.failures = 0
        self.last: dict[str, int] = {}

    def run_once(self) -> None:
        """Look into every database once."""
        start = time.monotonic()
        progress = Progress(self.logger, HOUR)
        passed = failed = 0
        for db_file, _, _ in databases(self.devices, self.datadir, self.mount_check, self.logger):
            began = time.monotonic()
            if self.audit(db_file):
                passed += 1
            else:
                failed += 1
            self.took("timing", began)
            self.brake.spend()
            progress.tell(f"Databases in this pass of {self.section}", passed + failed)
        self.failures += failed
        self.measure(passes=passed, failures=failed)
        self.last = {"passed": passed, "failed": failed, "since": int(time.time())}
        self.logger.info("%s audit: %d passed, %d failed in %.2f s", self.kind.capitalize(),
                         passed, failed, time.monotonic() - start)

    def facts(self) -> dict[str, Any]:
        return {f"{self.kind}_audits_{name}": count for name, count in self.last.items()}

    def audit(self, db_file: str) -> bool:
        """Whether a database can be read and is sound; a broken one is in quarantine afterwards."""
        broker = self.broker_class(db_file, logger=self.logger, keep=False)
        try:
            broker.stat()
            problem = run_in_thread(_check, db_file)
        except (DatabaseConnectionError, LockTimeout, sqlite3.Error, OSError, TypeError) as exc:
            if not broker.exists():
                return isinstance(exc, DatabaseConnectionError) and "quarantined" not in str(exc)
            self.logger.error("ERROR auditing %s: %s", db_file, exc)
            return False
        if problem:
            broker.quarantine(problem)
            return False
        return True


def _check(db_file: str) -> str:
    """What SQLite finds wrong with the file; nothing if it is sound."""
    conn = db_connection.connect_patiently(db_file)
    try:
        result = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
        return "" if result == "ok" else str(result)
    except sqlite3.DatabaseError as exc:
        return "" if db_connection.is_busy(exc) else str(exc)
    finally:
        conn.close()
