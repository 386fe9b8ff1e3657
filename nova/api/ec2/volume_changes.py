# SPDX-License-Identifier: Apache-2.0
"""Volumes made larger: ModifyVolume and DescribeVolumesModifications.

What was asked for last is noted in the volume's row; how far it has come follows from the row.
"""

import datetime
from collections.abc import Mapping
from typing import Any

from nova import exception
from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import Ec2Error, unsupported
from nova.api.ec2.volumes import Views, own
from nova.db import volumes
from nova.db.models import utcnow
from nova.db.volume_models import Volume
from nova.volume.states import VolumeStatus

NOTE = "ec2_modification"       # of a volume's ``request``


@action("ModifyVolume", policy="volume:volumes:extend", takes=("VolumeId", "Size", "VolumeType"))
def modify_volume(call: Call) -> dict[str, Any]:
    row, size = own(call, call.params["VolumeId"]), call.params.get("Size")
    kind = Views([row]).one(row)["VolumeType"]
    if call.params.get("VolumeType", kind) != kind:
        raise unsupported("Another VolumeType of a volume there is")
    if size is None:
        raise Ec2Error("MissingParameter", "The request must contain the parameter Size")
    note = {"from": row.size_gb, "to": size, "at": utcnow().isoformat()}
    before = (row.request or {}).get(NOTE)
    # The note first: alone it says nothing, as the size it tells of is never reached.
    volumes.modify(row.id, lambda locked: _set_note(locked, note))
    try:
        call.compute.volumes.extend(call.context, row.id, size)
    except exception.NovaError:
        volumes.modify(row.id, lambda locked: _set_note(locked, before))
        raise
    view = _view(volumes.get(row.id), call.params["VolumeId"])
    return {"VolumeModification": view}


def _set_note(row: Volume, note: Mapping[str, Any] | None) -> None:
    row.request = {**(row.request or {}), NOTE: note}


def _view(row: Volume, ec2_id: str) -> dict[str, Any] | None:
    """Return how far the last change of a volume has come; None when there was none."""
    note = (row.request or {}).get(NOTE)
    if note is None:
        return None
    if row.status == VolumeStatus.ERROR_EXTENDING:
        state = "failed"
    elif row.size_gb >= note["to"]:
        state = "completed"
    elif row.claimed_gb == note["to"]:
        state = "modifying"
    else:
        return None     # it was refused
    kind = Views([row]).one(row)["VolumeType"]
    return {"VolumeId": ec2_id, "ModificationState": state, "TargetSize": note["to"],
            "OriginalSize": note["from"], "TargetVolumeType": kind, "OriginalVolumeType": kind,
            "StartTime": datetime.datetime.fromisoformat(note["at"]),
            "StatusMessage": (row.fault or "") if state == "failed" else "",
            "Progress": 100 if state == "completed" else 0}


FILTERS: Mapping[str, Any] = {
    "volume-id": lambda one: one["VolumeId"],
    "modification-state": lambda one: one["ModificationState"],
    "original-size": lambda one: one["OriginalSize"],
    "target-size": lambda one: one["TargetSize"],
}


@action("DescribeVolumesModifications", policy="volume:volumes:list",
        takes=("VolumeIds", "Filters", "MaxResults", "NextToken"))
def describe_modifications(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), FILTERS)
    rows = volumes.get_all({"project_id": call.project_id})
    wanted = call.params.get("VolumeIds")
    if wanted:
        rows = listing.chosen("vol", wanted, rows)
    shown = Views(rows)
    views = [view for row in rows if (view := _view(row, shown.one(row)["VolumeId"]))]
    if missing := set(wanted or ()) - {view["VolumeId"] for view in views}:
        raise Ec2Error("InvalidVolumeModification.NotFound",
                       f"Volume {min(missing)} was not modified.")
    met, after = listing.page([view for view in views if filters.met(view)], call.params,
                              lambda view: view["VolumeId"])
    return {"VolumesModifications": met, "NextToken": after}
