# SPDX-License-Identifier: Apache-2.0
"""The volumes an instance is made with: asked for, checked, made, and given back.

What is asked for is a :class:`BlockDevice`.  The API resolves it, gives every volume that is to
be made its id, and writes the result - :class:`PlannedVolume` - into the instance's
``build_request``, and the rows of all of them - :class:`NewRows` - in the same transaction.  So
there is no instance whose volumes nobody makes, and whoever finds it knows every one of them.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from nova import exception
from nova.compute import devices
from nova.context import RequestContext
from nova.db import instances, volume_attachments, volumes
from nova.db.models import Instance, new_id
from nova.db.volume_models import Volume, VolumeAttachment
from nova.volume.states import VolumeStatus

SOURCES = ("volume", "snapshot", "image", "blank")
KEY = "block_devices"           # of build_request
DOOMED = "doomed_volumes"       # of build_request: ids of volumes that go with their instance


@dataclass(frozen=True)
class BlockDevice:
    """A volume asked for at boot: one there is, or one to be made of something or of nothing.

    ``field`` is where the request says so, for messages.  ``boot_index`` 0 is the root disk.
    ``name`` and ``metadata`` are those of a volume that is to be made.
    """

    source: str
    field: str
    id: str | None = None
    size_gb: int | None = None
    boot_index: int | None = None
    device: str | None = None
    delete_on_termination: bool = False
    volume_type: str | None = None
    name: str | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class PlannedVolume:
    """A volume an instance is going to have.  ``made``: for this instance and no other use."""

    volume_id: str
    device: str
    boot_index: int | None = None
    delete_on_termination: bool = False
    made: bool = False


def of(row: Instance) -> list[PlannedVolume]:
    """Return the volumes an instance was to be made with."""
    return [PlannedVolume(**one) for one in (row.build_request or {}).get(KEY) or ()]


def with_plan(columns: Mapping[str, Any], plan: Sequence[PlannedVolume]) -> dict[str, Any]:
    """Return an instance's columns with its volumes in ``build_request``."""
    return {**columns, "build_request": {
        **columns["build_request"], KEY: [asdict(one) for one in plan]}}


def root_of(asked: Sequence[BlockDevice]) -> BlockDevice | None:
    """Return the volume that is to be the root disk; BadRequest when there are two."""
    roots = [one for one in asked if one.boot_index == 0]
    if len(roots) > 1:
        raise exception.BadRequest(f"{roots[1].field}.boot_index: there is a root disk already.")
    return roots[0] if roots else None


def plan(asked: Sequence[BlockDevice], local: Collection[str]) -> list[PlannedVolume]:
    """Give every volume its device and, where it is to be made, its id.

    ``local`` are the devices that are taken.  BadRequest for a device that is asked for twice.
    """
    taken = {devices.ROOT_DEVICE, *local}
    chosen: dict[int, str] = {}
    for position, one in enumerate(asked):
        if one.boot_index == 0:
            chosen[position] = devices.ROOT_DEVICE
        elif one.device is not None:
            if one.device in taken:
                raise exception.BadRequest(f"{one.field}.device_name: {one.device} is in use.")
            chosen[position] = one.device
            taken.add(one.device)
    found = []
    for position, one in enumerate(asked):
        device = chosen.get(position)
        if device is None:
            device = devices.choose(None, taken)
            taken.add(device)
        made = one.source != "volume"
        found.append(PlannedVolume(new_id() if made else str(one.id), device, one.boot_index,
                                   one.delete_on_termination, made))
    return found


def check(context: RequestContext, api: Any, asked: Sequence[BlockDevice]) -> None:
    """Look at what the volumes are or are made of, in the caller's project; touches nothing.

    BadRequest names the field of what is not there or cannot be had.
    """
    seen: set[str] = set()
    for one in asked:
        if one.source == "volume":
            volume = find(context, api, one)
            if volume.id in seen:
                raise exception.BadRequest(f"{one.field}.uuid: volume {volume.id} is named twice.")
            seen.add(volume.id)
            if volume.status != VolumeStatus.AVAILABLE:
                raise exception.BadRequest(
                    f"{one.field}.uuid: volume {volume.id} is {volume.status}, not available.")
            if one.boot_index == 0 and not volume.bootable:
                raise exception.BadRequest(
                    f"{one.field}: Block Device {volume.id} is not bootable.")
        elif one.source == "snapshot":
            _snapshot(context, api, one)
        if one.source in ("blank", "image") and not one.size_gb:
            raise exception.BadRequest(f"{one.field}.volume_size: a new volume needs one.")
        if one.source == "blank" and one.boot_index == 0:
            raise exception.BadRequest(f"{one.field}: nothing can boot from an empty volume.")


def find(context: RequestContext, api: Any, one: BlockDevice) -> Volume:
    """Return the volume that is asked for; BadRequest when the caller's project has it not."""
    try:
        volume = api.get(context, one.id)
    except exception.VolumeNotFound as error:
        raise exception.BadRequest(f"{one.field}.uuid: {error}") from None
    # An administrator sees every volume, and a server has those of its own project.
    if volume.project_id != context.project_id:
        raise exception.BadRequest(
            f"{one.field}.uuid: {exception.VolumeNotFound(volume_id=one.id)}")
    return volume


def _snapshot(context: RequestContext, api: Any, one: BlockDevice) -> Any:
    try:
        snapshot = api.get_snapshot(context, one.id)
        if snapshot.project_id != context.project_id:
            raise exception.SnapshotNotFound(snapshot_id=one.id)
    except exception.SnapshotNotFound as error:
        raise exception.BadRequest(f"{one.field}.uuid: {error}") from None
    return snapshot


def image_properties(context: RequestContext, api: Any, root: BlockDevice) -> dict[str, Any]:
    """Return what the image a root volume was made from says about booting it."""
    source = find(context, api, root) if root.source == "volume" \
        else _snapshot(context, api, root)
    if root.source == "snapshot" and not source.bootable:
        raise exception.BadRequest(f"{root.field}: Block Device {source.id} is not bootable.")
    return dict(source.image_metadata or {})


def check_count(asked: Sequence[BlockDevice], count: int) -> None:
    """A volume there is can be of one server only."""
    for one in asked:
        if one.source == "volume" and count > 1:
            raise exception.BadRequest(
                f"{one.field}.uuid: a volume cannot be of {count} servers; max_count has to be 1.")


@dataclass(frozen=True)
class NewRows:
    """The rows that come with new instances, in the same transaction or not at all."""

    volumes: tuple[Volume, ...] = ()
    attachments: tuple[VolumeAttachment, ...] = ()

    def usage(self) -> dict[str, int]:
        """Return what they take of a project's quota."""
        if not self.volumes:
            return {}
        return {"volumes": len(self.volumes),
                "gigabytes": sum(volume.size_gb for volume in self.volumes)}

    def add(self, session: Session) -> None:
        """Add them; InvalidVolume, InvalidSnapshot for what is not available any more."""
        for volume in self.volumes:
            volumes.add(session, volume)
        for attachment in self.attachments:
            volume_attachments.add(session, attachment)


def new_rows(context: RequestContext, api: Any, rows: Sequence[Instance],
             asked: Sequence[BlockDevice]) -> NewRows:
    """Return what is to be made and taken for new instances; touches nothing.  BadRequest."""
    made, taken = [], []
    sources = {"image": "image_id", "snapshot": "snapshot_id"}
    for row in rows if asked else ():
        for one, planned in zip(asked, of(row), strict=True):
            if planned.made:
                source = {sources[one.source]: one.id} if one.source in sources else {}
                made.append(api.check(
                    context, one.size_gb, one.name, metadata=one.metadata,
                    volume_id=planned.volume_id, volume_type=one.volume_type, **source))
            else:
                taken.append(volume_attachments.reservation(
                    planned.volume_id, row.id, str(context.project_id), planned.device,
                    boot_index=planned.boot_index,
                    delete_on_termination=planned.delete_on_termination))
    return NewRows(tuple(made), tuple(taken))


def end(context: RequestContext, api: Any, row: Instance) -> None:
    """Free the volumes of an instance that is on no host and being deleted."""
    doomed = doom(row)
    for attachment in volume_attachments.get_of_instance(row.id):
        api.undo_reserve(attachment.id)
    for volume_id in doomed:
        remove(context, api, row, volume_id)


def doom(row: Instance) -> list[str]:
    """Write down which volumes go with an instance that is being deleted; return their ids.

    Written before any attachment is forgotten: a deletion that is taken up again knows them still.
    Volumes made for an instance that never ran go with it if it was to take them with it.
    """
    doomed = set((row.build_request or {}).get(DOOMED) or ())
    attached = volume_attachments.get_of_instance(row.id)
    found = {one.volume_id for one in attached if one.delete_on_termination}
    if row.launched_at is None:
        found |= {one.volume_id for one in of(row) if one.made and one.delete_on_termination}
    if found - doomed:
        doomed |= found

        def note(locked: Instance) -> None:
            locked.build_request = {**(locked.build_request or {}), DOOMED: sorted(doomed)}
        instances.modify(row.id, note)
    return sorted(doomed)


def remove(context: RequestContext, api: Any, row: Instance, volume_id: str) -> None:
    """Have a volume of an instance deleted; one that somebody else has by now is left alone.

    InvalidVolume while it is being copied: later.
    """
    owner = RequestContext(user_id=row.user_id, project_id=row.project_id, is_admin=False,
                           request_id=context.request_id, overwrite=False)
    try:
        api.delete(owner, volume_id)
    except exception.VolumeNotFound:
        return
    except exception.InvalidVolume:
        attachment = volume_attachments.get_of_volume(volume_id)
        if attachment is None or attachment.instance_id == row.id:
            raise


def taken(row: Instance) -> set[str]:
    """Return the devices an instance has or is going to have."""
    local = devices.local_devices(row.ephemeral_gb, row.swap_mb).values()
    planned = () if row.launched_at is not None else (one.device for one in of(row))
    return {devices.ROOT_DEVICE, *local, *planned,
            *(one.device for one in volume_attachments.get_of_instance(row.id))}
