# SPDX-License-Identifier: Apache-2.0
"""Snapshots of volumes: Create-, Delete- and DescribeSnapshot(s)."""

from collections.abc import Mapping, Sequence
from typing import Any

from nova import exception
from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import Ec2Error
from nova.api.ec2.tagging import tags_for
from nova.api.ec2.volumes import own, tags_of
from nova.db import ec2_ids, volume_snapshots
from nova.db.volume_models import VolumeSnapshot
from nova.volume.states import SnapshotStatus

_STATES = {SnapshotStatus.CREATING: ("pending", "0%"),
           SnapshotStatus.AVAILABLE: ("completed", "100%"),
           SnapshotStatus.DELETING: ("completed", "100%")}
MINE = "self"       # AWS's word for the caller's own account


def snapshot_of(call: Call, ec2_id: str) -> VolumeSnapshot:
    """Return one snapshot of the caller's project; InvalidSnapshot.NotFound."""
    wanted = listing.uuids_of("snap", [ec2_id])[ec2_id]
    try:
        return volume_snapshots.get(wanted, call.project_id)
    except exception.SnapshotNotFound:
        raise listing.not_found("snap", [ec2_id]) from None


def views(rows: Sequence[VolumeSnapshot]) -> list[dict[str, Any]]:
    """Return snapshots as the shape has them."""
    ids = ec2_ids.ids_of("snap", [row.id for row in rows])
    of = ec2_ids.ids_of("vol", [row.volume_id for row in rows])
    found = []
    for row in rows:
        state, progress = _STATES.get(SnapshotStatus(row.status), ("error", ""))
        found.append({
            "SnapshotId": ids[row.id], "VolumeId": of[row.volume_id], "State": state,
            "StateMessage": row.fault or "", "StartTime": row.created_at, "Progress": progress,
            "OwnerId": row.project_id, "Description": row.description or "",
            "VolumeSize": row.size_gb, "Encrypted": False,
            "Tags": listing.tag_list(tags_of(row))})
    return found


@action("CreateSnapshot", policy="volume:snapshots:create",
        takes=("VolumeId", "Description", "TagSpecifications"))
def create_snapshot(call: Call) -> dict[str, Any]:
    row = own(call, call.params["VolumeId"])
    tags = tags_for(call.params, "snapshot")
    try:
        made = call.compute.volumes.create_snapshot(
            call.context, row.id, tags.pop("Name", None), call.params.get("Description"),
            metadata=tags)
    except exception.InvalidVolume as error:
        raise Ec2Error("IncorrectState", str(error)) from None
    return views([made])[0]


@action("DeleteSnapshot", policy="volume:snapshots:delete", takes=("SnapshotId",))
def delete_snapshot(call: Call) -> None:
    row = snapshot_of(call, call.params["SnapshotId"])
    try:
        call.compute.volumes.delete_snapshot(call.context, row.id)
    except exception.InvalidSnapshot as error:
        raise Ec2Error("InvalidSnapshot.InUse", str(error)) from None


FILTERS: Mapping[str, Any] = {
    "snapshot-id": lambda one: one["SnapshotId"], "status": lambda one: one["State"],
    "volume-id": lambda one: one["VolumeId"], "volume-size": lambda one: one["VolumeSize"],
    "description": lambda one: one["Description"], "owner-id": lambda one: one["OwnerId"],
    "progress": lambda one: one["Progress"], "encrypted": lambda one: one["Encrypted"],
    "start-time": lambda one: one["StartTime"].strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    "tags": lambda one: {tag["Key"]: tag["Value"] for tag in one["Tags"]}}


@action("DescribeSnapshots", policy="volume:snapshots:list", takes=(
    "SnapshotIds", "OwnerIds", "RestorableByUserIds", "Filters", "MaxResults", "NextToken"))
def describe_snapshots(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), FILTERS)
    rows = volume_snapshots.get_all({"project_id": call.project_id})
    if wanted := call.params.get("SnapshotIds"):
        rows = listing.chosen("snap", wanted, rows)
    # Nobody sees another's snapshots: whoever else is asked for has none to show.
    for name in ("OwnerIds", "RestorableByUserIds"):
        if (owners := call.params.get(name)) and not {MINE, call.project_id} & set(owners):
            rows = []
    met = [view for view in views(rows) if filters.met(view)]
    shown, after = listing.page(met, call.params, lambda view: view["SnapshotId"])
    return {"Snapshots": shown, "NextToken": after}
