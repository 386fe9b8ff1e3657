# SPDX-License-Identifier: Apache-2.0
"""Shards: containers that hold one range each of the object names of a large container, the root.

What is known of a shard is a row of the table shard_range, here a `ShardRange`. Replicas, parents
and roots exchange such rows; `merged` says what two of them make together. Names, states and
columns are OpenStack Swift's.

    >>> ShardRange("a/c", "0000000001.00000", "cat", "dog").contains("cow")
    True
"""
from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import IntEnum
from hashlib import md5
from typing import Any

from swift.common.timestamp import Timestamp

Row = dict[str, Any]
Bound = tuple[bool, str]
ACCOUNT_INFIX = "shards_"             # `.shards_` and the account: where shards are


class State(IntEnum):
    """What becomes of a shard; of two that are equally old the greater one counts."""

    FOUND = 10
    CREATED = 20
    CLEAVED = 30
    ACTIVE = 40
    SHRINKING = 50
    SHARDING = 60
    SHARDED = 70
    SHRUNK = 80


SHRINKING = frozenset((State.SHRINKING, State.SHRUNK))
CLEAVING = SHRINKING | {State.SHARDING, State.SHARDED}
# Whose counts make up the root's, whose objects its listing, and who takes updates.
COUNTED = frozenset((State.ACTIVE, State.SHARDING, State.SHRINKING))
LISTED = COUNTED | {State.CLEAVED}
UPDATED = frozenset((State.CREATED, State.CLEAVED, State.ACTIVE, State.SHARDING))
AUDITED = frozenset(State) - {State.FOUND}
# A shard that may still lack rows does not say how many it has.
KNOWS_ITS_COUNT = CLEAVING | {State.CLEAVED, State.ACTIVE}
_ALIASES = {"listing": LISTED, "updating": UPDATED, "auditing": AUDITED}


def parse_states(text: str) -> set[int]:
    """The states that names, numbers and aliases, separated by commas, stand for; ValueError."""
    found: set[int] = set()
    for word in (part.strip() for part in text.split(",")):
        if word in _ALIASES:
            found.update(_ALIASES[word])
        elif word.isascii() and word.isdigit():
            found.add(State(int(word)))
        elif word.upper() in State.__members__:
            found.add(State[word.upper()])
        elif word:
            raise ValueError(f"no state of a shard: {word[:40]!r}")
    return found


def top(upper: str) -> Bound:
    """An upper bound as it sorts: the empty one is above all."""
    return (not upper, upper)


def name_of(bound: Bound) -> str:
    """The inverse of `top`."""
    return "" if bound[0] else bound[1]


@dataclass(slots=True, eq=False)
class Namespace:
    """The names above `lower`, up to and with `upper`; an empty bound is none.

    `name` is the container that holds them, account/container.
    """

    name: str
    lower: str = ""
    upper: str = ""

    @property
    def account(self) -> str:
        return self.name.partition("/")[0]

    @property
    def container(self) -> str:
        return self.name.partition("/")[2]

    @property
    def end_marker(self) -> str:
        """What a listing of just these names ends before."""
        return self.upper + "\0" if self.upper else ""

    def contains(self, name: str) -> bool:
        """Whether an object's name is in the range."""
        return self.lower < name and (False, name) <= top(self.upper)

    def overlaps(self, other: Namespace) -> bool:
        """Whether there are names in both."""
        lower = max(self.lower, other.lower)
        return (False, lower) < min(top(self.upper), top(other.upper))

    def includes(self, other: Namespace) -> bool:
        """Whether all names of the other are in this."""
        return self.lower <= other.lower and top(other.upper) <= top(self.upper)

    def bounds(self) -> Row:
        """Name and bounds, as they are sent."""
        return {"name": self.name, "lower": self.lower, "upper": self.upper}


@dataclass(slots=True, eq=False)
class ShardRange(Namespace):
    """One row of the table shard_range. Times are in the normal form.

    `timestamp` dates bounds and `deleted`, `meta_timestamp` the counts, `state_timestamp` the
    state and the epoch. `reported`: the root knows these counts. Empty times become `timestamp`.
    """

    timestamp: str = ""
    object_count: int = 0
    bytes_used: int = 0
    meta_timestamp: str = ""
    deleted: int = 0
    state: int = State.FOUND
    state_timestamp: str = ""
    epoch: str | None = None
    reported: int = 0
    tombstones: int = -1

    def __init__(self, name: str, timestamp: str, lower: str = "", upper: str = "",
                 **more: Any) -> None:
        self.name, self.timestamp, self.lower, self.upper = name, timestamp, lower, upper
        for column in _OWN[1:]:
            setattr(self, column, more.pop(column, _DEFAULTS[column]))
        if more:
            raise TypeError(f"a shard range has no {sorted(more)}")
        self.meta_timestamp = self.meta_timestamp or timestamp
        self.state_timestamp = self.state_timestamp or timestamp

    @classmethod
    def of(cls, row: Row) -> ShardRange:
        """A range of a row that came from elsewhere. ValueError, KeyError or TypeError."""
        parts = row["name"].split("/")
        if len(parts) != 2 or not all(parts):
            raise ValueError("name is not account/container")
        values: Row = {column: row[column] for column in _OWN[:-2]}
        values.update(reported=row.get("reported", 0), tombstones=row.get("tombstones", -1))
        for column in ("timestamp", "meta_timestamp", "state_timestamp"):
            values[column] = Timestamp(values[column]).normal
        if values["epoch"] is not None:
            values["epoch"] = Timestamp(values["epoch"]).normal
        for column in ("object_count", "bytes_used", "tombstones"):
            values[column] = int(values[column])
        values["deleted"], values["reported"] = int(bool(row["deleted"])), int(bool(
            values["reported"]))
        state = values["state"]
        values["state"] = State[state.upper()] if isinstance(state, str) and \
            state.upper() in State.__members__ else State(int(state))
        lower, upper = row["lower"] or "", row["upper"] or ""
        if not isinstance(lower, str) or not isinstance(upper, str) or \
                (False, lower) > top(upper) or min(values["object_count"],
                                                   values["bytes_used"]) < 0:
            raise ValueError("bounds or counts that cannot be")
        return cls(row["name"], values.pop("timestamp"), lower, upper, **values)

    @property
    def sort_key(self) -> tuple[Bound, int, str, str]:
        """Children sort before the parent whose names they take over."""
        return (top(self.upper), self.state, self.lower, self.name)

    @property
    def row_count(self) -> int:
        """Objects and tombstones."""
        return self.object_count + max(0, self.tombstones)

    @property
    def state_name(self) -> str:
        return State(self.state).name.lower()

    def row(self) -> Row:
        """The row, as it is stored and sent."""
        found: Row = {column: getattr(self, column) for column in COLUMNS}
        found["state"] = int(self.state)
        return found

    def copy(self, **changes: Any) -> ShardRange:
        """Another range with some columns changed."""
        return ShardRange(**{**self.row(), **changes})

    # -- changes ---------------------------------------------------------

    def set_state(self, state: State, timestamp: str | None = None) -> bool:
        """Change the state, with a time if what is older must not win; whether it changed."""
        if timestamp is None and self.state == state:
            return False
        self.state = state
        if timestamp is not None:
            self.state_timestamp = timestamp
        self.reported = 0
        return True

    def set_counts(self, object_count: int, bytes_used: int, tombstones: int | None = None) -> None:
        """Counts as of now."""
        counts = (object_count, bytes_used,
                  self.tombstones if tombstones is None else tombstones)
        if counts != (self.object_count, self.bytes_used, self.tombstones):
            self.reported = 0
        self.object_count, self.bytes_used, self.tombstones = counts
        self.meta_timestamp = now()

    def set_deleted(self, timestamp: str | None = None) -> None:
        """Delete it as of now, unless it is."""
        if not self.deleted or timestamp is not None:
            self.deleted, self.timestamp = 1, timestamp or now()

    def expand(self, others: Iterable[Namespace]) -> bool:
        """Take over the names of others; whether that changes a bound."""
        before = (self.lower, self.upper)
        for other in others:
            self.lower = min(self.lower, other.lower)
            self.upper = name_of(max(top(self.upper), top(other.upper)))
        return (self.lower, self.upper) != before

    # -- kinship ---------------------------------------------------------

    def is_child_of(self, parent: Namespace) -> bool:
        """Whether it was cut out of `parent`, as their names tell."""
        own = parse_name(self.name)
        if own is None:
            return False
        above = parse_name(parent.name)
        root = parent.container if above is None else above[0]
        return own[0] == root and own[1] == _digest(parent.container)

    def root_among(self, ranges: Iterable[ShardRange]) -> ShardRange | None:
        """The root's range, if it is there."""
        own = parse_name(self.name)
        return None if own is None else next(
            (other for other in ranges if other.container == own[0]), None)

    def ancestors_among(self, ranges: list[ShardRange]) -> list[ShardRange]:
        """Parent, parent's parent and so on as far as they are there, and the root in any case."""
        found: list[ShardRange] = []
        current = self
        while parent := next((other for other in ranges if current.is_child_of(other)), None):
            if parent in found:
                break
            found.append(parent)
            current = parent
        root = current.root_among(ranges)
        return found if root is None or root in found else [*found, root]


COLUMNS = ("name", "timestamp", "lower", "upper", "object_count", "bytes_used", "meta_timestamp",
           "deleted", "state", "state_timestamp", "epoch", "reported", "tombstones")
_OWN = tuple(column.name for column in fields(ShardRange))[3:]
_DEFAULTS = {column.name: column.default for column in fields(ShardRange)}


def now() -> str:
    """The time it is, in the form shard ranges are dated."""
    return Timestamp.now().normal


# -- names -----------------------------------------------------------------

def _digest(container: str) -> str:
    return md5(container.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def make_name(account: str, root: str, parent: str, timestamp: str, index: int) -> str:
    """account/container of a new shard of `parent`, which is the root itself or one of its shards.

    It holds a digest of the parent's name, so names of later generations get no longer.
    """
    return f"{account}/{root}-{_digest(parent)}-{timestamp}-{index}"


def parse_name(name: str) -> tuple[str, str, str, int] | None:
    """(root container, digest of the parent's, timestamp, index) of a shard's name, or None."""
    parts = name.partition("/")[2].rsplit("-", 3)
    if len(parts) != 4 or not parts[3].isdigit():
        return None
    try:
        Timestamp(parts[2])
    except ValueError:
        return None
    return parts[0], parts[1], parts[2], int(parts[3])


# -- merging ---------------------------------------------------------------

def merged(new: ShardRange, old: ShardRange | None) -> ShardRange | None:
    """What a range that comes and the stored one of that name make; None: nothing new.

    The later creation wins as a whole. Of the same one the newer counts, and the newer or, of the
    same time, the further state are taken each by itself.
    """
    if old is None:
        return new
    if new.timestamp != old.timestamp:
        return new.copy(reported=0) if new.timestamp > old.timestamp else None
    result = new.copy(lower=old.lower, upper=old.upper, deleted=old.deleted)
    news = new.meta_timestamp > old.meta_timestamp
    if not news:
        result = replace_columns(result, old, ("object_count", "bytes_used", "meta_timestamp",
                                               "tombstones"))
    if (new.state_timestamp, new.state) > (old.state_timestamp, old.state):
        news = True
    else:
        result = replace_columns(result, old, ("state", "state_timestamp", "epoch"))
    said = ("object_count", "bytes_used", "tombstones", "state", "epoch")
    if old.reported and all(getattr(result, name) == getattr(old, name) for name in said):
        result.reported = 1
    elif new.reported and not old.reported:
        news = True
    return result if news else None


def replace_columns(target: ShardRange, source: ShardRange, columns: tuple[str, ...]
                    ) -> ShardRange:
    """`target` with some columns of `source`."""
    return target.copy(**{name: getattr(source, name) for name in columns})


def combined(new: Iterable[ShardRange], existing: Iterable[ShardRange]) -> list[ShardRange]:
    """What is there after all of `new` is merged into `existing`, without what is deleted."""
    known = {shard.name: shard for shard in existing}
    for shard in new:
        result = merged(shard, known.get(shard.name))
        if result is not None:
            known[shard.name] = result
    return sorted((shard for shard in known.values() if not shard.deleted),
                  key=lambda shard: shard.sort_key)


# -- lists -----------------------------------------------------------------

def within(namespaces: Iterable[Namespace], marker: str = "", end_marker: str = ""
           ) -> list[Any]:
    """Those with names above `marker` and below `end_marker`; empty ones are none."""
    return [space for space in namespaces
            if (not marker or top(space.upper) > (False, marker))
            and (not end_marker or space.lower < end_marker)]


class Bounds:
    """Adjoining namespaces in little room: `[lower bound, name]` each, what caches hold.

    Of those that overlap the first in order stays; over a gap the one before it extends.
    """

    def __init__(self, pairs: list[list[str]]) -> None:
        self.pairs = pairs

    @classmethod
    def of(cls, namespaces: Iterable[Namespace]) -> Bounds:
        pairs: list[list[str]] = []
        reached: Bound | None = None
        for space in namespaces:
            if reached is None or (False, space.lower) >= reached:
                pairs.append([space.lower, space.name])
                reached = top(space.upper)
        return cls(pairs)

    def holder(self, name: str) -> Namespace | None:
        """The namespace an object's name is in."""
        at = bisect_right(self.pairs, name, key=lambda pair: pair[0]) - 1
        if at >= 0 and self.pairs[at][0] == name and at > 0:
            at -= 1                             # a lower bound is not in its range
        return self._space(at) if at >= 0 else None

    def _space(self, at: int) -> Namespace:
        lower, name = self.pairs[at]
        return Namespace(name, lower, self.pairs[at + 1][0] if at + 1 < len(self.pairs) else "")

    def namespaces(self) -> list[Namespace]:
        """All, in order."""
        return [self._space(at) for at in range(len(self.pairs))]
