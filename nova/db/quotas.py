# SPDX-License-Identifier: Apache-2.0
"""Limits of single projects; what a project uses is counted from rows, never kept."""

from collections.abc import Collection, Mapping

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nova.db.models import Quota
from nova.db.session import reader, retry, writer


def limits_in(session: Session, project_id: str) -> dict[str, int]:
    """Return a project's own limits by resource, in the caller's transaction."""
    return {resource: limit for resource, limit in session.execute(
        select(Quota.resource, Quota.hard_limit).where(Quota.project_id == project_id))}


@retry
def limits_of(project_id: str) -> dict[str, int]:
    """Return the limits in which a project differs from the defaults, by resource."""
    with reader() as session:
        return limits_in(session, project_id)


def set_limits(project_id: str, limits: Mapping[str, int]) -> None:
    """Give a project limits of its own; -1 is no limit."""
    try:
        _set_limits(project_id, limits)
    except IntegrityError:      # somebody made the same row just now: it is there to be changed
        _set_limits(project_id, limits)


@retry
def _set_limits(project_id: str, limits: Mapping[str, int]) -> None:
    with writer() as session:
        known = {row.resource: row for row in session.scalars(
            select(Quota).where(Quota.project_id == project_id).with_for_update())}
        for resource, limit in limits.items():
            if resource in known:
                known[resource].hard_limit = limit
            else:
                session.add(Quota(project_id=project_id, resource=resource, hard_limit=limit))


@retry
def forget_limits(project_id: str, resources: Collection[str] | None = None) -> None:
    """Put a project back to the defaults, in all resources or in some, in one transaction."""
    which = [] if resources is None else [Quota.resource.in_(list(resources))]
    with writer() as session:
        session.execute(delete(Quota).where(Quota.project_id == project_id, *which))
