# SPDX-License-Identifier: Apache-2.0
"""Pages of a list: ``limit``, ``marker``, ``sort_key``/``sort_dir`` in, a "next" link out."""

import urllib.parse
from collections.abc import Mapping
from typing import Any

from nova import exception
from nova.api.openstack.wsgi import Request

MAX_LIMIT = 1000


def limit_of(req: Request, maximum: int = MAX_LIMIT) -> int:
    """Return how many items a page may have; BadRequest when ``limit`` is no such number."""
    raw = req.last("limit")
    if raw is None:
        return maximum
    if not raw.isascii() or not raw.isdigit() or len(raw) > 10:
        raise exception.BadRequest(f"limit: {raw[:32]!r} is not a number from 0 on.")
    return min(int(raw), maximum)


def marker_of(req: Request) -> str | None:
    """Return the id of the last item of the page before."""
    return req.last("marker")


def integer_of(req: Request, name: str, default: int = 0) -> int:
    """Return a query field that is a number from 0 to 2**31 - 1."""
    raw = req.last(name)
    if raw is None:
        return default
    if not raw.isascii() or not raw.isdigit() or len(raw) > 10 or int(raw) > 0x7FFFFFFF:
        raise exception.BadRequest(f"{name}: {raw[:32]!r} is not a number from 0 to 2147483647.")
    return int(raw)


def sort_of(req: Request, names: Mapping[str, str],
            default: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return (column, direction) pairs; ``names`` maps the API's sort keys to columns."""
    keys = req.query.get("sort_key", [])
    directions = req.query.get("sort_dir", [])
    if not keys:
        return tuple((column, directions[0] if directions else old) for column, old in default) \
            if not directions or _direction(directions[0]) else default
    found = []
    for position, key in enumerate(keys[:8]):
        if key not in names:
            raise exception.BadRequest(f"sort_key: cannot sort by {key[:64]!r}.")
        direction = directions[min(position, len(directions) - 1)] if directions else "desc"
        _direction(direction)
        found.append((names[key], direction))
    return tuple(found)


def _direction(value: str) -> bool:
    if value not in ("asc", "desc"):
        raise exception.BadRequest(f"sort_dir: {value[:32]!r} is neither asc nor desc.")
    return True


def next_link(req: Request, path: str, last_id: str) -> dict[str, Any]:
    """Return the link to the page after ``last_id``, with the query of this one."""
    query = [(name, value) for name, values in req.query.items() for value in values
             if name != "marker"]
    query.append(("marker", last_id))
    return {"rel": "next", "href": f"{req.base}{path}?{urllib.parse.urlencode(query)}"}
