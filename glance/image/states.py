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

    queued -- stage --> uploading -- import --> importing --> active
    queued -- import from a web server -------> importing --> active
    an import that failed, or whose process died, leads back to where it began

Who may move an image, by when, and what a restarted service does with it is in `TRANSIENT`.
Each move is one conditional UPDATE of the registry: it wins, or says which state was found.
"""

from __future__ import annotations

import dataclasses

QUEUED = "queued"
SAVING = "saving"
UPLOADING = "uploading"
IMPORTING = "importing"
ACTIVE = "active"
KILLED = "killed"
DEACTIVATED = "deactivated"
PENDING_DELETE = "pending_delete"
DELETED = "deleted"

STATUSES = (QUEUED, SAVING, UPLOADING, IMPORTING, ACTIVE, KILLED, DEACTIVATED, PENDING_DELETE,
            DELETED)
#: an image is getting data, into a store or into the staging area
RECEIVING = (SAVING, UPLOADING, IMPORTING)

#: status -> statuses it may change to
TRANSITIONS: dict[str, frozenset[str]] = {
    QUEUED: frozenset({SAVING, UPLOADING, IMPORTING, ACTIVE, PENDING_DELETE}),
    UPLOADING: frozenset({QUEUED, IMPORTING, KILLED, PENDING_DELETE}),
    IMPORTING: frozenset({QUEUED, UPLOADING, ACTIVE, KILLED, PENDING_DELETE}),
    SAVING: frozenset({ACTIVE, KILLED, PENDING_DELETE}),
    ACTIVE: frozenset({DEACTIVATED, PENDING_DELETE}),
    DEACTIVATED: frozenset({ACTIVE, PENDING_DELETE}),
    KILLED: frozenset({PENDING_DELETE}),
    PENDING_DELETE: frozenset({DELETED}),  # or active, when an operator restores it
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
    UPLOADING: Transient(
        owner="while data comes in, the glance-api process that receives it; then the user, who "
              "has to start the import",
        deadline="as for saving while data comes in; then staged_data_lifetime seconds",
        on_restart="half of a staged image is removed, status queued; a whole one stays"),
    IMPORTING: Transient(
        owner="the glance-api process that runs the task (column upload_worker)",
        deadline="as for saving",
        on_restart="bytes in stores removed, task failure; status uploading if the data is still "
                   "staged, else queued"),
    PENDING_DELETE: Transient(
        owner="any glance-api process",
        deadline="reconcile_interval seconds",
        on_restart="bytes removed, status deleted"),
}

VISIBILITIES = ("public", "community", "shared", "private")
MEMBER_STATUSES = ("pending", "accepted", "rejected")
DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso",
                "ploop")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova")
AMAZON_FORMATS = frozenset({"ami", "ari", "aki"})


def may_move(old: str, new: str) -> bool:
    """Whether an image in status `old` may be put into status `new`."""
    return new in TRANSITIONS[old]


def sources_of(new: str) -> tuple[str, ...]:
    """The statuses from which `new` may be reached, for the WHERE of a conditional UPDATE."""
    return tuple(old for old, allowed in TRANSITIONS.items() if new in allowed)
