# SPDX-License-Identifier: Apache-2.0
"""Building an instance: from a claim to a running guest.

The row says how far it went (networking, spawning), every step may be done twice, so a build is
resumed by starting it again.  A failure releases everything first and moves the row last: killed
in between, the build is simply taken up again.
"""

import logging
import time
import traceback
from collections.abc import Iterator
from typing import Any

from nova.compute import config_drive
from nova.compute.evacuation import leftover_removed, settled
from nova.compute.power import Power
from nova.compute.request import BuildRequest, build_age, with_refusal
from nova.compute.states import Desired, PowerState, TaskState, VmState
from nova.compute.volumes import InstanceVolumes
from nova.compute.worker import CONF, LATER, Unwanted, Worker, fault_text, spec_of
from nova.context import RequestContext
from nova.db import compute_nodes, instances, volume_attachments
from nova.db.models import Instance, utcnow
from nova.exception import (
    ClaimFailed,
    DatabaseUnavailable,
    HypervisorError,
    ImageNotFound,
    ImageServiceError,
    InstanceNotFound,
    InvalidState,
    NovaError,
    RpcUnavailable,
    VolumeBackendError,
)
from nova.network.model import VIF
from nova.virt.driver import AttachedVolume, BootImages

LOG = logging.getLogger(__name__)

# Another host may do better.
ELSEWHERE = (ClaimFailed, HypervisorError, VolumeBackendError)

IMAGE_ATTEMPTS = 3
IMAGE_PAUSE = 2.0        # seconds before the second attempt, twice that before the third

_BUILDING: dict[str, Any] = {"from_vm": VmState.BUILDING,
                             "from_task": (TaskState.NETWORKING, TaskState.SPAWNING)}


class Builder:
    """Builds instances claimed for this host."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.volumes = InstanceVolumes(worker)

    def build(self, context: RequestContext, row: Instance) -> None:
        """Bring an instance in networking or spawning to ACTIVE, to another host, or to ERROR."""
        with self.worker.builds:
            try:
                self._build(context, row)
            except Unwanted as error:
                LOG.info("Build of %s ends: %s", row.id, error)
            except InvalidState as error:
                LOG.info("Build of %s ends: %s", row.id, error)
                self._leave(row)
            except InstanceNotFound:
                LOG.info("Instance %s went away while it was built", row.id)
                self._release(context, row)
            except LATER as error:
                self._wait_or_fail(context, row, error)
            except ELSEWHERE as error:
                self._reschedule(context, row, error)
            except NovaError as error:
                self._fail(context, row, error)
            except Exception as error:  # whatever else it is, it must not leave the row in BUILD
                LOG.exception("Build of %s failed", row.id)
                self._fail(context, row, error)

    def _build(self, context: RequestContext, row: Instance) -> None:
        worker = self.worker
        if row.id in worker.unwanted:       # since it began to wait for its turn
            raise Unwanted("its deletion was asked for")
        check_claim(row, worker.host)
        if worker.host in BuildRequest.of(row.build_request).evacuated_from:
            worker.driver.destroy(row.id)       # what it left here must not be taken for the new
            leftover_removed(row, worker.host)
        # Also when this build is resumed: it may have died while it took everything back.
        vifs = worker.network.allocate_for_instance(context, row.id)
        if row.task_state == TaskState.NETWORKING:
            row = instances.transition(
                row.id, from_vm=VmState.BUILDING, from_task=TaskState.NETWORKING,
                from_host=worker.host, task_state=TaskState.SPAWNING)
        self._spawn(row, vifs, self.volumes.ready(context, row))
        self.volumes.started(row)
        # It was stopped when its host died, and is to be again.
        then = TaskState.POWERING_OFF if row.desired_state == Desired.STOPPED else None
        row = instances.transition(
            row.id, from_vm=VmState.BUILDING, from_task=TaskState.SPAWNING,
            from_host=worker.host, vm_state=VmState.ACTIVE, task_state=then,
            power_state=PowerState.RUNNING, launched_at=utcnow(), progress=100,
            build_request=settled(row))
        LOG.info("Instance %s is active", row.id)
        if then is not None:
            Power(worker).stop(context, row)

    def _spawn(self, row: Instance, vifs: list[VIF],
               volumes: tuple[AttachedVolume, ...]) -> None:
        for attempt in range(1, IMAGE_ATTEMPTS + 1):
            try:
                images = self._images(row)
                spec = spec_of(row, vifs, images.root,
                               config_drive.files_of(row) if row.config_drive else None,
                               volumes)
                if images.root is None and spec.boot_volume is None:
                    raise ImageNotFound(image_id=row.image_id)
                self.worker.driver.spawn(spec, images, self._source(row.id))
                return
            except ImageServiceError as error:
                if attempt == IMAGE_ATTEMPTS:
                    raise
                LOG.warning("Image for %s, attempt %s: %s", row.id, attempt, error)
                time.sleep(IMAGE_PAUSE * attempt)

    def _images(self, row: Instance) -> BootImages:
        """Look the images up, and again whether this project may use them.

        The worker reads with rights of its own: it must not become a way to somebody's image.
        """
        found = {}
        for kind, image_id in (("root", row.image_id), ("kernel", row.kernel_id),
                               ("ramdisk", row.ramdisk_id)):
            if image_id is None:
                continue
            image = self.worker.images.get(None, image_id)
            if not self.worker.images.may_use(image, row.project_id):
                raise ImageNotFound(image_id=image_id)
            found[kind] = image
        return BootImages(**found)

    def _source(self, instance_id: str) -> "_WatchedSource":
        return _WatchedSource(self.worker, instance_id)

    # -- how it ends otherwise ---------------------------------------------------------------

    def _release(self, context: RequestContext, row: Instance) -> None:
        """Take away the guest, its disks, taps, addresses and volumes, what there is of them.

        What was taken from a dead host keeps addresses and volumes: they are all that is left.
        """
        self.worker.driver.destroy(row.id, self.worker.vifs(context, row.id))
        if BuildRequest.of(row.build_request).evacuated_at:
            self.volumes.disconnect(context, row.id)
            return
        self.volumes.release(context, row.id)
        self.worker.network.deallocate_for_instance(context, row.id, self.worker.host)

    def _leave(self, row: Instance) -> None:
        """Somebody moved the row on.  If it was to another host, what is here was never used."""
        try:
            if instances.get(row.id).host != self.worker.host:
                self.worker.driver.destroy(row.id)
        except NovaError as error:
            LOG.warning("What was built of %s may be left here: %s", row.id, error)

    def _released(self, context: RequestContext, row: Instance) -> bool:
        try:
            self._release(context, row)
            return True
        except NovaError as error:
            LOG.error("What was built of %s could not be removed: %s", row.id, error)
            return False

    @staticmethod
    def _has_remains(row: Instance, released: bool) -> bool:
        """Tell whether there is something of a failed build that this host has to look after."""
        return not released or bool(BuildRequest.of(row.build_request).evacuated_at
                                    and volume_attachments.get_of_instance(row.id))

    def _wait_or_fail(self, context: RequestContext, row: Instance, error: NovaError) -> None:
        if isinstance(error, DatabaseUnavailable) or build_age(row) < CONF.build_timeout:
            LOG.warning("Build of %s waits: %s", row.id, error)
            self.worker.again.add(row.id)
        else:
            self._fail(context, row, error)

    def _reschedule(self, context: RequestContext, row: Instance, error: NovaError) -> None:
        """Give the instance back to the scheduler, so often as ``max_build_attempts`` says."""
        LOG.warning("Host %s refuses instance %s: %s", self.worker.host, row.id, error)
        attempts = len(BuildRequest.of(row.build_request).refusals) + 1
        if attempts >= CONF.max_build_attempts:
            self._fail(context, row, error)
            return
        if not self._released(context, row):
            self._fail(context, row, error)
            return
        try:
            instances.transition(
                row.id, **_BUILDING, from_host=self.worker.host, host=None,
                task_state=TaskState.SCHEDULING, error=f"{self.worker.host} refused: {error}",
                build_request=with_refusal(row.build_request, self.worker.host, str(error)))
            self.worker.scheduler.cast(context, "schedule_instances", instance_ids=[row.id])
        except (InvalidState, InstanceNotFound) as lost:
            LOG.info("Instance %s is not rescheduled: %s", row.id, lost)
        except RpcUnavailable as unsent:
            LOG.warning("The scheduler will find %s by itself: %s", row.id, unsent)

    def _fail(self, context: RequestContext, row: Instance, error: Exception) -> None:
        """Put the instance into ERROR with the reason; it keeps its host only for remains."""
        code, text = fault_text(error)
        released = self._released(context, row)
        self.volumes.give_up(context, row)
        details = "".join(traceback.format_exception(error))[-8000:]
        instances.add_fault(row.id, code, text, details=details, host=self.worker.host)
        try:
            instances.transition(
                row.id, **_BUILDING, from_host=self.worker.host, vm_state=VmState.ERROR,
                task_state=None, power_state=PowerState.NOSTATE,
                host=self.worker.host if self._has_remains(row, released) else None, error=text,
                detail=f"{type(error).__name__}: {error}")
        except (InvalidState, InstanceNotFound) as lost:
            LOG.info("Instance %s is not put into ERROR: %s", row.id, lost)


class _WatchedSource:
    """Downloads that end when the instance they are for is not wanted any more."""

    def __init__(self, worker: Worker, instance_id: str) -> None:
        self.worker = worker
        self.wanted = worker.wanted(instance_id)

    def download(self, image_id: str) -> Iterator[bytes]:
        for chunk in self.worker.images.download(image_id):
            if not self.wanted():
                raise Unwanted("its deletion was asked for")
            yield chunk


def check_claim(row: Instance, host: str) -> None:
    """Check once more that the claim is good: it is ours, and all claims fit on this host.

    The host may have shrunk since the scheduler looked.  InvalidState, ClaimFailed.
    """
    if row.host != host:
        raise InvalidState(action="build", instance_id=row.id, vm_state=row.vm_state,
                           task_state=row.task_state)
    used = instances.usage_of_host(host)
    limit = instances.capacity(compute_nodes.get(host))
    for resource in ("vcpus", "memory_mb", "disk_gb"):
        over = getattr(used, resource) - getattr(limit, resource)
        asked = instances.disk_gb(row) if resource == "disk_gb" else getattr(row, resource)
        if over > 0 and asked:
            raise ClaimFailed(host=host, resource=resource, requested=asked,
                              free=max(0, asked - over))
