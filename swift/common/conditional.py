# SPDX-License-Identifier: Apache-2.0
"""Conditional requests and byte ranges (RFC 9110), decided from headers alone."""
from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime
from email.utils import formatdate, parsedate

MAX_RANGES = 50
MAX_OVERLAPS = 2              # more pairs than this of ranges that overlap: someone makes us seek
MAX_AGAIN = 2                 # times that a range may be asked for again
MAX_DESCENDING = 8
MAX_OFFSET = 2 ** 63 - 1         # no body is as long; what a client writes may be longer
_RANGE = re.compile(r"([0-9]{0,999})-([0-9]{0,999})\Z")


class Unsatisfiable(ValueError):
    """No range of the request can be served: 416."""


def range_specs(header: str | None) -> list[tuple[int | None, int | None]] | None:
    """(first, last) of each range a header asks for; (None, n): the last n bytes. None when all of
    the body should be sent: without the header, and, as RFC 9110 says, when it is not understood.
    """
    if not header:
        return None
    unit, sep, text = header.partition("=")
    if not sep or unit.strip().lower() != "bytes":
        return None
    pairs: list[tuple[int | None, int | None]] = []
    for spec in text.split(","):
        match = _RANGE.match(spec.strip())
        if not match or spec.strip() == "-":
            return None
        first, last = (min(int(n), MAX_OFFSET) if n else None for n in match.groups())
        if first is not None and last is not None and first > last:
            return None
        pairs.append((first, last))
    return pairs


def parse_range(header: str | None, length: int) -> list[tuple[int, int]] | None:
    """Half-open ranges of a body of `length` bytes; None when all of it should be sent, as it is
    for the last bytes of an empty one (RFC 9110, 14.1.2).

    Raises Unsatisfiable for none within the body, and for ranges that only serve to make a disk
    seek.
    """
    pairs = range_specs(header)
    if pairs is None:
        return None
    if len(pairs) > MAX_RANGES:
        raise Unsatisfiable("too many ranges")
    ranges = []
    for low, high in pairs:
        if low is None:
            assert high is not None
            if high and length:
                ranges.append((max(0, length - high), length))
        elif low < length:
            ranges.append((low, length if high is None else min(high + 1, length)))
    if not ranges and not length and any(low is None and high for low, high in pairs):
        return None
    if not ranges:
        raise Unsatisfiable("no range is within the body")
    _refuse_seeks(ranges)
    return ranges


def _refuse_seeks(ranges: list[tuple[int, int]]) -> None:
    if len(ranges) < 2:
        return
    descending = sum(1 for a, b in zip(ranges, ranges[1:], strict=False) if b[0] < a[0])
    if descending >= MAX_DESCENDING:
        raise Unsatisfiable("ranges go backwards too often")
    overlaps = 0
    ordered = sorted(set(ranges))       # the same one again is no overlap to Swift, a few times
    if len(ranges) - len(ordered) > MAX_AGAIN:
        raise Unsatisfiable("a range is asked for too often")
    for index, (_, stop) in enumerate(ordered):
        for start, _ in ordered[index + 1:]:
            if start >= stop:
                break
            overlaps += 1
            if overlaps > MAX_OVERLAPS:
                raise Unsatisfiable("too many ranges overlap")


def etag_list(header: str, weak: bool = True) -> set[str]:
    """Entity tags of If-Match or If-None-Match without quotes and weakness.

    Without ``weak`` those that are weak are left out: If-Match compares strongly (RFC 9110,
    13.1.1).
    """
    tags = set()
    for part in header.split(","):
        tag = part.strip()
        if tag.startswith("W/"):
            if not weak:
                continue
            tag = tag[2:]
        tags.add(tag[1:-1] if len(tag) > 1 and tag[0] == tag[-1] == '"' else tag)
    tags.discard("")
    return tags


def http_date(seconds: int) -> str:
    """The form of Last-Modified."""
    return formatdate(seconds, usegmt=True)


def parse_date(header: str | None) -> int | None:
    """Seconds since 1970, negative before, of an HTTP date; None if it is none."""
    if not header:
        return None
    try:
        parts = parsedate(header)
        if parts is None:
            return None
        datetime(*parts[:6])                # timegm would count a 32nd of November on
        return timegm(parts)
    except (ValueError, TypeError, OverflowError):
        return None


def precondition(env: dict, etags: set[str], modified: int, exists: bool = True) -> int:
    """What If-* headers make of a GET or HEAD: 200 to go on, 304 or 412.

    `etags` are all that count as the entity's; `modified` is its Last-Modified in seconds.
    """
    get = env.get
    match = get("HTTP_IF_MATCH")
    if match is not None:
        wanted = etag_list(match, weak=False)
        # Of what is not there Swift says 404, unless the client asked for just that to be told.
        if "*" in wanted if not exists else "*" not in wanted and not wanted & etags:
            return 412
    if exists:
        # Beside If-Match as well: RFC 9110 would ignore it then, Swift's clients count on it.
        since = parse_date(get("HTTP_IF_UNMODIFIED_SINCE"))
        if since is not None and modified > since:
            return 412
    none_match = get("HTTP_IF_NONE_MATCH")
    if none_match is not None:
        unwanted = etag_list(none_match)
        if exists and ("*" in unwanted or unwanted & etags):
            return 304
    elif exists:
        since = parse_date(get("HTTP_IF_MODIFIED_SINCE"))
        if since is not None and modified <= since:
            return 304
    return 200
