# SPDX-License-Identifier: Apache-2.0
"""The object replicator: makes every replica of a partition hold the same.

For each partition here the hashes of its suffixes are compared with those of the other primaries
(REPLICATE); suffixes that differ are pushed, by rsync (and hashed anew over there) or by SSYNC. A
partition that does not belong here goes to its primaries, and is removed when all of them have it.

A partition that was in step with all its peers and was not written to since is looked at in full
only every tenth pass: a change anywhere else is pushed by whoever has it.
"""
from __future__ import annotations

import logging
import os
import random
import time
from pickle import UnpicklingError
from typing import Any

from swift.common import durable, node_client, safe_pickle
from swift.common.concurrency import GreenPool, Timeout, run_in_thread
from swift.common.conf import config_float, config_int, config_list, config_true
from swift.common.daemon import Daemon
from swift.common.devices import Rsync, is_local, local_addresses, mounted_devices, partitions
from swift.common.exceptions import ConfigError
from swift.common.ring import Ring
from swift.common.storage import is_suffix
from swift.common.storage_policy import StoragePolicy, policies
from swift.obj import hashes
from swift.obj.backend import Manager
from swift.obj.ssync import SsyncError
from swift.obj.ssync_sender import Sender

FULL_EVERY = 10               # passes between two full looks at a partition that did not change
LEFT_OVER_SECONDS = 86400
Node = dict[str, Any]


class ObjectReplicator(Daemon):
    """Brings all replicas of every partition of this node into step.

    Options: interval, concurrency, swift_dir, bind_ip, bind_port (replication_port), http_timeout,
    node_timeout, conn_timeout, handoffs_first, handoff_delete, sync_method (rsync or ssync),
    rsync_* and those of `Manager`.
    """

    section = "object-replicator"

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.interval = config_float(conf, "interval", config_float(conf, "run_pause", 30))
        self.manager = Manager(conf, self.logger)
        self.swift_dir = conf.get("swift_dir", "/etc/swift")
        self.concurrency = config_int(conf, "concurrency", 1, 1)
        self.http_timeout = config_float(conf, "http_timeout", 60)
        self.conn_timeout = config_float(conf, "conn_timeout", 0.5)
        self.handoffs_first = config_true(conf.get("handoffs_first", "false"))
        delete = conf.get("handoff_delete", "auto")
        self.handoff_delete = 0 if delete == "auto" else config_int(conf, "handoff_delete", 0)
        self.addresses = local_addresses(conf.get("bind_ip", "0.0.0.0"))
        self.port = config_int(conf, "bind_port", 6200)
        self.rsync = Rsync(conf, "object", 6200, self.logger)
        self.node_timeout = config_float(conf, "node_timeout", 10)
        self.sync_method = conf.get("sync_method", "rsync")
        if self.sync_method not in ("rsync", "ssync"):
            raise ConfigError(f"sync_method: {self.sync_method!r} is neither rsync nor ssync")
        self.only_devices = config_list(conf.get("override_devices", ""))
        self.pass_number = 0
        self.pass_seconds = 0.0
        self._rings: dict[int, Ring] = {}
        self._in_step: dict[str, tuple] = {}         # partition directory -> what it looked like
        self.counts: dict[str, int] = {}

    def ring(self, policy: StoragePolicy) -> Ring:
        """The ring of a policy."""
        if policy.index not in self._rings:
            self._rings[policy.index] = Ring(self.swift_dir, ring_name=policy.ring_name)
        return self._rings[policy.index]

    def run_once(self) -> None:
        """Look at every partition of every local device once."""
        start = time.monotonic()
        self.counts = dict.fromkeys(
            ("partitions", "unchanged", "suffixes", "rsyncs", "ssyncs", "failures", "removed"), 0)
        jobs = []
        mounted = dict(mounted_devices(self.manager.devices, self.manager.mount_check,
                                       self.logger))
        for policy in policies():
            if policy.policy_type == "replication":
                jobs += self._jobs(policy, mounted)
            for path in mounted.values():
                _remove_left_over(f"{path}/{policy.tmpdir}")
        random.shuffle(jobs)
        if self.handoffs_first:
            jobs.sort(key=lambda job: job[4])
        pool = GreenPool(self.concurrency)
        for job in jobs:
            pool.spawn_n(self._replicate_logged, *job)
        pool.waitall()
        self.pass_number += 1
        self.pass_seconds = time.monotonic() - start
        level = logging.INFO if any(
            self.counts[name] for name in ("rsyncs", "ssyncs", "failures")) else logging.DEBUG
        self.logger.log(level, "Object replication pass: %s in %.2f s",
                        ", ".join(f"{count} {name}" for name, count in self.counts.items()),
                        time.monotonic() - start)

    def facts(self) -> dict[str, Any]:
        counts = self.counts
        minutes = self.pass_seconds / 60
        return {"replication_time": minutes, "replication_last": time.time(), "replication_stats": {
            "attempted": counts["partitions"], "failure": counts["failures"],
            "success": max(0, counts["partitions"] - counts["failures"]),
            "hashmatch": counts["unchanged"], "remove": counts["removed"],
            "rsync": counts["rsyncs"] + counts["ssyncs"], "suffix_sync": counts["suffixes"]}}

    def _jobs(self, policy: StoragePolicy, mounted: dict[str, str]) -> list[tuple]:
        """(device path, partition, policy, other primaries, is primary) of each partition."""
        ring = self.ring(policy)
        jobs: list[tuple] = []
        devs = ring.devs                             # looks at the file first
        if ring.next_part_power:
            # Replicas are links to the same files until the relinker has cleaned up.
            self.logger.warning("The partition power of policy %r is being increased: not "
                                "replicated", policy.name)
            return jobs
        for dev in devs:
            if not dev or not is_local(dev, self.addresses, self.port) or \
                    dev["device"] not in mounted or \
                    (self.only_devices and dev["device"] not in self.only_devices):
                continue
            path = mounted[dev["device"]]
            for partition in partitions(path, policy.datadir):
                if int(partition) >= ring.partition_count:
                    self.logger.error("ERROR partition %s of %s is not in the ring", partition,
                                      path)
                    continue
                nodes = ring.get_part_nodes(int(partition))
                others = [node for node in nodes if node["id"] != dev["id"]]
                jobs.append((path, partition, policy, others, len(others) < len(nodes)))
        return jobs

    def _replicate_logged(self, path: str, partition: str, policy: StoragePolicy,
                          nodes: list[Node], primary: bool) -> None:
        self.counts["partitions"] += 1
        part_dir = f"{path}/{policy.datadir}/{partition}"
        try:
            if primary:
                self._update(part_dir, partition, policy, nodes)
            else:
                self._hand_off(part_dir, partition, policy, nodes)
        except (OSError, Timeout) as exc:
            self.counts["failures"] += 1
            self.logger.error("ERROR replicating %s: %s", part_dir, exc)

    # -- a partition that belongs here -----------------------------------

    @staticmethod
    def _look(part_dir: str) -> tuple | None:
        """What tells whether a partition was written to; None when a write waits to be hashed."""
        try:
            invalid = os.stat(f"{part_dir}/{hashes.INVALIDATIONS_FILE}").st_size
        except FileNotFoundError:
            invalid = 0
        try:
            stat = os.stat(f"{part_dir}/{hashes.HASH_FILE}")
        except FileNotFoundError:
            return None
        return None if invalid else (stat.st_mtime_ns, stat.st_ino)

    def _update(self, part_dir: str, partition: str, policy: StoragePolicy,
                nodes: list[Node]) -> None:
        known = self._in_step.get(part_dir)
        turn = (self.pass_number + int(partition)) % FULL_EVERY == 0
        look = self._look(part_dir)
        peers = tuple(node["id"] for node in nodes)
        if known is not None and look is not None and not turn and known == (*look, peers):
            self.counts["unchanged"] += 1
            return
        _, ours = run_in_thread(hashes.get_hashes, part_dir, None, turn,
                                self.manager.reclaim_age)
        more = self.ring(policy).get_more_nodes(int(partition))
        fine = True
        attempts = list(nodes)
        while attempts:
            node = attempts.pop(0)
            answer = self._hashes_of(node, partition, policy)
            if answer is None:
                fine = False
                handoff = next(more, None)       # its disk is out: keep a copy elsewhere meanwhile
                if handoff is not None and len(attempts) < len(nodes) * 2 and \
                        not node.get("is_handoff"):
                    attempts.append({**handoff, "is_handoff": True})
                continue
            if isinstance(answer, str):
                fine = False
                continue
            different = [suffix for suffix in ours if ours[suffix] != answer.get(suffix, -1)]
            if different:
                fine = False
                ours = self._push_different(part_dir, partition, policy, node, different, answer)
            elif set(answer) - set(ours):
                fine = False                     # it has more: it will push that to us
        look = self._look(part_dir)
        if fine and look is not None:
            self._in_step[part_dir] = (*look, peers)
        else:
            self._in_step.pop(part_dir, None)

    def _push_different(self, part_dir: str, partition: str, policy: StoragePolicy, node: Node,
                        different: list[str], theirs: dict[str, Any]) -> dict[str, Any]:
        """Hash again what differs (it may be our hash that is stale), push what still does."""
        _, ours = run_in_thread(hashes.get_hashes, part_dir, different, False,
                                self.manager.reclaim_age)
        suffixes = [suffix for suffix in ours if ours[suffix] != theirs.get(suffix, -1)]
        if suffixes and self._push(part_dir, partition, policy, node, suffixes) and \
                self.sync_method == "rsync":
            self._hashes_of(node, partition, policy, suffixes)
        return ours

    def _hashes_of(self, node: Node, partition: str, policy: StoragePolicy,
                   suffixes: list[str] | None = None) -> dict[str, Any] | str | None:
        """The hashes a peer has; None when its device is out, an error text when it fails."""
        path = node_client.path_of(node["device"], partition)
        if suffixes:
            path += "/" + "-".join(sorted(suffixes))
        host, port = node.get("replication_ip") or node["ip"], \
            node.get("replication_port") or node["port"]
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
            found = safe_pickle.loads(answer.body)
            if not isinstance(found, dict):
                raise UnpicklingError("no dictionary")
            return {key: value for key, value in found.items()
                    if isinstance(key, str) and is_suffix(key)}
        except (OSError, Timeout, UnpicklingError) as exc:
            self.counts["failures"] += 1
            self.logger.error("ERROR REPLICATE %s:%s%s: %s", host, port, path, exc)
            return str(exc) or "timeout"

    def _push(self, part_dir: str, partition: str, policy: StoragePolicy, node: Node,
              suffixes: list[str]) -> bool:
        """Bring a peer what is in suffix directories; whether all of it arrived."""
        if self.sync_method == "ssync":
            return self._push_by_ssync(part_dir, policy, node, suffixes)
        sources = [f"{part_dir}/{suffix}" for suffix in suffixes
                   if os.path.isdir(f"{part_dir}/{suffix}")]
        if not sources:
            return False
        self.counts["suffixes"] += len(sources)
        self.counts["rsyncs"] += 1
        target = self.rsync.target(node, f"{policy.datadir}/{partition}")
        for last in (False, True):
            if self.rsync.copy(sources, target, "--ignore-existing", "--exclude=.*.??????",
                               "--links", "--perms", "--times"):
                return True
            # Asked for these suffixes a peer makes the directories of an emptied device, which
            # rsync does not.
            if last or not isinstance(self._hashes_of(node, partition, policy, suffixes), dict):
                break
        self.counts["failures"] += 1
        return False

    def _push_by_ssync(self, part_dir: str, policy: StoragePolicy, node: Node,
                       suffixes: list[str]) -> bool:
        self.counts["suffixes"] += len(suffixes)
        self.counts["ssyncs"] += 1
        sender = Sender(self.manager, self.logger, self.conn_timeout, self.node_timeout)
        try:
            sender.sync(node, part_dir, policy, suffixes)
            return True
        except (SsyncError, OSError, Timeout) as exc:
            self.counts["failures"] += 1
            self.logger.error("ERROR SSYNC of %s to %s:%s/%s: %s", part_dir,
                              node.get("replication_ip") or node["ip"],
                              node.get("replication_port") or node["port"], node["device"],
                              exc or type(exc).__name__)
            return False

    # -- a partition that belongs elsewhere ------------------------------

    def _hand_off(self, part_dir: str, partition: str, policy: StoragePolicy,
                  nodes: list[Node]) -> None:
        """Push all of it to its primaries; remove it here when enough of them have it."""
        _, ours = run_in_thread(hashes.get_hashes, part_dir, None, True,
                                self.manager.reclaim_age)
        suffixes = list(ours)
        succeeded = 0
        for node in nodes:
            theirs = self._hashes_of(node, partition, policy)
            if not isinstance(theirs, dict):
                continue
            missing = [suffix for suffix in suffixes if ours[suffix] != theirs.get(suffix, -1)]
            if missing:
                if not self._push(part_dir, partition, policy, node, missing):
                    continue
                theirs = self._hashes_of(node, partition, policy, missing)
                if not isinstance(theirs, dict):
                    continue
            succeeded += 1
        needed = self.handoff_delete or len(nodes)
        if succeeded >= min(needed, len(nodes)):
            self._remove(part_dir, ours)
        self._in_step.pop(part_dir, None)

    def _remove(self, part_dir: str, pushed: dict[str, Any]) -> None:
        """Remove a partition that is safe elsewhere, unless something was written meanwhile."""
        with durable.lock_path(part_dir):
            try:
                if os.stat(f"{part_dir}/{hashes.INVALIDATIONS_FILE}").st_size:
                    return
            except FileNotFoundError:
                pass
            for suffix in os.listdir(part_dir):
                if is_suffix(suffix) and suffix not in pushed:
                    return
            run_in_thread(_remove_tree, part_dir)
        self.counts["removed"] += 1


def _remove_left_over(directory: str) -> None:
    """Remove temporary files that whoever made them has been dead for a day to miss."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and \
                        time.time() - entry.stat().st_mtime > LEFT_OVER_SECONDS:
                    durable.unlink_quietly(entry.path)
    except FileNotFoundError:
        pass


def _remove_tree(part_dir: str) -> None:
    """Remove suffix directories, then what is left of the partition."""
    for base, directories, files in os.walk(part_dir, topdown=False):
        for name in files:
            durable.unlink_quietly(f"{base}/{name}")
        for name in directories:
            durable.rmdir_quietly(f"{base}/{name}")
    durable.rmdir_quietly(part_dir)
