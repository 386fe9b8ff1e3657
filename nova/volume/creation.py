# SPDX-License-Identifier: Apache-2.0
"""Making volumes and snapshots: the intent is in the row, then come the bytes, then the verdict.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oslo_config import cfg

from nova.context import RequestContext
from nova.db import volume_snapshots, volumes
from nova.db.models import utcnow
from nova.db.volume_models import Volume, VolumeSnapshot
from nova.exception import (
    ImageUnacceptable,
    InvalidSnapshot,
    InvalidVolume,
    NovaError,
    RpcUnavailable,
    SnapshotNotFound,
    VolumeBackendError,
    VolumeNotFound,
)
from nova.image import download, inspection
from nova.image.inspection import Verdict
from nova.volume.driver import Disk
from nova.volume.request import GIB, VolumeRequest, with_refusal
from nova.volume.states import SnapshotStatus, VolumeStatus
from nova.volume.worker import LATER, Worker, disk_of, fault_text

LOG = logging.getLogger(__name__)
CONF = cfg.CONF


class Creation:
    """Makes volumes and snapshots on this host."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    # -- volumes -----------------------------------------------------------------------------

    def create_volume(self, context: RequestContext, row: Volume) -> None:
        """Finish CREATING; a host that cannot gives a volume that is no copy back."""
        try:
            row = self._with_format(row)
            self._fill(row)
        except (InvalidVolume, VolumeNotFound) as error:
            LOG.info("Volume %s is not wanted here any more: %s", row.id, error)
            return
        except LATER as error:
            if _age(row) < CONF.volume.create_timeout:
                raise
            self._fail(row, error)
        except VolumeBackendError as error:
            self._refuse(context, row, error)
        except Exception as error:      # whatever it is, the volume must not be stuck
            if not isinstance(error, NovaError):
                LOG.exception("Volume %s cannot be made", row.id)
            self._fail(row, error)
        else:
            self._finish(row)

    def _with_format(self, row: Volume) -> Volume:
        """Write down which format the bytes will have before there are any."""
        if (row.request or {}).get("format"):
            return row
        return volumes.transition(
            row.id, from_status=VolumeStatus.CREATING, from_host=self.worker.host,
            request={**(row.request or {}), "format": self.worker.driver.new_format()})

    def _fill(self, row: Volume) -> None:
        disk = Disk(row.id, row.request["format"], row.size_gb)
        source = self._source(row)
        if source is None and row.image_id is None:
            self.worker.driver.create_volume(disk)
            return
        with self.worker.copies:
            if source is not None:
                self.worker.driver.create_volume(disk, source, wanted=self.worker.wanted(row.id))
            else:
                with self._image(str(row.image_id), row.size_gb) as verdict:
                    self.worker.driver.create_volume(disk, image=verdict,
                                                     wanted=self.worker.wanted(row.id))

    @staticmethod
    def _source(row: Volume) -> Disk | None:
        if row.snapshot_id is not None:
            return disk_of(volume_snapshots.get(row.snapshot_id))
        if row.source_volume_id is not None:
            try:
                return disk_of(volumes.get(row.source_volume_id))
            except VolumeNotFound as error:
                raise NovaError(str(error)) from error      # not the one that is being made
        return None

    @contextmanager
    def _image(self, image_id: str, size_gb: int) -> Iterator[Verdict]:
        """Give an image's bytes in a file, compared with its record and inspected."""
        image = self.worker.images.get(None, image_id)
        path: Path = self.worker.driver.workspace()
        try:
            download.write(image, path, self.worker.images, size_gb * GIB)
            verdict = inspection.inspect(path, image.disk_format, image.id)
            if verdict.virtual_size > size_gb * GIB:
                raise ImageUnacceptable(
                    image_id=image.id, reason=f"its disk is {verdict.virtual_size} bytes and the "
                                              f"volume has {size_gb} GiB")
            yield verdict
        except OSError as error:
            raise VolumeBackendError(action="keep an image's bytes",
                                     reason=error.strerror or str(error)) from error
        finally:
            path.unlink(missing_ok=True)

    def _finish(self, row: Volume) -> None:
        try:
            volumes.transition(
                row.id, from_status=VolumeStatus.CREATING, from_host=self.worker.host,
                status=VolumeStatus.AVAILABLE, format=row.request["format"], fault=None)
            LOG.info("Volume %s is made", row.id)
        except (InvalidVolume, VolumeNotFound) as error:
            LOG.info("Volume %s was made and is not wanted: %s", row.id, error)
            self._forget(row.id)

    def _forget(self, volume_id: str) -> None:
        """Remove what was made of a volume that is not ours, or not at all; else leave it."""
        now = volumes.get_many([volume_id]).get(volume_id)
        if now is None or now.host != self.worker.host:
            self.worker.driver.delete_volume(volume_id)

    def _refuse(self, context: RequestContext, row: Volume, error: VolumeBackendError) -> None:
        """Let another host try, a bounded number of times; a copy has only this one."""
        LOG.error("Volume %s cannot be made here: %s", row.id, error)
        tried = len(VolumeRequest.of(row.request).refusals) + 1
        if row.snapshot_id or row.source_volume_id or tried >= CONF.volume.max_attempts:
            self._fail(row, error)
            return
        request = with_refusal(row.request, self.worker.host, str(error))
        request.pop("format", None)
        try:
            volumes.transition(row.id, from_status=VolumeStatus.CREATING,
                               from_host=self.worker.host, host=None, request=request,
                               status=VolumeStatus.CREATING)
            self.worker.scheduler.cast(context, "schedule_volumes", volume_ids=[row.id])
        except (InvalidVolume, VolumeNotFound) as lost:
            LOG.info("Volume %s is not given back: %s", row.id, lost)
        except RpcUnavailable as away:
            LOG.warning("The scheduler was not told of %s: %s", row.id, away)

    def _fail(self, row: Volume, error: Exception) -> None:
        LOG.error("Volume %s is in error: %s", row.id, error)
        try:
            volumes.transition(row.id, from_status=VolumeStatus.CREATING,
                               from_host=self.worker.host, status=VolumeStatus.ERROR,
                               fault=fault_text(error))
        except (InvalidVolume, VolumeNotFound) as lost:
            LOG.info("Volume %s is not put into error: %s", row.id, lost)

    # -- larger ------------------------------------------------------------------------------

    def extend_volume(self, context: RequestContext, row: Volume) -> None:
        """Finish EXTENDING."""
        values: dict[str, Any] = {
            "status": VolumeStatus.AVAILABLE, "size_gb": row.claimed_gb, "fault": None}
        try:
            disk = disk_of(row)
            self.worker.driver.extend_volume(Disk(disk.id, disk.format, row.claimed_gb))
        except VolumeBackendError as error:
            LOG.error("Volume %s cannot be extended: %s", row.id, error)
            values = {"status": VolumeStatus.ERROR_EXTENDING, "fault": fault_text(error)}
        _settle(lambda: volumes.transition(
            row.id, from_status=VolumeStatus.EXTENDING, from_host=self.worker.host, **values))

    # -- snapshots ---------------------------------------------------------------------------

    def create_snapshot(self, context: RequestContext, row: VolumeSnapshot) -> None:
        """Finish CREATING of a snapshot."""
        values: dict[str, Any] = {"status": SnapshotStatus.AVAILABLE, "fault": None}
        try:
            volume = disk_of(volumes.get(row.volume_id))
            with self.worker.copies:
                self.worker.driver.create_snapshot(
                    Disk(row.id, volume.format, row.size_gb, True), volume,
                    self.worker.wanted(row.id))
            values["format"] = volume.format
        except LATER:
            raise
        except NovaError as error:
            LOG.error("Snapshot %s cannot be made: %s", row.id, error)
            values = {"status": SnapshotStatus.ERROR, "fault": fault_text(error)}
        _settle(lambda: volume_snapshots.transition(
            row.id, from_status=SnapshotStatus.CREATING, **values))


def _settle(transition: Callable[[], object]) -> None:
    """Write a verdict down unless somebody was first: the one who was has the work now."""
    try:
        transition()
    except (InvalidVolume, VolumeNotFound, InvalidSnapshot, SnapshotNotFound) as lost:
        LOG.info("Not written: %s", lost)


def _age(row: Volume) -> float:
    return (utcnow() - row.created_at).total_seconds()
