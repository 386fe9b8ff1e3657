# SPDX-License-Identifier: Apache-2.0
"""Where a container is best divided."""
from __future__ import annotations

from swift.common.shards import ShardRange, State, make_name, now, top
from swift.container.backend import ContainerBroker

Found = dict[str, str | int]          # index, lower, upper, object_count


def find_ranges(broker: ContainerBroker, rows: int, least: int, limit: int = -1,
                existing: list[ShardRange] | None = None) -> tuple[list[Found], bool]:
    """Ranges of `rows` objects each, after those that exist, `limit` at most (-1: all).

    The last one is larger rather than that another would have fewer than `least`. The second
    value tells whether all names are covered now. A container too small to divide has none.
    """
    existing = existing or []
    least = max(1, least)
    total = broker.stat()["object_count"]
    if rows + least > total:
        return [], False
    own = broker.own_range()
    lower, progress, reliable = own.lower, 0, True
    if existing:
        lower = existing[-1].upper
        if top(lower) >= top(own.upper):
            return [], True
        # Once they are cleaved their counts have gone on, and say nothing of the rows here.
        reliable = all(shard.state == State.FOUND for shard in existing)
        progress = sum(shard.object_count for shard in existing) if reliable else 0
    source = broker.oldest()
    found: list[Found] = []
    while limit < 0 or len(found) < limit:
        size, upper = rows, None
        if progress + rows + least <= total:
            upper = source.upper_after(lower, rows)
        if upper is None or (False, upper) >= top(own.upper):
            upper = own.upper
            if reliable:
                size = total - progress
        found.append({"index": len(existing) + len(found), "lower": lower, "upper": upper,
                      "object_count": size})
        if upper == own.upper:
            return found, True
        progress += size
        lower = upper
    return found, False


def make_ranges(broker: ContainerBroker, found: list[Found], prefix: str) -> list[ShardRange]:
    """New shard ranges, named as children of the container; `prefix` begins their account."""
    account, _, container = broker.root_path().partition("/")
    timestamp = now()
    parent = broker.path.partition("/")[2]
    return [ShardRange(make_name(prefix + account, container, parent, timestamp,
                                 int(data["index"])), timestamp, str(data["lower"]),
                       str(data["upper"]), object_count=int(data["object_count"]))
            for data in found]
