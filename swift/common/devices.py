# SPDX-License-Identifier: Apache-2.0
"""What consistency daemons need to go over a node: its devices, what is on them, brakes, rsync."""
from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Iterator
from typing import Any

from swift.common.concurrency import Timeout, pause, subprocess
from swift.common.conf import config_float, config_int, config_list, config_port, config_true
from swift.common.storage import is_hash, is_suffix

ERROR_TEXT = 500              # characters of what an rsync says that are logged when it failed


def mounted_devices(root: str, mount_check: bool, logger: logging.Logger
                    ) -> list[tuple[str, str]]:
    """(name, directory) of the node's devices, in random order so that no one is always last."""
    try:
        names = [name for name in os.listdir(root) if os.path.isdir(f"{root}/{name}")]
    except OSError as exc:
        logger.error("ERROR devices: %s", exc)
        return []
    random.shuffle(names)
    found = []
    for name in names:
        path = f"{root}/{name}"
        if mount_check and not os.path.ismount(path):
            logger.warning("Skipping %s as it is not mounted", name)
            continue
        found.append((name, path))
    return found


def partitions(device_path: str, datadir: str) -> list[str]:
    """The partition directories below a device, in random order."""
    try:
        names = [name for name in os.listdir(f"{device_path}/{datadir}") if name.isdigit()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    random.shuffle(names)
    return names


def hash_dirs(device_path: str, datadir: str) -> Iterator[tuple[str, str]]:
    """(directory, partition) of each object or database on a device."""
    for partition in partitions(device_path, datadir):
        base = f"{device_path}/{datadir}/{partition}"
        for suffix in _listdir(base):
            if not is_suffix(suffix):
                continue
            for name in _listdir(f"{base}/{suffix}"):
                if is_hash(name):
                    yield f"{base}/{suffix}/{name}", partition


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def databases(root: str, datadir: str, mount_check: bool, logger: logging.Logger
              ) -> Iterator[tuple[str, str, str]]:
    """(file, device, partition) of each database of the node; of one with several files (a
    container that is being sharded) the newest."""
    for device, path in mounted_devices(root, mount_check, logger):
        for directory, partition in hash_dirs(path, datadir):
            name_hash = os.path.basename(directory)
            # A point sorts before the underscore in front of an epoch.
            names = sorted(name for name in _listdir(directory)
                           if name.startswith(name_hash) and name.endswith(".db"))
            if names:
                yield f"{directory}/{names[-1]}", device, partition


def local_addresses(conf: dict[str, str]) -> set[str]:
    """The addresses that are this host in the rings: ring_ip, which one in a container may need, or
    bind_ip, or, if that is any, all of its interfaces'."""
    if conf.get("ring_ip"):
        return {conf["ring_ip"]}
    bind_ip = conf.get("bind_ip", "0.0.0.0")
    if bind_ip not in ("", "0.0.0.0", "::", "*"):
        return {bind_ip}
    import psutil  # much to load for whom one address is bound
    return {address.address.partition("%")[0] for addresses in psutil.net_if_addrs().values()
            for address in addresses}


def is_local(node: dict[str, Any], addresses: set[str], port: int | None) -> bool:
    """Whether a ring's device is one of ours."""
    return node.get("replication_ip", node["ip"]) in addresses and \
        (port is None or node.get("replication_port", node["port"]) == port)


class Selection:
    """Which devices, partitions and storage policies a pass is about.

    Options: override_devices, override_partitions, override_policies, each a list; all without.
    """

    def __init__(self, conf: dict[str, str]) -> None:
        self._wanted = {kind: frozenset(config_list(conf.get(f"override_{kind}", "")))
                        for kind in ("devices", "partitions", "policies")}

    def device(self, name: str) -> bool:
        """Whether a device is among them, by its folder."""
        return not self._wanted["devices"] or name in self._wanted["devices"]

    def partition(self, number: str) -> bool:
        """Whether a partition is."""
        return not self._wanted["partitions"] or number in self._wanted["partitions"]

    def policy(self, index: int) -> bool:
        """Whether a storage policy is."""
        return not self._wanted["policies"] or str(index) in self._wanted["policies"]


class Brake:
    """Keeps a loop at `rate` units a second on average; 0 is no limit.

    A pause of less than a quarter of a second is saved up: waking costs more than it gives.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._due = 0.0

    def spend(self, units: float = 1) -> None:
        """Account for work just done and sleep if it was too much."""
        if not self.rate:
            return
        now = time.monotonic()
        self._due = max(self._due, now - 1) + units / self.rate
        if self._due - now > 0.25:
            pause(self._due - now)


class Rsync:
    """Copies files to another device by rsync.

    Options: rsync_module (with {replication_ip}, {replication_port}, {ip}, {port}, {device}, ...
    of the target; a plain directory copies locally), rsync_timeout, rsync_io_timeout,
    rsync_bwlimit, rsync_compress, log_rsync_transfers, rsync_error_log_line_length. Without
    rsync_module a device of this very node is written to where it is, so that a node alone needs
    no rsync daemon.
    """

    def __init__(self, conf: dict[str, str], kind: str, default_port: int,
                 logger: logging.Logger) -> None:
        self.logger = logger
        self.module = conf.get("rsync_module", "").rstrip("/")
        self.default_module = "{replication_ip}::" + kind
        self.devices = conf.get("devices", "/srv/node")
        self.addresses = local_addresses(conf)
        self.port = config_port(conf, default_port)
        self.timeout = config_float(conf, "rsync_timeout", 900)
        self.io_timeout = config_int(conf, "rsync_io_timeout", 30)
        self.bwlimit = conf.get("rsync_bwlimit", "0")
        self.compress = config_true(conf.get("rsync_compress", "no"))
        # As OpenStack Swift: databases are many and small.
        told = conf.get("log_rsync_transfers", "yes" if kind == "object" else "no")
        self.level = logging.INFO if config_true(told) else logging.DEBUG
        self.line_length = config_int(conf, "rsync_error_log_line_length", 0)

    def target(self, node: dict[str, Any], path: str) -> str:
        """The rsync address of `path` on a device."""
        module = self.module
        if not module and is_local(node, self.addresses, self.port):
            return f"{self.devices}/{node['device']}/{path}"
        values = {**node, "replication_ip": _bracket(node.get("replication_ip", node["ip"])),
                  "replication_port": node.get("replication_port", node["port"]),
                  "ip": _bracket(node["ip"])}
        return f"{(module or self.default_module).format(**values)}/{node['device']}/{path}"

    def copy(self, sources: list[str], target: str, *options: str) -> bool:
        """Copy; whether all of it arrived. What fails is logged."""
        args = ["rsync", "--recursive", "--whole-file", "--xattrs",
                f"--timeout={self.io_timeout}", f"--bwlimit={self.bwlimit}", *options]
        if "::" in target or target.startswith("rsync://"):
            args.append(f"--contimeout={self.io_timeout}")
        if self.compress:
            args.append("--compress")
        args += [*sources, target]
        process = None
        start = time.monotonic()
        try:
            with Timeout(self.timeout):
                process = subprocess.Popen(args, stdin=subprocess.DEVNULL,
                                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                output = process.communicate()[0].decode("utf-8", "replace").strip()
                code = process.returncode
        except Timeout:
            self.logger.error("ERROR rsync to %s took longer than %s s: killed", target,
                              self.timeout)
            return False
        except FileNotFoundError:
            self.logger.error("ERROR the program rsync is not installed")
            return False
        finally:
            if process is not None and process.returncode is None:
                process.kill()
                process.wait()
        if code:
            lines = [line[:self.line_length or None] for line in output[-ERROR_TEXT:].splitlines()]
            self.logger.error("ERROR rsync to %s ended with %d: %s", target, code,
                              "\n".join(lines))
        else:
            self.logger.log(self.level, "rsync of %d folders or files to %s took %.3f s",
                            len(sources), target, time.monotonic() - start)
        return code == 0


def _bracket(address: str) -> str:
    return f"[{address}]" if ":" in address else address
