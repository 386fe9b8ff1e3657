# SPDX-License-Identifier: Apache-2.0
"""Rows of snapshots of volumes: made, found, and moved from status to status."""

import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select, update

from nova.db import changes, paging, volume_hosts, volumes
from nova.db.models import new_id, utcnow
from nova.db.paging import equals
from nova.db.session import affected, again, deed, reader, retry, writer
from nova.db.volume_models import Volume, VolumeSnapshot
from nova.db.volumes import ANY, Guard
from nova.exception import (
    BadRequest,
    ClaimFailed,
    InvalidSnapshot,
    NoRoomForVolume,
    SnapshotNotFound,
    VolumeNotFound,
)
from nova.volume.states import SNAPSHOT_TASKS, SnapshotStatus, VolumeStatus

_STATE_COLUMNS = frozenset({"status", "deadline", "transition_id", "deaths"})
_SORT_COLUMNS = {
    name: getattr(VolumeSnapshot, name) for name in (
        "created_at", "updated_at", "id", "name", "size_gb", "status", "volume_id", "project_id")}
_EQUAL_FILTERS = frozenset({
    "project_id", "user_id", "id", "name", "status", "host", "volume_id", "size_gb"})


def create(snapshot: VolumeSnapshot, guard: Guard | None = None) -> VolumeSnapshot:
    """Add a snapshot of an available volume, on that volume's host, if that has room for it.

    InvalidVolume says what the volume is instead, NoRoomForVolume that the host is full.
    """
    snapshot.deadline = _deadline(snapshot.status)

    @retry
    def add() -> VolumeSnapshot:
        with writer() as session:
            deed(f"to-snapshot-{snapshot.status}")
            if again() and (made := session.get(VolumeSnapshot, snapshot.id)) is not None:
                return made     # the try before this one was committed and its answer got lost
            if guard is not None:
                guard(session)
            volume = session.get(Volume, snapshot.volume_id)
            if volume is None:
                raise VolumeNotFound(volume_id=snapshot.volume_id)
            if volume.host is not None:
                try:
                    volume_hosts.claim(session, volume.host, volume.size_gb)
                except ClaimFailed as error:
                    raise NoRoomForVolume(requested=volume.size_gb,
                                          volume_id=volume.id) from error
            volumes.move(session, volume.id,
                         [Volume.status == VolumeStatus.AVAILABLE, Volume.host == volume.host,
                          Volume.size_gb == volume.size_gb], "snapshot", {})
            snapshot.host, snapshot.size_gb = volume.host, volume.size_gb
            made = session.merge(snapshot)
            changes.note(session, None, made)
            return made

    return add()


@retry
def get(snapshot_id: str, project_id: str | None = None) -> VolumeSnapshot:
    """Return one snapshot; SnapshotNotFound when there is none or it is another project's."""
    with reader() as session:
        found = session.get(VolumeSnapshot, snapshot_id)
    if found is None or (project_id is not None and found.project_id != project_id):
        raise SnapshotNotFound(snapshot_id=snapshot_id)
    return found


@retry
def get_many(snapshot_ids: Collection[str]) -> dict[str, VolumeSnapshot]:
    """Return those of the snapshots that exist, by id."""
    ids = list(snapshot_ids)
    with reader() as session:
        return {row.id: row for start in range(0, len(ids), 500) for row in session.scalars(
            select(VolumeSnapshot).where(VolumeSnapshot.id.in_(ids[start:start + 500])))}


@retry
def get_all(filters: Mapping[str, Any] | None = None, *, marker: str | None = None,
            limit: int | None = None,
            sort: Sequence[tuple[str, str]] = (("created_at", "desc"),)) -> list[VolumeSnapshot]:
    """Return snapshots, newest first, one page at a time; filters as those of volumes."""
    filters = dict(filters or {})
    metadata = filters.pop("metadata", None)
    keys = paging.sort_keys(_SORT_COLUMNS, sort)
    mine = [] if filters.get("project_id") is None else [
        VolumeSnapshot.project_id == filters["project_id"]]
    query = select(VolumeSnapshot).where(*_conditions(filters))
    with reader() as session:
        page = paging.page(session, query, keys, marker=marker,
                           limit=None if metadata else limit, mine=mine)
        rows = list(session.scalars(page))
    if metadata:
        rows = [row for row in rows if metadata.items() <= (row.metadata_ or {}).items()][:limit]
    return rows


def _conditions(filters: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for name, value in filters.items():
        if name in _EQUAL_FILTERS:
            found.append(equals(getattr(VolumeSnapshot, name), value))
        elif name == "ids":
            found.append(VolumeSnapshot.id.in_(list(value)))
        elif name == "name_like":
            found.append(VolumeSnapshot.name.icontains(value, autoescape=True))
        else:
            raise BadRequest(f"{name}: not a filter for snapshots")
    return found


@retry
def overdue(statuses: Collection[str], *, host: Any = ANY, limit: int = 100,
            begun: float | None = None) -> list[VolumeSnapshot]:
    """Return snapshots past the deadline of a status in ``statuses``, oldest deadline first.

    With ``begun`` those that are in it for more than so many seconds.
    """
    query = select(VolumeSnapshot).where(VolumeSnapshot.status.in_(list(statuses)))
    if begun is None:
        query = query.where(VolumeSnapshot.deadline < utcnow())
    else:
        query = query.where(or_(*(
            and_(VolumeSnapshot.status == status, VolumeSnapshot.deadline < utcnow()
                 + datetime.timedelta(
                     seconds=SNAPSHOT_TASKS[SnapshotStatus(status)].deadline - begun))
            for status in statuses)))
    if host is not ANY:
        query = query.where(equals(VolumeSnapshot.host, host))
    with reader() as session:
        return list(session.scalars(query.order_by(VolumeSnapshot.deadline).limit(limit)))


def _deadline(status: str) -> datetime.datetime | None:
    task = SNAPSHOT_TASKS.get(SnapshotStatus(status))
    return None if task is None else utcnow() + datetime.timedelta(seconds=task.deadline)


def transition(snapshot_id: str, *, from_status: Any = ANY, verb: str | None = None,
               **values: Any) -> VolumeSnapshot:
    """Move a snapshot in one conditional UPDATE; return it as it is then.

    InvalidSnapshot says where it is if not in (one of) ``from_status``; SnapshotNotFound.
    """
    values = {"transition_id": new_id(), **values}
    if "status" in values:
        values["deadline"] = _deadline(values["status"])
    conditions = [] if from_status is ANY else [equals(VolumeSnapshot.status, from_status)]
    return _move(snapshot_id, conditions, verb or str(values.get("status") or "change"), values)


@retry
def _move(snapshot_id: str, conditions: list[ColumnElement[bool]], verb: str,
          values: dict[str, Any], check_copies: bool = False) -> VolumeSnapshot:
    if "status" in values:
        deed(f"to-snapshot-{values['status']}")
        values = {"deaths": 0, **values}
    with writer() as session:
        before = changes.states_of(session, VolumeSnapshot, snapshot_id)
        moved = affected(session, update(VolumeSnapshot).where(
            VolumeSnapshot.id == snapshot_id, *conditions).values(values))
        row = session.get(VolumeSnapshot, snapshot_id)
        if row is None:
            raise SnapshotNotFound(snapshot_id=snapshot_id)
        if not moved and row.transition_id != values["transition_id"]:
            raise InvalidSnapshot(action=verb, snapshot_id=row.id, status=row.status)
        if check_copies and session.scalar(select(Volume.id).where(
                Volume.snapshot_id == snapshot_id, Volume.status == VolumeStatus.CREATING,
                ).limit(1)) is not None:
            raise InvalidSnapshot(action=verb, snapshot_id=row.id, status="being copied")
        if moved and before is not None:
            changes.note(session, before, row)
        return row


def begin_delete(snapshot_id: str) -> VolumeSnapshot:
    """Start to delete a snapshot from any status; InvalidSnapshot while a volume is made of it."""
    task = SNAPSHOT_TASKS[SnapshotStatus.DELETING]
    return _move(
        snapshot_id, [VolumeSnapshot.status.in_(task.starts_from)], "delete",
        {"status": SnapshotStatus.DELETING, "deadline": _deadline(SnapshotStatus.DELETING),
         "transition_id": new_id()}, check_copies=True)


@retry
def modify(snapshot_id: str, change: Callable[[VolumeSnapshot], None]) -> VolumeSnapshot:
    """Let ``change`` alter the columns of a locked row, never its states."""
    with writer() as session:
        row = session.get(VolumeSnapshot, snapshot_id, with_for_update=True)
        if row is None:
            raise SnapshotNotFound(snapshot_id=snapshot_id)
        states = [getattr(row, name) for name in sorted(_STATE_COLUMNS)]
        change(row)
        if states != [getattr(row, name) for name in sorted(_STATE_COLUMNS)]:
            raise ValueError("states are changed by transition() alone")
        return row


@retry
def note_death(snapshot_id: str) -> int:
    """Count a process that ended while it worked on a snapshot, as for volumes."""
    with writer() as session:
        affected(session, update(VolumeSnapshot).where(VolumeSnapshot.id == snapshot_id).values(
            deaths=VolumeSnapshot.deaths + 1))
        row = session.get(VolumeSnapshot, snapshot_id)
        return row.deaths if row is not None else 0


@retry
def delete_row(snapshot_id: str) -> bool:
    """Remove the row of a snapshot whose bytes are gone; False when it was gone already."""
    with writer() as session:
        last = changes.last_row(session, VolumeSnapshot, snapshot_id)
        if affected(session, delete(VolumeSnapshot).where(
                VolumeSnapshot.id == snapshot_id,
                VolumeSnapshot.status == SnapshotStatus.DELETING)):
            changes.note_gone(session, last)
            return True
        still = session.get(VolumeSnapshot, snapshot_id)
        if still is not None:
            raise InvalidSnapshot(action="remove", snapshot_id=still.id, status=still.status)
        return False
