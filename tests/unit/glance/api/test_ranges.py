# SPDX-License-Identifier: Apache-2.0
"""Byte ranges against what slicing gives."""

import pytest
import webob
from hypothesis import given
from hypothesis import strategies as st

from glance import exceptions
from glance.api import ranges

number = st.integers(0, 30)


def ask(header, size, name="Range"):
    return ranges.requested(webob.Request.blank("/", headers={name: header}), size)


@given(first=number, last=number | st.none(), size=number)
def test_from_first_to_last(first, last, size):
    header = f"bytes={first}-{'' if last is None else last}"
    data = bytes(range(size))
    if last is not None and last < first:
        assert ask(header, size) is None
    elif first >= size:
        with pytest.raises(exceptions.RangeNotSatisfiable):
            ask(header, size)
    else:
        offset, length = ask(header, size)
        assert data[offset:offset + length] == data[first:None if last is None else last + 1]


@given(count=number, size=number)
def test_the_last_bytes(count, size):
    data = bytes(range(size))
    if min(count, size) == 0:
        with pytest.raises(exceptions.RangeNotSatisfiable):
            ask(f"bytes=-{count}", size)
    else:
        offset, length = ask(f"bytes=-{count}", size)
        assert data[offset:offset + length] == data[-count:]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_nonsense_is_ignored_or_refused(header):
    for name in ("Range", "Content-Range"):
        try:
            part = ask(header, 10, name)
        except exceptions.GlanceError as error:
            assert error.code in (400, 416)
        else:
            assert part is None or (0 <= part[0] and part[1] > 0 and sum(part) <= 10)


def test_no_range_is_everything():
    assert ranges.requested(webob.Request.blank("/"), 10) is None
