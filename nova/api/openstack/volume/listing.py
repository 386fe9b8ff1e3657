# SPDX-License-Identifier: Apache-2.0
"""Lists of the Volume API: filters, order, pages and whose things they are of."""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nova import exception, policy
from nova.api.openstack import paging
from nova.api.openstack.validation import METADATA, Schema, as_bool
from nova.api.openstack.wsgi import Request

_CONTROL = {"limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants",
            "with_count"}
_METADATA = Schema(METADATA)
MAX_SORT_KEYS = 8


def page(req: Request, collection: str, path: str, fetch: Callable[..., Sequence[Any]],
         columns: Mapping[str, str], sort_keys: Mapping[str, str],
         ) -> tuple[Sequence[Any], dict[str, Any]]:
    """Return one page of rows and the links that go with it.

    ``fetch`` is a list method of :class:`nova.volume.api.API`, ``columns`` maps filters to its
    own, ``sort_keys`` likewise.  BadRequest names a filter or sort key there is not.
    """
    limit, offset = paging.limit_of(req), paging.integer_of(req, "offset")
    everybody = as_bool(req.last("all_tenants", "")) and bool(req.context.is_admin)
    if everybody:
        policy.authorize(req.context, f"volume:{collection}:list:all_tenants")
    filters = _filters(req, columns, everybody)
    wanted = min(limit + offset, 2**31 - 1)
    rows = fetch(req.context, filters, all_projects=everybody, marker=paging.marker_of(req),
                 limit=wanted, sort=_sort(req, sort_keys))[offset:]
    links = {}
    if rows and len(rows) == limit and req.last("limit") is not None:
        links[f"{collection}_links"] = [paging.next_link(req, path, rows[-1].id)]
    return rows, links


def _filters(req: Request, columns: Mapping[str, str], everybody: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, values in req.query.items():
        if name in _CONTROL:
            continue
        if name == "metadata":
            found["metadata"] = _metadata(values[-1])
        elif name in ("project_id", "tenant_id"):
            # Others' things are an administrator's to ask for, and only with all_tenants.
            if everybody:
                found["project_id"] = values[-1]
            elif values[-1] != req.context.project_id:
                found["ids"] = []
        elif name in columns:
            found[columns[name]] = _value(name, values[-1])
        else:
            raise exception.BadRequest(f"{name[:64]}: there is no such filter.")
    return found


def _value(name: str, text: str) -> Any:
    if name == "bootable":
        return as_bool(text)
    if name == "size":
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise exception.BadRequest(f"size: {text[:32]!r} is not a number.")
        return int(text)
    return text[:255]


def _metadata(text: str) -> dict[str, str]:
    """Read a mapping as clients write it into a query: as Python or as JSON, which it is too."""
    if not text.strip():
        return {}
    try:
        found = ast.literal_eval(text[:4096])
        if not isinstance(found, dict):
            raise ValueError(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        raise exception.BadRequest("metadata: is not a mapping such as {'key': 'value'}.") \
            from None
    found = {str(name): str(value) for name, value in found.items()}
    _METADATA.check(found)
    return found


def _sort(req: Request, names: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    text = req.last("sort")
    if text is None:
        return paging.sort_of(req, names, (("created_at", "desc"),))
    found = []
    for part in text.split(",")[:MAX_SORT_KEYS]:
        key, _, direction = part.strip().partition(":")
        if key not in names:
            raise exception.BadRequest(f"sort: cannot sort by {key[:64]!r}.")
        if direction not in ("", "asc", "desc"):
            raise exception.BadRequest(f"sort: {direction[:32]!r} is neither asc nor desc.")
        found.append((names[key], direction or "desc"))
    return tuple(found)
