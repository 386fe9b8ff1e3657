# SPDX-License-Identifier: Apache-2.0
"""Deleting volumes and snapshots: every way to them first, then the bytes, the row last."""

import logging

from nova.context import RequestContext
from nova.db import volume_snapshots, volumes
from nova.db.volume_models import Volume, VolumeSnapshot
from nova.exception import InvalidSnapshot, InvalidVolume, VolumeBackendError
from nova.volume.states import SnapshotStatus, VolumeStatus
from nova.volume.worker import Worker, fault_text

LOG = logging.getLogger(__name__)


class Removal:
    """Removes volumes and snapshots of this host."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def delete_volume(self, context: RequestContext, row: Volume) -> None:
        """Finish DELETING; bytes that cannot be removed put the volume into error_deleting."""
        try:
            self.worker.unexport(row.id)
            self.worker.driver.delete_volume(row.id)
            volumes.delete_row(row.id, from_host=self.worker.host)
            LOG.info("Volume %s is removed", row.id)
        except VolumeBackendError as error:
            LOG.error("Volume %s cannot be removed: %s", row.id, error)
            volumes.transition(row.id, from_status=VolumeStatus.DELETING,
                               status=VolumeStatus.ERROR_DELETING, fault=fault_text(error))
        except InvalidVolume as error:
            LOG.info("Volume %s is not removed: %s", row.id, error)

    def delete_snapshot(self, context: RequestContext, row: VolumeSnapshot) -> None:
        """Finish DELETING of a snapshot."""
        try:
            self.worker.driver.delete_snapshot(row.id)
            volume_snapshots.delete_row(row.id)
            LOG.info("Snapshot %s is removed", row.id)
        except VolumeBackendError as error:
            LOG.error("Snapshot %s cannot be removed: %s", row.id, error)
            volume_snapshots.transition(
                row.id, from_status=SnapshotStatus.DELETING,
                status=SnapshotStatus.ERROR_DELETING, fault=fault_text(error))
        except InvalidSnapshot as error:
            LOG.info("Snapshot %s is not removed: %s", row.id, error)
