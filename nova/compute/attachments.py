# SPDX-License-Identifier: Apache-2.0
"""Volumes of servers, as the servers' owners attach and detach them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nova import exception
from nova.compute import block_devices, devices
from nova.compute.states import TaskState, VmState
from nova.context import RequestContext
from nova.db import instances, volume_attachments
from nova.db.models import Instance
from nova.db.volume_models import VolumeAttachment
from nova.volume.states import AttachStatus

RACES = 5       # devices that may be snatched away before we give up


class Attachments:
    """What :class:`nova.compute.api.API` offers of volumes, as its ``attachments``.

    ``find`` returns a server of the caller's that he may change, ``tell`` sends a hint to its
    host.
    """

    def __init__(self, volumes: Any, find: Callable[[RequestContext, str], Instance],
                 tell: Callable[[RequestContext, Instance, str, str], None]) -> None:
        self._volumes = volumes
        self._find = find
        self._tell = tell

    # ------------------------------------------------------------ looking

    @staticmethod
    def of(instance_ids: Sequence[str]) -> Mapping[str, Sequence[VolumeAttachment]]:
        """Return the volumes of servers the caller was shown, by server."""
        return volume_attachments.get_of_instances(instance_ids)

    @staticmethod
    def get(instance: Instance, volume_id: str) -> VolumeAttachment:
        """Return the attachment of a volume to a server, VolumeAttachmentNotFound."""
        for one in volume_attachments.get_of_instance(instance.id):
            if one.volume_id == volume_id:
                return one
        raise exception.VolumeAttachmentNotFound(attachment_id=volume_id)

    # ------------------------------------------------------------ changing

    def attach(self, context: RequestContext, instance_id: str, volume_id: str,
               device: str | None = None) -> VolumeAttachment:
        """Have a volume of the server's project attached to it, as ``device`` if that is free.

        VolumeNotFound also for a volume of another project, InvalidVolume for one that is not
        available, InvalidState for a server that something is being done to.
        """
        instance = self._idle(context, instance_id, "attach_volume")
        volume = self._volumes.get(context, volume_id)
        if volume.project_id != instance.project_id:
            raise exception.VolumeNotFound(volume_id=volume_id)
        wanted = devices.parse(device) if device else None
        attachment = self._reserve(context, volume.id, instance, wanted)
        try:
            now = instances.get(instance.id)
            gone = now.task_state == TaskState.DELETING
        except exception.InstanceNotFound:
            gone = True
        if gone:        # its deletion did not see what was reserved just now
            self._volumes.undo_reserve(attachment.id)
            raise exception.InstanceNotFound(instance_id=instance_id)
        self._tell(context, instance, "attach_volume", attachment.id)
        return attachment

    def _reserve(self, context: RequestContext, volume_id: str, instance: Instance,
                 wanted: str | None) -> VolumeAttachment:
        for attempt in range(1, RACES + 1):
            device = devices.choose(wanted, block_devices.taken(instance))
            try:
                return self._volumes.reserve(context, volume_id, instance.id, device)
            except exception.InUse:
                if attempt == RACES or wanted is not None:
                    raise
        raise AssertionError("unreachable")

    def detach(self, context: RequestContext, instance_id: str, volume_id: str) -> None:
        """Have a volume taken from a server; Forbidden for its root disk.

        One that no host has begun to attach is free when this returns.
        """
        instance = self._idle(context, instance_id, "detach_volume")
        attachment = self.get(instance, volume_id)
        if attachment.boot_index == 0:
            raise exception.Forbidden("Cannot detach a root device volume")
        if attachment.status == AttachStatus.RESERVED:
            self._volumes.undo_reserve(attachment.id)
            return
        if attachment.status != AttachStatus.ATTACHED:
            raise exception.InvalidVolume(action="detach", volume_id=volume_id,
                                          status=attachment.status)
        attachment = self._volumes.begin_detach(context, volume_id, instance.id)
        self._tell(context, instance, "detach_volume", attachment.id)

    def _idle(self, context: RequestContext, instance_id: str, action: str) -> Instance:
        instance = self._find(context, instance_id)
        if instance.vm_state not in (VmState.ACTIVE, VmState.STOPPED) \
                or instance.task_state is not None or instance.host is None:
            raise exception.InvalidState(
                action=action, instance_id=instance.id, vm_state=instance.vm_state,
                task_state=instance.task_state)
        return instance
