# SPDX-License-Identifier: Apache-2.0
"""How shard ranges lie beside each other: gaps, overlaps, ways through all names, and neighbours
small enough to become one. Nothing here reads or writes a database.

For the sharder and swift-manage-shard-ranges.
"""
from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from swift.common.shards import Bound, Namespace, ShardRange, State, name_of, top

Path = list[ShardRange]
MAX_PATHS = 4096              # of overlapping ranges there can be very many ways
_READY = (State.CLEAVED, State.ACTIVE)


@dataclass(frozen=True)
class Gap:
    """Names no shard holds, and the ranges on both sides (None at the ends of all names)."""

    lower: str
    upper: str
    before: ShardRange | None
    after: ShardRange | None


def row_count(ranges: Iterable[ShardRange]) -> int:
    """Objects and tombstones of all together."""
    return sum(shard.row_count for shard in ranges)


def object_count(ranges: Iterable[ShardRange]) -> int:
    """Objects of all together."""
    return sum(shard.object_count for shard in ranges)


def not_shrinking(ranges: Iterable[ShardRange]) -> list[ShardRange]:
    """Those that are to stay: what shrinks is about to be part of another."""
    return [shard for shard in ranges if shard.state != State.SHRINKING]


def gaps(ranges: Iterable[ShardRange], within: Namespace | None = None) -> list[Gap]:
    """Where names are held by none of the ranges that do not shrink, in order."""
    whole = within or Namespace("")
    found: list[Gap] = []
    reached: Bound = (False, "")
    before: ShardRange | None = None

    def note(upper: Bound, after: ShardRange | None) -> None:
        gap = Gap(reached[1], name_of(upper), before, after)
        if reached < upper and Namespace("", gap.lower, gap.upper).overlaps(whole):
            found.append(gap)
    for shard in sorted(not_shrinking(ranges), key=lambda shard: (shard.lower, top(shard.upper))):
        note((False, shard.lower), shard)
        if top(shard.upper) > reached or before is None:
            reached, before = max(reached, top(shard.upper)), shard
    note((True, ""), None)
    return found


def overlaps(ranges: Iterable[ShardRange], kin_since: float | None = None
             ) -> list[tuple[ShardRange, ...]]:
    """Groups of a range and the later ones that overlap it.

    With `kin_since` (seconds since 1970) a parent and a child younger than that may overlap: the
    root can hear of a child before it hears that the parent is done.
    """
    ordered = sorted(ranges, key=lambda shard: (shard.lower, top(shard.upper)))
    found = []
    for at, shard in enumerate(ordered):
        group = [shard]
        for other in ordered[at + 1:]:
            if (False, other.lower) >= top(shard.upper):
                break
            if other.overlaps(shard) and other.name != shard.name and not (
                    kin_since is not None and _young_kin(shard, other, kin_since)):
                group.append(other)
        if len(group) > 1:
            found.append(tuple(sorted(group, key=lambda one: one.sort_key)))
    return found


def _young_kin(one: ShardRange, other: ShardRange, since: float) -> bool:
    return any(child.is_child_of(parent) and float(child.timestamp) >= since
               for child, parent in ((one, other), (other, one)))


def kin_since(seconds: float) -> float:
    """The moment `seconds` ago; 0 seconds is the beginning of time."""
    return time.time() - seconds if seconds > 0 else 0.0


# -- ways through all names --------------------------------------------------

def paths(ranges: Iterable[ShardRange]) -> list[Path]:
    """All ways along adjoining ranges that do not shrink; at most MAX_PATHS, longest first."""
    leaving: dict[str, list[ShardRange]] = defaultdict(list)
    for shard in not_shrinking(ranges):
        leaving[shard.lower].append(shard)
    arriving: dict[Bound, list[Path]] = defaultdict(list)
    done: list[Path] = []
    for lower in sorted(leaving):
        ways = arriving.pop((False, lower), None) or [[]]
        for way in ways[:MAX_PATHS]:
            for shard in leaving[lower]:
                arriving[top(shard.upper)].append([*way, shard])
    for ways in arriving.values():
        done.extend(ways)
    done.sort(key=lambda way: (top(way[-1].upper), len(way)), reverse=True)
    return done[:MAX_PATHS]


def spans(path: Path, whole: Namespace) -> bool:
    """Whether a way reaches from one end of `whole` to the other."""
    return bool(path) and path[0].lower <= whole.lower and \
        top(path[-1].upper) >= top(whole.upper)


def cleaved_to(path: Path) -> Bound:
    """Up to which name the ranges of a way are filled, from its beginning on."""
    for shard in path:
        if shard.state not in _READY:
            return (False, shard.lower)
    return top(path[-1].upper)


def best_path(ranges: Iterable[ShardRange], whole: Namespace) -> Path | None:
    """The way to keep when ranges overlap, None when none leads through `whole`: the one that is
    filled furthest, then with most objects, made in fewest steps, and last."""
    found = [way for way in paths(ranges) if spans(way, whole)]

    def worth(way: Path) -> tuple:
        times = {shard.timestamp for shard in way}
        return (cleaved_to(way), object_count(way), -len(times), max(times))
    return max(found, key=worth) if found else None


# -- neighbours that could be one --------------------------------------------

def may_shard(shard: ShardRange, threshold: int) -> bool:
    """Whether it has got so large that it should be divided. Tombstones do not count: they will
    be reclaimed."""
    return shard.state == State.ACTIVE and shard.object_count >= threshold


def may_shrink(shard: ShardRange, threshold: int, limit: int) -> bool:
    """Whether it is so small that a neighbour could take all its rows, or is on its way there."""
    return shard.state in (State.ACTIVE, State.SHRINKING) and \
        shard.row_count < threshold and shard.row_count <= limit


@dataclass(frozen=True)
class Compaction:
    """What may become one: a shard shrinks below `threshold` rows, an acceptor has `limit` rows
    at most, takes `most_donors`, and there are `most_acceptors`; -1: any number."""

    threshold: int
    limit: int
    most_donors: int = 1
    most_acceptors: int = -1


def compactible(ranges: list[ShardRange], own: ShardRange, how: Compaction,
                with_shrinking: bool = False) -> list[list[ShardRange]]:
    """Sequences of neighbours, the last of which takes over the others.

    If all shards together fit, `own`, the root itself, is the acceptor. Sequences that are
    shrinking already count, but are returned only `with_shrinking`.
    """
    found: list[list[ShardRange]] = []
    counted = at = 0
    while at < len(ranges) and (how.most_acceptors < 0 or counted < how.most_acceptors):
        if not may_shrink(ranges[at], how.threshold, how.limit):
            at += 1
            continue
        sequence = _sequence(ranges, at, how)
        at += len(sequence)
        if len(sequence) == len(ranges) and not _is_complete(sequence, how) and \
                sequence[0].lower <= own.lower and top(sequence[-1].upper) >= top(own.upper):
            sequence.append(own)
        if len(sequence) < 2 or sequence[-1].state not in (State.ACTIVE, State.SHARDED):
            continue
        counted += 1
        if with_shrinking or all(shard.state != State.SHRINKING for shard in sequence):
            found.append(sequence)
    return found


def _sequence(ranges: list[ShardRange], at: int, how: Compaction) -> list[ShardRange]:
    """The longest sequence that begins at `at`."""
    sequence = [ranges[at]]
    for shard in ranges[at + 1:]:
        if top(sequence[-1].upper) < (False, shard.lower) or \
                shard.state not in (State.ACTIVE, State.SHRINKING):
            break
        if shard.state == State.SHRINKING:
            sequence.append(shard)
            continue
        if row_count(sequence) + shard.row_count > how.limit:
            break
        sequence.append(shard)
        if _is_complete(sequence, how):
            break
    return sequence


def _is_complete(sequence: list[ShardRange], how: Compaction) -> bool:
    """Whether the last one is the acceptor, or there is room for no more."""
    return not may_shrink(sequence[-1], how.threshold, how.limit) or \
        0 < how.most_donors < len(sequence) or row_count(sequence) >= how.limit


def shrink(sequences: list[list[ShardRange]], timestamp: str) -> list[ShardRange]:
    """Let donors shrink and acceptors take over their names; the ranges to be merged."""
    changed: list[ShardRange] = []
    for *donors, acceptor in sequences:
        if acceptor.expand(donors):
            acceptor.timestamp = timestamp
        if acceptor.set_state(State.ACTIVE):              # the root, which is SHARDED
            acceptor.state_timestamp = timestamp
        changed.append(acceptor)
        changed += begin_shrinking(donors, timestamp)
    return changed


def begin_shrinking(donors: list[ShardRange], timestamp: str) -> list[ShardRange]:
    """Let ranges shrink as of `timestamp`, which is the epoch of their next database."""
    for donor in donors:
        if donor.set_state(State.SHRINKING):
            donor.state_timestamp = donor.epoch = timestamp
    return donors
