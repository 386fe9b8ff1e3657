# SPDX-License-Identifier: Apache-2.0
"""The query string of an image list as an `ImageQuery`."""

from __future__ import annotations

import csv
from typing import Any

from oslo_utils import timeutils

from glance import exceptions
from glance.image import fields, states
from glance.registry.types import SORT_KEYS, ImageQuery

_TIMES = ("created_at", "updated_at")
_TIME_OPERATORS = ("gt", "gte", "lt", "lte", "eq", "neq")
_IN_FIELDS = ("id", "name", "status", "container_format", "disk_format")
_STRINGS = ("name", "status", "container_format", "disk_format", "id", "owner", "checksum",
            "os_hash_algo", "os_hash_value")
_INTEGERS = ("min_ram", "min_disk", "size")
_BOUNDS = {"size_min": ("size", "gte"), "size_max": ("size", "lte")}
_BOOLEANS = ("protected", "os_hidden")
_MAX_FILTERS = 64


def _time_filter(name: str, text: str) -> tuple[str, str, str]:
    prefix, colon, rest = text.partition(":")
    comparison = "eq"
    if colon and prefix in _TIME_OPERATORS:
        comparison, text = prefix, rest
    elif colon and not prefix[:1].isdigit():
        raise exceptions.Invalid(
            f"{name}: {prefix[:20]!r} is not one of {', '.join(_TIME_OPERATORS)}")
    try:
        moment = timeutils.normalize_time(timeutils.parse_isotime(text))
    except (ValueError, OverflowError):
        raise exceptions.Invalid(f"{name}: {text[:64]!r} is not an ISO 8601 time") from None
    return name, comparison, moment.replace(microsecond=0).isoformat() + "Z"


def _in_list(name: str, text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error:
        raise exceptions.Invalid(f"{name}: quotes in an in: list do not match") from None
    values = rows[0] if rows else []
    if not values or len(values) > 1000 or any(not value for value in values):
        raise exceptions.Invalid(f"{name}: in: needs 1 to 1000 values separated by commas")
    return values


def _filter(name: str, text: str) -> tuple[str, str, Any]:
    if name in _TIMES:
        return _time_filter(name, text)
    if name in _BOUNDS:
        field, comparison = _BOUNDS[name]
        return field, comparison, fields.parse_integer(name, text)
    if name in _INTEGERS:
        return name, "eq", fields.parse_integer(name, text)
    if name in _BOOLEANS:
        return name, "eq", fields.parse_boolean(name, text)
    if name == "tag":
        return "tag", "eq", text
    if name in _IN_FIELDS and text.startswith("in:"):
        return name, "in", _in_list(name, text[3:])
    if name in _STRINGS:
        return name, "eq", text
    if len(name) > fields.MAX_NAME:
        raise exceptions.Invalid(f"{name[:64]}: a property name is at most 255 characters long")
    return f"property:{name}", "eq", text


def _sort(pairs: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Either ``sort=key:dir,key`` or ``sort_key``/``sort_dir`` (repeated), not both."""
    keys = [value for name, value in pairs if name == "sort_key"]
    directions = [value for name, value in pairs if name == "sort_dir"]
    combined = [value for name, value in pairs if name == "sort"]
    if combined:
        if keys or directions or len(combined) > 1:
            raise exceptions.Invalid("sort: cannot be combined with sort_key or sort_dir")
        order = []
        for part in combined[0].split(","):
            key, _, direction = part.strip().partition(":")
            order.append((key, direction or "desc"))
    else:
        if len(directions) > 1 and len(directions) != len(keys or [""]):
            raise exceptions.Invalid("sort_dir: must be given once, or once for each sort_key")
        if not keys:
            keys = ["created_at"]
        if len(directions) <= 1:
            directions = (directions or ["desc"]) * len(keys)
        order = list(zip(keys, directions, strict=True))
    for key, direction in order:
        fields.parse_choice("sort_key", key, SORT_KEYS)
        fields.parse_choice("sort_dir", direction, ("asc", "desc"))
    if len({key for key, _ in order}) != len(order):
        raise exceptions.Invalid("sort_key: names a field twice")
    return tuple(order)


def parse(pairs: list[tuple[str, str]], default_limit: int, max_limit: int) -> ImageQuery:
    """The query; `Invalid` names the parameter that is wrong."""
    if len(pairs) > _MAX_FILTERS:
        raise exceptions.Invalid(f"query string: more than {_MAX_FILTERS} parameters")
    filters: list[tuple[str, str, Any]] = []
    visibility: str | None = None
    member_status = "accepted"
    marker: str | None = None
    limit = default_limit
    for name, value in pairs:
        if name in ("sort", "sort_key", "sort_dir"):
            continue
        if name == "limit":
            limit = fields.parse_integer(name, value)
        elif name == "marker":
            marker = value
        elif name == "visibility":
            visibility = fields.parse_choice(name, value, (*states.VISIBILITIES, "all"))
        elif name == "member_status":
            member_status = fields.parse_choice(name, value, (*states.MEMBER_STATUSES, "all"))
        else:
            filters.append(_filter(name, value))
    if all(field != "os_hidden" for field, _, _ in filters):
        filters.append(("os_hidden", "eq", False))
    return ImageQuery(filters=tuple(filters), visibility=visibility, member_status=member_status,
                      sort=_sort(pairs), marker=marker, limit=min(limit, max_limit))
