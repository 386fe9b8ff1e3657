# SPDX-License-Identifier: Apache-2.0
"""The object replicator: makes every replica of a partition hold the same.

For each partition here the hashes of its suffixes are compared with those of the other primaries
(REPLICATE); suffixes that differ are pushed, by rsync (and hashed anew over there) or by SSYNC. One
rsync takes what a device lacks of many partitions: to start one costs more than a hundred files. A
partition that does not belong here goes to its primaries, and is removed when all of them have it,
or as many as handoff_delete says.

A partition that was in step with all its peers and was not written to since is looked at in full
only every tenth pass: a change anywhere else is pushed by whoever has it.
"""
from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from swift.common.concurrency import GreenPool, Semaphore, Timeout
from swift.common.conf import config_int, config_true
from swift.common.daemon import DEVICES, PARTITIONS, POLICIES
from swift.common.devices import Rsync
from swift.common.exceptions import ConfigError
from swift.common.storage_policy import StoragePolicy
from swift.obj import hashes
from swift.obj.parcels import Handoff, Parcel
from swift.obj.ssync import SsyncError
from swift.obj.ssync_sender import Sender
from swift.obj.sweep import Node, PartitionSweep, address

FULL_EVERY = 10               # passes between two full looks at a partition that did not change


class ObjectReplicator(PartitionSweep):
    """Brings all replicas of every partition of this node into step.

    Options: handoffs_first, handoff_delete, sync_method (rsync or ssync), rsync_*,
    replicator_workers and those of `PartitionSweep`.
    """

    section = "object-replicator"
    workers_option = "replicator_workers"
    options = (DEVICES, PARTITIONS, POLICIES)
    verb = "replicating"
    at_once = 4                   # most of a partition's time is waiting for its peers
    counted = ("partitions", "unchanged", "suffixes", "rsyncs", "ssyncs", "failures", "removed")

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.handoffs_first = config_true(conf.get("handoffs_first", "false"))
        delete = conf.get("handoff_delete", "auto")
        self.handoff_delete = 0 if delete == "auto" else config_int(conf, "handoff_delete", 0)
        self.rsync = Rsync(conf, "object", 6200, self.logger)
        self.sync_method = conf.get("sync_method", "rsync")
        if self.sync_method not in ("rsync", "ssync"):
            raise ConfigError(f"sync_method: {self.sync_method!r} is neither rsync nor ssync")
        # Peers refuse more exchanges than their replication_concurrency, 4, of all nodes together.
        self._ssyncs = Semaphore(config_int(conf, "concurrency", 1, 1))
        self._in_step: dict[str, tuple] = {}         # partition directory -> what it looked like
        self._parcels: dict[tuple[str, int], Parcel] = {}   # by source and id of the target

    def is_mine(self, policy: StoragePolicy) -> bool:
        return policy.coding is None

    def batches(self, jobs: list[tuple]) -> Iterator[list[tuple]]:
        if not self.handoffs_first:
            yield jobs
            return
        handoffs = [job for job in jobs if not _belongs(job[0], job[4])]
        yield handoffs
        left = len(handoffs) - self.counts["removed"]
        if left:                                     # the disks are full: send them nothing more
            self.logger.warning("handoffs_first: %d of %d handoff partitions are still here, no "
                                "others are replicated in this pass", left, len(handoffs))
            return
        yield [job for job in jobs if _belongs(job[0], job[4])]

    def run_once(self) -> None:
        """Look at every partition of every local device once."""
        counted = self.sweep()
        level = logging.INFO if any(
            self.counts[name] for name in ("rsyncs", "ssyncs", "failures")) else logging.DEBUG
        self.logger.log(level, "Object replication pass: %s in %.2f s", ", ".join(counted),
                        self.pass_seconds)

    def facts(self) -> dict[str, Any]:
        counts = self.counts
        minutes = self.pass_seconds / 60
        return {"replication_time": minutes, "replication_last": time.time(), "replication_stats": {
            "attempted": counts["partitions"], "failure": counts["failures"],
            "success": max(0, counts["partitions"] - counts["failures"]),
            "hashmatch": counts["unchanged"], "remove": counts["removed"],
            "rsync": counts["rsyncs"] + counts["ssyncs"], "suffix_sync": counts["suffixes"]}}

    def work(self, device: Node, path: str, partition: str, policy: StoragePolicy,
             nodes: list[Node]) -> None:
        self.counts["partitions"] += 1
        part_dir = f"{path}/{policy.datadir}/{partition}"
        if _belongs(device, nodes):
            self._update(part_dir, partition, policy,
                         [node for node in nodes if node["id"] != device["id"]])
        else:
            self._hand_off(part_dir, partition, policy, nodes)

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
        ours = self.hashes_here(part_dir, policy, None, turn)
        more = self.ring(policy).get_more_nodes(int(partition))
        fine = True
        attempts = list(nodes)
        while attempts:
            node = attempts.pop(0)
            answer = self.hashes_of(node, partition, policy)
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
        ours = self.hashes_here(part_dir, policy, different)
        suffixes = [suffix for suffix in ours if ours[suffix] != theirs.get(suffix, -1)]
        if suffixes and self.sync_method == "ssync":
            self._push_by_ssync(part_dir, policy, node, suffixes)
        elif suffixes:
            self._pack(os.path.dirname(part_dir), partition, policy, node, suffixes)
        return ours

    def _pack(self, source: str, partition: str, policy: StoragePolicy, node: Node,
              suffixes: list[str], handoff: Handoff | None = None) -> None:
        """Have suffixes brought to a peer with others, at the end of the batch at the latest."""
        key = (source, node["id"])
        parcel = self._parcels.setdefault(key, Parcel(source, policy, node))
        parcel.add(partition, suffixes, handoff)
        if parcel.full():
            self._send(self._parcels.pop(key))

    def finish(self) -> None:
        """Send what is packed."""
        waiting, self._parcels = self._parcels, {}
        pool = GreenPool(self.concurrency)
        for parcel in waiting.values():
            pool.spawn_n(self._send, parcel)
        pool.waitall()

    def _send(self, parcel: Parcel) -> None:
        """Copy a parcel, and have the peer hash what came: most of it may have, if that failed."""
        copied = self._copy(parcel)
        noticed = set()
        for partition, suffixes in parcel.suffixes.items():
            if not self.came(parcel.node, partition, parcel.policy, suffixes):
                break                            # it is away, which costs no more than a pass
            noticed.add(partition)
        for partition, handoff in parcel.handoffs.items():
            if handoff.close(copied and partition in noticed):
                self._remove_logged(handoff)

    def _copy(self, parcel: Parcel) -> bool:
        """Copy a parcel by rsync; whether all of it arrived."""
        sources = [f"{parcel.source}/./{partition}/{suffix}"
                   for partition, suffixes in parcel.suffixes.items() for suffix in suffixes
                   if os.path.isdir(f"{parcel.source}/{partition}/{suffix}")]
        # Is the disk still mounted? rsync would fill what is below its mount point. And asked for
        # a suffix a peer makes the directories of an emptied device, which rsync may not.
        partition, suffixes = next(iter(parcel.suffixes.items()))
        if not sources or not self.came(parcel.node, partition, parcel.policy, suffixes[:1]):
            return False
        self.counts["suffixes"] += len(sources)
        self.counts["rsyncs"] += 1
        copied = self.rsync.copy(
            sources, self.rsync.target(parcel.node, f"{parcel.policy.datadir}/"), "--relative",
            "--no-implied-dirs", "--ignore-existing", "--exclude=.*.??????", "--links", "--perms",
            "--times")
        self.counts["failures"] += not copied
        return copied

    def _push_by_ssync(self, part_dir: str, policy: StoragePolicy, node: Node,
                       suffixes: list[str]) -> bool:
        self.counts["suffixes"] += len(suffixes)
        self.counts["ssyncs"] += 1
        sender = Sender(self.manager, self.logger, self.conn_timeout, self.node_timeout)
        try:
            with self._ssyncs:
                sender.sync(node, part_dir, policy, suffixes)
            return True
        except (SsyncError, OSError, Timeout) as exc:
            self.counts["failures"] += 1
            self.logger.error("ERROR SSYNC of %s to %s:%s/%s: %s", part_dir,
                              *address(node), node["device"],
                              exc or type(exc).__name__)
            return False

    # -- a partition that belongs elsewhere ------------------------------

    def _hand_off(self, part_dir: str, partition: str, policy: StoragePolicy,
                  nodes: list[Node]) -> None:
        """Bring all of it to its primaries; it goes from here when enough of them have it."""
        self._in_step.pop(part_dir, None)
        ours = self.hashes_here(part_dir, policy, listdir=True)
        handoff = Handoff(part_dir, ours, min(self.handoff_delete or len(nodes), len(nodes)))
        if not ours:
            self.remove(part_dir, ours)
            return
        for node in nodes:
            theirs = self.hashes_of(node, partition, policy)
            if not isinstance(theirs, dict):
                continue
            missing = [suffix for suffix in ours if ours[suffix] != theirs.get(suffix, -1)]
            if missing and self.sync_method == "rsync":
                self._pack(os.path.dirname(part_dir), partition, policy, node, missing, handoff)
            elif not missing or self._push_by_ssync(part_dir, policy, node, missing):
                handoff.safe += 1
        if handoff.close():
            self.remove(part_dir, ours)

    def _remove_logged(self, handoff: Handoff) -> None:
        try:
            self.remove(handoff.part_dir, handoff.hashes)
        except (OSError, Timeout) as exc:
            self.counts["failures"] += 1
            self.logger.error("ERROR removing %s: %s", handoff.part_dir, exc)


def _belongs(device: Node, nodes: list[Node]) -> bool:
    """Whether a device is one of a partition's primaries."""
    return any(node["id"] == device["id"] for node in nodes)
