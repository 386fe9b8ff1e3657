# SPDX-License-Identifier: Apache-2.0
"""Listings: a walk along an index that steps over what a delimiter folds, and its formats (XML is
written with `swift.common.xml_text`)."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from swift.common.backend_server import Answer, Request
from swift.common.conf import config_true
from swift.common.reserved import RESERVED

CONTENT_TYPES = {"plain": "text/plain; charset=utf-8", "json": "application/json; charset=utf-8",
                 "xml": "application/xml; charset=utf-8"}
_ACCEPTED = {"text/plain": "plain", "application/json": "json", "application/xml": "xml",
             "text/xml": "xml"}


FIRST_VISIBLE = "\x01"         # names below are reserved


@dataclass(slots=True)
class Query:
    """What part of a listing is wanted. An empty string means: no such limit."""

    limit: int
    marker: str = ""
    end_marker: str = ""
    prefix: str = ""
    delimiter: str = ""
    path: str | None = None
    reverse: bool = False
    reserved: bool = False                     # whether names that begin with NUL are shown


def parse_query(request: Request, params: dict[str, str], most: int) -> Query:
    """The query of a listing request; 412 for what it cannot mean."""
    text = params.get("limit", "")
    limit = most
    if text:
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise Answer(412, "Value of limit must be a whole number, not negative")
        limit = int(text)
        if limit > most:
            raise Answer(412, f"Maximum limit is {most}")
    return Query(limit, params.get("marker", ""), params.get("end_marker", ""),
                 params.get("prefix", ""), params.get("delimiter", ""), params.get("path"),
                 config_true(params.get("reverse", "")), request.allows_reserved)


def format_of(request: Request, params: dict[str, str]) -> str:
    """plain, json or xml: `format=` first, then Accept; 406 if it wants none of them."""
    wanted = params.get("format", "").lower()
    if wanted in CONTENT_TYPES:
        return wanted
    if wanted:
        return "plain"
    accept = request.env.get("HTTP_ACCEPT", "")
    if not accept:
        return "plain"
    if len(accept) > 1024:
        raise Answer(406, "Invalid Accept header")
    best, best_quality = None, -1.0
    for part in accept.split(","):
        kind, _, rest = part.strip().partition(";")
        quality = 1.0
        for parameter in rest.split(";"):
            name, _, value = parameter.strip().partition("=")
            if name == "q":
                try:
                    quality = float(value)
                except ValueError:
                    raise Answer(400, "Invalid Accept header") from None
        kind = kind.strip().lower()
        found = _ACCEPTED.get(kind) or ("plain" if kind in ("*/*", "text/*") else
                                        "json" if kind == "application/*" else None)
        if found and quality > best_quality and quality > 0:
            best, best_quality = found, quality
    if best is None:
        raise Answer(406, "No format of this listing is acceptable")
    return best


def successor(prefix: str) -> str | None:
    """The least string above all that start with `prefix`; None if there is none."""
    while prefix:
        code = ord(prefix[-1]) + 1
        if code == 0xD800:
            code = 0xE000                      # surrogates are no characters
        if code <= 0x10FFFF:
            return prefix[:-1] + chr(code)
        prefix = prefix[:-1]
    return None


Fetch = Callable[[str, list[Any], bool, int], list[Any]]
_AHEAD = 16                    # rows read at once after a group
_FROM, _AFTER = 0, 1           # a lower bound with itself, and without: the closer one is greater


def walk(fetch: Fetch, query: Query) -> list[Any]:
    """Rows, and `(name,)` for each group the delimiter folds, in order, at most `query.limit`.

    `fetch(where, arguments, reverse, limit)` returns rows whose first column is the name.
    Each group costs one look into the index, however many rows it hides.
    """
    prefix, delimiter = query.prefix, query.delimiter
    path_mode = query.path is not None
    if query.path is not None:
        prefix = query.path.rstrip("/") + "/" if query.path else ""
        delimiter = "/"
    low, high = query.marker, query.end_marker
    if query.reverse:
        low, high = high, low
    if not query.reserved and prefix.startswith(RESERVED):
        return []
    first = prefix or ("" if query.reserved else FIRST_VISIBLE)
    lower = max((first, _FROM), (low, _AFTER))
    upper = min((value for value in (high, successor(prefix)) if value), default="")
    results: list[Any] = []
    marker = query.marker
    ahead = _AHEAD
    while len(results) < query.limit:
        # One bound at either end, the closest: with two SQLite begins at whichever it likes, and
        # reads all the rows between them - in a folder in the middle of millions, millions.
        conditions, values = [], []
        if lower[0]:
            conditions.append("name >= ?" if lower[1] == _FROM else "name > ?")
            values.append(lower[0])
        if upper:
            conditions.append("name < ?")
            values.append(upper)
        want = query.limit - len(results)
        rows = fetch(" AND ".join(conditions), values, query.reverse,
                     min(want, ahead) if delimiter else want)
        if not rows:
            break
        before = len(results)
        bound = _fold(rows, query, prefix, delimiter, path_mode, marker, results)
        if bound is None:
            break
        if query.reverse:
            upper = min(bound[0], upper or bound[0])
        else:
            lower = max(lower, bound)
        # With a delimiter the next group may come soon: rows beyond it are read in vain.
        ahead = min(4 * ahead, 4096) if len(results) - before == len(rows) else _AHEAD
        if not delimiter and len(rows) < want:
            break
    return results


def _fold(rows: list[Any], query: Query, prefix: str, delimiter: str, path_mode: bool,
          marker: str, results: list[Any]) -> tuple[str, int] | None:
    """Take rows up to the first group; the bound to go on from, None when this was all."""
    last = ""
    for row in rows:
        name = last = row[0]
        if not delimiter:
            results.append(row)
        else:
            if path_mode and name == prefix:
                continue                       # the directory itself is not in it
            at = name.find(delimiter, len(prefix))
            if at < 0:
                results.append(row)
            else:
                group = name[:at + len(delimiter)]
                if path_mode:
                    if group == name:          # an object that stands for a directory
                        results.append(row)
                        if len(results) >= query.limit:
                            return None
                elif group != marker:
                    results.append((group,))
                above = group if query.reverse else successor(group)
                return None if above is None else (above, _FROM)
        if len(results) >= query.limit:
            return None
    return last, _AFTER


def json_body(entries: list[dict[str, Any]]) -> bytes:
    """A JSON listing."""
    return json.dumps(entries).encode("ascii")
