# SPDX-License-Identifier: Apache-2.0
"""The end of work on volumes and snapshots that fails in ways nobody expected, every time.

For the volume worker and the scheduler, when a message about it is parked, when process after
process ends in it, or when it breaks a reconciler past its deadline.  Nothing of the thing is
removed: its deletion starts afresh.
"""

import logging
from typing import Any

from nova.db import volume_snapshots, volumes
from nova.exception import InvalidSnapshot, InvalidVolume, SnapshotNotFound, VolumeNotFound
from nova.volume.states import SNAPSHOT_TASKS, VOLUME_TASKS, SnapshotStatus, VolumeStatus

LOG = logging.getLogger(__name__)

GIVEN_UP = "It failed unexpectedly, as often as it was tried."
GONE = (InvalidVolume, VolumeNotFound, InvalidSnapshot, SnapshotNotFound)


def give_up_volume(volume_id: str, host: str | None, reason: str) -> None:
    """Put a volume on a host (None: on none yet) where failed work of its kind ends.

    Nothing when it is elsewhere or nobody works on it.  ``reason`` is the operator's.
    """
    _give_up(volumes, volume_id, host, reason,
             {status: task.fails_in for status, task in VOLUME_TASKS.items()}, VolumeStatus)


def give_up_snapshot(snapshot_id: str, host: str | None, reason: str) -> None:
    """As :func:`give_up_volume` for a snapshot."""
    _give_up(volume_snapshots, snapshot_id, host, reason,
             {status: task.fails_in for status, task in SNAPSHOT_TASKS.items()}, SnapshotStatus)


def _give_up(rows: Any, thing_id: str, host: str | None, reason: str,
             fails_in: dict[Any, str | None], kind: Any) -> None:
    try:
        row = rows.get(thing_id)
        failed = fails_in.get(kind(row.status))
        if failed is None or row.host != host:
            return
        rows.transition(row.id, from_status=row.status, status=failed, fault=GIVEN_UP)
    except GONE as error:
        LOG.info("Work on %s is not given up: %s", thing_id, error)
        return
    LOG.error("%s is given up, which was %s: %s", thing_id, row.status, reason)
