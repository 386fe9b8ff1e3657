# SPDX-License-Identifier: Apache-2.0
"""What a change of a volume or snapshot is called, and what is said of it.

:mod:`nova.notifications` asks for both; nothing is sent here.  Events are made of the statuses
before and after, so every way to a status has the same one.
"""

from collections.abc import Mapping
from typing import Any

from nova.db.changes import Change
from nova.db.models import utcnow
from nova.db.volume_models import VolumeSnapshot
from nova.volume.states import SnapshotStatus, VolumeStatus

# A status in between: what the work is called, and the statuses that say it was done.
Work = Mapping[str, tuple[str, frozenset[str]]]
_VOLUME_WORK: Work = {
    VolumeStatus.CREATING: ("create", frozenset({VolumeStatus.AVAILABLE})),
    VolumeStatus.RESERVED: ("attach", frozenset({VolumeStatus.IN_USE})),
    VolumeStatus.ATTACHING: ("attach", frozenset({VolumeStatus.IN_USE})),
    VolumeStatus.DETACHING: ("detach", frozenset({VolumeStatus.AVAILABLE})),
    VolumeStatus.EXTENDING: (
        "resize", frozenset({VolumeStatus.AVAILABLE, VolumeStatus.IN_USE})),
    VolumeStatus.DELETING: ("delete", frozenset()),
}
_SNAPSHOT_WORK: Work = {
    SnapshotStatus.CREATING: ("create", frozenset({SnapshotStatus.AVAILABLE})),
    SnapshotStatus.DELETING: ("delete", frozenset()),
}

VOLUME_PAYLOAD = {
    "volume_id": "id", "tenant_id": "project_id", "user_id": "user_id", "display_name": "name",
    "size": "size_gb", "host": "host", "availability_zone": "availability_zone",
    "volume_type_id": "volume_type_id", "bootable": "bootable", "snapshot_id": "snapshot_id",
    "source_volume_id": "source_volume_id", "image_id": "image_id", "created_at": "created_at",
}
SNAPSHOT_PAYLOAD = {
    "snapshot_id": "id", "volume_id": "volume_id", "tenant_id": "project_id",
    "user_id": "user_id", "display_name": "name", "size": "size_gb", "host": "host",
    "created_at": "created_at",
}
"""Payload: key and the column it is, besides those of the change itself (see payload_of())."""


def event_of(change: Change) -> tuple[str, bool] | None:
    """Return (event type, whether it tells of a failure); None when no status has changed."""
    row = change.row
    snapshot = isinstance(row, VolumeSnapshot)
    verb, failed = _step(change, _SNAPSHOT_WORK if snapshot else _VOLUME_WORK)
    return (f"{'snapshot' if snapshot else 'volume'}.{verb}", failed) if verb else None


def _step(change: Change, work: Work) -> tuple[str | None, bool]:
    if change.gone:
        return "delete.end", False
    old = str(change.before[0]) if change.before else None
    new = str(change.row.status)        # type: ignore[union-attr]
    old_verb, done = work.get(old or "", (None, frozenset()))
    new_verb, _ = work.get(new, (None, frozenset()))
    if old == VolumeStatus.ATTACHING and new == VolumeStatus.DETACHING:
        return "attach.error", True     # a failed attach is taken back as a detach
    if old == VolumeStatus.RESERVED and new == VolumeStatus.AVAILABLE:
        return "detach.end", False      # given back before any host had it
    if new_verb and new_verb != old_verb:
        return f"{new_verb}.start", False
    if old_verb and not new_verb:
        return (f"{old_verb}.end", False) if new in done else (f"{old_verb}.error", True)
    if change.before == (change.row.status, change.row.host):       # type: ignore[union-attr]
        return None, False
    return "update", False


def payload_of(change: Change) -> dict[str, Any]:
    """Return what is said of a volume or snapshot: its columns, its status, and how it was.

    For a volume that is on its way to or from an instance also that instance and the device.
    """
    row: Any = change.row
    before = change.before or (None, None)
    snapshot = isinstance(row, VolumeSnapshot)
    columns = SNAPSHOT_PAYLOAD if snapshot else VOLUME_PAYLOAD
    found = {key: getattr(row, column) for key, column in columns.items()}
    found |= {"status": "deleted" if change.gone else row.status, "old_status": before[0],
              "old_host": before[1], "deleted_at": utcnow() if change.gone else None}
    if not snapshot:
        found |= {key: change.about.get(key) for key in ("instance_id", "device")}
    return found
