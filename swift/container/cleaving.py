# SPDX-License-Identifier: Apache-2.0
"""Cleaving: rows of a retiring database go into the shards, one range after the other.

Each replica cleaves its own rows; what two of them put into a shard meets there. A range is done
when a majority of the shard's replicas has its rows; how far a replica is is kept in its context.
"""
from __future__ import annotations

import time
from dataclasses import dataclass

from swift.common.db import Broker
from swift.common.shards import SHRINKING, ShardRange, State, now, top
from swift.container.backend import ContainerBroker
from swift.container.cleaving_context import CleavingContext
from swift.container.fresh_db import finish_sharding
from swift.container.misplaced import move_misplaced, outside, pages
from swift.container.replicator import Place
from swift.container.shard_broker import SHARDED
from swift.container.shard_peers import ShardPeers
from swift.container.shard_table import Which

_READY = (State.CREATED, State.CLEAVED, State.ACTIVE)
DONE, EMPTY, FAILED = "done", "empty", "failed"


@dataclass
class Cleaver:
    """Cleaves one container: `batch` ranges at a time, `rows` rows in one transaction."""

    peers: ShardPeers
    broker: ContainerBroker
    batch: int
    rows: int

    def run(self) -> bool:
        """Go on with cleaving; whether all of it is done."""
        broker = self.broker
        if broker.db_state() == SHARDED:
            return True
        context = CleavingContext.load(broker)
        if not context.misplaced_done:
            context.misplaced_done = move_misplaced(self.peers, broker, broker.oldest(),
                                                    outside(broker))
            context.store(broker)
        if not context.cleaving_done:
            own = broker.own_range_or_none()
            if own is None:
                self.peers.logger.warning("%s has no range of its own: not cleaved", broker.path)
                return False
            self._cleave(context, own)
            context.store(broker)
        return context.misplaced_done and context.cleaving_done

    def _cleave(self, context: CleavingContext, own: ShardRange) -> None:
        todo = [shard for shard in self.broker.shard_ranges(Which(context.cursor))
                if shard.state != State.SHRINKING]
        if not context.cursor:
            context.start()
            context.cursor = own.lower
        context.ranges_todo = len(todo)
        done = 0
        for shard in todo:
            if context.cleaving_done or done == self.batch:
                return
            if shard.lower > context.cursor:
                self.peers.logger.info("%s: cleaving stops at a gap from %r to %r",
                                       self.broker.path, context.cursor, shard.lower)
                return
            if shard.state not in _READY:
                self.peers.logger.info("%s: cleaving waits for %s, which is %s",
                                       self.broker.path, shard.name, shard.state_name)
                return
            outcome = self._cleave_range(context, shard, own)
            if outcome == FAILED:
                return
            done += outcome == DONE          # looking into an empty range costs nothing

    def _cleave_range(self, context: CleavingContext, shard: ShardRange, own: ShardRange) -> str:
        counts = self.peers.sharding
        start = time.monotonic()
        counts.add("cleaved", "attempted")
        place = self.peers.place_for(shard, self.broker)
        counts.add("cleaved", "db_created" if place.created else "db_exists")
        outcome = DONE if self._copy_rows(context, shard, place) or not place.created else EMPTY
        quorum = self._advance(shard, own, place)
        if outcome == EMPTY:
            place.broker.remove_files()
        else:
            before = time.monotonic()
            results = self.peers.deliver(place)
            context.replication_time += time.monotonic() - before
            if not all(results) and sum(results) < quorum:
                self.peers.logger.warning("%s: too few replicas of shard %s: %s",
                                          self.broker.path, shard.name, results)
                counts.add("cleaved", "failure")
                return FAILED
            counts.took("cleaved", time.monotonic() - start)
            counts.add("cleaved", "success")
        self.broker.merge_shard_ranges([shard])
        context.range_done(shard.upper)
        context.cleaving_done = top(shard.upper) >= top(own.upper)
        context.store(self.broker)
        return outcome

    def _copy_rows(self, context: CleavingContext, shard: ShardRange, place: Place) -> bool:
        """Put the range's rows into the shard's database here; whether there were any, or it has
        them from an earlier time."""
        source = self.broker.oldest()
        source_id = Broker.stat(source)["id"]
        max_row = source.max_row()
        point = place.broker.sync_point(source_id)
        if point >= max_row and max_row != -1:
            return True
        copied = False
        since = max(-1 if context.last_cleave_to_row is None else context.last_cleave_to_row,
                    point)
        for rows in pages(source, shard, since, self.rows):
            place.broker.merge_items(rows)
            copied = True
        # Peers of the source that cleave into this very database need not send these rows again.
        place.broker.merge_syncs([{"sync_point": max_row, "remote_id": source_id},
                                  *source.syncs()])
        return copied

    def _advance(self, shard: ShardRange, own: ShardRange, place: Place) -> int:
        """The next state of the shard, or of this container; how many replicas have to have it."""
        quorum = self.peers.quorum("shard_replication_quorum")
        if own.state in SHRINKING:
            if shard.includes(own):
                # One acceptor takes all: it tells the root of its new range and of this one's end
                # at once, so that no listing falls between the two.
                if own.set_state(State.SHRUNK):
                    own.set_deleted()
                    self.broker.merge_shard_ranges([own])
                place.broker.merge_shard_ranges([own])
        elif shard.state == State.CREATED:
            stat = place.broker.stat()
            shard.set_counts(stat["object_count"], stat["bytes_used"])
            shard.set_state(State.CLEAVED)
            place.broker.merge_shard_ranges([shard])
            return quorum
        return self.peers.quorum("existing_shard_replication_quorum", quorum)


def complete(broker: ContainerBroker) -> bool:
    """End the sharding of a container that is cleaved; False if rows came since: then it is to be
    cleaved once more."""
    context = CleavingContext.load(broker)
    own = broker.own_range_or_none()
    if not context.done or own is None:
        broker.logger.warning("%s is to be cleaved once more: %s", broker.path, context)
        context.repeat()
        context.store(broker)
        return False
    own.set_counts(0, 0)
    changed: list[ShardRange] = []
    if own.state in SHRINKING:
        own.set_state(State.SHRUNK)
    else:
        own.set_state(State.SHARDED)
        changed = broker.shard_ranges(Which(states=[State.CLEAVED]))
        for shard in changed:
            shard.set_state(State.ACTIVE)
    if not broker.is_root() and not own.deleted:
        own = own.copy(timestamp=now(), deleted=1)
    broker.merge_shard_ranges([*changed, own])
    assert context.cleave_to_row is not None
    return finish_sharding(broker, context.cleave_to_row)
