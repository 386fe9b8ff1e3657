# SPDX-License-Identifier: Apache-2.0
"""Queries on tasks."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance.registry.db.images import isotime, now
from glance.registry.db.models import Base

tasks = Base.metadata.tables["tasks"]
_TIMES = ("created_at", "updated_at", "expires_at")
_OBJECTS = ("input", "result")
UNFINISHED = ("pending", "processing")


def _to_task(row: Any) -> dict[str, Any]:
    task = dict(row._mapping)
    task["age"] = (now() - task["updated_at"]).total_seconds()
    for name in _TIMES:
        task[name] = isotime(task[name])
    for name in _OBJECTS:
        task[name] = json.loads(task[name]) if task[name] else None
    return task


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: json.dumps(value) if name in _OBJECTS and value is not None else value
           for name, value in values.items()}
    if row.get("expires_at"):
        row["expires_at"] = datetime.datetime.fromisoformat(row["expires_at"])
    return row


def insert(connection: Connection, values: Mapping[str, Any]) -> None:
    """Add a task."""
    moment = now()
    connection.execute(tasks.insert().values(**{
        "status": "pending", "message": "", "created_at": moment, "updated_at": moment,
        **_columns(values)}))


def get(connection: Connection, task_id: str) -> dict[str, Any] | None:
    """One task, or None."""
    row = connection.execute(sa.select(tasks).where(tasks.c.id == task_id)).first()
    return None if row is None else _to_task(row)


def update(connection: Connection, task_id: str, values: Mapping[str, Any],
           from_status: Iterable[str]) -> bool:
    """Change a task that is in one of those states; False if it is not."""
    changed = {**_columns(values), "updated_at": now()}
    return connection.execute(
        sa.update(tasks).where(tasks.c.id == task_id, tasks.c.status.in_(list(from_status)))
        .values(**changed)).rowcount > 0


def select(connection: Connection, *, owner: str | None = None, image_id: str | None = None,
           statuses: Iterable[str] | None = None, kind: str | None = None,
           marker: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Tasks, newest first; `marker` is the last of the page before."""
    statement = sa.select(tasks)
    for column, value in ((tasks.c.owner, owner), (tasks.c.image_id, image_id),
                          (tasks.c.type, kind)):
        if value is not None:
            statement = statement.where(column == value)
    if statuses is not None:
        statement = statement.where(tasks.c.status.in_(list(statuses)))
    if marker is not None:
        found = get(connection, marker)
        if found is not None:
            at = sa.select(tasks.c.created_at).where(tasks.c.id == marker).scalar_subquery()
            statement = statement.where(sa.or_(
                tasks.c.created_at < at, sa.and_(tasks.c.created_at == at, tasks.c.id < marker)))
    statement = statement.order_by(tasks.c.created_at.desc(), tasks.c.id.desc())
    if limit is not None:
        statement = statement.limit(limit)
    return [_to_task(row) for row in connection.execute(statement)]


def expire(connection: Connection) -> int:
    """Remove finished tasks whose time is over; how many."""
    return connection.execute(sa.delete(tasks).where(
        tasks.c.expires_at < now(), tasks.c.status.not_in(UNFINISHED))).rowcount
