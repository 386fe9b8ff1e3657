# SPDX-License-Identifier: Apache-2.0
"""Checks of a new volume: everything is looked at, nothing is touched.

What a volume is copied from is looked up in the caller's own project, an administrator's too: a
copy of somebody else's data is nobody's to make by an id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nova import exception, quota
from nova.context import RequestContext
from nova.db import services, volume_snapshots, volume_types, volumes
from nova.db.models import new_id
from nova.db.volume_models import Volume
from nova.image.model import Image
from nova.volume.states import Desired, VolumeStatus

GIB = 1024 ** 3
MAX_SIZE_GB = 1 << 20       # a size is a number of GiB, and a sum of them fits a column


@dataclass(frozen=True)
class Refusal:
    """A host that was to make a volume and could not."""

    host: str
    reason: str


@dataclass(frozen=True)
class VolumeRequest:
    """What ``Volume.request`` holds: what the row's columns do not say.

    ``zone`` is the availability zone asked for; the row's own is that of the host it is on.
    """

    request_id: str | None = None
    zone: str | None = None
    refusals: tuple[Refusal, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> "VolumeRequest":
        """Read a row's ``request``; what is missing has its default."""
        values = values or {}
        return cls(values.get("request_id"), values.get("zone"), tuple(
            Refusal(str(one.get("host")), str(one.get("reason")))
            for one in values.get("refusals") or ()))


def with_refusal(request: Mapping[str, Any] | None, host: str, reason: str) -> dict[str, Any]:
    """Return a row's ``request`` with one refusal more."""
    values = dict(request or {})
    values["refusals"] = [*(values.get("refusals") or ()), {"host": host, "reason": reason[:255]}]
    return values


@dataclass(frozen=True)
class NewVolume:
    """What is asked for.  ``size_gb`` None is as large as what it is copied from.

    ``volume_id`` is the id of a volume that somebody has written down before it is made.
    """

    size_gb: int | None
    name: str | None = None
    description: str | None = None
    volume_type: str | None = None
    availability_zone: str | None = None
    snapshot_id: str | None = None
    source_volume_id: str | None = None
    image_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    volume_id: str | None = None


def check(context: RequestContext, asked: NewVolume, images: Any) -> Volume:
    """Return the row of a new volume, not added yet; BadRequest names the field that is wrong."""
    if not context.project_id:
        raise exception.Forbidden("This needs a token for a project.")
    sources = [asked.snapshot_id, asked.source_volume_id, asked.image_id]
    if sum(source is not None for source in sources) > 1:
        raise exception.BadRequest(
            "A volume is made from at most one of snapshot_id, source_volid and imageRef.")
    limits = quota.limits(context.project_id)
    quota.check_count("metadata_items", len(asked.metadata), limits["metadata_items"])
    zone = _zone(asked.availability_zone)
    row = Volume(
        id=asked.volume_id or new_id(), project_id=context.project_id,
        user_id=context.user_id or "",
        name=asked.name, description=asked.description, status=VolumeStatus.CREATING,
        desired=Desired.AVAILABLE, availability_zone=zone,
        volume_type_id=_type(context, asked.volume_type), bootable=False,
        snapshot_id=asked.snapshot_id, source_volume_id=asked.source_volume_id,
        image_id=asked.image_id, image_metadata={}, metadata_=dict(asked.metadata),
        request={"request_id": context.request_id, "zone": zone, "refusals": []})
    smallest = _source(context, asked, row, images)
    row.size_gb = _size(asked.size_gb, smallest)
    return row


def _source(context: RequestContext, asked: NewVolume, row: Volume, images: Any) -> int | None:
    """Note in the row what comes with the source; return the smallest size it fits in."""
    if asked.image_id is not None:
        image = images.get(context, asked.image_id)
        row.bootable, row.image_metadata = True, _metadata_of(image)
        return _smallest(image)
    source: Any = None
    if asked.snapshot_id is not None:
        source = volume_snapshots.get(asked.snapshot_id, context.project_id)
    elif asked.source_volume_id is not None:
        source = volumes.get(asked.source_volume_id, context.project_id)
        row.volume_type_id = row.volume_type_id or source.volume_type_id
    if source is None:
        return None
    row.bootable, row.image_metadata = source.bootable, dict(source.image_metadata or {})
    return source.size_gb


def _smallest(image: Image) -> int:
    if image.status != "active":
        raise exception.BadRequest(f"imageRef: image {image.id} is {image.status}, not active.")
    return max(1, image.min_disk, -(-(image.size or 0) // GIB))


def _metadata_of(image: Image) -> dict[str, Any]:
    own = {"image_id": image.id, "image_name": image.name, "checksum": image.checksum,
           "container_format": image.container_format, "disk_format": image.disk_format,
           "min_disk": image.min_disk, "min_ram": image.min_ram, "size": image.size}
    return {**image.properties, **{name: value for name, value in own.items()
                                   if value is not None}}


def _size(asked: int | None, smallest: int | None) -> int:
    if asked is None:
        if smallest is None:
            raise exception.BadRequest("size: a volume that is no copy needs one.")
        return smallest
    if not 1 <= asked <= MAX_SIZE_GB:
        raise exception.BadRequest(f"size: {asked} is not between 1 and {MAX_SIZE_GB} GiB.")
    if smallest is not None and asked < smallest:
        raise exception.BadRequest(f"size: {asked} GiB are less than the {smallest} GiB of what "
                                   "the volume is made from.")
    return asked


def _zone(wanted: str | None) -> str | None:
    if wanted is None:
        return None
    if wanted not in {row.availability_zone for row in services.get_all(topic="volume")}:
        raise exception.BadRequest(f"availability_zone: there is no zone {wanted[:255]!r}.")
    return wanted


def _type(context: RequestContext, wanted: str | None) -> str | None:
    if wanted is None:
        return None
    try:
        found = volume_types.get(wanted)
        if not found.is_public and not context.is_admin:
            raise exception.VolumeTypeNotFound(type_id=wanted)
    except exception.VolumeTypeNotFound as error:
        raise exception.BadRequest(f"volume_type: {error}") from None
    return found.id
