# SPDX-License-Identifier: Apache-2.0
"""The volumes of the instances on this host: in, out, and on again after any crash.

The row of an attachment says what is to be done - reserved or attaching: give the guest the
volume; detaching: take it away - and every step may be done twice.  So a message is a hint, and
the reconciler does the same.  A volume is available again only after its guest let it go and
nobody can reach it any more, in this order; what is unclear stays where it is.
"""

import logging
import time

from oslo_config import cfg

from nova.compute import block_devices
from nova.compute.block_devices import PlannedVolume
from nova.compute.giving_up import GIVEN_UP
from nova.compute.worker import LATER, Unwanted, Worker, fault_text
from nova.context import RequestContext
from nova.db import actions, instances, volume_attachments, volumes
from nova.db.models import Instance, InstanceAction, utcnow
from nova.db.volume_models import VolumeAttachment
from nova.exception import (
    Conflict,
    HypervisorError,
    InstanceNotFound,
    InvalidVolume,
    NovaError,
    VolumeAttachmentNotFound,
    VolumeBackendError,
    VolumeNotFound,
)
from nova.virt.driver import AttachedVolume
from nova.volume.model import Connector
from nova.volume.states import AttachStatus, VolumeStatus

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.IntOpt("volume_detach_timeout", default=60, min=0,
               help="Seconds a running guest is given to let go of a volume. When it has not, "
                    "the volume stays in-use."),
    cfg.IntOpt("volume_ready_timeout", default=600, min=1,
               help="Seconds a build waits for the volumes that are made for it."),
]
CONF = cfg.CONF
CONF.register_opts(OPTIONS)

POLL_SECONDS = 1.0       # between two looks at a volume that is being made
GONE = (VolumeNotFound, VolumeAttachmentNotFound)


class InstanceVolumes:
    """Volumes of instances on this host.  Whoever calls holds the instance."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.api = worker.volumes

    # -- what a guest starts with ------------------------------------------------------------

    def ready(self, context: RequestContext, row: Instance) -> tuple[AttachedVolume, ...]:
        """Return the volumes of an instance that is built, taken and reachable.

        Volumes that are being made are waited for; InvalidVolume names one that cannot be had.
        """
        for attachment in volume_attachments.get_of_instance(row.id):
            if attachment.host not in (None, self.worker.host):
                self._take_over(context, attachment)
            # A build that died while it took everything back.
            if attachment.status == AttachStatus.DETACHING:
                self._let_go(context, attachment)
        for planned in block_devices.of(row):
            self._take(context, row, planned)
        try:
            return self.connect(context, row)
        except Conflict as error:       # volumes that are files are for guests of their own host
            raise VolumeBackendError(action="reach a volume from this host",
                                     reason=str(error)) from error

    def _take_over(self, context: RequestContext, attachment: VolumeAttachment) -> None:
        """Take a volume from a host its instance was taken from: only one may reach it."""
        self.api.terminate_connection(_for(attachment, context), attachment.volume_id,
                                      Connector(host=str(attachment.host)))
        volume_attachments.take_over(attachment.id, str(attachment.host), self.worker.host)

    def _take(self, context: RequestContext, row: Instance, planned: PlannedVolume) -> None:
        until = time.monotonic() + CONF.volume_ready_timeout
        while True:
            attachment = volume_attachments.get_of_volume(planned.volume_id)
            if attachment is not None and attachment.instance_id == row.id:
                return
            volume = volumes.get(planned.volume_id, row.project_id)
            if attachment is not None or volume.status != VolumeStatus.CREATING \
                    or time.monotonic() >= until:
                break
            if row.id in self.worker.unwanted:
                raise Unwanted("its deletion was asked for")
            time.sleep(POLL_SECONDS)
        self.api.reserve(context, volume.id, row.id, planned.device,
                         boot_index=planned.boot_index,
                         delete_on_termination=planned.delete_on_termination)

    def connect(self, context: RequestContext, row: Instance) -> tuple[AttachedVolume, ...]:
        """Return all volumes a guest has or is getting, reachable from this host."""
        found = []
        for attachment in volume_attachments.get_of_instance(row.id):
            if attachment.status != AttachStatus.DETACHING:
                found.append(self._connect(context, attachment))
        return tuple(found)

    def _connect(self, context: RequestContext, attachment: VolumeAttachment) -> AttachedVolume:
        if attachment.status != AttachStatus.ATTACHED:
            self.api.begin_attach(attachment.id, self.worker.host)
        connection = self.api.initialize_connection(
            _for(attachment, context), attachment.volume_id, self.worker.driver.connector())
        return AttachedVolume(connection, attachment.device, attachment.boot_index)

    def started(self, row: Instance) -> None:
        """Write down that a guest that has just started has its volumes."""
        for attachment in volume_attachments.get_of_instance(row.id):
            if attachment.status == AttachStatus.ATTACHING:
                self.api.finish_attach(attachment.id)

    # -- in and out --------------------------------------------------------------------------

    def advance(self, context: RequestContext, row: Instance,
                attachment: VolumeAttachment) -> None:
        """Do what an attachment's row says is to be done; nothing when that is nothing."""
        try:
            if attachment.status in (AttachStatus.RESERVED, AttachStatus.ATTACHING):
                self._attach(context, row, attachment)
            elif attachment.status == AttachStatus.DETACHING:
                self._detach(context, row, attachment)
        except GONE as error:
            LOG.info("Attachment %s is gone: %s", attachment.id, error)
        except NovaError as error:
            LOG.warning("Volume %s of %s waits: %s", attachment.volume_id, row.id, error)

    def _attach(self, context: RequestContext, row: Instance,
                attachment: VolumeAttachment) -> None:
        try:
            volume = self._connect(context, attachment)
            self.worker.driver.attach_volume(row.id, volume)
            self.api.finish_attach(attachment.id)
        except LATER:
            raise
        except Exception as error:  # whatever it is, the volume must not stay on its way
            if not isinstance(error, NovaError):
                LOG.exception("Volume %s of %s", attachment.volume_id, row.id)
            now = volume_attachments.get(attachment.id)     # when it is gone, that is all
            if now.status not in (AttachStatus.RESERVED, AttachStatus.ATTACHING):
                raise
            LOG.error("Volume %s cannot be attached to %s: %s", now.volume_id, row.id, error)
            self._log(context, row, "attach_volume", error)
            self._undo(context, row, now)
            return
        LOG.info("Volume %s is attached to %s as %s", attachment.volume_id, row.id,
                 attachment.device)
        self._log(context, row, "attach_volume")

    def _undo(self, context: RequestContext, row: Instance,
              attachment: VolumeAttachment) -> None:
        """Go back the way of a detach: a failed attach may have left anything."""
        if attachment.status == AttachStatus.RESERVED:
            self.api.undo_reserve(attachment.id)
            return
        volume_attachments.begin_detach(attachment.id)
        self.worker.driver.detach_volume(row.id, attachment.volume_id,
                                         CONF.volume_detach_timeout, self.worker.wanted(row.id))
        self._let_go(context, attachment)

    def _detach(self, context: RequestContext, row: Instance,
                attachment: VolumeAttachment) -> None:
        try:
            self.worker.driver.detach_volume(
                row.id, attachment.volume_id, CONF.volume_detach_timeout,
                self.worker.wanted(row.id))
        except HypervisorError as error:
            if row.id in self.worker.unwanted:
                raise       # its deletion takes the volume away with the guest
            if attachment.volume_id not in self.worker.driver.volumes_in_use().get(row.id, {}):
                raise
            LOG.error("Volume %s stays with %s: %s", attachment.volume_id, row.id, error)
            self.api.undo_detach(attachment.id)
            self._log(context, row, "detach_volume", error)
            return
        self._let_go(context, attachment)
        LOG.info("Volume %s is detached from %s", attachment.volume_id, row.id)
        self._log(context, row, "detach_volume")

    def _let_go(self, context: RequestContext, attachment: VolumeAttachment) -> None:
        """Make a volume available that no guest has any more."""
        self.api.terminate_connection(_for(attachment, context), attachment.volume_id,
                                      self.worker.driver.connector())
        self.api.finish_detach(attachment.id)

    def abandon(self, context: RequestContext, attachment_id: str, reason: str) -> None:
        """Give up an attach or detach that breaks whoever does it, every time.

        What no host has begun is undone; a begun attach goes the way of a detach, which the
        reconciler tries; what does not come out stays in-use and can be detached again.
        """
        try:
            attachment = volume_attachments.get(attachment_id)
            row = instances.get(attachment.instance_id)
            if row.host != self.worker.host:
                return
            action = "attach_volume"
            if attachment.status == AttachStatus.RESERVED:
                self.api.undo_reserve(attachment.id)
            elif attachment.status == AttachStatus.ATTACHING:
                volume_attachments.begin_detach(attachment.id)
            elif attachment.status == AttachStatus.DETACHING:
                self.api.undo_detach(attachment.id)
                action = "detach_volume"
            else:
                return
        except (InvalidVolume, InstanceNotFound, *GONE) as error:
            LOG.info("Attachment %s is not given up: %s", attachment_id, error)
            return
        LOG.error("Volume %s of %s was %s, which is given up: %s", attachment.volume_id, row.id,
                  attachment.status, reason)
        self._log(context, row, action, NovaError(GIVEN_UP))

    def _log(self, context: RequestContext, row: Instance, action: str,
             error: Exception | None = None) -> None:
        now = utcnow()
        actions.add(InstanceAction(
            instance_id=row.id, project_id=row.project_id, user_id=context.user_id,
            request_id=context.request_id, action=action, started_at=now, finished_at=now,
            message=fault_text(error)[1] if error is not None else None))

    # -- the end -----------------------------------------------------------------------------

    def release(self, context: RequestContext, instance_id: str) -> None:
        """Take all volumes this host had begun to attach from a guest that is gone.

        What is only reserved stays so: another host may build the instance.
        """
        for attachment in volume_attachments.get_of_instance(instance_id):
            if attachment.host != self.worker.host:
                continue
            try:
                if attachment.status != AttachStatus.DETACHING:
                    volume_attachments.begin_detach(attachment.id)
                self._let_go(context, attachment)
            except GONE as error:
                LOG.info("Attachment %s is gone: %s", attachment.id, error)

    def disconnect(self, context: RequestContext, instance_id: str) -> None:
        """End this host's ways to an instance's volumes, which stay the instance's."""
        for attachment in volume_attachments.get_of_instance(instance_id):
            if attachment.host == self.worker.host:
                self.api.terminate_connection(_for(attachment, context), attachment.volume_id,
                                              self.worker.driver.connector())

    def remove(self, context: RequestContext, row: Instance) -> None:
        """Give back the volumes of an instance that is deleted, and delete those that go with it.
        """
        doomed = block_devices.doom(row)
        self.release(context, row.id)
        for attachment in volume_attachments.get_of_instance(row.id):
            self.api.undo_reserve(attachment.id)
        for volume_id in doomed:
            block_devices.remove(context, self.api, row, volume_id)

    def give_up(self, context: RequestContext, row: Instance) -> None:
        """Give back what is reserved for an instance that will not be built."""
        for attachment in volume_attachments.get_of_instance(row.id):
            try:
                self.api.undo_reserve(attachment.id)
            except (InvalidVolume, *GONE) as error:
                LOG.warning("Volume %s of %s is not given back: %s", attachment.volume_id, row.id,
                            error)


def _for(attachment: VolumeAttachment, context: RequestContext) -> RequestContext:
    """Return a context for work on a project's volume, whoever asked for it."""
    return RequestContext(user_id=context.user_id, project_id=attachment.project_id,
                          is_admin=True, request_id=context.request_id, overwrite=False)
