# SPDX-License-Identifier: Apache-2.0
"""Going over all partitions of this node's devices, and asking peers for what they have of them.

The frame of daemons that keep object partitions in step: the replicator and the reconstructor.
"""
from __future__ import annotations

import abc
import logging
import os
import random
import time
from collections.abc import Iterator
from pickle import UnpicklingError
from typing import Any

from swift.common import durable, left_over, node_client, safe_pickle
from swift.common.concurrency import GreenPool, Timeout, run_in_thread
from swift.common.conf import config_float, config_int, config_port
from swift.common.daemon import DEVICES, PARTITIONS, DeviceDaemon, Option
from swift.common.devices import (
    Selection,
    is_local,
    local_addresses,
    mounted_devices,
    partitions,
)
from swift.common.progress import Progress
from swift.common.ring import Ring
from swift.common.storage import is_suffix
from swift.common.storage_policy import StoragePolicy, policies
from swift.obj import hashes
from swift.obj.backend import Manager

Node = dict[str, Any]


class PartitionSweep(DeviceDaemon):
    """Works on every partition of every local device, some at the same time.

    Options: interval, stats_interval, concurrency, swift_dir, bind_ip, ring_ip, bind_port
    (replication_port), http_timeout, node_timeout, conn_timeout, those of `Selection` and of
    `Manager`, and the number of worker processes, among which devices are divided. Subclasses say
    which policies are theirs and what is to be done with a partition.
    """

    verb = ""                     # for log lines: what failed
    at_once = 1                   # partitions, unless `concurrency` says otherwise
    counted: tuple[str, ...] = ()
    workers_option = ""           # of the configuration
    options: tuple[Option, ...] = (DEVICES, PARTITIONS)

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.interval = config_float(conf, "interval", config_float(conf, "run_pause", 30))
        self.stats_interval = config_float(conf, "stats_interval", 300)
        self.manager = Manager(conf, self.logger)
        self.swift_dir = conf.get("swift_dir", "/etc/swift")
        self.concurrency = config_int(conf, "concurrency", self.at_once, 1)
        self.http_timeout = config_float(conf, "http_timeout", 60)
        self.conn_timeout = config_float(conf, "conn_timeout", 0.5)
        self.node_timeout = config_float(conf, "node_timeout", 10)
        self.addresses = local_addresses(conf)
        self.port = config_port(conf, 6200)
        self.selection = Selection(conf)
        self.pass_number = 0
        self.pass_seconds = 0.0
        self.worked_on = 0
        self._rings: dict[int, Ring] = {}
        self.counts: dict[str, int] = {}

    @abc.abstractmethod
    def is_mine(self, policy: StoragePolicy) -> bool:
        """Whether partitions of a policy are this daemon's."""

    @abc.abstractmethod
    def work(self, device: Node, path: str, partition: str, policy: StoragePolicy,
             nodes: list[Node]) -> None:
        """Bring one partition of the device at `path` in step; `nodes` are its primaries."""

    def batches(self, jobs: list[tuple]) -> Iterator[list[tuple]]:
        """The jobs - arguments of `work` - of a pass; a batch begins when the last has ended."""
        yield jobs

    def finish(self) -> None:
        """What is left to be done when all partitions of a batch were worked on."""

    def ring(self, policy: StoragePolicy) -> Ring:
        """The ring of a policy."""
        if policy.index not in self._rings:
            ring = Ring(self.swift_dir, ring_name=policy.ring_name)
            policy.check_ring(ring.replica_count)
            self._rings[policy.index] = ring
        return self._rings[policy.index]

    def sweep(self) -> list[str]:
        """One pass; what was counted, as text."""
        start = time.monotonic()
        self.counts = dict.fromkeys(self.counted, 0)
        jobs: list[tuple] = []
        mine = self.shared_devices()
        mounted = {name: path for name, path in mounted_devices(
            self.manager.devices, self.manager.mount_check, self.logger) if name in mine}
        for policy in self.own_policies():
            jobs += self._jobs(policy, mounted)
        for policy in policies():
            for path in mounted.values():
                left_over.remove(f"{path}/{policy.tmpdir}")
        random.shuffle(jobs)
        pool = GreenPool(self.concurrency)
        progress = Progress(self.logger, self.stats_interval)
        self.worked_on = 0
        for batch in self.batches(jobs):
            for job in batch:
                pool.spawn_n(self._work_logged, *job)
                progress.tell(f"Partitions in this pass of {self.section}", self.worked_on,
                              len(jobs))
            pool.waitall()
            self.finish()
        self.pass_number += 1
        self.pass_seconds = time.monotonic() - start
        self.measure(**{"suffix.syncs": self.counts.get("suffixes", 0)})
        return [f"{count} {name}" for name, count in self.counts.items()]

    def own_policies(self) -> list[StoragePolicy]:
        """Those that are this daemon's, and selected."""
        return [policy for policy in policies()
                if self.is_mine(policy) and self.selection.policy(policy.index)]

    def local_devices(self) -> list[str]:
        """Devices of this node in the rings, if they are selected."""
        return sorted({dev["device"] for policy in self.own_policies()
                       for dev in self.ring(policy).devs
                       if dev and is_local(dev, self.addresses, self.port)
                       and self.selection.device(dev["device"])})

    def worker_count(self) -> int:
        wanted = config_int(self.conf, self.workers_option, 0) if self.workers_option else 0
        return max(1, min(wanted, len(self.local_devices())))

    def _jobs(self, policy: StoragePolicy, mounted: dict[str, str]) -> Iterator[tuple]:
        ring = self.ring(policy)
        devs = ring.devs                             # looks at the file first
        if ring.next_part_power:
            # Replicas are links to the same files until the relinker has cleaned up.
            self.logger.warning("The partition power of policy %r is being increased: not "
                                "replicated", policy.name)
            return
        for dev in devs:
            if not dev or not is_local(dev, self.addresses, self.port) or \
                    dev["device"] not in mounted:
                continue
            path = mounted[dev["device"]]
            for partition in filter(self.selection.partition, partitions(path, policy.datadir)):
                if int(partition) >= ring.partition_count:
                    self.logger.error("ERROR partition %s of %s is not in the ring", partition,
                                      path)
                    continue
                yield dev, path, partition, policy, ring.get_part_nodes(int(partition))

    def _work_logged(self, device: Node, path: str, partition: str, policy: StoragePolicy,
                     nodes: list[Node]) -> None:
        began = time.monotonic()
        what = "update" if any(node["id"] == device["id"] for node in nodes) else "delete"
        self.measure(**{f"partition.{what}.count.{device['device']}": 1})
        try:
            self.work(device, path, partition, policy, nodes)
        except (OSError, Timeout) as exc:
            self.counts["failures"] += 1
            self.logger.error("ERROR %s %s/%s/%s: %s", self.verb, path, policy.datadir, partition,
                              exc)
        finally:
            self.worked_on += 1
            self.took(f"partition.{what}.timing", began)

    # -- hashes ----------------------------------------------------------

    def hashes_here(self, part_dir: str, policy: StoragePolicy,
                    recalculate: list[str] | None = None, listdir: bool = False
                    ) -> dict[str, Any]:
        """suffix -> hash of a partition of ours."""
        hashed, found = run_in_thread(
            hashes.get_hashes, part_dir, recalculate, listdir, self.manager.reclaim_age,
            self.manager.diskfile_class(policy).hasher(self.manager, policy))
        self.measure(**{"suffix.hashes": hashed})
        return found

    def hashes_of(self, node: Node, partition: str, policy: StoragePolicy
                  ) -> dict[str, Any] | str | None:
        """The hashes a peer has; None when its device is out, an error text when it fails."""
        answer = self._ask(node, partition, policy)
        if not isinstance(answer, bytes):
            return answer
        try:
            found = safe_pickle.loads(answer)
            if not isinstance(found, dict):
                raise UnpicklingError("no dictionary")
        except UnpicklingError as exc:
            return self._failed(node, partition, exc)
        return {key: value for key, value in found.items()
                if isinstance(key, str) and is_suffix(key)}

    def came(self, node: Node, partition: str, policy: StoragePolicy, suffixes: list[str]) -> bool:
        """Tell a peer what suffixes are to be hashed anew; whether it took notice. It makes the
        partition's directory. (Ours answers with the hashes, OpenStack Swift's with nothing.)"""
        return isinstance(self._ask(node, partition, policy, suffixes), bytes)

    def _ask(self, node: Node, partition: str, policy: StoragePolicy,
             suffixes: list[str] | None = None) -> bytes | str | None:
        """A peer's answer to REPLICATE; None when its device is out, the error when it fails."""
        path = node_client.path_of(node["device"], partition)
        if suffixes:
            path += "/" + "-".join(sorted(suffixes))
        host, port = address(node)
        try:
            answer = node_client.request(
                host, port, "REPLICATE", path,
                {"X-Backend-Storage-Policy-Index": str(policy.index)}, b"",
                self.conn_timeout, self.http_timeout)
            if answer.status == 507:
                self.logger.error("ERROR %s:%s/%s is not mounted", host, port, node["device"])
                return None
            if answer.status != 200:
                raise OSError(f"answered {answer.status}")
            return answer.body
        except (OSError, Timeout) as exc:
            return self._failed(node, partition, exc)

    def _failed(self, node: Node, partition: str, exc: BaseException) -> str:
        self.counts["failures"] += 1
        self.logger.error("ERROR REPLICATE %s:%s/%s/%s: %s", *address(node), node["device"],
                          partition, exc)
        return str(exc) or "timeout"

    def remove(self, part_dir: str, pushed: dict[str, Any]) -> None:
        """Remove a partition that is safe elsewhere, unless it is not what was `pushed` by now."""
        with durable.lock_path(part_dir):
            try:
                if os.stat(f"{part_dir}/{hashes.INVALIDATIONS_FILE}").st_size:
                    return
            except FileNotFoundError:
                pass
            now = {name: value for name, value in hashes.read_hashes(part_dir).items()
                   if is_suffix(name)}
            listed = {name for name in os.listdir(part_dir) if is_suffix(name)}
            if now != pushed or listed - pushed.keys():
                return
            run_in_thread(_remove_tree, part_dir)
        self.counts["removed"] += 1


def address(node: Node) -> tuple[str, int]:
    """Where a peer takes replication."""
    return node.get("replication_ip") or node["ip"], node.get("replication_port") or node["port"]


def _remove_tree(part_dir: str) -> None:
    """Remove suffix directories, then what is left of the partition."""
    for base, directories, files in os.walk(part_dir, topdown=False):
        for name in files:
            durable.unlink_quietly(f"{base}/{name}")
        for name in directories:
            durable.rmdir_quietly(f"{base}/{name}")
    durable.rmdir_quietly(part_dir)
