# SPDX-License-Identifier: Apache-2.0
"""What swift-manage-shard-ranges does when shard ranges are too many, overlap or leave gaps:
compact, repair, analyze. Sub-commands as in `shard_ranges`."""
from __future__ import annotations

import time
from dataclasses import dataclass

from swift.common.shards import Namespace, ShardRange, State, now, top, within
from swift.container.backend import ContainerBroker
from swift.container.shard_broker import SHARDED
from swift.container.shard_paths import (
    Compaction,
    Gap,
    begin_shrinking,
    best_path,
    cleaved_to,
    compactible,
    gaps,
    not_shrinking,
    object_count,
    overlaps,
    row_count,
    shrink,
)
from swift.container.shard_table import Which
from swift.inspection.shard_ranges import FAILED, OK, QUIT, Args, Refused, load, may_go_on, say

_FILLED = (State.CLEAVED, State.ACTIVE)


def _tell(shard: ShardRange, indent: int) -> None:
    space = "  " * indent
    say(f"{space}{shard.name!r}\n{space}  {shard.state_name}, objects: {shard.object_count}, "
        f"tombstones: {shard.tombstones}, deleted: {shard.deleted}, lower: {shard.lower!r}, "
        f"upper: {shard.upper!r}")


def _need_root(broker: ContainerBroker) -> None:
    if not broker.is_root():
        raise Refused(FAILED, "this is a shard; the sub-command is for the root container")


# -- compact -----------------------------------------------------------------

def compact(broker: ContainerBroker, args: Args) -> int:
    """Let small neighbouring shards become one."""
    _need_root(broker)
    if broker.db_state() != SHARDED:
        raise Refused(FAILED, "the container is not sharded")
    ranges = broker.shard_ranges()
    if overlaps(not_shrinking(ranges)):
        raise Refused(FAILED, "shard ranges overlap: see the sub-command repair")
    sequences = compactible(ranges, broker.own_range(), Compaction(
        args.shrink_threshold, args.expansion_limit, args.max_shrinking, args.max_expanding))
    if not sequences:
        say("There are no shards small enough to become one.")
        return OK
    for *donors, acceptor in sequences:
        say(f"Shards with {row_count(donors)} rows together:")
        for donor in donors:
            _tell(donor, 1)
        say("would become part of:")
        _tell(acceptor, 1)
    say(f"{len(sequences)} sequences of shards.")
    if not may_go_on(args):
        return QUIT
    broker.merge_shard_ranges(shrink(sequences, now()))
    say("Done: container-replicator brings it to the other replicas, container-sharder, on all "
        "nodes, moves the rows.")
    return OK


# -- repair ------------------------------------------------------------------

@dataclass
class Solution:
    """The ranges to keep, which hold all names, and those to shrink into them."""

    keep: list[ShardRange]
    donors: list[ShardRange]


def repair(broker: ContainerBroker, args: Args) -> int:
    """Let shard ranges that overlap shrink into others, or with `gaps` let neighbours of gaps
    grow."""
    _need_root(broker)
    if args.gaps:
        return _repair_gaps(broker, args)
    ranges = broker.shard_ranges()
    if not ranges:
        say("There are no shard ranges.")
        return OK
    solution = _solve(ranges, broker.own_range(), args)
    if not solution.donors:
        return OK
    if not may_go_on(args):
        return QUIT
    broker.merge_shard_ranges(begin_shrinking(solution.donors, now()))
    say(f"{len(solution.donors)} shards shrink: container-replicator brings that to the other "
        "replicas, container-sharder, on all nodes, moves the rows.")
    return OK


def analyze(args: Args) -> int:
    """What `repair` would do to the ranges in a file."""
    data = load(args.path_to_file, ("name", "lower", "upper", "object_count"))
    try:
        ranges = [ShardRange.of({"epoch": None, **row}) for row in data]
    except (ValueError, KeyError, TypeError) as exc:
        raise Refused(2, f"{args.path_to_file} holds no whole shard ranges: {exc!r}") from exc
    _solve(ranges, Namespace("whole/namespace"), args)
    return OK


def _solve(ranges: list[ShardRange], whole: Namespace, args: Args) -> Solution:
    """How to get rid of overlaps; Refused when that cannot be told now."""
    for state in (State.SHARDING, State.SHRINKING):
        if any(shard.state == state for shard in ranges):
            # Both overlap others by design, until they are done.
            raise Refused(FAILED, f"some ranges are {state.name.lower()}: nothing is repaired "
                                  "before they are done")
    keep = best_path(ranges, whole)
    if keep is None:
        raise Refused(FAILED, "no sequence of shard ranges holds all names: see repair --gaps")
    kept = {shard.name for shard in keep}
    donors = [shard for shard in ranges if shard.name not in kept]
    _check_filled(keep, donors)
    donors = _repairable(keep, donors, args.min_shard_age)
    if not donors:
        say(f"{len(keep)} shard ranges hold all names, none that could be repaired overlaps: "
            "nothing to do.")
        return Solution(keep, [])
    say(f"{len(donors)} shard ranges overlap others. They would be removed, and their "
        f"{object_count(donors)} rows moved to {len(keep)} ranges that hold all names.")
    if args.verbose:
        for title, part in (("Removed:", donors), ("Kept:", keep)):
            say(title)
            for shard in part:
                _tell(shard, 1)
    return Solution(keep, donors)


def _check_filled(keep: list[ShardRange], donors: list[ShardRange]) -> None:
    """Refused when there are filled shards beyond those the kept sequence is filled up to: then
    it is not plain which of them hold what."""
    reached = cleaved_to(keep)
    beyond = [shard for shard in within([*keep, *donors], "" if reached[0] else reached[1])
              if shard.state in _FILLED] if not reached[0] else []
    if beyond:
        raise Refused(FAILED, f"{beyond[0].name} is {beyond[0].state_name} although ranges before "
                              "it are not: nothing is repaired")


def _repairable(keep: list[ShardRange], donors: list[ShardRange], age: float
                ) -> list[ShardRange]:
    """Donors that are no parent or child of a kept range, and neither young themselves nor below
    a young one: the root may just not know yet how these get on."""
    found = [donor for donor in donors if not any(
        donor.is_child_of(shard) or shard.is_child_of(donor) for shard in keep)]
    if len(found) < len(donors):
        say(f"{len(donors) - len(found)} ranges are parents or children of others: left alone")
    if not age:
        return found
    limit = time.time() - age

    def young(shard: ShardRange) -> bool:
        return float(shard.timestamp) >= limit
    old = [donor for donor in found if not young(donor) and not any(
        young(shard) and shard.overlaps(donor) for shard in keep)]
    if len(old) < len(found):
        say(f"{len(found) - len(old)} ranges are younger than {age:g} s, or overlap such: left "
            "alone")
    return old


def _repair_gaps(broker: ContainerBroker, args: Args) -> int:
    missing = gaps(broker.shard_ranges())
    if not missing:
        say("There are no gaps.")
        return OK
    growing: dict[str, ShardRange] = {}
    timestamp = now()
    solved = 0
    for gap in missing:
        shard = _neighbour(gap)
        say(f"Gap from {gap.lower!r} to {gap.upper!r}; deleted ranges there:")
        for other in broker.shard_ranges(Which(gap.lower, gap.upper, deleted=True)):
            if other.deleted:
                _tell(other, 1)
        if shard is None:
            say("  no neighbour is active: it stays")
            continue
        if 0 <= args.max_expanding <= solved:
            continue
        solved += 1
        shard = growing.setdefault(shard.name, shard)
        shard.expand([Namespace("", gap.lower, gap.upper)])
        shard.timestamp = timestamp
        say("  filled by:")
        _tell(shard, 1)
    if not growing:
        return OK
    say("Nothing else should change shard ranges meanwhile: stop automatic sharding first.")
    if not may_go_on(args):
        return QUIT
    broker.merge_shard_ranges(growing.values())
    say("Done: container-replicator brings it to the other replicas.")
    return OK


def _neighbour(gap: Gap) -> ShardRange | None:
    """The range to grow over a gap: the one after it, as when shards shrink."""
    return next((shard for shard in (gap.after, gap.before)
                 if shard is not None and shard.state == State.ACTIVE
                 and top(shard.upper) >= (False, gap.lower)), None)
