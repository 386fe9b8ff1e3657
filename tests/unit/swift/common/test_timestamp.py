# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.common.timestamp import (
    Timestamp,
    decode_timestamps,
    encode_timestamps,
    isoformat,
)

TICKS = st.integers(0, 10**15 - 1)


@pytest.mark.parametrize("given, internal", [
    ("1234567890.12345", "1234567890.12345"), (12, "0000000012.00000"),
    ("1234567890.123456789", "1234567890.12346"), ("1e5", "0000100000.00000"),
    ("1234567890.12345_0000000000000003", "1234567890.12345_0000000000000003"),
    (b"1234567890.12345_3", "1234567890.12345_0000000000000003")])
def test_forms(given, internal):
    assert Timestamp(given).internal == internal


@pytest.mark.parametrize("bad", ["", "x", "-1", "nan", "inf", "10000000000", "1_x", "1_2_3",
                                 "1234567890.12345-3", "1_-2"])
def test_what_is_no_time_is_a_value_error(bad):
    with pytest.raises(ValueError):
        Timestamp(bad)


def test_offset_decides_between_equal_times():
    plain, later = Timestamp("1.0"), Timestamp("1.0", offset=1)
    assert plain < later and plain != later and later > "0000000001.00000"
    assert later.normal == plain.normal


def test_dates():
    moment = Timestamp("1234567890.12345")
    assert moment.isoformat == "2009-02-13T23:31:30.123450"
    assert moment.ceil() == 1234567891 and Timestamp(5).ceil() == 5
    assert Timestamp.from_isoformat(moment.isoformat) == moment


def test_the_form_must_be_named():
    with pytest.raises(TypeError):
        str(Timestamp(1))


def test_encoded_triples_as_swift_writes_them():
    first, second, third = (Timestamp(text) for text in (
        "1234567890.12345", "1234567899.1", "1234567800.2"))
    assert encode_timestamps(first, second, third) == "1234567890.12345+db277-96e8d0"
    assert encode_timestamps(first, first, first) == "1234567890.12345"
    assert encode_timestamps(first, first, first, explicit=True) == "1234567890.12345+0+0"


@given(TICKS, TICKS, TICKS)
def test_triples_round_trip(one, two, three):
    times = tuple(Timestamp(0, delta=ticks) for ticks in (one, two, three))
    assert decode_timestamps(encode_timestamps(*times)) == times


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_value_error(text):
    try:
        again = Timestamp(Timestamp(text).internal)
    except ValueError:
        return
    assert again == Timestamp(text)


def test_an_offset_is_shared_by_equal_times_only():
    """As in OpenStack Swift; the hash of a suffix depends on it."""
    same, later = decode_timestamps("1234567890.12345_3+0+1")[1:]
    assert same.internal == "1234567890.12345_0000000000000003"
    assert later.internal == "1234567890.12346"


@pytest.mark.parametrize("text", ["0000000000.00000", "1234567890.12345", "9999999999.99999", "1.5",
                                  "1234567890.12345_0000000000000003", "1700000000"])
def test_the_quick_way_to_iso_is_the_same(text):
    assert isoformat(text) == Timestamp(text).isoformat
