# SPDX-License-Identifier: Apache-2.0
"""``BlockDeviceMapping.N`` of RunInstances: the volumes an instance is to be made with."""

from collections.abc import Mapping, Sequence
from typing import Any

from nova import exception
from nova.api.ec2.actions import Call
from nova.api.ec2.errors import Ec2Error, invalid, unsupported
from nova.api.ec2.snapshots import snapshot_of
from nova.api.ec2.tagging import tags_for
from nova.api.ec2.volumes import type_named
from nova.compute import devices
from nova.compute.block_devices import BlockDevice

ROOTS = ("/dev/vda", "/dev/sda1", "/dev/xvda", "/dev/sda")     # as AMIs of AWS name it
_EBS = frozenset({"SnapshotId", "VolumeSize", "VolumeType", "DeleteOnTermination", "Encrypted"})


def asked_for(call: Call, image_id: str) -> tuple[str | None, tuple[BlockDevice, ...]]:
    """Return (image to boot from, or None where that is a volume; the volumes to be made).

    A mapping of the root device has the image copied to a volume.  Volumes go with their instance
    unless the request says otherwise, as AWS has it, and all have the tags for volumes.
    """
    found, root = [], False
    tags = tags_for(call.params, "volume", "instance")
    named = {"name": tags.pop("Name", None), "metadata": tags}
    for position, one in enumerate(call.params.get("BlockDeviceMappings") or (), 1):
        field = f"BlockDeviceMapping.{position}"
        name, ebs = one.get("DeviceName"), one.get("Ebs")
        if not name or ebs is None:
            raise Ec2Error("MissingParameter", f"{field} must contain DeviceName and Ebs")
        _refuse_wishes(field, one, ebs)
        made = {"field": field, "size_gb": _size(field, ebs),
                "volume_type": type_named(ebs.get("VolumeType")),
                "delete_on_termination": ebs.get("DeleteOnTermination", True), **named}
        if name in ROOTS:
            root = True
            found.append(_root(call, ebs, image_id, made))
        elif ebs.get("SnapshotId"):
            found.append(BlockDevice("snapshot", id=_snapshot(call, ebs), device=_device(name),
                                     **made))
        else:
            found.append(BlockDevice("blank", device=_device(name), **made))
    return None if root else image_id, tuple(found)


def _root(call: Call, ebs: Mapping[str, Any], image_id: str,
          made: Mapping[str, Any]) -> BlockDevice:
    if ebs.get("SnapshotId"):
        return BlockDevice("snapshot", id=_snapshot(call, ebs), boot_index=0, **made)
    if made["size_gb"] is None:
        raise Ec2Error("MissingParameter", f"{made['field']}.Ebs must contain VolumeSize")
    return BlockDevice("image", id=image_id, boot_index=0, **made)


def _refuse_wishes(field: str, one: Mapping[str, Any], ebs: Mapping[str, Any]) -> None:
    for name in ("NoDevice", "VirtualName"):
        if one.get(name) is not None:
            raise unsupported(f"{field}.{name}")
    strange: Sequence[str] = sorted(ebs.keys() - _EBS)
    if strange or ebs.get("Encrypted"):
        raise unsupported(f"{field}.Ebs.{strange[0] if strange else 'Encrypted'}")


def _size(field: str, ebs: Mapping[str, Any]) -> int | None:
    size = ebs.get("VolumeSize")
    if size is not None and size < 1:
        raise invalid(f"{field}.Ebs.VolumeSize", size)
    if size is None and not ebs.get("SnapshotId"):
        raise Ec2Error("MissingParameter", f"{field}.Ebs must contain VolumeSize or SnapshotId")
    return size


def _snapshot(call: Call, ebs: Mapping[str, Any]) -> str:
    return snapshot_of(call, ebs["SnapshotId"]).id


def _device(name: str) -> str:
    try:
        return devices.parse(name)
    except exception.BadRequest:
        raise Ec2Error("InvalidBlockDeviceMapping",
                       f"Invalid device name {ascii(name[:64])}") from None
