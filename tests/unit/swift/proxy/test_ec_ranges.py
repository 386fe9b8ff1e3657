# SPDX-License-Identifier: Apache-2.0
"""The arithmetic between a client's bytes and those of fragment archives."""
from hypothesis import given
from hypothesis import strategies as st

from swift.common.conditional import Unsatisfiable, parse_range
from swift.proxy.ec_ranges import fragment_range, skip_to_fragment

SEGMENT, FRAGMENT = 100, 30         # any object's last segment has a shorter last fragment


def archive_size(length):
    whole, rest = divmod(length, SEGMENT)
    return whole * FRAGMENT + (rest // 5 + 10 if rest else 0)


def test_ranges_are_widened_to_whole_segments():
    assert fragment_range(0, 0, SEGMENT, FRAGMENT) == "bytes=0-29"
    assert fragment_range(99, 100, SEGMENT, FRAGMENT) == "bytes=0-59"
    assert fragment_range(250, None, SEGMENT, FRAGMENT) == "bytes=60-"
    assert fragment_range(None, 1, SEGMENT, FRAGMENT) == "bytes=-60"
    assert fragment_range(None, 101, SEGMENT, FRAGMENT) == "bytes=-90"


@given(st.integers(1, 1000), st.one_of(st.none(), st.integers(0, 1100)),
       st.one_of(st.none(), st.integers(0, 1100)))
def test_what_is_fetched_holds_what_was_asked_for(length, first, last):
    if first is None and not last or None not in (first, last) and first > last:
        return
    text = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    try:
        [(start, stop)] = parse_range(text, length)
    except Unsatisfiable:
        return
    [(low, high)] = parse_range(fragment_range(first, last, SEGMENT, FRAGMENT),
                                archive_size(length))
    low += skip_to_fragment(low, FRAGMENT)
    assert low % FRAGMENT == 0 and (high % FRAGMENT == 0 or high == archive_size(length))
    have = range(low // FRAGMENT * SEGMENT, min(length, -(-high // FRAGMENT) * SEGMENT))
    assert start in have and stop - 1 in have
