# SPDX-License-Identifier: Apache-2.0
"""The object reconstructor: makes every node of an erasure coded partition hold its own fragments.

What the replicator is to replicated objects. A primary compares hashes with its two neighbours and
the node opposite in the ring's row, each of which should hold another fragment of the same objects;
what they lack is rebuilt and sent (sync). A fragment that does not belong here goes to the node it
belongs to, and from here (revert). All of it by SSYNC.
"""
from __future__ import annotations

import logging
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from swift.common import durable
from swift.common.concurrency import Timeout
from swift.common.conf import config_float, config_int, config_node_count, config_true
from swift.common.ec import Coding, set_checksum
from swift.common.storage_policy import StoragePolicy
from swift.obj.ec_backend import EcDiskFile
from swift.obj.ec_ssync import FragmentSender
from swift.obj.rebuild import Rebuilder, Solitude
from swift.obj.ssync import SsyncError, Version
from swift.obj.sweep import Node, PartitionSweep, address

Hashes = dict[str, dict[int | None, str]]


def partners(nodes: list[Node], at: int) -> list[Node]:
    """The primaries that the one at position `at` looks after: left, right and opposite."""
    count = len(nodes)
    found = [nodes[(at - 1) % count], nodes[(at + 1) % count], nodes[(at + count // 2) % count]]
    return [node for i, node in enumerate(found)
            if node is not nodes[at] and node not in found[:i]]


def different(ours: Hashes, index: int | None, theirs: dict[str, Any], target: int) -> list[str]:
    """Suffixes of which a peer does not hold what it should: the same state, and its fragment."""
    found = []
    for suffix, own in ours.items():
        other = theirs.get(suffix)
        if not isinstance(own, dict):
            continue
        if not isinstance(other, dict):
            other = {}
        if own.get(None) != other.get(None) or own.get(index) != other.get(target):
            found.append(suffix)
    return found


class ObjectReconstructor(PartitionSweep):
    """Rebuilds missing fragments and brings misplaced ones home.

    Options: handoffs_only, rebuild_handoff_node_count, max_objects_per_revert,
    quarantine_threshold, quarantine_age, request_node_count, reconstructor_workers and those of
    `PartitionSweep`.
    """

    section = "object-reconstructor"
    workers_option = "reconstructor_workers"
    verb = "reconstructing"
    counted = ("partitions", "suffixes", "syncs", "reverts", "sent", "failures", "removed")

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        set_checksum(conf)
        self.handoffs_only = config_true(conf.get("handoffs_only", "false"))
        self.handoff_count = config_int(conf, "rebuild_handoff_node_count", 2)
        self.max_objects = config_int(conf, "max_objects_per_revert", 0)
        self.solitude = Solitude(
            config_int(conf, "quarantine_threshold", 0),
            config_float(conf, "quarantine_age", self.manager.reclaim_age),
            config_node_count(conf))

    def is_mine(self, policy: StoragePolicy) -> bool:
        return policy.coding is not None

    def run_once(self) -> None:
        """Look at every partition of every local device once."""
        counted = self.sweep()
        level = logging.INFO if any(
            self.counts[name] for name in ("syncs", "reverts", "failures")) else logging.DEBUG
        self.logger.log(level, "Object reconstruction pass: %s in %.2f s", ", ".join(counted),
                        self.pass_seconds)

    def facts(self) -> dict[str, Any]:
        return {"object_reconstruction_stats": dict(self.counts)}

    def work(self, device: Node, path: str, partition: str, policy: StoragePolicy,
             nodes: list[Node]) -> None:
        coding = policy.coding
        assert coding is not None
        self.counts["partitions"] += 1
        part_dir = f"{path}/{policy.datadir}/{partition}"
        at = next((i for i, node in enumerate(nodes) if node["id"] == device["id"]), None)
        if at is not None and self.handoffs_only:
            return
        hashes: Hashes = self.hashes_here(part_dir, policy, listdir=True)
        if not hashes and at is None:
            self.remove(part_dir, hashes)
            return
        by_index, bare = _sorted_out(hashes)
        own = None if at is None else coding.index_of(nodes[at]["index"])
        if at is not None and own is not None:
            by_index.pop(own, None)
            self._sync(part_dir, partition, policy, nodes, at, own, hashes)
        for number, (index, suffixes) in enumerate(
                sorted(by_index.items(), key=lambda item: len(item[1]))):
            if at is None and number == 0:
                suffixes = suffixes + bare        # tombstones go along with what is to go anyway
            self._revert(part_dir, policy, coding, index, suffixes,
                         [n for n in nodes if coding.index_of(n["index"]) == index], at is None)
        if bare and at is None and not by_index:
            some = min(len(nodes), coding.replicas - coding.data + 1)
            self._revert(part_dir, policy, coding, None, bare, random.sample(nodes, some), True)

    # -- a partition that belongs here -----------------------------------

    def _sync(self, part_dir: str, partition: str, policy: StoragePolicy, nodes: list[Node],
              at: int, own: int, hashes: Hashes) -> None:
        coding = policy.coding
        assert coding is not None
        for partner in partners(nodes, at):
            target = coding.index_of(partner["index"])
            for node in self._standing_in(policy, partition, partner, target):
                theirs = self.hashes_of(node, partition, policy)
                if theirs is not None:            # None: its disk is out, somebody stands in
                    break
            if not isinstance(theirs, dict):
                continue
            suffixes = different(hashes, own, theirs, target)
            if suffixes:
                hashes = self.hashes_here(part_dir, policy, suffixes)
                suffixes = different(hashes, own, theirs, target)
            if suffixes:
                rebuild = Rebuilder(policy, self.ring(policy), partition, self.logger,
                                    self.conn_timeout, self.node_timeout, target, node,
                                    self.solitude)
                sender = FragmentSender(self.manager, self.logger, self.conn_timeout,
                                        self.node_timeout, own, target, rebuild=rebuild)
                self.counts["syncs"] += 1
                self._send(sender, node, part_dir, policy, suffixes)

    def _standing_in(self, policy: StoragePolicy, partition: str, partner: Node, target: int
                     ) -> Iterator[Node]:
        """The partner, then handoffs that would hold the same fragment."""
        assert policy.coding is not None
        yield partner
        left = self.handoff_count
        for node in self.ring(policy).get_more_nodes(int(partition)):
            if left <= 0:
                return
            if policy.coding.index_of(node["handoff_index"]) == target:
                left -= 1
                yield node

    def _send(self, sender: FragmentSender, node: Node, part_dir: str, policy: StoragePolicy,
              suffixes: list[str]) -> bool:
        """Whether the peer confirmed that it has everything."""
        self.counts["suffixes"] += len(suffixes)
        try:
            self.counts["sent"] += sender.sync(node, part_dir, policy, suffixes)
            return True
        except (SsyncError, OSError, Timeout) as exc:
            self.counts["failures"] += 1
            self.logger.error("ERROR SSYNC of %s to %s:%s/%s: %s", part_dir, *address(node),
                              node["device"], exc or type(exc).__name__)
            return False

    # -- fragments that belong elsewhere ---------------------------------

    def _revert(self, part_dir: str, policy: StoragePolicy, coding: Coding, index: int | None,
                suffixes: list[str], nodes: list[Node], handoff: bool) -> None:
        """Bring fragments `index` (None: tombstones) to all of `nodes`; then they go here."""
        self.counts["reverts"] += 1
        fine = bool(nodes)
        safe: dict[str, Version] | None = None
        for node in nodes:
            sender = FragmentSender(self.manager, self.logger, self.conn_timeout,
                                    self.node_timeout, index, coding.index_of(node["index"]),
                                    stray=True, limit=self.max_objects)
            fine = self._send(sender, node, part_dir, policy, suffixes) and fine
            # What came in between was offered to some of them only.
            safe = {name_hash: version for name_hash, version in sender.offered.items()
                    if safe is None or safe.get(name_hash) == version}
        if fine and safe:
            self._purge(part_dir, policy, safe, index, handoff)

    def _purge(self, part_dir: str, policy: StoragePolicy, safe: dict[str, Version],
               index: int | None, handoff: bool) -> None:
        """Remove here what is safe over there."""
        device_path = part_dir.rsplit("/", 2)[0]
        touched = set()
        for name_hash, version in safe.items():
            suffix_dir = f"{part_dir}/{name_hash[-3:]}"
            diskfile = self.manager.diskfile_from_hash_dir(f"{suffix_dir}/{name_hash}",
                                                           device_path, policy)
            assert isinstance(diskfile, EcDiskFile)
            try:
                data = [name for name in os.listdir(diskfile.datadir) if name.endswith(".data")]
            except FileNotFoundError:
                continue
            last = handoff and len(data) <= 1 and all(
                name.startswith(version.data.internal) for name in data)
            meta = version.meta if last and version.meta != version.data else None
            diskfile.purge(version.data, index,
                           0 if version.durable else self.manager.commit_window, meta)
            touched.add(suffix_dir)
        for suffix_dir in touched:
            durable.rmdir_quietly(suffix_dir)


def _sorted_out(hashes: Hashes) -> tuple[dict[int, list[str]], list[str]]:
    """(fragment index -> suffixes, suffixes without any fragment)."""
    by_index: dict[int, list[str]] = defaultdict(list)
    bare = []
    for suffix, found in hashes.items():
        indexes = [index for index in found if index is not None] \
            if isinstance(found, dict) else []
        for index in indexes:
            by_index[index].append(suffix)
        if not indexes:
            bare.append(suffix)
    return by_index, bare
