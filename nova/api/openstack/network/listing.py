# SPDX-License-Identifier: Apache-2.0
"""Filters, sorting, pages and chosen fields, the same for every list of the Network API.

A list is made of views: what a caller may see, already scoped to it.  A filter compares with what
is shown, so it can leave things out and never bring any in.
"""

import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from nova import exception
from nova.api.openstack import paging
from nova.api.openstack.wsgi import Request

View = dict[str, Any]

_CONTROL = {"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"}
# Under these names clients ask for things we show under others, or never have.
_ALIASES = {"tenant_id": "project_id"}
_NEVER = {"tags", "tags-any", "tags_any"}
_ALWAYS = {"not-tags", "not-tags-any", "not_tags", "not_tags_any"}
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


def answer(req: Request, collection: str, views: Sequence[View],
           known: Sequence[str] = ()) -> dict[str, Any]:
    """Return a list's body.

    ``known`` names what can be filtered and sorted by when there is no view to tell.  BadRequest
    names a filter, sort key or marker that makes no sense.
    """
    names = set(known).union(*(view.keys() for view in views[:1]))
    found = _sorted(req, _filtered(req, views, names), names)
    page, links = _page(req, collection, found)
    body: dict[str, Any] = {collection: [fields_of(req, view) for view in page]}
    if links:
        body[f"{collection}_links"] = links
    return body


def fields_of(req: Request, view: View) -> View:
    """Return the fields of a view the caller asks for; without ``fields`` all."""
    wanted = {one for value in req.query.get("fields", ()) for one in value.split(",")}
    return {name: value for name, value in view.items() if name in wanted} if wanted else view


def wanted_ids(req: Request, name: str = "id") -> list[str] | None:
    """Return the values a list is filtered by, None for no such filter: for the query's sake."""
    return req.query.get(name)


def _filtered(req: Request, views: Sequence[View], names: set[str]) -> list[View]:
    found = list(views)
    for name, values in req.query.items():
        if name in _CONTROL or name in _ALWAYS:
            continue
        if name in _NEVER:
            return []
        key = _ALIASES.get(name, name)
        if names and key not in names:
            raise exception.BadRequest(f"{name[:64]}: there is no such filter.")
        found = [view for view in found if any(_matches(view.get(key), value) for value in values)]
    return found


def _matches(shown: Any, wanted: str) -> bool:
    if isinstance(shown, bool):
        lowered = wanted.lower()
        return lowered in (_TRUE if shown else _FALSE)
    if shown is None:
        return wanted in ("", "None", "null")
    if isinstance(shown, Mapping):      # key=value, as in fixed_ips=ip_address=10.0.0.2
        key, _, value = wanted.partition("=")
        if key.endswith("_substr"):
            return value in str(shown.get(key.removesuffix("_substr"), ""))
        return key in shown and _matches(shown[key], value)
    if isinstance(shown, list | tuple):
        return any(_matches(one, wanted) for one in shown) or (not shown and not wanted)
    return str(shown) == wanted


def _sorted(req: Request, views: list[View], names: set[str]) -> list[View]:
    keys = req.query.get("sort_key", [])[:8]
    directions = req.query.get("sort_dir", [])[:8]
    if directions and len(directions) != len(keys):
        raise exception.BadRequest("sort_dir: one is needed for each sort_key.")
    # Sorted by the last key first: sorting is stable.
    for key, direction in reversed(list(zip(keys, directions or ["asc"] * len(keys),
                                            strict=True))):
        if direction not in ("asc", "desc"):
            raise exception.BadRequest(f"sort_dir: {direction[:32]!r} is neither asc nor desc.")
        name = _ALIASES.get(key, key)
        if names and name not in names:
            raise exception.BadRequest(f"sort_key: cannot sort by {key[:64]!r}.")
        views.sort(key=lambda view, name=name: _sort_value(view.get(name)),  # type: ignore[misc]
                   reverse=direction == "desc")
    return views


def _sort_value(value: Any) -> tuple[bool, bool, Any]:
    number = isinstance(value, int | float)
    return value is not None, number, value if number else str(value or "")


def _page(req: Request, collection: str, views: list[View]) -> tuple[list[View], list[View]]:
    limit, marker = paging.limit_of(req), paging.marker_of(req)
    reverse = (req.last("page_reverse") or "").lower() in _TRUE
    if reverse:
        views = views[::-1]
    if marker is not None:
        ids = [view["id"] for view in views]
        if marker not in ids:
            raise exception.BadRequest(f"marker: {marker[:64]!r} is not in the list.")
        views = views[ids.index(marker) + 1:]
    page = views[:limit] if limit else views
    links = []
    if page and req.last("limit") is not None:
        if len(views) > len(page):
            links.append(_link(req, collection, "previous" if reverse else "next", page[-1]))
        if marker is not None:
            links.append(_link(req, collection, "next" if reverse else "previous", page[0]))
    return page[::-1] if reverse else page, links


def _link(req: Request, collection: str, relation: str, at: View) -> View:
    query = [(name, value) for name, values in req.query.items() for value in values
             if name not in ("marker", "page_reverse")]
    query.append(("marker", at["id"]))
    if relation == "previous":
        query.append(("page_reverse", "True"))
    path = collection.replace("_", "-")
    return {"rel": relation, "href": f"{req.base}/{path}?{urllib.parse.urlencode(query)}"}
