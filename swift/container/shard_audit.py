# SPDX-License-Identifier: Apache-2.0
"""Looking over what a container knows of shards: a root whether its ranges fit together, a shard
what the root says of it and of its neighbours."""
from __future__ import annotations

import time

from swift.common.shards import CLEAVING, SHRINKING, ShardRange, State, combined
from swift.common.timestamp import Timestamp
from swift.container.backend import ContainerBroker
from swift.container.cleaving_context import all_contexts
from swift.container.shard_broker import SHARDED
from swift.container.shard_paths import gaps, kin_since, not_shrinking, overlaps
from swift.container.shard_peers import SHARDS_PREFIX, ShardPeers
from swift.container.shard_table import Which


def audit(peers: ShardPeers, broker: ContainerBroker, context_seconds: float) -> bool:
    """Whether the sharder may go on with the container. What is wrong is logged."""
    if broker.is_deleted():
        return True                       # it may still hold rows that belong elsewhere
    _drop_contexts(peers, broker, context_seconds)
    root = broker.is_root()
    what = "audit_root" if root else "audit_shard"
    peers.sharding.add(what, "attempted")
    good, warnings = _root(peers, broker) if root else _shard(peers, broker)
    if warnings:
        peers.logger.warning("Audit of %s %s: %s", "root" if root else "shard", broker.path,
                             ", ".join(warnings))
    peers.sharding.add(what, "success" if good else "failure")
    return good


def _drop_contexts(peers: ShardPeers, broker: ContainerBroker, seconds: float) -> None:
    """Forget contexts that have long been done, or that nobody goes on with."""
    now = time.time()
    for context, changed in all_contexts(broker):
        age = now - changed.timestamp
        if context.done and age > seconds or age > peers.reclaim_age:
            context.remove(broker)


def _root(peers: ShardPeers, broker: ContainerBroker) -> tuple[bool, list[str]]:
    warnings = []
    own = broker.own_range()
    ranges = not_shrinking(broker.shard_ranges())
    if own.state in (State.SHARDING, State.SHARDED):
        # While ranges are still looked for there are none yet at the end.
        missing = [gap for gap in gaps(ranges)
                   if gap.after is not None or broker.db_state() == SHARDED]
        if missing:
            warnings.append(f"{len(missing)} missing range(s) (see swift-manage-shard-ranges "
                            "repair --gaps)")
    for state in State:
        double = overlaps([shard for shard in ranges if shard.state == state],
                          kin_since(peers.reclaim_age))
        if double:
            peers.sharding.add("audit_root", "has_overlap")
            peers.sharding.add("audit_root", "num_overlap", len(double))
            warnings.append(f"{len(double)} overlapping {state.name.lower()} range(s) (see "
                            "swift-manage-shard-ranges repair)")
    if own.epoch is None and broker.epoch:
        warnings.append(f"its own range has lost the epoch {broker.epoch}")
    return not warnings, warnings


def _shard(peers: ShardPeers, broker: ContainerBroker) -> tuple[bool, list[str]]:
    warnings = []
    if not broker.path.startswith(SHARDS_PREFIX):
        warnings.append(f"its account does not begin with {SHARDS_PREFIX}")
    own = broker.own_range_or_none()
    if own is None:
        return False, [*warnings, "it has no range of its own"]
    known = peers.root_ranges(broker, own.lower, own.upper)
    if known:
        own, found = _take_from_root(broker, known, own)
        if not found:
            warnings.append("the root has no such range")      # or does not know it yet
    elif not own.deleted:
        warnings.append("the root does not say what its ranges are")
    if own.state in (State.SHARDED, State.SHRUNK) and own.deleted and broker.empty() and \
            float(own.timestamp) < time.time() - peers.reclaim_age:
        broker.delete_db(Timestamp.now().internal)
    return True, warnings


def _take_from_root(broker: ContainerBroker, known: list[ShardRange], own: ShardRange
                    ) -> tuple[ShardRange, bool]:
    """Merge what the root knows as far as it concerns this shard; its own range then, and whether
    the root has that."""
    mine = [shard for shard in known if shard.name == own.name]
    if mine:
        broker.merge_shard_ranges(mine)
        own = broker.own_range_or_none() or own
    if broker.db_state() == SHARDED:
        return own, bool(mine)            # what it was divided into stays as it was then
    broker.merge_shard_ranges([shard for shard in known if shard.is_child_of(own)])
    others = [shard for shard in known
              if shard.name != own.name and not shard.is_child_of(own)]
    if others and own.state in CLEAVING:
        _take_others(broker, known, others, own)
    return own, bool(mine)


def _take_others(broker: ContainerBroker, known: list[ShardRange], others: list[ShardRange],
                 own: ShardRange) -> None:
    """Learn of shards that are to take over this one's names: neighbours when it shrinks, or what
    an operator put in the place of its children. Never those it came from, except for the root
    when all shrink into that; and only if all names of its range are held then, by one each."""
    above = {shard.name for shard in own.ancestors_among(known)}
    wanted = [shard for shard in others if shard.name not in above
              and (shard.state not in CLEAVING or shard.deleted)]
    if own.state in SHRINKING:
        root = own.root_among(others)
        if root is not None and root.state == State.ACTIVE:
            wanted.append(root)
    outcome = combined(wanted, broker.shard_ranges(Which(deleted=True)))
    if not overlaps(outcome) and not gaps(outcome, own):
        broker.merge_shard_ranges(wanted)
