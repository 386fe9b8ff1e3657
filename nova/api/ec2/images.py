# SPDX-License-Identifier: Apache-2.0
"""Images: DescribeImages."""

from typing import Any

from nova import exception
from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import unsupported
from nova.db import ec2_ids
from nova.image.model import Image

AT_ONCE = 1000
_STATES = {"active": "available", "queued": "pending", "saving": "pending",
           "importing": "pending", "uploading": "pending", "deactivated": "disabled",
           "killed": "failed"}
_KINDS = {"aki": ("aki", "kernel"), "ari": ("ari", "ramdisk")}


def kind_of(image: Image) -> tuple[str, str]:
    """Return (what its id starts with, its type)."""
    return _KINDS.get(image.container_format or "", ("ami", "machine"))


def _view(image: Image, ids: dict[tuple[str, str], str]) -> dict[str, Any]:
    kind, word = kind_of(image)
    found = {
        "ImageId": ids[kind, image.id], "Name": image.name or image.id, "ImageType": word,
        "ImageLocation": f"{image.owner or ''}/{image.name or image.id}",
        "State": _STATES.get(image.status, "error"), "OwnerId": image.owner or "",
        "Public": image.visibility == "public", "CreationDate": image.created_at,
        "Architecture": image.properties.get("architecture", "x86_64"),
        "Description": image.properties.get("description"), "RootDeviceType": "instance-store",
        "RootDeviceName": "/dev/vda", "BlockDeviceMappings": [], "VirtualizationType": "hvm",
        "ProductCodes": [], "Tags": []}
    for other, name, uuid in (("aki", "KernelId", image.kernel_id),
                              ("ari", "RamdiskId", image.ramdisk_id)):
        if uuid:
            found[name] = ids[other, uuid]
    return found


def _views(images: list[Image]) -> list[dict[str, Any]]:
    wanted: dict[str, set[str]] = {}
    for image in images:
        wanted.setdefault(kind_of(image)[0], set()).add(image.id)
        for kind, uuid in (("aki", image.kernel_id), ("ari", image.ramdisk_id)):
            if uuid:
                wanted.setdefault(kind, set()).add(uuid)
    ids = {(kind, uuid): ec2_id for kind, uuids in wanted.items()
           for uuid, ec2_id in ec2_ids.ids_of(kind, sorted(uuids)).items()}
    return [_view(image, ids) for image in images]


def _named(call: Call, wanted: list[str]) -> list[Image]:
    found = []
    for one in wanted:
        kind = next((kind for kind in _KINDS if one.startswith(kind + "-")), "ami")
        uuid = listing.uuids_of(kind, [one])[one]
        try:
            found.append(call.compute.images.get(call.context, uuid))
        except exception.ImageNotFound:
            raise listing.not_found(kind, [one]) from None
    return found


def _all(call: Call) -> list[Image]:
    found: list[Image] = []
    while True:
        part = call.compute.images.list(call.context, limit=AT_ONCE,
                                        marker=found[-1].id if found else None)
        found += part
        if len(part) < AT_ONCE:
            return found


FILTERS = {
    "image-id": lambda one: one["ImageId"], "name": lambda one: one["Name"],
    "state": lambda one: one["State"], "is-public": lambda one: one["Public"],
    "owner-id": lambda one: one["OwnerId"], "image-type": lambda one: one["ImageType"],
    "architecture": lambda one: one["Architecture"],
    "description": lambda one: one["Description"],
    "manifest-location": lambda one: one["ImageLocation"],
    "root-device-type": lambda one: one["RootDeviceType"],
    "virtualization-type": lambda one: one["VirtualizationType"],
}


@action("DescribeImages", policy="compute:images:list", takes=(
    "ImageIds", "Owners", "Filters", "MaxResults", "NextToken", "IncludeDeprecated",
    "IncludeDisabled"))
def describe_images(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), FILTERS)
    owners = [call.project_id if one == "self" else one
              for one in call.params.get("Owners") or ()]
    if any(one in ("amazon", "aws-marketplace") for one in owners):
        raise unsupported("An owner that is Amazon")
    ids = call.params.get("ImageIds")
    views = [view for view in _views(_named(call, ids) if ids else _all(call))
             if (not owners or view["OwnerId"] in owners) and filters.met(view)]
    shown, token = listing.page(views, call.params, lambda one: one["ImageId"])
    return {"Images": shown, "NextToken": token}
