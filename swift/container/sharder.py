# SPDX-License-Identifier: Apache-2.0
"""The container sharder: divides containers with many objects among shards, so that listings and
updates stay fast, and lets shards that have become small shrink into their neighbours.

For each container it looks after, in one pass: audit what it knows of shards; move rows that are
in the wrong database; where a container is to be divided, find ranges, make their containers and
cleave rows into them; tell the root what a shard holds.

The node that has a container's first replica decides (with `auto_shard`) what is divided and what
shrinks; the others follow what they hear of it.
"""
from __future__ import annotations

import logging
import os
import sqlite3
import time
from typing import Any
from urllib.parse import quote

from swift.common.conf import config_float, config_int
from swift.common.daemon import DEVICES, PARTITIONS, Option
from swift.common.db import Row
from swift.common.db_files import Idle, look
from swift.common.devices import databases
from swift.common.exceptions import DatabaseConnectionError, LockTimeout
from swift.common.progress import Progress
from swift.common.shards import CLEAVING, KNOWS_ITS_COUNT, ShardRange, State, now, top
from swift.container.backend import ContainerBroker
from swift.container.cleaving import Cleaver, complete
from swift.container.cleaving_context import all_contexts
from swift.container.fresh_db import begin_sharding
from swift.container.misplaced import move_misplaced
from swift.container.replicator import Place
from swift.container.shard_audit import audit
from swift.container.shard_broker import COLLAPSED, SHARDED, SHARDING, SYSMETA, UNSHARDED
from swift.container.shard_finder import find_ranges, make_ranges
from swift.container.shard_paths import compactible, may_shard, shrink
from swift.container.shard_peers import SHARDS_PREFIX, Counts, ShardPeers
from swift.container.shard_table import Which
from swift.container.sharder_conf import SharderConf

MEASURED = ("success", "failure", "completed", "found", "placed", "unplaced")
_SHOWN = (State.FOUND, State.CREATED, State.CLEAVED, State.ACTIVE)


class ContainerSharder(ShardPeers):
    """Divides large containers among shards and joins small shards.

    Options: those of the container replicator and of `ShardPeers`; shard_container_threshold,
    rows_per_shard, minimum_shard_size, shrink_threshold, expansion_limit, max_shrinking,
    max_expanding, auto_shard; shard_scanner_batch_size, cleave_batch_size, cleave_row_batch_size,
    stats_interval, recon_candidates_limit, recon_sharded_timeout, container_sharding_timeout.
    """

    section = "container-sharder"
    options = (DEVICES, PARTITIONS, Option(
        ("--no-auto-shard",), "auto_shard", "divide only what an operator has prepared",
        switch="false"))

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        super().__init__(conf, logger)
        self.sizes = SharderConf.of(conf)
        self.auto = self.sizes.auto_shard
        self.scan_batch = config_int(conf, "shard_scanner_batch_size", 10, 1)
        self.cleave_batch = config_int(conf, "cleave_batch_size", 2, 1)
        self.cleave_rows = config_int(conf, "cleave_row_batch_size", 10000, 1)
        self.most_shown = config_int(conf, "recon_candidates_limit", 5, -1)
        self.shown_seconds = config_float(conf, "recon_sharded_timeout", 43200)
        self.late_seconds = config_float(conf, "container_sharding_timeout", 172800)
        self.candidates: dict[str, list[Row]] = {}
        self.in_progress: list[Row] = []
        self.stats_interval = config_float(conf, "stats_interval", 3600)
        self._idle = Idle()

    def run_once(self) -> None:
        """Look at every container of the node once."""
        start = time.monotonic()
        self.sharding = Counts()
        self.candidates = {"sharding_candidates": [], "shrinking_candidates": []}
        self.in_progress = []
        self._idle.begin()
        self.counts = dict.fromkeys(("databases", "unchanged", "in_step", "rows", "rsyncs",
                                     "removed", "failures"), 0)
        by_name = {dev["device"]: dev for dev in self.local_nodes().values()}
        progress = Progress(self.logger, self.stats_interval)
        for seen, (db_file, device, partition) in enumerate(databases(
                self.devices, self.datadir, self.mount_check, self.logger)):
            progress.tell("Containers in this pass of the sharder", seen)
            if device in by_name and self.selection.device(device) and \
                    self.selection.partition(partition):
                self._visit(db_file, by_name[device], int(partition))
                self.brake.spend()
        self.measure(**{f"{what}_{outcome}": counts[outcome]
                        for what, counts in self.sharding.all.items()
                        for outcome in MEASURED if outcome in counts})
        visited = self.sharding.all["visited"]
        self.logger.log(logging.INFO if visited["attempted"] else logging.DEBUG,
                        "Sharding pass over %d containers in %.2f s: %s", visited["attempted"],
                        time.monotonic() - start, {what: dict(counts) for what, counts
                                                   in self.sharding.all.items()})

    # -- one container ---------------------------------------------------

    def _visit(self, db_file: str, device: Row, part: int) -> None:
        index = next((at for at, node in enumerate(self.ring.get_part_nodes(part))
                      if node["id"] == device["id"]), None)
        if self._is_idle(db_file):
            self.sharding.add("visited", "skipped")
            return
        broker = ContainerBroker(db_file, logger=self.logger, keep=False)
        visit = _Visit(self, broker, part, device["id"], index)
        error: Exception | None = None
        start = time.monotonic()
        try:
            looked = look(db_file)
            shown = visit.note_candidate()
            if not broker.sharding_enabled():
                self.sharding.add("visited", "skipped")
                if not shown:
                    self._idle.note(db_file, looked)
                return
            broker.keep = True             # there is more to read, and to write
            self.sharding.add("visited", "attempted")
            visit.run()
            self.sharding.add("visited", "success")
        except (OSError, sqlite3.Error, ValueError, KeyError, TypeError, DatabaseConnectionError,
                LockTimeout) as exc:
            error = exc
            self.sharding.add("visited", "failure")
            self.logger.exception("ERROR sharding %s", db_file)
        try:
            visit.note_progress(error, time.monotonic() - start)
        except (OSError, sqlite3.Error, ValueError, DatabaseConnectionError, LockTimeout) as exc:
            self.logger.error("ERROR noting the progress of %s: %s", db_file, exc)

    def _is_idle(self, db_file: str) -> bool:
        try:
            return self._idle.has(db_file)
        except OSError:
            return False                   # the visit meets it, too, and tells

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = {what: dict(counts) for what, counts in self.sharding.all.items()}
        for name, rows in self.candidates.items():
            key = "compactible_ranges" if name.startswith("shrinking") else "object_count"
            rows.sort(key=lambda row: row[key], reverse=True)
            found[name] = {"found": len(rows), "top": rows if self.most_shown < 0
                           else rows[:self.most_shown]}
        if self.in_progress:
            found["sharding_in_progress"] = {"all": self.in_progress}
        return {"sharding_stats": {**super().facts()["replication_stats"], "sharding": found}}


class _Visit:
    """One pass of the sharder over one container. `index`: which replica it is, None: a handoff."""

    def __init__(self, sharder: ContainerSharder, broker: ContainerBroker, part: int,
                 node_id: int, index: int | None) -> None:
        self.sharder, self.broker = sharder, broker
        self.part, self.node_id, self.index = part, node_id, index

    def run(self) -> None:
        broker, sharder = self.broker, self.sharder
        deleted = broker.is_deleted()
        if not audit(sharder, broker, sharder.shown_seconds):
            return
        move_misplaced(sharder, broker)
        leader = self.index == 0 and sharder.auto and not deleted
        if broker.db_state() in (UNSHARDED, COLLAPSED):
            self._perhaps_begin(leader)
        if broker.db_state() == SHARDING:
            self._shard(leader)
        if broker.is_deleted():
            return
        if not broker.is_root():
            self._tell_root()
        elif broker.db_state() == SHARDED:
            self._look_after_shards(leader)

    def _perhaps_begin(self, leader: bool) -> None:
        """Begin to shard if the container is to be divided, or to shrink."""
        broker = self.broker
        if leader and broker.is_root():
            own = self._counted(broker.own_range())
            if may_shard(own, self.sharder.sizes.shard_container_threshold):
                own.set_state(State.SHARDING, now())
                own.epoch = own.state_timestamp
                broker.merge_shard_ranges([own])
        own = broker.own_range()
        # Without ranges only the leader begins: two that search at once would find two sets.
        if own.state in CLEAVING and (leader or broker.has_other_ranges()):
            if broker.db_state() == UNSHARDED:
                begin_sharding(broker)

    def _shard(self, leader: bool) -> None:
        broker, sharder = self.broker, self.sharder
        found = self._find() if leader else 0
        made = self._make_containers()
        if found or made:
            sharder.deliver(Place(self.part, broker, self.node_id, False))
        if Cleaver(sharder, broker, sharder.cleave_batch, sharder.cleave_rows).run() and \
                complete(broker):
            sharder.sharding.add("visited", "completed")
            sharder.logger.info("%s is sharded", broker.path)

    def _find(self) -> int:
        """Look for the next ranges; how many there are."""
        broker, counts = self.broker, self.sharder.sharding
        existing = broker.shard_ranges()
        own = broker.own_range()
        if existing and top(existing[-1].upper) >= top(own.upper):
            return 0
        counts.add("scanned", "attempted")
        start = time.monotonic()
        sizes = self.sharder.sizes
        found, all_found = find_ranges(broker, sizes.rows_per_shard, sizes.minimum_shard_size,
                                       self.sharder.scan_batch, existing)
        if not found:
            counts.add("scanned", "success" if all_found else "failure")
            return 0
        broker.merge_shard_ranges(make_ranges(broker, found, SHARDS_PREFIX))
        counts.add("scanned", "found", len(found))
        counts.took("scanned", (time.monotonic() - start) / len(found))
        counts.add("scanned", "success")
        return len(found)

    def _make_containers(self) -> int:
        """Make the containers of ranges that are found: from now on updates can go there. In
        order, so that cleaving never waits for one in the middle."""
        broker, sharder = self.broker, self.sharder
        root = broker.root_path()
        headers = {"X-Backend-Storage-Policy-Index": str(broker.stat()["storage_policy_index"]),
                   SYSMETA + "Quoted-Root": quote(root), "X-Container-Sysmeta-Sharding": "True",
                   "X-Backend-Auto-Create": "True"}
        made: list[ShardRange] = []
        for shard in broker.shard_ranges(Which(states=[State.FOUND])):
            sharder.sharding.add("created", "attempted")
            shard.set_state(State.CREATED)
            if not sharder.send_ranges(shard.account, shard.container, [shard], headers):
                sharder.logger.error("ERROR shard %s cannot be made", shard.name)
                sharder.sharding.add("created", "failure")
                break
            sharder.sharding.add("created", "success")
            made.append(shard)
        broker.merge_shard_ranges(made)
        if made and not broker.is_root():
            account, _, container = root.partition("/")
            sharder.send_ranges(account, container, made)
        return len(made)

    def _counted(self, own: ShardRange) -> ShardRange:
        stat = self.broker.stat()
        own.set_counts(stat["object_count"], stat["bytes_used"])
        return own

    # -- the root and its shards -----------------------------------------

    def _tell_root(self) -> None:
        """Report a shard's counts and ranges to its root, if that does not know them yet."""
        broker = self.broker
        own = broker.own_range_or_none()
        if own is None:
            return
        if own.state in KNOWS_ITS_COUNT:
            # Reclaimed first, so that the number of tombstones fits that of objects.
            limit = time.time() - self.sharder.reclaim_age
            broker.reclaim(f"{max(0.0, limit):016.5f}", str(int(limit)))
            stat = broker.stat()
            own.set_counts(stat["object_count"], stat["bytes_used"], broker.tombstone_count())
            if not own.reported:
                broker.merge_shard_ranges([own])
        if own.reported:
            return
        account, _, container = broker.root_path().partition("/")
        if self.sharder.send_ranges(account, container,
                                    broker.shard_ranges(Which(deleted=True, own=True)),
                                    {"Referer": quote(broker.path)}):
            own.reported = 1
            broker.merge_shard_ranges([own])

    def _look_after_shards(self, leader: bool) -> None:
        """Of a sharded root: let small shards shrink, large ones be divided, and say so."""
        broker, sharder = self.broker, self.sharder
        own = broker.own_range()
        found = compactible(broker.shard_ranges(), own, sharder.sizes.compaction)
        if found:
            sharder.candidates["shrinking_candidates"].append({
                **self._description(self._counted(own)),
                "compactible_ranges": sum(len(sequence) - 1 for sequence in found)})
        if leader:
            self._shrink()
            large = [shard for shard in broker.shard_ranges(Which(states=[State.ACTIVE]))
                     if may_shard(shard, sharder.sizes.shard_container_threshold)]
            for shard in large:
                shard.set_state(State.SHARDING, now())
                shard.epoch = shard.state_timestamp
            broker.merge_shard_ranges(large)
        for shard in broker.shard_ranges(Which(states=[State.SHARDING])):
            sharder.send_ranges(shard.account, shard.container, [shard])

    def _shrink(self) -> None:
        """Let neighbours that are small become one, those that are at it already included."""
        broker = self.broker
        own = broker.own_range()
        sequences = compactible(broker.shard_ranges(), own, self.sharder.sizes.compaction, True)
        broker.merge_shard_ranges(shrink(sequences, now()))
        for *donors, acceptor in sequences:
            if acceptor.name != own.name:
                self.sharder.send_ranges(acceptor.account, acceptor.container, [acceptor])
                acceptor.set_counts(
                    acceptor.object_count + sum(shard.object_count for shard in donors),
                    acceptor.bytes_used + sum(shard.bytes_used for shard in donors))
            for donor in donors:
                # Knowing the acceptor a donor can cleave itself into it.
                self.sharder.send_ranges(donor.account, donor.container, [donor, acceptor])

    # -- what monitors see -----------------------------------------------

    def _description(self, own: ShardRange) -> Row:
        broker = self.broker
        account, _, container = broker.path.partition("/")
        return {"path": broker.db_file, "node_index": self.index, "account": account,
                "container": container, "root": broker.root_path(),
                "object_count": own.object_count, "tombstones": own.tombstones,
                "meta_timestamp": own.meta_timestamp,
                "file_size": os.stat(broker.db_file).st_size}

    def note_candidate(self) -> bool:
        """Show a container that is large enough to be divided; whether it is."""
        own = self._counted(self.broker.own_range())
        if not may_shard(own, self.sharder.sizes.shard_container_threshold):
            return False
        self.sharder.candidates["sharding_candidates"].append(self._description(own))
        return True

    def note_progress(self, error: Exception | None, seconds: float) -> None:
        """Show how far a container is that is being divided, or was a while ago."""
        broker = self.broker
        state = broker.db_state()
        own = broker.own_range_or_none()
        if own is None or own.state not in CLEAVING or \
                state not in (UNSHARDED, SHARDING, SHARDED):
            return
        info: Row = {}
        if state == SHARDED:
            contexts = sorted(all_contexts(broker), key=lambda pair: pair[1])
            if not contexts or contexts[-1][1].timestamp + self.sharder.shown_seconds < time.time():
                return
            context, changed = contexts[-1]
            info = {"total_replicate_time": context.replication_time,
                    "total_sharding_time": changed.timestamp - float(own.epoch or 0)}
        numbers = {shard_state.name.lower(): 0 for shard_state in _SHOWN}
        for shard in broker.shard_ranges(Which(states=_SHOWN)):
            numbers[shard.state_name] += 1
        self.sharder.in_progress.append({
            **self._description(self._counted(own)), **info, "processing_time": seconds,
            "state": own.state_name, "db_state": state, **numbers,
            "error": str(error) if error else None})
        if own.epoch and broker.sharding_required() and \
                float(own.epoch) + self.sharder.late_seconds < time.time():
            self.sharder.logger.warning("%s has been sharding since %s and is not done: %s",
                                        broker.path, own.epoch, numbers)
