# SPDX-License-Identifier: Apache-2.0
"""The states of volumes, snapshots and attachments: who moves them, by when, and what is next.

``status`` is one column with the words of the Volume API v3.  Every transition is one conditional
UPDATE (:func:`nova.db.volumes.transition`, :func:`nova.db.volume_attachments.reserve` and its
neighbours) that starts from the states listed here; losing it means somebody else was first::

    API   creating (no host) --> scheduler claims a host --> creating --> available
                 |  no host                                      |  fails
                 +----------------> error <----------------------+
    available --> reserved --> attaching --> in-use --> detaching --> available
                     |             +----------------------^
                     +--> available
    available --> extending --> available | error_extending
    any without an attachment --> deleting --> (row gone) | error_deleting
    creating, extending, deleting --> the error of each     when whoever does it dies of it, or
                                                            breaks, every time

A worker that refuses a creation gives it back: creating with no host, one refusal more in
``request``.  ``desired`` is what the owner wants: ``available`` or ``deleted``.
"""

from dataclasses import dataclass
from enum import StrEnum


class VolumeStatus(StrEnum):
    """What a volume is, or what is being done to it."""

    CREATING = "creating"
    AVAILABLE = "available"
    RESERVED = "reserved"
    ATTACHING = "attaching"
    IN_USE = "in-use"
    DETACHING = "detaching"
    EXTENDING = "extending"
    DELETING = "deleting"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"
    ERROR_EXTENDING = "error_extending"


class SnapshotStatus(StrEnum):
    """What a snapshot is, or what is being done to it."""

    CREATING = "creating"
    AVAILABLE = "available"
    DELETING = "deleting"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"


class AttachStatus(StrEnum):
    """How far the attachment of a volume to an instance has come."""

    RESERVED = "reserved"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"


class Desired(StrEnum):
    """What the owner wants."""

    AVAILABLE = "available"
    DELETED = "deleted"


class Recovery(StrEnum):
    """What is done with a row found in a state in between that nobody works on any more."""

    RESUME = "resume"            # do it again; it is idempotent
    RESCHEDULE = "reschedule"    # look for a host again
    RELEASE = "release"          # the compute worker's; let go when its instance is gone


@dataclass(frozen=True)
class Task:
    """One row of a table of states in between."""

    owner: str                   # who must finish it: "scheduler", "volume" or "compute"
    starts_from: frozenset[str]
    ends_in: frozenset[str | None]      # None: the row is gone
    deadline: int                # seconds after which a reconciler takes it up
    recovery: Recovery
    fails_in: str | None = None  # where it is put when it breaks whoever does it, every time


SCHEDULING_DEADLINE = 60
"""Seconds a volume may be ``creating`` without a host before housekeeping schedules it again."""

_EVERY_STATUS = frozenset(VolumeStatus) - {VolumeStatus.DELETING}

VOLUME_TASKS: dict[VolumeStatus, Task] = {
    VolumeStatus.CREATING: Task(
        "volume", frozenset(), frozenset({VolumeStatus.AVAILABLE, VolumeStatus.ERROR}),
        900, Recovery.RESUME, VolumeStatus.ERROR),
    VolumeStatus.EXTENDING: Task(
        "volume", frozenset({VolumeStatus.AVAILABLE, VolumeStatus.ERROR_EXTENDING}),
        frozenset({VolumeStatus.AVAILABLE, VolumeStatus.ERROR_EXTENDING}), 120, Recovery.RESUME,
        VolumeStatus.ERROR_EXTENDING),
    # From every state: what must not be is an attachment, and the UPDATE says so.
    VolumeStatus.DELETING: Task(
        "volume", _EVERY_STATUS, frozenset({None, VolumeStatus.ERROR_DELETING}),
        120, Recovery.RESUME, VolumeStatus.ERROR_DELETING),
    VolumeStatus.RESERVED: Task(
        "compute", frozenset({VolumeStatus.AVAILABLE}),
        frozenset({VolumeStatus.ATTACHING, VolumeStatus.AVAILABLE}), 300, Recovery.RELEASE),
    VolumeStatus.ATTACHING: Task(
        "compute", frozenset({VolumeStatus.RESERVED}),
        frozenset({VolumeStatus.IN_USE, VolumeStatus.DETACHING, VolumeStatus.AVAILABLE}),
        120, Recovery.RELEASE),
    VolumeStatus.DETACHING: Task(
        "compute", frozenset({VolumeStatus.IN_USE, VolumeStatus.ATTACHING}),
        frozenset({VolumeStatus.AVAILABLE, VolumeStatus.IN_USE}), 120, Recovery.RELEASE),
}

SNAPSHOT_TASKS: dict[SnapshotStatus, Task] = {
    SnapshotStatus.CREATING: Task(
        "volume", frozenset(), frozenset({SnapshotStatus.AVAILABLE, SnapshotStatus.ERROR}),
        900, Recovery.RESUME, SnapshotStatus.ERROR),
    SnapshotStatus.DELETING: Task(
        "volume", frozenset(SnapshotStatus) - {SnapshotStatus.DELETING},
        frozenset({None, SnapshotStatus.ERROR_DELETING}), 120, Recovery.RESUME,
        SnapshotStatus.ERROR_DELETING),
}
