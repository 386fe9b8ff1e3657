# SPDX-License-Identifier: Apache-2.0
"""Rows of volumes: made, found, claimed, and moved from status to status.

:func:`transition`, :func:`begin` and :func:`claim` are the only ways to change ``status``, save
those of :mod:`nova.db.volume_attachments`, which move volume and attachment together.
"""

import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from nova.db import changes, paging, volume_hosts
from nova.db.models import new_id, utcnow
from nova.db.paging import equals
from nova.db.session import affected, again, deed, reader, retry, writer
from nova.db.volume_models import Volume, VolumeAttachment, VolumeSnapshot
from nova.exception import (
    BadRequest,
    ClaimFailed,
    InvalidSnapshot,
    InvalidVolume,
    NoRoomForVolume,
    SnapshotNotFound,
    VolumeNotFound,
)
from nova.volume.states import (
    SCHEDULING_DEADLINE,
    VOLUME_TASKS,
    SnapshotStatus,
    VolumeStatus,
)


class _Any:
    def __repr__(self) -> str:
        return "ANY"


ANY: Any = _Any()
"""Default of the ``from_`` arguments: whatever the row says."""

Guard = Callable[[Session], None]

# Written by transitions and claims alone.
_STATE_COLUMNS = frozenset({"status", "deadline", "transition_id", "claimed_gb", "size_gb", "host",
                            "deaths"})
_SORT_COLUMNS = {
    name: getattr(Volume, name) for name in (
        "created_at", "updated_at", "id", "name", "size_gb", "status", "host", "project_id",
        "availability_zone", "bootable")}
_EQUAL_FILTERS = frozenset({
    "project_id", "user_id", "id", "name", "status", "host", "availability_zone", "bootable",
    "volume_type_id", "snapshot_id", "source_volume_id", "image_id", "size_gb", "description"})


# ---------------------------------------------------------------- making and finding

def create(volume: Volume, guard: Guard | None = None) -> Volume:
    """Add a new volume, on its way to a host; what it is copied from must be available now.

    ``guard`` runs first in the same transaction; what it raises (OverQuota) undoes it.
    InvalidVolume or InvalidSnapshot say what the source is instead.
    """
    @retry
    def once() -> Volume:
        with writer() as session:
            if again() and (made := session.get(Volume, volume.id)) is not None:
                return made     # the try before this one was committed and its answer got lost
            if guard is not None:
                guard(session)
            return add(session, volume)

    return once()


def add(session: Session, volume: Volume) -> Volume:
    """Add a new volume within a transaction that does more than that; else as create()."""
    volume.claimed_gb = volume.size_gb
    volume.deadline = deadline_of(volume.status, volume.host)
    deed(f"to-volume-{volume.status}")
    if volume.source_volume_id is not None:
        move(session, volume.source_volume_id,
             [Volume.status == VolumeStatus.AVAILABLE], "copy", {})
    if volume.snapshot_id is not None:
        _hold_snapshot(session, volume.snapshot_id)
    made = session.merge(volume)
    changes.note(session, None, made)
    return made


def _hold_snapshot(session: Session, snapshot_id: str) -> None:
    """Lock the row of a snapshot that is to be copied: its deletion comes before this or fails."""
    held = affected(session, update(VolumeSnapshot).where(
        VolumeSnapshot.id == snapshot_id, VolumeSnapshot.status == SnapshotStatus.AVAILABLE,
    ).values(transition_id=new_id()))
    if not held:
        row = session.get(VolumeSnapshot, snapshot_id)
        if row is None:
            raise SnapshotNotFound(snapshot_id=snapshot_id)
        raise InvalidSnapshot(action="copy", snapshot_id=snapshot_id, status=row.status)


@retry
def get(volume_id: str, project_id: str | None = None) -> Volume:
    """Return one volume; VolumeNotFound when there is none or it is another project's."""
    with reader() as session:
        found = session.get(Volume, volume_id)
    if found is None or (project_id is not None and found.project_id != project_id):
        raise VolumeNotFound(volume_id=volume_id)
    return found


@retry
def get_many(volume_ids: Collection[str]) -> dict[str, Volume]:
    """Return those of the volumes that exist, by id."""
    found: dict[str, Volume] = {}
    ids = list(volume_ids)
    with reader() as session:
        for start in range(0, len(ids), 500):
            for row in session.scalars(
                    select(Volume).where(Volume.id.in_(ids[start:start + 500]))):
                found[row.id] = row
    return found


@retry
def get_all(filters: Mapping[str, Any] | None = None, *, marker: str | None = None,
            limit: int | None = None,
            sort: Sequence[tuple[str, str]] = (("created_at", "desc"),)) -> list[Volume]:
    """Return volumes, newest first, one page of them at a time.

    ``filters`` maps a column to a value, to a list of values or to None; besides columns it knows
    ``name_like`` (a part, case ignored), ``ids``, ``changes_since`` and ``metadata`` (a mapping
    whose every item the volume has).  BadRequest names what is wrong.
    """
    filters = dict(filters or {})
    metadata = filters.pop("metadata", None)
    keys = paging.sort_keys(_SORT_COLUMNS, sort)
    mine = [] if filters.get("project_id") is None else [
        Volume.project_id == filters["project_id"]]
    query = select(Volume).where(*_conditions(filters))
    with reader() as session:
        # Items of a JSON column are compared here, for no two databases agree on how to.
        page = paging.page(session, query, keys, marker=marker,
                           limit=None if metadata else limit, mine=mine)
        rows = list(session.scalars(page))
    if metadata:
        rows = [row for row in rows if metadata.items() <= (row.metadata_ or {}).items()][:limit]
    return rows


@retry
def count(filters: Mapping[str, Any]) -> int:
    """Return how many volumes meet the filters (not ``metadata``)."""
    with reader() as session:
        return int(session.scalar(
            select(func.count(Volume.id)).where(*_conditions(filters))) or 0)


@retry
def count_states() -> dict[tuple[str], int]:
    """Return how many volumes there are by status."""
    with reader() as session:
        return {(status,): int(number) for status, number in session.execute(
            select(Volume.status, func.count(Volume.id)).group_by(Volume.status))}


def _conditions(filters: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for name, value in filters.items():
        if name in _EQUAL_FILTERS:
            found.append(equals(getattr(Volume, name), value))
        elif name == "ids":
            found.append(Volume.id.in_(list(value)))
        elif name == "name_like":
            found.append(Volume.name.icontains(value, autoescape=True))
        elif name == "changes_since":
            found.append(func.coalesce(Volume.updated_at, Volume.created_at) >= value)
        else:
            raise BadRequest(f"{name}: not a filter for volumes")
    return found


@retry
def overdue(statuses: Collection[str], *, host: Any = ANY, limit: int = 100,
            begun: float | None = None) -> list[Volume]:
    """Return volumes past the deadline of a status in ``statuses``, the longest overdue first.

    With ``begun`` those that are in it for more than so many seconds.
    """
    query = select(Volume).where(Volume.status.in_(list(statuses)))
    if begun is None:
        query = query.where(Volume.deadline < utcnow())
    else:
        query = query.where(or_(*(
            and_(Volume.status == status, on_host, Volume.deadline
                 < utcnow() + datetime.timedelta(seconds=_seconds(status, hostless) - begun))
            for status in statuses
            for hostless, on_host in ((True, Volume.host.is_(None)),
                                      (False, Volume.host.is_not(None))))))
    if host is not ANY:
        query = query.where(equals(Volume.host, host))
    with reader() as session:
        return list(session.scalars(query.order_by(Volume.deadline).limit(limit)))


# ---------------------------------------------------------------- changing

def deadline_of(status: str, host: str | None) -> datetime.datetime | None:
    """Return the moment by which a volume must have left a status; None: it may stay."""
    if status not in VOLUME_TASKS:
        return None
    return utcnow() + datetime.timedelta(seconds=_seconds(status, host is None))


def _seconds(status: str, hostless: bool) -> int:
    if hostless and status == VolumeStatus.CREATING:
        return SCHEDULING_DEADLINE
    return VOLUME_TASKS[VolumeStatus(status)].deadline


def move(session: Session, volume_id: str, conditions: Sequence[ColumnElement[bool]], verb: str,
         values: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> Volume:
    """Move a volume within a transaction that moves more than it; its row is locked then.

    InvalidVolume when a condition does not hold, VolumeNotFound when it is gone.  With a
    ``transition_id`` in ``values`` a move already done under that id is done.  ``about`` is for
    who is told of the move.
    """
    values = {"transition_id": new_id(), **values}
    if "status" in values:
        deed(f"to-volume-{values['status']}")
        values = {"deaths": 0, **values}
        if "deadline" not in values:    # one that depends on the host says so itself: see claim()
            values["deadline"] = deadline_of(values["status"], values.get("host", ""))
    before = changes.states_of(session, Volume, volume_id)
    moved = affected(session, update(Volume).where(Volume.id == volume_id, *conditions)
                     .values(values))
    row = session.get(Volume, volume_id, populate_existing=True)
    if row is None:
        raise VolumeNotFound(volume_id=volume_id)
    if not moved and row.transition_id != values["transition_id"]:
        raise _invalid(row, verb)
    if moved and before is not None:
        changes.note(session, before, row, about)
    return row


def _invalid(row: Volume, verb: str) -> InvalidVolume:
    return InvalidVolume(action=verb, volume_id=row.id, status=row.status)


def transition(volume_id: str, *, from_status: Any = ANY, from_host: Any = ANY,
               verb: str | None = None, **values: Any) -> Volume:
    """Move a volume in one conditional UPDATE; return it as it is then.

    It must be in (one of) ``from_status`` and ``from_host`` or InvalidVolume says where it is
    instead; VolumeNotFound when it is gone.  A new ``status`` sets its deadline.
    """
    conditions = [equals(column, expected) for column, expected in (
        (Volume.status, from_status), (Volume.host, from_host)) if expected is not ANY]
    return _transition(volume_id, conditions, verb or str(values.get("status") or "change"),
                       {"transition_id": new_id(), **values})


@retry
def _transition(volume_id: str, conditions: list[ColumnElement[bool]], verb: str,
                values: dict[str, Any]) -> Volume:
    with writer() as session:
        return move(session, volume_id, conditions, verb, values)


def begin_delete(volume_id: str, **values: Any) -> Volume:
    """Start to delete a volume from any status; InvalidVolume while it is attached or copied."""
    return _begin_delete(volume_id, {
        **values, "status": VolumeStatus.DELETING, "transition_id": new_id()})


@retry
def _begin_delete(volume_id: str, values: dict[str, Any]) -> Volume:
    with writer() as session:
        row = move(session, volume_id,
                   [Volume.status.in_(VOLUME_TASKS[VolumeStatus.DELETING].starts_from)],
                   "delete", values)
        attached = session.scalar(select(VolumeAttachment.status).where(
            VolumeAttachment.volume_id == volume_id))
        if attached is not None:
            raise InvalidVolume(action="delete", volume_id=volume_id, status=attached)
        check_not_copied(session, volume_id, "delete")
        return row


def check_not_copied(session: Session, volume_id: str, verb: str) -> None:
    """Raise InvalidVolume while a snapshot or another volume is made of a volume.

    The volume's row must be locked: only then is what is found here all there will be.
    """
    for query in (
            select(VolumeSnapshot.id).where(VolumeSnapshot.volume_id == volume_id,
                                            VolumeSnapshot.status == SnapshotStatus.CREATING),
            select(Volume.id).where(Volume.source_volume_id == volume_id,
                                    Volume.status == VolumeStatus.CREATING)):
        if session.scalar(query.limit(1)) is not None:
            raise InvalidVolume(action=verb, volume_id=volume_id, status="being copied")


def begin_extend(volume_id: str, new_size_gb: int, guard: Guard, **values: Any) -> Volume:
    """Start to make a volume larger, if project and host have room for it.

    InvalidVolume unless it is available (or could not be extended before), NoRoomForVolume.
    """
    return _begin_extend(volume_id, guard, {
        **values, "status": VolumeStatus.EXTENDING, "claimed_gb": new_size_gb,
        "transition_id": new_id()})


@retry
def _begin_extend(volume_id: str, guard: Guard, values: dict[str, Any]) -> Volume:
    with writer() as session:
        row = session.get(Volume, volume_id)
        if row is None:
            raise VolumeNotFound(volume_id=volume_id)
        if row.transition_id == values["transition_id"]:
            return row
        guard(session)
        more = values["claimed_gb"] - row.claimed_gb
        if row.host is not None:
            try:
                volume_hosts.claim(session, row.host, more)
            except ClaimFailed as error:
                raise NoRoomForVolume(requested=more, volume_id=volume_id) from error
        moved = move(
            session, volume_id,
            [Volume.status.in_(VOLUME_TASKS[VolumeStatus.EXTENDING].starts_from),
             Volume.claimed_gb == row.claimed_gb, equals(Volume.host, row.host)],
            "extend", values)
        check_not_copied(session, volume_id, "extend")
        return moved


@retry
def modify(volume_id: str, change: Callable[[Volume], None]) -> Volume:
    """Let ``change`` alter the columns of a locked row (name, metadata...), never its states."""
    with writer() as session:
        row = session.get(Volume, volume_id, with_for_update=True)
        if row is None:
            raise VolumeNotFound(volume_id=volume_id)
        states = [getattr(row, name) for name in sorted(_STATE_COLUMNS)]
        change(row)
        if states != [getattr(row, name) for name in sorted(_STATE_COLUMNS)]:
            raise ValueError("states are changed by transition() alone")
        return row


@retry
def note_death(volume_id: str) -> int:
    """Count a process that ended while it worked on a volume; return how many did by now.

    Only those since its status changed count.
    """
    with writer() as session:
        affected(session, update(Volume).where(Volume.id == volume_id).values(
            deaths=Volume.deaths + 1))
        row = session.get(Volume, volume_id)
        return row.deaths if row is not None else 0


@retry
def delete_row(volume_id: str, *, from_host: Any = ANY) -> bool:
    """Remove the row of a volume whose bytes are gone; False when it was gone already.

    InvalidVolume when it is not being deleted or not on the host expected.
    """
    conditions = [Volume.status == VolumeStatus.DELETING]
    if from_host is not ANY:
        conditions.append(equals(Volume.host, from_host))
    with writer() as session:
        last = changes.last_row(session, Volume, volume_id)
        if affected(session, delete(Volume).where(Volume.id == volume_id, *conditions)):
            changes.note_gone(session, last)
            return True
        still = session.get(Volume, volume_id)
        if still is not None:
            raise _invalid(still, "remove")
        return False


def claim(volume_id: str, host: str, availability_zone: str) -> Volume:
    """Put a volume that waits for a host on one that has room for it.

    ClaimFailed when it has none, InvalidVolume when the volume waits no more, VolumeHostNotFound.
    """
    return _claim(volume_id, host, {
        "host": host, "availability_zone": availability_zone, "transition_id": new_id(),
        "deadline": deadline_of(VolumeStatus.CREATING, host)})


@retry
def _claim(volume_id: str, host: str, values: dict[str, Any]) -> Volume:
    with writer() as session:
        row = session.get(Volume, volume_id)
        if row is None:
            raise VolumeNotFound(volume_id=volume_id)
        if row.transition_id == values["transition_id"]:
            return row      # by a try whose answer got lost
        if row.host is not None:
            raise _invalid(row, "place")
        volume_hosts.claim(session, host, row.claimed_gb)
        return move(session, volume_id,
                    [Volume.status == VolumeStatus.CREATING, Volume.host.is_(None)],
                    "place", values)


