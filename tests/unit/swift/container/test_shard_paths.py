# SPDX-License-Identifier: Apache-2.0
"""Gaps, overlaps, the best way through all names, and shards that could be one."""
import pytest

from swift.common.exceptions import ConfigError
from swift.common.shards import Namespace, ShardRange, State, make_name
from swift.container.shard_paths import (
    Compaction,
    best_path,
    cleaved_to,
    compactible,
    gaps,
    kin_since,
    overlaps,
    paths,
    shrink,
)
from swift.container.sharder_conf import SharderConf

T1, T2 = "1600000001.00000", "1600000002.00000"


def ranges(*bounds, state=State.ACTIVE, count=5, **more):
    """Ranges of `lower-upper` texts."""
    return [ShardRange(f".shards_a/c-{text}", T1, *text.split("-"), state=state,
                       object_count=count, **more) for text in bounds]


def spans_of(found):
    return [(gap.lower, gap.upper) for gap in found]


def test_gaps():
    assert gaps(ranges("-b", "b-d", "d-")) == []
    assert spans_of(gaps([])) == [("", "")]
    found = gaps(ranges("a-b", "c-d"))
    assert spans_of(found) == [("", "a"), ("b", "c"), ("d", "")]
    assert [(gap.before and gap.before.upper, gap.after and gap.after.lower)
            for gap in found] == [(None, "a"), ("b", "c"), ("d", None)]
    assert spans_of(gaps(ranges("-c", "b-", "a-b"))) == []
    assert spans_of(gaps(ranges("a-b", "c-d"), Namespace("", "b", "c"))) == [("b", "c")]
    assert spans_of(gaps(ranges("a-b", "c-d"), Namespace("", "c", "d"))) == []
    shrinking = [*ranges("-b"), *ranges("b-", state=State.SHRINKING)]
    assert spans_of(gaps(shrinking)) == [("b", "")]


def test_overlaps():
    assert overlaps(ranges("-b", "b-d", "d-")) == []
    [group] = overlaps(ranges("-b", "b-d", "c-"))
    assert [(one.lower, one.upper) for one in group] == [("b", "d"), ("c", "")]
    assert len(overlaps(ranges("-", "a-b", "b-c"))) == 1


def test_parents_and_young_children_may_overlap():
    parent = ShardRange("a/c", T1)
    child = ShardRange(make_name(".shards_a", "c", "c", T2, 0), T2, "", "m")
    assert len(overlaps([parent, child])) == 1
    assert overlaps([parent, child], float(T1)) == []
    assert len(overlaps([parent, child], float(T2) + 1)) == 1
    assert kin_since(0) == 0 and kin_since(10) > float(T2)


def test_the_best_way_is_the_one_that_is_filled_furthest():
    whole = Namespace("")
    old = ranges("-b", "b-d", "d-", state=State.CREATED, count=9)
    old[0].state = State.CLEAVED
    new = ranges("-a", "a-c", "c-")
    assert {len(way) for way in paths([*old, *new])} == {3}
    assert best_path([*old, *new], whole) == new
    assert cleaved_to(old) == (False, "b") and cleaved_to(new) == (True, "")
    assert best_path(ranges("-b", "c-"), whole) is None
    fuller = ranges("-x", "x-", count=50)
    assert best_path([*new, *fuller], whole) == fuller
    mixed = best_path(ranges("-b", "-c", "b-c", "c-"), whole)
    assert mixed[0].lower == "" and mixed[-1].upper == "" and len(mixed) in (2, 3)


def test_very_many_ways_do_not_take_for_ever():
    doubled = [ShardRange(f"s/{letter}{copy}", T1, chr(letter), chr(letter + 1))
               for letter in range(97, 122) for copy in range(2)]
    assert len(paths(doubled)) == 4096


SMALL = Compaction(threshold=4, limit=12)


def test_small_neighbours_become_one():
    row = ranges("-b", "b-d", "d-f", "f-", count=10)
    row[1].object_count = row[2].object_count = 1
    own = ShardRange("a/c", T1, state=State.SHARDED)
    assert compactible(row, own, SMALL) == [[row[1], row[2]]]
    row[1].tombstones = 9                          # tombstones are rows that have to be moved
    assert compactible(row, own, SMALL) == [[row[2], row[3]]]
    row[3].state = State.SHARDING
    assert compactible(row, own, SMALL) == []


def test_all_shards_together_shrink_into_the_root():
    row = ranges("-b", count=3) + ranges("b-", count=1)
    own = ShardRange("a/c", T1, state=State.SHARDED)
    many = Compaction(4, 12, most_donors=-1)
    [sequence] = compactible(row, own, many)
    assert sequence == [*row, own]
    changed = shrink([sequence], T2)
    assert [one.state for one in changed] == [State.ACTIVE, State.SHRINKING, State.SHRINKING]
    assert [one.epoch for one in changed] == [None, T2, T2]
    assert changed[0] is own and own.state_timestamp == T2
    assert compactible(row, own, many) == []       # at it already
    assert compactible(row, own, many, with_shrinking=True) == [[*row, own]]


def test_an_acceptor_takes_over_the_names():
    row = ranges("-b", "b-d", count=1) + ranges("d-", count=10)
    [first] = compactible(row, ShardRange("a/c", T1, state=State.SHARDED), SMALL)
    acceptor, donor = shrink([first], T2)
    assert (acceptor.lower, acceptor.upper, acceptor.timestamp) == ("", "d", T2)
    assert (donor.state, donor.timestamp, donor.upper) == (State.SHRINKING, T1, "b")


def test_only_so_many_acceptors():
    row = ranges("-b", "b-d", "e-f", "f-h", "i-k", "k-", count=1)
    own = ShardRange("a/c", T1, state=State.SHARDED)
    assert len(compactible(row, own, SMALL)) == 3
    assert len(compactible(row, own, Compaction(4, 12, 1, 2))) == 2


@pytest.mark.parametrize("conf, name", [
    ({"shard_container_threshold": "10", "rows_per_shard": "10"}, "rows_per_shard"),
    ({"minimum_shard_size": "600000"}, "minimum_shard_size"),
    ({"shrink_threshold": "100001"}, "shrink_threshold"),
    ({"expansion_limit": "1000000"}, "expansion_limit"),
    ({"rows_per_shard": "0"}, "rows_per_shard"),
    ({"shard_shrink_point": "x"}, "shard_shrink_point")])
def test_sizes_that_contradict_each_other(conf, name):
    with pytest.raises(ConfigError, match=name):
        SharderConf.of(conf)


def test_default_sizes():
    sizes = SharderConf.of({})
    assert (sizes.rows_per_shard, sizes.minimum_shard_size, sizes.shrink_threshold,
            sizes.expansion_limit) == (500000, 100000, 100000, 750000)
