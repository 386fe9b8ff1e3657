# SPDX-License-Identifier: Apache-2.0
"""One SELECT for a page of images: who may see them, filters, order, marker."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import operator
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance import exceptions
from glance.context import RequestContext
from glance.registry.db.images import (
    _PUBLIC_COLUMNS,
    _to_image,
    attach_details,
    images,
    properties,
    tags,
)
from glance.registry.db.models import Base
from glance.registry.types import SORT_KEYS, ImageQuery

MAX_BIGINT = 2 ** 63 - 1
members = Base.metadata.tables["image_members"]
#: bound when a statement runs, which is put together only once
_PROJECT = sa.bindparam("project", type_=sa.String)
_STATUS = sa.bindparam("member_status", type_=sa.String)
_LIMIT = sa.bindparam("page", type_=sa.Integer)

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "neq": operator.ne, "gt": operator.gt, "gte": operator.ge,
    "lt": operator.lt, "lte": operator.le,
}
#: what NULL sorts as, so that a marker works on every database alike
_NULLS = {"name": "", "container_format": "", "disk_format": "", "size": -1, "owner": ""}
FILTER_COLUMNS = frozenset({
    "id", "name", "status", "visibility", "disk_format", "container_format", "size",
    "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "owner", "min_disk", "min_ram",
    "protected", "os_hidden", "created_at", "updated_at"})


@dataclasses.dataclass(frozen=True)
class _Shape:
    """What decides the text of a scope; whose it is, is bound when it runs."""

    is_admin: bool
    has_project: bool
    visibility: str | None
    any_status: bool

    @classmethod
    def of(cls, context: RequestContext, visibility: str | None, member_status: str) -> _Shape:
        return cls(context.is_admin, context.project_id is not None, visibility,
                   member_status == "all")


def _membership(any_status: bool) -> Any:
    mine: Any = sa.select(sa.literal_column("1")).where(members.c.image_id == images.c.id,
                                                   members.c.member == _PROJECT)
    if not any_status:
        mine = mine.where(members.c.status == _STATUS)
    return sa.and_(images.c.visibility == "shared", sa.exists(mine))


def _scope(shape: _Shape) -> list[Any]:
    """The WHERE that keeps each project to what it may see."""
    conditions = [images.c.deleted == sa.false()]
    own = images.c.owner == _PROJECT if shape.has_project else sa.false()
    shared = _membership(shape.any_status)
    if not shape.is_admin:
        conditions.append(sa.or_(own, images.c.visibility.in_(("public", "community")), shared))
    if shape.visibility is None:
        conditions.append(sa.or_(images.c.visibility != "community", own))
    elif shape.visibility == "shared" and not shape.any_status and not shape.is_admin:
        conditions.append(sa.and_(images.c.visibility == "shared", sa.or_(own, shared)))
    elif shape.visibility != "all":
        conditions.append(images.c.visibility == shape.visibility)
    return conditions


def _condition(field: str, comparison: str, value: Any) -> Any:
    if field == "tag":
        found = sa.exists(sa.select(sa.literal(1)).where(
            tags.c.image_id == images.c.id, tags.c.value == value))
        return found if comparison == "eq" else sa.not_(found)
    if field.startswith("property:"):
        name = field.removeprefix("property:")
        clause = (properties.c.value.in_(value) if comparison == "in"
                  else _COMPARE[comparison](properties.c.value, value))
        return sa.exists(sa.select(sa.literal(1)).where(
            properties.c.image_id == images.c.id, properties.c.name == name, clause))
    if field not in FILTER_COLUMNS:
        raise exceptions.Invalid(f"{field}: not a field to filter on")
    column = images.c[field]
    _check_type(column, value if comparison == "in" else [value])
    if comparison == "in":
        return column.in_(value)
    if field in ("created_at", "updated_at"):
        return _time_condition(column, comparison, value)
    if value is None:
        return column.is_(None) if comparison == "eq" else column.is_not(None)
    return _COMPARE[comparison](column, value)


def _check_type(column: Any, values: list[Any]) -> None:
    """Not every database refuses to compare a number with a text; and not all fit."""
    wanted = column.type.python_type
    if wanted is datetime.datetime:
        wanted = str
    for value in values:
        if value is not None and (type(value) is not wanted
                                  or (wanted is int and abs(value) > MAX_BIGINT)):
            raise exceptions.Invalid(f"{column.name}: cannot be compared with {str(value)[:40]!r}")


def _time_condition(column: Any, comparison: str, value: Any) -> Any:
    """Times are shown to the second, so a second is what they are compared by."""
    try:
        start = datetime.datetime.fromisoformat(str(value).removesuffix("Z"))
    except ValueError:
        raise exceptions.Invalid(f"{column.name}: not an ISO 8601 time") from None
    if start.tzinfo is not None:
        start = start.astimezone(datetime.UTC).replace(tzinfo=None)
    try:
        end = start + datetime.timedelta(seconds=1)
    except OverflowError:
        end = start
    return {
        "eq": sa.and_(column >= start, column < end), "neq": sa.or_(column < start, column >= end),
        "gt": column >= end, "gte": column >= start, "lt": column < start, "lte": column < end,
    }[comparison]


def _sort_column(key: str) -> Any:
    if key not in SORT_KEYS:
        raise exceptions.Invalid(f"sort_key: {key!r} is not one of {', '.join(SORT_KEYS)}")
    column = images.c[key]
    return sa.func.coalesce(column, _NULLS[key]) if key in _NULLS else column


def _after_marker(connection: Connection, context: RequestContext, bound: dict[str, Any],
                  marker: str, order: list[tuple[Any, str]]) -> Any:
    """The rows behind the marker: compared key by key, the id decides ties."""
    everything = _scope(_Shape.of(context, "all", "all"))
    row = connection.execute(sa.select(*[column for column, _ in order]).where(
        images.c.id == marker, *everything), bound).first()
    if row is None:
        raise exceptions.Invalid(f"marker: image {marker} could not be found")
    alternatives = []
    for index, (column, direction) in enumerate(order):
        equal = [order[i][0] == row[i] for i in range(index)]
        further = column < row[index] if direction == "desc" else column > row[index]
        alternatives.append(sa.and_(*equal, further))
    return sa.or_(*alternatives)


@functools.lru_cache(maxsize=128)
def _listing(shape: _Shape, sort: tuple[tuple[str, str], ...],
             limited: bool) -> tuple[Any, list[tuple[Any, str]]]:
    """(statement of a whole listing, its order): putting one together takes as long as all else
    that a listing does, and most are the same few."""
    order = [(_sort_column(key), direction) for key, direction in sort]
    if all(key != "id" for key, _ in sort):
        order.append((images.c.id, sort[-1][1] if sort else "desc"))
    statement = sa.select(*_PUBLIC_COLUMNS).where(*_scope(shape)).order_by(*[
        column.desc() if direction == "desc" else column.asc() for column, direction in order])
    return (statement.limit(_LIMIT) if limited else statement), order


def page(connection: Connection, context: RequestContext,
         query: ImageQuery) -> list[dict[str, Any]]:
    """The images `context` may see, with details."""
    bound = {"project": context.project_id, "member_status": query.member_status,
             "page": query.limit}
    statement, order = _listing(_Shape.of(context, query.visibility, query.member_status),
                                tuple(query.sort), query.limit is not None)
    for field, comparison, value in query.filters:
        statement = statement.where(_condition(field, comparison, value))
    if query.marker is not None:
        # A marker that left the listing meanwhile (deleted, say) is an error the client sees,
        # not a page that silently starts anew.
        statement = statement.where(
            _after_marker(connection, context, bound, query.marker, order))
    found = [_to_image(row) for row in connection.execute(statement, bound)]
    attach_details(connection, found)
    return found
