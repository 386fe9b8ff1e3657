# SPDX-License-Identifier: Apache-2.0
"""Volumes: Create-, Delete-, Describe-, Attach-, DetachVolume(s), DescribeVolumeStatus."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from nova import exception
from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import Ec2Error, invalid, unsupported
from nova.api.ec2.instances import one_of
from nova.api.ec2.tagging import tags_for
from nova.compute import devices
from nova.db import ec2_ids, volume_attachments, volume_types, volumes
from nova.db.volume_models import Volume, VolumeAttachment
from nova.volume.states import AttachStatus, VolumeStatus

STANDARD = "standard"       # AWS's word for a volume of no special type
MAX_TOKEN = 64
_TOKENS = uuid.UUID("0c4d3c53-6a1f-5c58-9d0e-7d1f2d5b8a10")

STATES = {
    VolumeStatus.CREATING: "creating", VolumeStatus.AVAILABLE: "available",
    VolumeStatus.EXTENDING: "available", VolumeStatus.DELETING: "deleting"}
_ATTACHED = {AttachStatus.RESERVED: "attaching", AttachStatus.ATTACHING: "attaching",
             AttachStatus.ATTACHED: "attached", AttachStatus.DETACHING: "detaching"}


def own(call: Call, ec2_id: str) -> Volume:
    """Return one volume of the caller's project; InvalidVolume.NotFound."""
    wanted = listing.uuids_of("vol", [ec2_id])[ec2_id]
    try:
        return volumes.get(wanted, call.project_id)
    except exception.VolumeNotFound:
        raise listing.not_found("vol", [ec2_id]) from None


def tags_of(row: Any) -> dict[str, str]:
    """Return the tags of a volume or snapshot: its metadata, and its name as Name."""
    return {**({"Name": row.name} if row.name else {}), **(row.metadata_ or {})}


def state_of(row: Volume, attachment: VolumeAttachment | None) -> str:
    """Return a volume's state in AWS's words: whoever holds it, it is in use."""
    if attachment is not None:
        return "in-use"
    return STATES.get(VolumeStatus(row.status), "error")


class Views:
    """Views of some volumes, made in a fixed number of queries."""

    def __init__(self, rows: Sequence[Volume]) -> None:
        self._attached = volume_attachments.get_of_volumes([row.id for row in rows])
        self._types = {one.id: one.name for one in volume_types.get_all()} \
            if any(row.volume_type_id for row in rows) else {}
        self._volumes = ec2_ids.ids_of("vol", [row.id for row in rows])
        self._instances = ec2_ids.ids_of(
            "i", [one.instance_id for one in self._attached.values()])
        self._snapshots = ec2_ids.ids_of(
            "snap", [row.snapshot_id for row in rows if row.snapshot_id])

    def attachment(self, row: Volume, state: str | None = None) -> dict[str, Any] | None:
        """Return how a volume is attached; None when it is not."""
        held = self._attached.get(row.id)
        if held is None:
            return None
        return {"VolumeId": self._volumes[row.id], "InstanceId": self._instances[held.instance_id],
                "Device": f"/dev/{held.device}", "AttachTime": held.attached_at or held.created_at,
                "State": state or _ATTACHED[AttachStatus(held.status)],
                "DeleteOnTermination": held.delete_on_termination}

    def one(self, row: Volume) -> dict[str, Any]:
        """Return one volume."""
        attachment = self.attachment(row)
        return {
            "VolumeId": self._volumes[row.id], "Size": row.size_gb,
            "SnapshotId": self._snapshots[row.snapshot_id] if row.snapshot_id else "",
            "AvailabilityZone": row.availability_zone or "",
            "State": state_of(row, self._attached.get(row.id)), "CreateTime": row.created_at,
            "VolumeType": self._types.get(row.volume_type_id or "", STANDARD),
            "Encrypted": False, "MultiAttachEnabled": False,
            "Attachments": [attachment] if attachment else [],
            "Tags": listing.tag_list(tags_of(row))}


def type_named(name: str | None) -> str | None:
    """Return the volume type a request names; None for the usual one, InvalidParameterValue."""
    if name in (None, "", STANDARD):
        return None
    if name not in {one.name for one in volume_types.get_all()}:
        raise invalid("VolumeType", name, "There is no such volume type here.")
    return name


def id_for(call: Call) -> str | None:
    """Return the id a new volume of this request has: the same ClientToken is the same volume."""
    token = call.params.get("ClientToken")
    if not token:
        return None
    if len(token) > MAX_TOKEN or not token.isascii():
        raise invalid("ClientToken", token, f"At most {MAX_TOKEN} ASCII characters.")
    digest = hashlib.sha256(f"{call.project_id}\n{token}".encode()).hexdigest()
    return str(uuid.uuid5(_TOKENS, digest))


def _made_before(call: Call, volume_id: str | None) -> Volume | None:
    if volume_id is None:
        return None
    try:
        found = volumes.get(volume_id, call.project_id)
    except exception.VolumeNotFound:
        return None
    size, zone = call.params.get("Size"), call.params.get("AvailabilityZone")
    if size not in (None, found.size_gb) or zone not in (None, found.availability_zone):
        raise Ec2Error("IdempotentParameterMismatch",
                       "The ClientToken was used before with other parameters.")
    return found


@action("CreateVolume", policy="volume:volumes:create", takes=(
    "AvailabilityZone", "Size", "SnapshotId", "VolumeType", "Encrypted", "TagSpecifications",
    "ClientToken"))
def create_volume(call: Call) -> dict[str, Any]:
    params = call.params
    if params.get("Encrypted"):
        raise unsupported("Encrypted")
    if params.get("Size") is None and not params.get("SnapshotId"):
        raise Ec2Error("MissingParameter", "The request must contain one of Size and SnapshotId")
    snapshot_id = None
    if params.get("SnapshotId"):
        snapshot_id = listing.uuids_of("snap", [params["SnapshotId"]])[params["SnapshotId"]]
    volume_id = id_for(call)
    row = _made_before(call, volume_id)
    if row is None:
        tags = tags_for(params, "volume")
        more: dict[str, Any] = {"volume_id": volume_id} if volume_id else {}
        try:
            row = call.compute.volumes.create(
                call.context, params.get("Size"), tags.pop("Name", None),
                volume_type=type_named(params.get("VolumeType")), snapshot_id=snapshot_id,
                availability_zone=params.get("AvailabilityZone") or None, metadata=tags, **more)
        except exception.SnapshotNotFound:
            raise listing.not_found("snap", [params["SnapshotId"]]) from None
    return Views([row]).one(row)


@action("DeleteVolume", policy="volume:volumes:delete", takes=("VolumeId",))
def delete_volume(call: Call) -> None:
    row = own(call, call.params["VolumeId"])
    if volume_attachments.get_of_volume(row.id) is not None:
        raise Ec2Error("VolumeInUse", f"Volume {call.params['VolumeId']} is attached.")
    call.compute.volumes.delete(call.context, row.id)


FILTERS: Mapping[str, Any] = {
    "volume-id": lambda one: one["VolumeId"], "status": lambda one: one["State"],
    "size": lambda one: one["Size"], "snapshot-id": lambda one: one["SnapshotId"],
    "availability-zone": lambda one: one["AvailabilityZone"],
    "volume-type": lambda one: one["VolumeType"], "encrypted": lambda one: one["Encrypted"],
    "create-time": lambda one: one["CreateTime"].strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    "attachment.instance-id": lambda one: [it["InstanceId"] for it in one["Attachments"]],
    "attachment.device": lambda one: [it["Device"] for it in one["Attachments"]],
    "attachment.status": lambda one: [it["State"] for it in one["Attachments"]],
    "attachment.delete-on-termination":
        lambda one: [str(it["DeleteOnTermination"]).lower() for it in one["Attachments"]],
    "tags": lambda one: {tag["Key"]: tag["Value"] for tag in one["Tags"]}}


@action("DescribeVolumes", policy="volume:volumes:list",
        takes=("VolumeIds", "Filters", "MaxResults", "NextToken"))
def describe_volumes(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), FILTERS)
    rows = volumes.get_all({"project_id": call.project_id})
    if wanted := call.params.get("VolumeIds"):
        rows = listing.chosen("vol", wanted, rows)
    views = Views(rows)
    met = [view for view in map(views.one, rows) if filters.met(view)]
    shown, after = listing.page(met, call.params, lambda view: view["VolumeId"])
    return {"Volumes": shown, "NextToken": after}


_HEALTH = {"error": "impaired", "creating": "insufficient-data"}


@action("DescribeVolumeStatus", policy="volume:volumes:list",
        takes=("VolumeIds", "Filters", "MaxResults", "NextToken"))
def describe_status(call: Call) -> dict[str, Any]:
    """What is known of a volume's health is what the worker that did the last work on it found."""
    filters = listing.Filters(call.params.get("Filters"), {
        "availability-zone": lambda one: one["AvailabilityZone"],
        "volume-status.status": lambda one: one["VolumeStatus"]["Status"]})
    rows = volumes.get_all({"project_id": call.project_id})
    if wanted := call.params.get("VolumeIds"):
        rows = listing.chosen("vol", wanted, rows)
    views = Views(rows)
    met = [view for view in (_health(views.one(row)) for row in rows) if filters.met(view)]
    shown, after = listing.page(met, call.params, lambda view: view["VolumeId"])
    return {"VolumeStatuses": shown, "NextToken": after}


def _health(volume: Mapping[str, Any]) -> dict[str, Any]:
    return {"VolumeId": volume["VolumeId"], "AvailabilityZone": volume["AvailabilityZone"],
            "Actions": [], "Events": [], "VolumeStatus": {
                "Status": _HEALTH.get(volume["State"], "ok"), "Details": []}}


def _device(text: str) -> str:
    try:
        return devices.parse(text)
    except exception.BadRequest as error:
        raise invalid("Device", text, str(error)) from None


@action("AttachVolume", policy="compute:volume_attachments:create",
        takes=("Device", "InstanceId", "VolumeId"))
def attach_volume(call: Call) -> dict[str, Any]:
    device = _device(call.params["Device"])
    server, row = one_of(call, call.params["InstanceId"]), own(call, call.params["VolumeId"])
    try:
        call.compute.attachments.attach(call.context, server.id, row.id, device)
    except exception.InvalidVolume as error:
        code = "VolumeInUse" if volume_attachments.get_of_volume(row.id) else "IncorrectState"
        raise Ec2Error(code, str(error)) from None
    except exception.Conflict as error:
        raise invalid("Device", call.params["Device"], str(error)) from None
    return Views([row]).attachment(row) or {}


@action("DetachVolume", policy="compute:volume_attachments:delete",
        takes=("Device", "Force", "InstanceId", "VolumeId"))
def detach_volume(call: Call) -> dict[str, Any]:
    if call.params.get("Force"):
        # A disk that is torn from a guest that holds it is a volume two guests may have.
        raise unsupported("Force")
    row = own(call, call.params["VolumeId"])
    held = volume_attachments.get_of_volume(row.id)
    elsewhere = held is not None and (
        (call.params.get("InstanceId") and
         held.instance_id != one_of(call, call.params["InstanceId"]).id) or
        (call.params.get("Device") and held.device != _device(call.params["Device"])))
    if held is None or elsewhere:
        raise Ec2Error("IncorrectState", f"Volume {call.params['VolumeId']} is not attached there.")
    view = Views([row]).attachment(row, "detaching") or {}
    call.compute.attachments.detach(call.context, held.instance_id, row.id)
    return view
