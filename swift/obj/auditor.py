# SPDX-License-Identifier: Apache-2.0
"""The object auditor: reads what is stored and quarantines what is not what was stored.

ALL reads every byte, slowly; ZBF only looks for files whose size is not what their metadata says,
often (most corruption after a crash is a file of zero bytes). Both remove what an rsync that was
killed left beside an object.
"""
from __future__ import annotations

import json
import logging
import os
import re
import time
from dataclasses import replace
from typing import Any

from swift.common import durable
from swift.common.concurrency import GreenPool
from swift.common.conf import config_float, config_int, config_list, read_conf
from swift.common.daemon import DEVICES, DeviceDaemon, Option
from swift.common.devices import Brake, Selection, hash_dirs, mounted_devices
from swift.common.exceptions import (
    ConfigError,
    DiskFileCollision,
    DiskFileDeleted,
    DiskFileNotExist,
    DiskFileQuarantined,
    QuarantineRequest,
)
from swift.common.storage_policy import policies
from swift.obj.backend import DiskFile, Manager
from swift.obj.watchers import watchers_of

TEMPORARY = re.compile(r"\..+\.[A-Za-z0-9_]{6}\Z")      # as rsync calls what it has not finished
DAY = 86400.0


def rsync_patience(conf: dict[str, str]) -> float:
    """Seconds after which nobody writes to a file of rsync's any more: rsync_tempfile_timeout, or a
    quarter of an hour more than an rsync of the replicator of this node may take."""
    if conf.get("rsync_tempfile_timeout", "auto") != "auto":
        return config_float(conf, "rsync_tempfile_timeout", DAY)
    if "__file__" not in conf:
        return DAY
    replicator = read_conf(conf["__file__"], "object-replicator", required=False)
    return config_float(replicator, "rsync_timeout", 900) + 900


def read_sizes(conf: dict[str, str]) -> list[int]:
    """object_size_stats in order; ConfigError for what are no sizes."""
    try:
        return sorted(int(size) for size in config_list(conf.get("object_size_stats", "")))
    except ValueError:
        raise ConfigError("object_size_stats must be whole numbers, comma separated, not "
                          f"{conf['object_size_stats']!r}") from None


class ObjectAuditor(DeviceDaemon):
    """Reads stored objects over and over and quarantines what is broken.

    Options: files_per_second, bytes_per_second, zero_byte_files_per_second, zero_byte_fps,
    log_time, interval, concurrency (processes, among which the devices are divided),
    override_devices, object_size_stats, watchers, rsync_tempfile_timeout and those of `Manager`.
    """

    section = "object-auditor"
    options = (replace(DEVICES, text="only these devices, comma separated", once=False),
               Option(("-z", "--zero_byte_fps"), "zero_byte_fps",
                      "only the quick pass, at so many files a second"))

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.interval = config_float(conf, "interval", 30)
        self.manager = Manager(conf, self.logger)
        self.manager.keep_cache_size = 0             # what only we read need not stay in memory
        self.files_per_second = config_float(conf, "files_per_second", 20)
        self.bytes_per_second = config_float(conf, "bytes_per_second", 10000000)
        only_quick = config_float(conf, "zero_byte_fps", 0)
        self.zbf_per_second = only_quick or config_float(conf, "zero_byte_files_per_second", 50)
        self.modes = [*(() if only_quick else ("ALL",)), *(("ZBF",) if self.zbf_per_second else ())]
        self.selection = Selection(conf)
        # of each kind of pass their own: both run at the same time
        self.watchers = {mode: watchers_of(conf, self.logger) for mode in self.modes}
        self.patience = rsync_patience(conf)
        self.log_time = config_float(conf, "log_time", 3600)
        self.concurrency = config_int(conf, "concurrency", 1, 1)
        self.sizes = read_sizes(conf)
        self.quarantined = 0
        self._told: dict[str, float] = {}
        self.last: dict[str, Any] = {}

    def run_once(self) -> None:
        """One pass: all bytes of all objects, and beside it the quick one."""
        pool = GreenPool(2)
        for mode in self.modes:
            pool.spawn(self.audit_all, mode)
        pool.waitall()

    def facts(self) -> dict[str, Any]:
        return self.last

    # -- processes -------------------------------------------------------

    def local_devices(self) -> list[str]:
        """Devices of this node, if they are selected."""
        return sorted(name for name, _ in mounted_devices(self.manager.devices, False, self.logger)
                      if self.selection.device(name))

    def worker_count(self) -> int:
        return max(1, min(self.concurrency, len(self.local_devices())))

    # -- a pass ----------------------------------------------------------

    def audit_all(self, mode: str) -> dict[str, Any]:
        """Audit every object once in `mode`; counts of what was seen."""
        counts = {"passes": 0, "quarantined": 0, "errors": 0, "bytes": 0}
        by_size = {str(most): 0 for most in self.sizes} | {"OVER": 0}
        mine = self.shared_devices()
        start = reported = time.monotonic()
        files = Brake(self.zbf_per_second if mode == "ZBF" else self.files_per_second)
        volume = Brake(self.bytes_per_second)
        for watcher in self.watchers[mode]:
            watcher.start(mode)
        for policy in policies():
            for device, path in mounted_devices(self.manager.devices, self.manager.mount_check,
                                                self.logger):
                if device not in mine:
                    continue
                for hash_dir, _ in hash_dirs(path, policy.datadir):
                    began = time.monotonic()
                    try:
                        size = self._audit(hash_dir, path, policy, mode, counts, volume)
                        if size is not None and self.sizes:
                            by_size[self._class_of(size)] += 1
                    except OSError as exc:
                        counts["errors"] += 1
                        self.logger.error("ERROR auditing %s on %s: %s", hash_dir, device, exc)
                    self.took("timing", began)
                    files.spend()
                    if time.monotonic() - reported > self.log_time:
                        reported = time.monotonic()
                        self._report(mode, counts, reported - start)
        for watcher in self.watchers[mode]:
            watcher.end()
        self._report(mode, counts, time.monotonic() - start)
        if self.sizes:
            self.logger.info("Object audit (%s) sizes: %s", mode, json.dumps(by_size))
        self.last[f"object_auditor_stats_{mode}"] = {
            "audit_time": time.monotonic() - start, "bytes_processed": counts["bytes"],
            "errors": counts["errors"], "passes": counts["passes"],
            "quarantined": counts["quarantined"],
            "start_time": time.time() - (time.monotonic() - start)}
        self.quarantined += counts["quarantined"]
        self.measure(quarantines=counts["quarantined"], errors=counts["errors"])
        return counts

    def _class_of(self, size: int) -> str:
        """The least of object_size_stats that an object is not larger than."""
        return next((str(most) for most in self.sizes if size <= most), "OVER")

    def _audit(self, hash_dir: str, device_path: str, policy: Any, mode: str,
               counts: dict[str, int], volume: Brake) -> int | None:
        """The size of the object there; None when there is none, or none that is sound."""
        self._remove_left_over(hash_dir)
        diskfile = self.manager.diskfile_from_hash_dir(hash_dir, device_path, policy)
        try:
            with diskfile.open():
                counts["passes"] += 1
                if mode == "ALL" and not self._read(diskfile, counts, volume):
                    counts["quarantined"] += 1
                    return None
                for watcher in self.watchers[mode]:
                    try:
                        watcher.see_object(diskfile.metadata, diskfile.data_file)
                    except QuarantineRequest:
                        raise diskfile.found_broken(f"asked for by {watcher.name}") from None
                return diskfile.content_length
        except DiskFileQuarantined:
            counts["quarantined"] += 1
        except DiskFileCollision as exc:
            self.logger.error("ERROR %s", exc)
        except (DiskFileDeleted, DiskFileNotExist):
            pass
        return None

    def _remove_left_over(self, hash_dir: str) -> None:
        """Remove files of an rsync that ended before they did."""
        try:
            left = [name for name in os.listdir(hash_dir) if TEMPORARY.match(name)]
        except NotADirectoryError:
            return                                   # a file in its place: opening it quarantines
        for name in left:
            path = f"{hash_dir}/{name}"
            try:
                # Not by st_mtime: rsync sets the object's before it gives the file its name.
                old = time.time() - os.stat(path).st_ctime > self.patience
            except FileNotFoundError:
                continue                             # it has got its name just now
            if old:
                self.logger.info("Removing %s: left over by an rsync", path)
                durable.unlink_quietly(path)
                durable.rmdir_quietly(hash_dir)

    @staticmethod
    def _read(diskfile: DiskFile, counts: dict[str, int], volume: Brake) -> bool:
        """Read an open object; whether it is what was stored."""
        reader = diskfile.reader()
        for chunk in reader:
            counts["bytes"] += len(chunk)
            volume.spend(len(chunk))
        return not reader.broken

    def _report(self, mode: str, counts: dict[str, int], seconds: float) -> None:
        now = time.monotonic()
        news = counts["quarantined"] or counts["errors"] or \
            now - self._told.get(mode, -self.log_time) >= self.log_time
        if news:
            self._told[mode] = now
        self.logger.log(
            logging.INFO if news else logging.DEBUG,
            "Object audit (%s): %d passed, %d quarantined, %d errors, %d bytes in %.1f s", mode,
            counts["passes"], counts["quarantined"], counts["errors"], counts["bytes"], seconds)
