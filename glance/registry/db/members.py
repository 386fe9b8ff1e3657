# SPDX-License-Identifier: Apache-2.0
"""Queries on memberships: which projects an image is shared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance import exceptions
from glance.registry.db.images import images, isotime, now
from glance.registry.db.models import Base

members = Base.metadata.tables["image_members"]


def _to_member(row: Any) -> dict[str, Any]:
    member = dict(row._mapping)
    member["created_at"] = isotime(member["created_at"])
    member["updated_at"] = isotime(member["updated_at"])
    return member


def get(connection: Connection, image_id: str, member: str | None) -> dict[str, Any] | None:
    """One membership, or None."""
    if member is None:
        return None
    row = connection.execute(sa.select(members).where(
        members.c.image_id == image_id, members.c.member == member)).first()
    return None if row is None else _to_member(row)


def of_image(connection: Connection, image_id: str) -> list[dict[str, Any]]:
    """All members of an image, oldest first."""
    return [_to_member(row) for row in connection.execute(
        sa.select(members).where(members.c.image_id == image_id)
        .order_by(members.c.created_at, members.c.member))]


def of_member(connection: Connection, member: str) -> list[dict[str, Any]]:
    """Accepted memberships of a project in images that are shared and not deleted."""
    return [_to_member(row) for row in connection.execute(
        sa.select(members).join(images, images.c.id == members.c.image_id)
        .where(members.c.member == member, members.c.status == "accepted",
               images.c.visibility == "shared", images.c.deleted == sa.false())
        .order_by(members.c.image_id))]


def put(connection: Connection, image_id: str, member: str, *, can_share: bool | None,
        status: str | None, limit: int) -> None:
    """Add or change a membership."""
    moment = now()
    changes: dict[str, Any] = {"updated_at": moment}
    if can_share is not None:
        changes["can_share"] = can_share
    if status is not None:
        changes["status"] = status
    mine = sa.and_(members.c.image_id == image_id, members.c.member == member)
    if connection.execute(sa.update(members).where(mine).values(**changes)).rowcount:
        return
    count = connection.scalar(sa.select(sa.func.count()).select_from(members)
                              .where(members.c.image_id == image_id))
    if 0 <= limit < (count or 0) + 1:
        raise exceptions.LimitExceeded(f"member: an image may have at most {limit} members")
    connection.execute(members.insert().values(**{
        "image_id": image_id, "member": member, "can_share": False, "status": "pending",
        "created_at": moment, **changes}))


def replace(connection: Connection, image_id: str,
            wanted: Sequence[Mapping[str, Any]], limit: int) -> None:
    """Make `wanted` the whole list of members."""
    if 0 <= limit < len(wanted):
        raise exceptions.LimitExceeded(f"memberships: an image may have at most {limit} members")
    names = [entry["member"] for entry in wanted]
    doomed = sa.delete(members).where(members.c.image_id == image_id)
    if names:
        doomed = doomed.where(members.c.member.not_in(names))
    connection.execute(doomed)
    for entry in wanted:
        put(connection, image_id, entry["member"], can_share=bool(entry.get("can_share")),
            status=None, limit=-1)


def delete(connection: Connection, image_id: str, member: str) -> bool:
    """Remove a membership; False if there was none."""
    return connection.execute(sa.delete(members).where(
        members.c.image_id == image_id, members.c.member == member)).rowcount > 0
