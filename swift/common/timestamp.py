# SPDX-License-Identifier: Apache-2.0
"""The clock of the cluster: when something was written decides every conflict.

A timestamp is a whole number of 10 us ticks since 1970 and an offset, which orders events that
carry the same time. On the wire and in file names: `1234567890.12345` (normal form) and, with an
offset, `1234567890.12345_0000000000000003` (internal form).

    >>> Timestamp("1234567890.12345").isoformat
    '2009-02-13T23:31:30.123450'
"""
from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime
from functools import lru_cache, total_ordering
from typing import Union

TICKS = 100_000                     # per second
_MAX_SECONDS = 10_000_000_000       # ten digits: what the fixed-width form can hold
_MAX_RAW = _MAX_SECONDS * TICKS

TimestampLike = Union["Timestamp", str, bytes, float, int]


_NORMAL = re.compile(r"[0-9]{10}\.[0-9]{5}\Z")


def is_normal(text: str) -> bool:
    """Whether it is a time in its normal form."""
    return _NORMAL.match(text) is not None


@lru_cache(8192)
def _iso_second(text: str) -> str:
    return f"{datetime.fromtimestamp(int(text), UTC):%Y-%m-%dT%H:%M:%S}"


def isoformat(text: str) -> str:
    """`Timestamp(text).isoformat`, at a tenth of its cost: a listing asks ten thousand times."""
    if _NORMAL.match(text):
        return f"{_iso_second(text[:10])}.{text[11:]}0"
    return Timestamp(text).isoformat


@total_ordering
class Timestamp:
    """An immutable point in time with offset; ordered by time, then offset.

    Raises ValueError for what is no number, negative, or has more than ten digits before the point.
    """

    __slots__ = ("raw", "offset", "_normal")
    raw: int
    offset: int
    _normal: str | None                # what `normal` gives, once it is known

    def __init__(self, value: TimestampLike, offset: int = 0, delta: int = 0) -> None:
        extra = 0
        self._normal = None
        if isinstance(value, Timestamp):
            raw, extra = value.raw, value.offset
        elif isinstance(value, int):
            raw = value * TICKS
        elif isinstance(value, float):
            raw = _float_to_raw(value)
        else:
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if _NORMAL.match(text):
                raw = int(text[:10]) * TICKS + int(text[11:])
                if not delta:
                    self._normal = text
            else:
                raw, extra = _parse(text)
        raw += delta
        if raw < 0:
            raise ValueError("timestamp cannot be negative")
        if raw >= _MAX_RAW:
            raise ValueError("timestamp too large")
        if offset < 0:
            raise ValueError("timestamp offset cannot be negative")
        self.raw = raw
        self.offset = extra + offset

    @classmethod
    def now(cls, offset: int = 0, delta: int = 0) -> Timestamp:
        """The time it is here."""
        return cls(time.time(), offset, delta)

    @classmethod
    def zero(cls) -> Timestamp:
        """The time before any other; false."""
        return cls(0)

    @property
    def normal(self) -> str:
        """Time without the offset, sixteen characters."""
        text = self._normal
        if text is None:
            text = self._normal = f"{self.raw // TICKS:010d}.{self.raw % TICKS:05d}"
        return text

    @property
    def internal(self) -> str:
        """Time with the offset, if there is one: the form of file names and headers."""
        if self.offset:
            return f"{self.normal}_{self.offset:016x}"
        return self.normal

    @property
    def short(self) -> str:
        """As `internal`, with the offset not padded: the form inside encoded triples."""
        if self.offset:
            return f"{self.normal}_{self.offset:x}"
        return self.normal

    @property
    def timestamp(self) -> float:
        """Seconds since 1970."""
        return self.raw / TICKS

    @property
    def isoformat(self) -> str:
        """UTC as listings show it: no zone, always six digits after the point."""
        seconds, ticks = divmod(self.raw, TICKS)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ticks * 10:06d}"

    @classmethod
    def from_isoformat(cls, text: str) -> Timestamp:
        """The inverse of `isoformat`."""
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
        return cls(0, delta=int(moment.replace(microsecond=0).timestamp()) * TICKS
                   + moment.microsecond // 10)

    def ceil(self) -> int:
        """The first whole second that is not earlier: what Last-Modified shows."""
        return -(-self.raw // TICKS)

    def __float__(self) -> float:
        return self.raw / TICKS

    def __int__(self) -> int:
        return self.raw // TICKS

    def __bool__(self) -> bool:
        return bool(self.raw or self.offset)

    def __str__(self) -> str:
        raise TypeError("say which form is wanted: normal, internal or isoformat")

    def __repr__(self) -> str:
        return self.internal

    def __hash__(self) -> int:
        return hash((self.raw, self.offset))

    def __eq__(self, other: object) -> bool:
        if other is None:
            return False
        if not isinstance(other, Timestamp):
            try:
                other = Timestamp(other)        # type: ignore[arg-type]
            except (ValueError, TypeError):
                return False
        return self.raw == other.raw and self.offset == other.offset

    def __lt__(self, other: object) -> bool:
        if other is None:
            return False
        if not isinstance(other, Timestamp):
            other = Timestamp(other)            # type: ignore[arg-type]
        return (self.raw, self.offset) < (other.raw, other.offset)

    def __ge__(self, other: object) -> bool:
        return not self < other


def _float_to_raw(value: float) -> int:
    if math.isnan(value) or math.isinf(value):
        raise ValueError("timestamp is not a number")
    return round(value * TICKS)


def _parse(text: str) -> tuple[int, int]:
    """(raw, offset) of a textual form that is not the normal one."""
    base, _, extra = text.partition("_")
    offset = 0
    if extra:
        if "_" in extra or extra[0] in "+-":
            raise ValueError(f"timestamp offset is not hexadecimal: {extra!r}")
        offset = int(extra, 16)
    if _NORMAL.match(base):
        return int(base[:10]) * TICKS + int(base[11:]), offset
    return _float_to_raw(float(base)), offset


def normalize_timestamp(value: TimestampLike) -> str:
    """The normal form of anything a Timestamp can be made of."""
    return Timestamp(value).normal


def encode_timestamps(t1: Timestamp, t2: Timestamp | None = None, t3: Timestamp | None = None,
                      explicit: bool = False) -> str:
    """Up to three times in one column: `t1`, then signed hexadecimal ticks from each to the next.

    Equal times are left out unless `explicit`. Inverse: `decode_timestamps`.
    """
    deltas = []
    previous = t1
    for moment in (t2, t3):
        if moment is None:
            break
        delta = moment.raw - previous.raw
        deltas.append(f"{delta:+x}")
        explicit = explicit or delta != 0
        previous = moment
    return t1.short + ("".join(deltas) if explicit else "")


def decode_timestamps(encoded: str, explicit: bool = False
                      ) -> tuple[Timestamp, Timestamp | None, Timestamp | None]:
    """The three times of `encode_timestamps`.

    A time left out equals the one before it; with `explicit` it is None instead.
    Raises ValueError.
    """
    if "+" not in encoded and "-" not in encoded:      # nearly always: one time for all three
        only = Timestamp(encoded)
        return (only, None, None) if explicit else (only, only, only)
    parts: list[str] = []
    signs: list[int] = []
    current = ""
    for char in encoded:
        if char in "+-":
            parts.append(current)
            signs.append(1 if char == "+" else -1)
            current = ""
        else:
            current += char
    parts.append(current)
    if len(parts) > 3:
        raise ValueError(f"too many times in {encoded!r}")
    times: list[Timestamp | None] = [Timestamp(parts[0])]
    for sign, part in zip(signs, parts[1:], strict=True):
        last = times[-1]
        assert last is not None
        delta = sign * int(part, 16)
        # Equal times are equal in their offset as well; only a later one is without.
        times.append(Timestamp(last.normal, delta=delta) if delta else last)
    while len(times) < 3:
        times.append(None if explicit else times[-1])
    assert times[0] is not None
    return times[0], times[1], times[2]
