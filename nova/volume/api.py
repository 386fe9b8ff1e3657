# SPDX-License-Identifier: Apache-2.0
"""What front ends and the compute worker call for volumes: checks, then a row, then a hint.

Every method resolves every id in the caller's scope: what belongs to another project does not
exist.  A lost cast is no harm: the row says what is wanted and reconcilers read rows.

Attaching, step by step; each may be repeated, and after a crash the rows say where to go on::

    attachment = api.reserve(context, volume_id, instance_id, "vdb")        # the front end
    api.begin_attach(attachment.id, host)                                   # the compute worker
    connection = api.initialize_connection(context, volume_id, connector)
    ...the guest gets the disk...
    api.finish_attach(attachment.id)

    attachment = api.begin_detach(context, volume_id, instance_id)
    ...the guest loses the disk...
    api.terminate_connection(context, volume_id, connector)
    api.finish_detach(attachment.id)

An attach that fails goes the way of a detach.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from oslo_log import log

from nova import exception, quota
from nova import rpc as nova_rpc
from nova.context import RequestContext
from nova.db import volume_attachments, volume_snapshots, volumes
from nova.db.models import new_id
from nova.db.volume_models import Volume, VolumeAttachment, VolumeSnapshot
from nova.image import api as image_api
from nova.scheduler.methods import METHODS as SCHEDULER_METHODS
from nova.volume import request
from nova.volume.methods import METHODS
from nova.volume.model import Connector, VolumeConnection
from nova.volume.states import Desired, SnapshotStatus, VolumeStatus

LOG = log.getLogger(__name__)

RESETTABLE = frozenset({
    VolumeStatus.CREATING, VolumeStatus.AVAILABLE, VolumeStatus.ERROR, VolumeStatus.DELETING,
    VolumeStatus.ERROR_DELETING, VolumeStatus.ERROR_EXTENDING})


def scope(context: RequestContext) -> str | None:
    """Return the project a caller's look-ups by id are held to; None for an administrator."""
    return None if context.is_admin else context.project_id or ""


class API:
    """Volumes, as their owners deal with them.  ``rpc`` is :mod:`nova.rpc` or what stands for it.
    """

    def __init__(self, rpc: Any = nova_rpc, images: Any = None) -> None:
        self.images = images or image_api.API()
        self._worker = rpc.Client(METHODS)
        self._scheduler = rpc.Client(SCHEDULER_METHODS)

    # ------------------------------------------------------------ looking

    def get(self, context: RequestContext, volume_id: str) -> Volume:
        """Return one volume of the caller's project (an administrator: any); VolumeNotFound."""
        return volumes.get(volume_id, scope(context))

    def get_all(self, context: RequestContext, filters: Mapping[str, Any] | None = None, *,
                all_projects: bool = False, marker: str | None = None, limit: int | None = None,
                sort: Sequence[tuple[str, str]] = (("created_at", "desc"),)) -> list[Volume]:
        """Return one page of the project's volumes; an administrator may ask for everybody's."""
        return volumes.get_all(_filters(context, filters, all_projects), marker=marker,
                               limit=limit, sort=sort)

    # ------------------------------------------------------------ making

    def create(self, context: RequestContext, size_gb: int | None, name: str | None = None,
               description: str | None = None, **asked: Any) -> Volume:
        """Make a volume, empty or a copy; it is ``creating`` and on its way to a host.

        ``asked`` are the other fields of :class:`nova.volume.request.NewVolume`.  BadRequest names
        the field that is wrong, OverQuota the resource; InvalidVolume and InvalidSnapshot say
        that what is to be copied is not available.
        """
        row = self.check(context, size_gb, name, description, **asked)
        made = volumes.create(row, quota.guard(
            row.project_id, {"volumes": 1, "gigabytes": row.size_gb}))
        self.created(context, [made.id])
        return made

    def check(self, context: RequestContext, size_gb: int | None, name: str | None = None,
              description: str | None = None, **asked: Any) -> Volume:
        """Return the row create() would add, for whoever adds it with rows of his own.

        The quota is his to look at, and :meth:`created` to call.
        """
        return request.check(
            context, request.NewVolume(size_gb, name, description, **asked), self.images)

    def created(self, context: RequestContext, volume_ids: Sequence[str]) -> None:
        """Say that there are new volumes, on their way to a host."""
        self._hint(self._scheduler, context, "schedule_volumes", volume_ids=list(volume_ids))

    # ------------------------------------------------------------ changing

    def update(self, context: RequestContext, volume_id: str, columns: Mapping[str, Any]) -> Volume:
        """Set a volume's ``name`` and ``description``."""
        return volumes.modify(self.get(context, volume_id).id, _setter(columns))

    def set_bootable(self, context: RequestContext, volume_id: str, bootable: bool) -> Volume:
        """Say whether a server can boot from a volume."""
        return volumes.modify(self.get(context, volume_id).id, _setter({"bootable": bootable}))

    def delete(self, context: RequestContext, volume_id: str, *, cascade: bool = False) -> None:
        """Have a volume removed, whatever status it is in; asking again is no error.

        InvalidVolume while it is attached or being copied.  Its snapshots are complete in
        themselves and stay, unless ``cascade``.
        """
        volume = self.get(context, volume_id)
        if cascade and volume_attachments.get_of_volume(volume.id) is None:
            for snapshot in volume_snapshots.get_all({"volume_id": volume.id}):
                self.delete_snapshot(context, snapshot.id)
        try:
            volume = volumes.begin_delete(volume.id, desired=Desired.DELETED)
        except exception.InvalidVolume:
            volume = volumes.get(volume.id)
            if volume.status != VolumeStatus.DELETING:
                raise
        if volume.host is None:
            volumes.delete_row(volume.id, from_host=None)
        else:
            self._tell(context, volume.host, "delete_volume", volume_id=volume.id)

    def extend(self, context: RequestContext, volume_id: str, new_size_gb: int) -> None:
        """Make an available volume larger; BadRequest unless it gets larger."""
        volume = self.get(context, volume_id)
        if not volume.size_gb < new_size_gb <= request.MAX_SIZE_GB:
            raise exception.BadRequest(
                f"new_size: {new_size_gb} GiB is not more than the {volume.size_gb} GiB that "
                f"volume {volume_id} has, or more than {request.MAX_SIZE_GB}.")
        volume = volumes.begin_extend(volume.id, new_size_gb, quota.guard(
            volume.project_id, {"gigabytes": new_size_gb - volume.claimed_gb}))
        if volume.host is not None:
            self._tell(context, volume.host, "extend_volume", volume_id=volume.id)

    def reset_status(self, context: RequestContext, volume_id: str, status: str) -> None:
        """Write down what an operator knows of a volume; attached ones stay what they are.

        BadRequest for a status that cannot be given, InvalidVolume for an attached volume.
        """
        reset_status(context, volume_id, status)

    # ------------------------------------------------------------ metadata

    def replace_metadata(self, context: RequestContext, volume_id: str,
                         metadata: Mapping[str, str]) -> dict[str, str]:
        """Make this a volume's whole metadata and return it."""
        return _change_metadata(volumes.modify, self.get(context, volume_id),
                                lambda _old: dict(metadata))

    def add_metadata(self, context: RequestContext, volume_id: str,
                     metadata: Mapping[str, str]) -> dict[str, str]:
        """Set some keys of a volume's metadata and return the whole of it."""
        return _change_metadata(volumes.modify, self.get(context, volume_id),
                                lambda old: {**old, **metadata})

    def delete_metadata(self, context: RequestContext, volume_id: str, key: str) -> None:
        """Remove one key of a volume's metadata; NotFound when it is not there."""
        _change_metadata(volumes.modify, self.get(context, volume_id), _without(key))

    # ------------------------------------------------------------ snapshots

    def get_snapshot(self, context: RequestContext, snapshot_id: str) -> VolumeSnapshot:
        """Return one snapshot of the caller's project (an administrator: any)."""
        return volume_snapshots.get(snapshot_id, scope(context))

    def get_all_snapshots(self, context: RequestContext,
                          filters: Mapping[str, Any] | None = None, *, all_projects: bool = False,
                          marker: str | None = None, limit: int | None = None,
                          sort: Sequence[tuple[str, str]] = (("created_at", "desc"),),
                          ) -> list[VolumeSnapshot]:
        """Return one page of the project's snapshots."""
        return volume_snapshots.get_all(_filters(context, filters, all_projects), marker=marker,
                                        limit=limit, sort=sort)

    def create_snapshot(self, context: RequestContext, volume_id: str, name: str | None = None,
                        description: str | None = None,
                        metadata: Mapping[str, str] | None = None) -> VolumeSnapshot:
        """Copy an available volume as it is; InvalidVolume for any other, OverQuota.

        The volume cannot be attached, extended or deleted until the copy is made.
        """
        volume = self.get(context, volume_id)
        limit = quota.limits(volume.project_id)["metadata_items"]
        quota.check_count("metadata_items", len(metadata or {}), limit)
        made = volume_snapshots.create(
            VolumeSnapshot(
                id=new_id(), project_id=volume.project_id, user_id=context.user_id or "",
                volume_id=volume.id, name=name, description=description, size_gb=volume.size_gb,
                status=SnapshotStatus.CREATING, bootable=volume.bootable,
                image_metadata=dict(volume.image_metadata or {}),
                metadata_=dict(metadata or {})),
            quota.guard(volume.project_id, {"snapshots": 1, "gigabytes": volume.size_gb}))
        self._tell(context, str(made.host), "create_snapshot", snapshot_id=made.id)
        return made

    def update_snapshot(self, context: RequestContext, snapshot_id: str,
                        columns: Mapping[str, Any]) -> VolumeSnapshot:
        """Set a snapshot's ``name`` and ``description``."""
        return volume_snapshots.modify(
            self.get_snapshot(context, snapshot_id).id, _setter(columns))

    def delete_snapshot(self, context: RequestContext, snapshot_id: str) -> None:
        """Have a snapshot removed, whatever status it is in; asking again is no error.

        InvalidSnapshot while a volume is made from it.
        """
        snapshot = self.get_snapshot(context, snapshot_id)
        try:
            snapshot = volume_snapshots.begin_delete(snapshot.id)
        except exception.InvalidSnapshot:
            snapshot = volume_snapshots.get(snapshot.id)
            if snapshot.status != SnapshotStatus.DELETING:
                raise
        self._tell(context, str(snapshot.host), "delete_snapshot", snapshot_id=snapshot.id)

    def reset_snapshot_status(self, context: RequestContext, snapshot_id: str,
                              status: str) -> None:
        """Write down what an operator knows of a snapshot; BadRequest for an unknown status."""
        snapshot = self.get_snapshot(context, snapshot_id)
        if status not in set(SnapshotStatus):
            raise exception.BadRequest(f"status: a snapshot cannot be reset to {status[:32]!r}.")
        if status == SnapshotStatus.AVAILABLE and snapshot.format is None:
            raise exception.BadRequest(f"status: snapshot {snapshot_id} was never made.")
        volume_snapshots.transition(snapshot.id, verb="reset", status=status, fault=None)

    def replace_snapshot_metadata(self, context: RequestContext, snapshot_id: str,
                                  metadata: Mapping[str, str]) -> dict[str, str]:
        """Make this a snapshot's whole metadata and return it."""
        return _change_metadata(volume_snapshots.modify, self.get_snapshot(context, snapshot_id),
                                lambda _old: dict(metadata))

    def add_snapshot_metadata(self, context: RequestContext, snapshot_id: str,
                              metadata: Mapping[str, str]) -> dict[str, str]:
        """Set some keys of a snapshot's metadata and return the whole of it."""
        return _change_metadata(volume_snapshots.modify, self.get_snapshot(context, snapshot_id),
                                lambda old: {**old, **metadata})

    def delete_snapshot_metadata(self, context: RequestContext, snapshot_id: str,
                                 key: str) -> None:
        """Remove one key of a snapshot's metadata; NotFound when it is not there."""
        _change_metadata(volume_snapshots.modify, self.get_snapshot(context, snapshot_id),
                         _without(key))

    # ------------------------------------------------------------ attaching

    def reserve(self, context: RequestContext, volume_id: str, instance_id: str, device: str, *,
                boot_index: int | None = None,
                delete_on_termination: bool = False) -> VolumeAttachment:
        """Take an available volume for an instance; the caller has checked the instance.

        InvalidVolume for a volume that is not available, InUse for a device that is taken.
        """
        volume = self.get(context, volume_id)
        return volume_attachments.reserve(
            volume.id, instance_id, volume.project_id, device, boot_index=boot_index,
            delete_on_termination=delete_on_termination)

    def undo_reserve(self, attachment_id: str) -> None:
        """Give back a volume no host has begun to attach; nothing when that is done already."""
        volume_attachments.undo_reserve(attachment_id)

    def begin_attach(self, attachment_id: str, host: str) -> VolumeAttachment:
        """Note that a compute host is attaching a reserved volume."""
        return volume_attachments.begin_attach(attachment_id, host)

    def initialize_connection(self, context: RequestContext, volume_id: str,
                              connector: Connector) -> VolumeConnection:
        """Have a volume made reachable for the host that attaches it and return how.

        Idempotent: what is exported to this host already stays as it is, secret included.
        InvalidVolume unless the volume is being attached or is attached on the connector's host.
        What is returned has a secret in it.
        """
        volume = self.get(context, volume_id)
        answer = self._worker.call(context, "initialize_connection", host=_host_of(volume),
                                   volume_id=volume.id, connector=connector.to_dict())
        return VolumeConnection.from_dict(answer)

    def finish_attach(self, attachment_id: str) -> VolumeAttachment:
        """Note that the guest has the volume: it is in-use."""
        return volume_attachments.finish_attach(attachment_id)

    def begin_detach(self, context: RequestContext, volume_id: str,
                     instance_id: str) -> VolumeAttachment:
        """Start to take a volume away from an instance; VolumeAttachmentNotFound, InvalidVolume.
        """
        volume = self.get(context, volume_id)
        attachment = volume_attachments.get_of_volume(volume.id)
        if attachment is None or attachment.instance_id != instance_id:
            raise exception.VolumeAttachmentNotFound(attachment_id=volume_id)
        return volume_attachments.begin_detach(attachment.id)

    def undo_detach(self, attachment_id: str) -> VolumeAttachment:
        """Note that a guest did not let go of its volume: it is in-use as before."""
        return volume_attachments.undo_detach(attachment_id)

    def terminate_connection(self, context: RequestContext, volume_id: str,
                             connector: Connector) -> None:
        """End every way to a volume; idempotent.

        InvalidVolume while the volume is attached on a host that is not the connector's.
        """
        volume = self.get(context, volume_id)
        self._worker.call(context, "terminate_connection", host=_host_of(volume),
                          volume_id=volume.id, connector=connector.to_dict())

    def finish_detach(self, attachment_id: str) -> None:
        """Make the volume available and forget the attachment; nothing when that is done already.

        InvalidVolume while the volume can be reached by anybody: terminate_connection() first.
        """
        volume_attachments.finish_detach(attachment_id)

    # ------------------------------------------------------------ telling workers

    def _tell(self, context: RequestContext, host: str, method: str, **arguments: Any) -> None:
        self._hint(self._worker, context, method, host=host, **arguments)

    @staticmethod
    def _hint(client: Any, context: RequestContext, method: str, **arguments: Any) -> None:
        """Cast; without a broker the row, which is written already, has to be hint enough."""
        try:
            client.cast(context, method, **arguments)
        except exception.RpcUnavailable as error:
            LOG.warning("%s not sent, a reconciler will find the row: %s", method, error)


_ATTACHED = frozenset({VolumeStatus.RESERVED, VolumeStatus.ATTACHING, VolumeStatus.IN_USE,
                       VolumeStatus.DETACHING})


def reset_status(context: RequestContext, volume_id: str, status: str) -> None:
    """As :meth:`API.reset_status`, for whoever has no broker."""
    volume = volumes.get(volume_id, scope(context))
    if status not in RESETTABLE:
        raise exception.BadRequest(f"status: a volume cannot be reset to {status[:32]!r}.")
    if status == VolumeStatus.AVAILABLE and volume.format is None:
        raise exception.BadRequest(f"status: volume {volume_id} was never made.")
    volumes.transition(
        volume.id, from_status=sorted(set(VolumeStatus) - _ATTACHED), verb="reset",
        status=status, fault=None, claimed_gb=volume.size_gb)


def _host_of(volume: Volume) -> str:
    if volume.host is None:
        raise exception.InvalidVolume(action="reach", volume_id=volume.id, status=volume.status)
    return volume.host


def _filters(context: RequestContext, filters: Mapping[str, Any] | None,
             all_projects: bool) -> dict[str, Any]:
    found = dict(filters or {})
    if not (all_projects and context.is_admin):
        found["project_id"] = context.project_id or ""
    return found


def _setter(columns: Mapping[str, Any]) -> Any:
    def change(row: Any) -> None:
        for name, value in columns.items():
            setattr(row, name, value)
    return change


def _without(key: str) -> Any:
    def change(old: dict[str, str]) -> dict[str, str]:
        if key not in old:
            raise exception.NotFound(f"Metadata item {key[:255]!r} was not found.")
        return {name: value for name, value in old.items() if name != key}
    return change


def _change_metadata(modify: Any, row: Any, change: Any) -> dict[str, str]:
    limit = quota.limits(row.project_id)["metadata_items"]

    def apply(locked: Any) -> None:
        wanted = change(dict(locked.metadata_ or {}))
        quota.check_count("metadata_items", len(wanted), limit)
        locked.metadata_ = wanted
    return modify(row.id, apply).metadata_
