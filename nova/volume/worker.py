# SPDX-License-Identifier: Apache-2.0
"""What the rooms of the volume worker share: who we are and whom we deal with."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg

from nova import exception
from nova.context import RequestContext, admin_context
from nova.db import volume_exports
from nova.db.volume_models import Volume, VolumeExport, VolumeSnapshot
from nova.volume.driver import Disk, Export, VolumeDriver
from nova.volume.request import VolumeRequest

OPTIONS = [
    cfg.IntOpt("max_attempts", default=3, min=1,
               help="How many hosts may fail to make a volume before it is in error."),
    cfg.IntOpt("create_timeout", default=1800, min=1,
               help="Seconds after which a volume that waits for another service is given up."),
    cfg.IntOpt("max_concurrent_copies", default=2, min=1,
               help="Volumes and snapshots copied at the same time on one host."),
]
CONF = cfg.CONF
CONF.register_opts(OPTIONS, "volume")

# Somebody else is away: the row stays where it is and the reconciler takes it up again.
LATER = (exception.RpcTimeout, exception.RpcUnavailable, exception.DatabaseUnavailable,
         exception.ImageServiceError)


@dataclass
class Worker:
    """This host's volume worker.

    ``images`` is :class:`nova.image.api.API`, ``scheduler`` a client of the scheduler's topic.
    ``again`` holds the ids of what could not be done because another service was away: the next
    period tries it, long before its deadline.  ``unwanted`` holds those whose deletion was asked
    for: whoever copies bytes for them stops.
    """

    host: str
    driver: VolumeDriver
    images: Any
    scheduler: Any
    again: set[str] = field(default_factory=set)
    unwanted: set[str] = field(default_factory=set)
    copies: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(CONF.volume.max_concurrent_copies))

    def wanted(self, thing_id: str) -> Callable[[], bool]:
        """Return a question: is the volume or snapshot still to be there?"""
        return lambda: thing_id not in self.unwanted

    def unexport(self, volume_id: str) -> None:
        """End every way to a volume, first the target and then its row."""
        if not self.driver.exports:
            self.driver.take_back(volume_id)
        row = volume_exports.get(volume_id)
        if row is None:
            return
        if self.driver.exports:
            self.driver.remove_export(export_of(row))
        volume_exports.remove(volume_id)


def disk_of(row: Volume | VolumeSnapshot) -> Disk:
    """Return what a driver is told about a volume or snapshot that was made."""
    if row.format is None:
        raise exception.VolumeBackendError(action="use a disk", reason=f"{row.id} was never made")
    return Disk(row.id, row.format, row.size_gb, isinstance(row, VolumeSnapshot))


def export_of(row: VolumeExport) -> Export:
    """Return what a driver is told about an export."""
    return Export(row.volume_id, row.target_number, row.auth_user, row.auth_secret,
                  row.initiator, row.address)


def context_of(row: Volume | VolumeSnapshot) -> RequestContext:
    """Return a context for finishing what somebody asked for, under his request's id if known."""
    request_id = VolumeRequest.of(row.request).request_id if isinstance(row, Volume) else None
    if request_id is None:
        return admin_context()
    return RequestContext(user_id=row.user_id, project_id=row.project_id, is_admin=True,
                          request_id=request_id, overwrite=False)


def fault_text(error: Exception) -> str:
    """Return the sentence of an error, fit for the owner of a volume, as compute's has it."""
    if isinstance(error, exception.VolumeBackendError):
        return f"The volume driver failed to {error.details.get('action', 'do it')}."
    if isinstance(error, exception.NovaError):
        return str(error)[:255]
    return f"An unexpected error occurred ({type(error).__name__})."
