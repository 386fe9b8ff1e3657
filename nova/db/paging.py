# SPDX-License-Identifier: Apache-2.0
"""Conditions, order and pages of listings, the same for every table that has them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session

from nova.exception import BadRequest

Keys = list[tuple[Any, bool]]
"""Columns to sort by, each with whether it goes down."""


def equals(column: Any, expected: Any) -> ColumnElement[bool]:
    """Say that a column is a value, or one of a collection; None is a value too."""
    if expected is None:
        return column.is_(None)
    if isinstance(expected, (list, tuple, set, frozenset)):
        return one_of(column, expected)
    return column == expected


def one_of(column: Any, values: Collection[Any]) -> ColumnElement[bool]:
    """Say that a column is one of some values, None among them perhaps."""
    known = [value for value in values if value is not None]
    condition = column.in_(known)
    return or_(condition, column.is_(None)) if None in values else condition


def sort_keys(columns: Mapping[str, Any], sort: Sequence[tuple[str, str]]) -> Keys:
    """Turn (name, "asc" or "desc") pairs into keys; ``id`` always settles ties.

    BadRequest names what cannot be sorted by.
    """
    keys: Keys = []
    for name, direction in sort:
        if name not in columns:
            raise BadRequest(f"sort_key: cannot sort by {name!r}")
        if direction not in ("asc", "desc"):
            raise BadRequest(f"sort_dir: {direction!r} is neither asc nor desc")
        keys.append((columns[name], direction == "desc"))
    if not any(column is columns["id"] for column, _ in keys):
        keys.append((columns["id"], keys[-1][1] if keys else True))
    return keys


def page(session: Session, query: Select[Any], keys: Keys, *, marker: str | None,
         limit: int | None, mine: Sequence[ColumnElement[bool]] = ()) -> Select[Any]:
    """Return a query put in order and cut to one page.

    ``marker`` is the id of the last row of the page before, which must meet the conditions
    ``mine``; BadRequest when there is no such row.
    """
    if marker is not None:
        columns = [column for column, _ in keys]
        identity = columns[0].class_.id
        last = session.execute(select(*columns).where(identity == marker, *mine)).one_or_none()
        if last is None:
            raise BadRequest(f"marker [{marker}] not found")
        query = query.where(_after(keys, last))
    for column, descending in keys:
        if _nullable(column):       # PostgreSQL has NULLs at the other end
            present = column.is_not(None)
            query = query.order_by(present.desc() if descending else present.asc())
        query = query.order_by(column.desc() if descending else column.asc())
    return query if limit is None else query.limit(limit)


def _after(keys: Keys, last: Sequence[Any]) -> ColumnElement[bool]:
    """Say "beyond ``last``" for keys that may be NULL; NULL sorts first going up, as on SQLite."""
    choices = []
    for position, (column, descending) in enumerate(keys):
        value = last[position]
        same = [c == v if v is not None else c.is_(None)
                for (c, _), v in zip(keys[:position], last[:position], strict=True)]
        if value is None:
            # Going down, NULLs are last: nothing is beyond them.
            beyond = None if descending else column.is_not(None)
        elif descending:
            beyond = or_(column < value, column.is_(None)) if _nullable(column) else column < value
        else:
            beyond = column > value
        if beyond is not None:
            choices.append(and_(*same, beyond))
    return or_(*choices)


def _nullable(column: Any) -> bool:
    return bool(column.property.columns[0].nullable)
