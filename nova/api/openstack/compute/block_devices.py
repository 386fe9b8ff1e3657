# SPDX-License-Identifier: Apache-2.0
"""Disks of a new server as requests say them: ``block_device_mapping``, old and ``_v2``."""

from collections.abc import Mapping, Sequence
from typing import Any

from nova import exception
from nova.api.openstack.validation import BOOLEAN, UUID, as_bool, integer, obj, string
from nova.compute import devices
from nova.compute.block_devices import SOURCES, BlockDevice
from nova.volume.request import MAX_SIZE_GB

_NULL: dict[str, Any] = {"type": "null"}
_SIZE = {"anyOf": [integer(0, MAX_SIZE_GB), {"const": ""}, _NULL]}
_NAME = {"anyOf": [string(255), _NULL]}
_ID = {"anyOf": [UUID, {"const": ""}, _NULL]}
MAPPING_V2 = {"type": "array", "maxItems": 64, "items": obj({
    "uuid": _ID, "source_type": {"enum": list(SOURCES)},
    "destination_type": {"enum": ["volume", "local", None]},
    "boot_index": {"anyOf": [integer(-(2**31)), _NULL]}, "volume_size": _SIZE,
    "delete_on_termination": BOOLEAN, "device_name": _NAME, "guest_format": _NAME,
    "disk_bus": _NAME, "device_type": _NAME, "no_device": {}, "volume_type": _NAME,
    "tag": _NAME,
})}
MAPPING_V1 = {"type": "array", "maxItems": 64, "items": obj({
    "device_name": _NAME, "volume_id": _ID, "snapshot_id": _ID, "volume_size": _SIZE,
    "delete_on_termination": BOOLEAN, "virtual_name": _NAME, "no_device": {},
})}


def parse(server: Mapping[str, Any]) -> tuple[str | None, tuple[BlockDevice, ...]]:
    """Return (image of a local root disk, volumes); BadRequest, NotSupported name the field."""
    image_id = str(server.get("imageRef") or "").rpartition("/")[2] or None
    old, new = server.get("block_device_mapping") or (), \
        server.get("block_device_mapping_v2") or ()
    if old and new:
        raise exception.BadRequest("block_device_mapping: cannot stand beside "
                                   "block_device_mapping_v2.")
    if old:
        return image_id, _old(old, image_id)
    found = []
    for position, one in enumerate(new):
        where = f"block_device_mapping_v2.{position}"
        _refuse(one, where)
        if one.get("destination_type") == "local":
            image_id = _local(one, where, image_id)
        else:
            found.append(_new(one, where))
    return image_id, tuple(found)


def _refuse(one: Mapping[str, Any], where: str) -> None:
    for name, good in (("no_device", (None, False, "")), ("guest_format", (None, "")),
                       ("disk_bus", (None, "", "virtio")), ("device_type", (None, "", "disk")),
                       ("tag", (None,)), ("virtual_name", (None, ""))):
        if one.get(name) not in good:
            raise exception.NotSupported(what=f"{where}.{name} = {str(one[name])[:32]!r}")


def _local(one: Mapping[str, Any], where: str, image_id: str | None) -> str:
    """Return the image of the local root disk: the only local disk that can be asked for."""
    if one.get("source_type") != "image":
        raise exception.NotSupported(
            what=f"{where}: local disks other than those of the flavor")
    if _index(one) != 0:
        raise exception.BadRequest(
            f"{where}: only an image as the local root disk (boot_index 0) is possible.")
    uuid = one.get("uuid")
    if not uuid or (image_id and uuid != image_id):
        raise exception.BadRequest(f"{where}.uuid: has to be the image of imageRef.")
    return str(uuid)


def _index(one: Mapping[str, Any]) -> int | None:
    """Return 0 for the root disk and None for all others."""
    value = one.get("boot_index")
    return 0 if value is not None and int(value) == 0 else None


def _new(one: Mapping[str, Any], where: str) -> BlockDevice:
    source = one.get("source_type")
    if source is None:
        raise exception.BadRequest(f"{where}.source_type: is required.")
    uuid = one.get("uuid") or None
    if (uuid is None) != (source == "blank"):
        raise exception.BadRequest(
            f"{where}.uuid: is required." if uuid is None else
            f"{where}.uuid: a blank volume is made of nothing.")
    return BlockDevice(
        source, where, uuid, _size(one), _index(one), _device(one, where),
        as_bool(one.get("delete_on_termination", False)), one.get("volume_type") or None)


def _size(one: Mapping[str, Any]) -> int | None:
    return int(one.get("volume_size") or 0) or None


def _device(one: Mapping[str, Any], where: str) -> str | None:
    name = one.get("device_name")
    if not name:
        return None
    try:
        return devices.parse(name)
    except exception.BadRequest as error:
        raise exception.BadRequest(f"{where}.device_name: {error}") from None


def _old(mappings: Sequence[Mapping[str, Any]], image_id: str | None,
         ) -> tuple[BlockDevice, ...]:
    """Read the mapping of 2011: a device by its name, ``vda`` being the root disk."""
    found = []
    for position, one in enumerate(mappings):
        where = f"block_device_mapping.{position}"
        _refuse(one, where)
        volume, snapshot = one.get("volume_id") or None, one.get("snapshot_id") or None
        if (volume is None) == (snapshot is None):
            raise exception.BadRequest(f"{where}: either volume_id or snapshot_id is required.")
        device = _device(one, where)
        root = device == devices.ROOT_DEVICE and image_id is None
        found.append(BlockDevice(
            "volume" if volume else "snapshot", where, volume or snapshot, _size(one),
            0 if root else None, device,
            as_bool(one.get("delete_on_termination", False))))
    return tuple(found)
