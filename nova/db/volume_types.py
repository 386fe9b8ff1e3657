# SPDX-License-Identifier: Apache-2.0
"""Rows of volume types."""

from collections.abc import Callable

from sqlalchemy import delete, or_, select
from sqlalchemy.exc import IntegrityError

from nova.db.models import new_id
from nova.db.session import affected, again, reader, retry, writer
from nova.db.volume_models import Volume, VolumeType
from nova.exception import AlreadyExists, InUse, VolumeTypeNotFound


def create(name: str, *, description: str | None = None, is_public: bool = True,
           extra_specs: dict[str, str] | None = None) -> VolumeType:
    """Add a type; AlreadyExists when there is one of that name."""
    return _add(VolumeType(id=new_id(), name=name, description=description, is_public=is_public,
                           extra_specs=dict(extra_specs or {})))


@retry
def _add(row: VolumeType) -> VolumeType:
    try:
        with writer() as session:
            if again() and (made := session.get(VolumeType, row.id)) is not None:
                return made     # by a try whose answer got lost
            made = session.merge(row)
            session.flush()
            return made
    except IntegrityError as error:
        raise AlreadyExists(kind="Volume type", name=row.name) from error


@retry
def get(type_id: str) -> VolumeType:
    """Return the type with this id or, failing that, of this name; VolumeTypeNotFound."""
    with reader() as session:
        found = list(session.scalars(select(VolumeType).where(
            or_(VolumeType.id == type_id, VolumeType.name == type_id))))
    for row in found:
        if row.id == type_id:
            return row
    if not found:
        raise VolumeTypeNotFound(type_id=type_id)
    return found[0]


@retry
def get_all(*, is_public: bool | None = None) -> list[VolumeType]:
    """Return every type, or those that are (not) public, ordered by name."""
    query = select(VolumeType).order_by(VolumeType.name)
    if is_public is not None:
        query = query.where(VolumeType.is_public.is_(is_public))
    with reader() as session:
        return list(session.scalars(query))


@retry
def modify(type_id: str, change: Callable[[VolumeType], None]) -> VolumeType:
    """Let ``change`` alter a locked row; AlreadyExists when its new name is taken."""
    try:
        with writer() as session:
            row = session.get(VolumeType, type_id, with_for_update=True)
            if row is None:
                raise VolumeTypeNotFound(type_id=type_id)
            change(row)
            session.flush()
            return row
    except IntegrityError as error:
        raise AlreadyExists(kind="Volume type", name="of that name") from error


@retry
def remove(type_id: str) -> None:
    """Remove a type no volume has; InUse, VolumeTypeNotFound."""
    try:
        with writer() as session:
            if session.scalar(select(Volume.id).where(
                    Volume.volume_type_id == type_id).limit(1)) is not None:
                raise InUse(kind="Volume type", name=type_id)
            if not affected(session, delete(VolumeType).where(VolumeType.id == type_id)):
                raise VolumeTypeNotFound(type_id=type_id)
    except IntegrityError as error:     # a volume of it was made just now
        raise InUse(kind="Volume type", name=type_id) from error
