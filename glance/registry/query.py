# SPDX-License-Identifier: Apache-2.0
"""Image queries in the words of 2011, which Image API v1 and the registry's REST API share.

``name status container_format disk_format size_min size_max min_ram min_disk is_public
property-NAME limit marker sort_key sort_dir``
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from glance import exceptions
from glance.image import fields, states
from glance.registry.types import ImageQuery

_SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at",
              "updated_at")
_STRINGS = ("name", "status", "container_format", "disk_format")
_NUMBERS = {"size_min": ("size", "gte"), "size_max": ("size", "lte"),
            "min_ram": ("min_ram", "eq"), "min_disk": ("min_disk", "eq")}
_TRUE, _FALSE, _EITHER = ("true", "1"), ("false", "0"), ("none", "")
_PROPERTY = "property-"


def parse(pairs: Iterable[tuple[str, str]], *, is_admin: bool, default_limit: int,
          max_limit: int) -> ImageQuery:
    """The query; `Invalid` names the parameter that is wrong.

    Killed images are never listed.  Without ``is_public`` everybody sees public images and what is
    shared with them beside their own; only administrators may ask for something else.
    """
    filters: list[tuple[str, str, Any]] = [("status", "neq", states.KILLED)]
    sort_key, sort_dir = "created_at", "desc"
    marker, limit, visibility = None, default_limit, None
    for name, value in pairs:
        if name == "limit":
            limit = fields.parse_integer(name, value)
        elif name == "marker":
            marker = value or None
        elif name == "sort_key":
            sort_key = fields.parse_choice(name, value, _SORT_KEYS)
        elif name == "sort_dir":
            sort_dir = fields.parse_choice(name, value, ("asc", "desc"))
        elif name == "is_public":
            visibility = _visibility(value, filters, is_admin) or visibility
        elif name in _NUMBERS:
            field, comparison = _NUMBERS[name]
            filters.append((field, comparison, fields.parse_integer(name, value)))
        elif name in _STRINGS:
            filters.append((name, "eq", value))
        elif name.startswith(_PROPERTY):
            filters.append(("property:" + name.removeprefix(_PROPERTY), "eq", value))
        else:
            raise exceptions.Invalid(f"{name[:64]}: not a parameter of this list")
    return ImageQuery(filters=tuple(filters), visibility=visibility, marker=marker,
                      sort=((sort_key, sort_dir),), limit=min(limit, max_limit))


def _visibility(text: str, filters: list[tuple[str, str, Any]], is_admin: bool) -> str | None:
    lowered = text.lower()
    if lowered not in (*_TRUE, *_FALSE, *_EITHER):
        raise exceptions.Invalid("is_public: must be true, false or none")
    if not is_admin:  # others are shown what they may see, whatever they ask for
        return None
    if lowered in _TRUE:
        return "public"
    if lowered in _FALSE:
        filters.append(("visibility", "neq", "public"))
    return "all"
