# SPDX-License-Identifier: Apache-2.0
"""The life of an image as one table, and the words its fields may hold.

::

    create         upload starts      bytes and row agree
    ------> queued ----------> saving -----------------> active <-----> deactivated
              |                  |  upload failed or died   |               |
              |                  +---------------> killed   |               |
              +---------+--------+-----------------+--------+---------------+
                        v  (row first, so nobody else can reach the bytes)
                  pending_delete ----> deleted   (bytes gone, row kept: ids are never used twice)

Who may move an image, by when, and what a restarted service does with it is in `TRANSIENT`.
Each move is one conditional UPDATE of the registry: it wins, or says which state was found.
"""

from __future__ import annotations

import dataclasses

QUEUED = "queued"
SAVING = "saving"
ACTIVE = "active"
KILLED = "killed"
DEACTIVATED = "deactivated"
PENDING_DELETE = "pending_delete"
DELETED = "deleted"

STATUSES = (QUEUED, SAVING, ACTIVE, KILLED, DEACTIVATED, PENDING_DELETE, DELETED)

#: status -> statuses it may change to
TRANSITIONS: dict[str, frozenset[str]] = {
    QUEUED: frozenset({SAVING, PENDING_DELETE}),
    SAVING: frozenset({ACTIVE, KILLED, PENDING_DELETE}),
    ACTIVE: frozenset({DEACTIVATED, PENDING_DELETE}),
    DEACTIVATED: frozenset({ACTIVE, PENDING_DELETE}),
    KILLED: frozenset({PENDING_DELETE}),
    PENDING_DELETE: frozenset({DELETED}),
    DELETED: frozenset(),
}


@dataclasses.dataclass(frozen=True)
class Transient:
    """A status no image may stay in: its owner, and the next step when the owner is gone."""

    owner: str
    deadline: str
    on_restart: str


TRANSIENT = {
    SAVING: Transient(
        owner="the glance-api process that receives the bytes (column upload_worker)",
        deadline="upload_stall_timeout seconds after the last heartbeat, or as soon as the lock "
                 "file of that process is free",
        on_restart="bytes removed, status killed"),
    PENDING_DELETE: Transient(
        owner="any glance-api process",
        deadline="reconcile_interval seconds",
        on_restart="bytes removed, status deleted"),
}

VISIBILITIES = ("public", "community", "shared", "private")
MEMBER_STATUSES = ("pending", "accepted", "rejected")
DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf")
AMAZON_FORMATS = frozenset({"ami", "ari", "aki"})


def may_move(old: str, new: str) -> bool:
    """Whether an image in status `old` may be put into status `new`."""
    return new in TRANSITIONS[old]


def sources_of(new: str) -> tuple[str, ...]:
    """The statuses from which `new` may be reached, for the WHERE of a conditional UPDATE."""
    return tuple(old for old, allowed in TRANSITIONS.items() if new in allowed)
