# SPDX-License-Identifier: Apache-2.0
"""Rows that are in the wrong database: outside its range, or in one that has been divided.

They are put into the shard they belong to, and removed here when a majority of that shard's
replicas has them. Rows for which there is no shard stay.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from swift.common.db import Broker, Row
from swift.common.shards import UPDATED, Namespace, ShardRange, name_of, top, within
from swift.container.backend import ContainerBroker
from swift.container.cleaving_context import CleavingContext
from swift.container.replicator import Place
from swift.container.shard_broker import SHARDED, SHARDING
from swift.container.shard_peers import ShardPeers
from swift.container.shard_table import Which

PAGE = 10000


@dataclass
class _Batch:
    """Rows of one shard on their way: its place here, and the source as it was before."""

    shard: ShardRange
    place: Place
    bounds: Namespace
    source_id: str
    max_row: int


def outside(broker: ContainerBroker) -> list[Namespace]:
    """The names below and above the container's own range."""
    own = broker.own_range()
    found = [Namespace("", "", own.lower)] if own.lower else []
    return found + ([Namespace("", own.upper, "")] if own.upper else [])


def misplaced_bounds(broker: ContainerBroker) -> list[Namespace]:
    """Names that no row of the newest file should have."""
    state = broker.db_state()
    if state == SHARDED:
        return [Namespace("")]
    if state == SHARDING:
        cursor = CleavingContext.load(broker).cursor
        if cursor:
            own = broker.own_range()
            return [Namespace("", "", cursor),
                    *([Namespace("", own.upper, "")] if own.upper else [])]
    return outside(broker)


def pages(source: ContainerBroker, bounds: Namespace, since_row: int = -1, size: int = PAGE
          ) -> Iterator[list[Row]]:
    """All rows of names within bounds, live objects before tombstones, in pages."""
    for deleted in (0, 1):
        lower = bounds.lower
        while rows := source.rows_in(lower, bounds.upper, since_row, deleted, size):
            yield rows
            # Rows of one name in two policies may lie on both sides of the page's end.
            last = rows[-1]["name"]
            if len(rows) < size:
                break
            rest = [row for row in rows if row["name"] != last]
            lower = rest[-1]["name"] if rest else last


def move_misplaced(peers: ShardPeers, broker: ContainerBroker,
                   source: ContainerBroker | None = None,
                   bounds: list[Namespace] | None = None) -> bool:
    """Move what is misplaced in `source` (the newest file); False if something had to stay."""
    peers.sharding.add("misplaced", "attempted")
    source = source or broker
    good, moved, left = True, 0, 0
    for space in misplaced_bounds(broker) if bounds is None else bounds:
        part_good, part_moved, part_left = _move(peers, broker, source, space)
        good, moved, left = good and part_good, moved + part_moved, left + part_left
    if moved or left:
        peers.sharding.add("misplaced", "found")
    peers.sharding.add("misplaced", "placed", moved)
    peers.sharding.add("misplaced", "unplaced", left)
    peers.sharding.add("misplaced", "success" if good else "failure")
    return good


def _move(peers: ShardPeers, broker: ContainerBroker, source: ContainerBroker,
          space: Namespace) -> tuple[bool, int, int]:
    """(whether nothing stays, rows moved, rows that stay) within bounds."""
    if not any(source.rows_in(space.lower, space.upper, -1, deleted, 1) for deleted in (0, 1)):
        return True, 0, 0
    batches: list[_Batch] = []
    moved = left = 0
    for shard, part in _parts(_destinations(peers, broker, space), space):
        if shard is None:
            left += sum(len(rows) for rows in pages(source, part))
        elif shard.name != source.path:
            moved += _fill(peers, broker, source, shard, part, batches)
    if left:
        peers.logger.warning("%s: there is no shard for %d misplaced rows", broker.path, left)
    good = not left
    for batch in batches:
        good = _deliver(peers, source, batch) and good
    return good, moved, left


def _destinations(peers: ShardPeers, broker: ContainerBroker, space: Namespace
                  ) -> list[ShardRange]:
    end = space.end_marker
    if broker.is_root():
        return broker.shard_ranges(Which(space.lower, end, states=UPDATED))
    known = peers.root_ranges(broker, space.lower, end) or []
    return [shard for shard in within(known, space.lower, end)
            if not shard.deleted and shard.state in UPDATED and shard.name != broker.root_path()]


def _parts(shards: list[ShardRange], space: Namespace
           ) -> Iterator[tuple[ShardRange | None, Namespace]]:
    """The namespace in pieces, each with the shard for it or None. Of shards that overlap the
    first one, a child rather than its parent, gets the names."""
    reached = space.lower
    for shard in shards:
        if top(shard.upper) <= (False, reached):
            continue
        if shard.lower > reached:
            yield None, Namespace("", reached, shard.lower)
        upper = min(top(shard.upper), top(space.upper))
        yield shard, Namespace("", max(reached, shard.lower), name_of(upper))
        if upper == top(space.upper):
            return
        reached = name_of(upper)
    yield None, Namespace("", reached, space.upper)


def _fill(peers: ShardPeers, broker: ContainerBroker, source: ContainerBroker,
          shard: ShardRange, part: Namespace, batches: list[_Batch]) -> int:
    """Put rows into a shard's database here; how many."""
    info = Broker.stat(source)
    max_row = source.max_row()
    batch = None
    moved = 0
    for rows in pages(source, part):
        if batch is None:
            place = peers.place_for(shard, broker)
            peers.sharding.add("misplaced", "db_created" if place.created else "db_exists")
            batch = _Batch(shard, place, part, info["id"], max_row)
            batches.append(batch)
        batch.place.broker.merge_items(rows)
        moved += len(rows)
    return moved


def _deliver(peers: ShardPeers, source: ContainerBroker, batch: _Batch) -> bool:
    """Bring the rows to the shard's replicas, then remove them from the source; whether so."""
    results = peers.deliver(batch.place)
    if not all(results) and sum(results) < peers.quorum("shard_replication_quorum"):
        peers.logger.warning("%s: too few replicas of shard %s took misplaced rows: %s",
                             source.path, batch.shard.name, results)
        return False
    if Broker.stat(source)["id"] != batch.source_id:
        peers.logger.warning("%s: the database changed, misplaced rows stay in it", source.path)
        return False
    source.remove_rows(batch.bounds.lower, batch.bounds.upper, batch.max_row)
    return True
