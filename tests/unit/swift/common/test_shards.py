# SPDX-License-Identifier: Apache-2.0
"""Ranges of names, and what becomes of two rows about the same shard."""
import random

import pytest

from swift.common.shards import (
    Bounds,
    Namespace,
    ShardRange,
    State,
    combined,
    make_name,
    merged,
    parse_name,
    parse_states,
    within,
)

T1, T2, T3 = (f"000000000{n}.00000" for n in (1, 2, 3))


def shard(lower="", upper="", name=None, timestamp=T1, **more):
    return ShardRange(name or f".shards_a/c-{lower}-{upper}", timestamp, lower, upper, **more)


def test_a_lower_bound_is_outside_an_upper_one_inside():
    cats = shard("cat", "dog")
    assert [cats.contains(name) for name in ("cat", "cats", "dog", "dogs")] == \
        [False, True, True, False]
    assert shard("cat").contains("\U0010ffff") and not shard("", "cat").contains("dog")


@pytest.mark.parametrize("one, other, overlaps, includes", [
    (("", ""), ("a", "b"), True, True),
    (("a", "b"), ("", ""), True, False),
    (("a", "b"), ("b", "c"), False, False),
    (("a", "c"), ("b", ""), True, False),
    (("b", ""), ("a", "c"), True, False),
    (("b", ""), ("c", ""), True, True),
    (("", "b"), ("b", ""), False, False),
])
def test_overlaps_and_includes(one, other, overlaps, includes):
    assert shard(*one).overlaps(shard(*other)) is overlaps
    assert shard(*one).includes(shard(*other)) is includes


def test_expand_takes_the_outermost_bounds():
    acceptor = shard("m", "p")
    assert acceptor.expand([shard("a", "c"), shard("c", "m")])
    assert (acceptor.lower, acceptor.upper) == ("a", "p")
    assert not acceptor.expand([shard("b", "d")])
    assert acceptor.expand([shard("p", "")]) and acceptor.upper == ""


def test_a_later_creation_wins_as_a_whole():
    old = shard("a", "b", "x/y", T1, state=State.ACTIVE, state_timestamp=T3, object_count=5,
                meta_timestamp=T3, reported=1)
    new = shard("a", "c", "x/y", T2, deleted=1, reported=1)
    result = merged(new, old)
    assert (result.upper, result.deleted, result.state, result.reported) == ("c", 1, 10, 0)
    assert merged(old, new) is None


def test_counts_and_state_are_each_decided_by_their_own_time():
    old = shard("a", "b", "x/y", state=State.CLEAVED, object_count=5, meta_timestamp=T3)
    new = shard("a", "z", "x/y", state=State.ACTIVE, object_count=9, meta_timestamp=T2, epoch=T2)
    result = merged(new, old)
    assert (result.object_count, result.meta_timestamp) == (5, T3)
    assert (result.state, result.epoch, result.upper) == (State.ACTIVE, T2, "b")
    assert merged(shard("a", "b", "x/y", state=State.CREATED, meta_timestamp=T3), old) is None
    back = merged(shard("a", "b", "x/y", state=State.ACTIVE, state_timestamp=T2),
                  shard("a", "b", "x/y", state=State.SHARDED))
    assert back.state == State.ACTIVE and back.state_timestamp == T2


def test_reported_stays_while_what_was_reported_does():
    old = shard("a", "b", "x/y", object_count=5, reported=1)
    same = shard("a", "b", "x/y", object_count=5, meta_timestamp=T2)
    assert merged(same, old).reported == 1
    assert merged(shard("a", "b", "x/y", object_count=6, meta_timestamp=T2), old).reported == 0
    now_told = merged(old, shard("a", "b", "x/y", object_count=5))
    assert now_told is not None and now_told.reported == 1


def test_the_order_of_arrival_does_not_matter():
    """Replicas that got the same rows in any order, some twice, know the same."""
    dice = random.Random(11)
    stamps = (T1, T2, T3)
    for _ in range(60):
        rows = [shard("a", "b", "x/y", dice.choice(stamps), deleted=0,
                      object_count=count, meta_timestamp=dice.choice(stamps),
                      state=dice.choice(list(State)), state_timestamp=dice.choice(stamps))
                for count in range(4)]
        # Counts of one time have one origin.
        for row in rows:
            row.object_count = int(row.meta_timestamp[9])
        results = set()
        for _ in range(6):
            dice.shuffle(rows)
            known = None
            for row in [*rows, rows[0]]:
                known = merged(row, known) or known
            results.add(tuple(sorted((k, str(v)) for k, v in known.row().items())))
        assert len(results) == 1


def test_combined_leaves_out_what_gets_deleted():
    kept, gone = shard("", "m", "x/1"), shard("m", "", "x/2")
    assert combined([gone.copy(timestamp=T2, deleted=1)], [gone, kept]) == [kept]


def test_names_tell_of_kinship():
    root = ShardRange("a/my-c", T1)
    child = shard("", "m", make_name(".shards_a", "my-c", "my-c", T1, 0))
    grandchild = shard("", "c", make_name(".shards_a", "my-c", child.container, T2, 3))
    assert parse_name(child.name)[0] == "my-c" and parse_name(root.name) is None
    assert child.is_child_of(root) and grandchild.is_child_of(child)
    assert not grandchild.is_child_of(root) and not child.is_child_of(grandchild)
    assert grandchild.ancestors_among([root, child, grandchild]) == [child, root]
    assert grandchild.ancestors_among([root]) == [root]
    assert child.name.startswith(".shards_a/my-c-")


@pytest.mark.parametrize("bad", [
    {"name": "no-container"}, {"name": "a/b/c"}, {"lower": "z", "upper": "a"}, {"state": 11},
    {"timestamp": "never"}, {"object_count": -1}, {"epoch": "x"}, {"meta_timestamp": None},
    {"state": "asleep"}, {"upper": 7}])
def test_rows_from_elsewhere_are_checked(bad):
    good = shard("a", "b", "x/y").row()
    assert ShardRange.of(good).row() == good
    with pytest.raises((ValueError, TypeError, KeyError)):
        ShardRange.of({**good, **bad})


def test_states_by_name_number_and_alias():
    assert parse_states("active, 20") == {40, 20}
    assert parse_states("updating") == {20, 30, 40, 60}
    assert parse_states("listing") == {30, 40, 50, 60}
    assert 10 not in parse_states("auditing") and len(parse_states("auditing")) == 7
    with pytest.raises(ValueError, match="asleep"):
        parse_states("asleep")


def test_bounds_prefer_children_to_the_parent_that_overlaps_them():
    spaces = [Namespace("s/1", "", "b"), Namespace("s/2", "b", "d"), Namespace("s/p", "", "d"),
              Namespace("s/3", "d", "")]
    bounds = Bounds.of(spaces)
    assert bounds.pairs == [["", "s/1"], ["b", "s/2"], ["d", "s/3"]]
    assert [bounds.holder(name).name for name in ("a", "b", "c", "d", "e")] == \
        ["s/1", "s/1", "s/2", "s/2", "s/3"]
    assert [space.upper for space in bounds.namespaces()] == ["b", "d", ""]
    assert Bounds([]).holder("a") is None


def test_within_takes_what_has_names_between_the_markers():
    spaces = [shard("", "b"), shard("b", "d"), shard("d", "")]
    assert within(spaces, "b") == spaces[1:]
    assert within(spaces, "a", "b") == spaces[:1]
    assert within(spaces, "a", "ba") == spaces[:2]
    assert within(spaces) == spaces
