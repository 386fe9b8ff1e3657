# SPDX-License-Identifier: Apache-2.0
"""Instances looked at: DescribeInstances, DescribeInstanceStatus, GetConsoleOutput."""

import base64
import datetime
from collections.abc import Iterator, Sequence
from typing import Any

from nova import exception
from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import invalid
from nova.api.ec2.instances_view import FILTERS, RUNNING, TERMINATED, Views, state, state_of
from nova.db import actions
from nova.db import instances as rows_of
from nova.db.models import Instance, utcnow

AT_ONCE = 500
# How long a terminated instance is still shown to who asks for it by its id.
REMEMBERED = datetime.timedelta(hours=1)


def own(call: Call, ids: Sequence[str]) -> tuple[dict[str, Instance], list[str]]:
    """Return ``({EC2 id: row}, EC2 ids terminated lately)`` of instances of the caller's project.

    InvalidInstanceID.NotFound or .Malformed for any other.
    """
    uuids = listing.uuids_of("i", ids)
    found = rows_of.get_many(uuids.values())
    mine = {one: found[uuid] for one, uuid in uuids.items()
            if uuid in found and found[uuid].project_id == call.project_id}
    gone = [one for one, uuid in uuids.items()
            if uuid not in found and _terminated(uuid, call.project_id)]
    if missing := [one for one in uuids if one not in mine and one not in gone]:
        raise listing.not_found("i", missing)
    return mine, gone


def _terminated(uuid: str, project_id: str) -> bool:
    """Tell from the log of actions whether a project's instance was deleted lately."""
    return any(one.action == "delete" and one.started_at > utcnow() - REMEMBERED
               for one in actions.of_instance(uuid, project_id))


def one_of(call: Call, ec2_id: str) -> Instance:
    """Return one living instance of the caller's project."""
    mine, gone = own(call, [ec2_id])
    if gone:
        raise listing.not_found("i", gone)
    return mine[ec2_id]


def _key(row: Instance) -> str:
    return f"{row.created_at.isoformat(timespec='microseconds')}|{row.id}"


def _views(call: Call, rows: Sequence[Instance], after: str | None,
           ) -> Iterator[tuple[Instance, Views]]:
    left = sorted((row for row in rows if after is None or _key(row) > after), key=_key)
    for start in range(0, len(left), AT_ONCE):
        part = left[start:start + AT_ONCE]
        views = Views(call.project_id, part)
        for row in part:
            yield row, views


def _wanted(call: Call) -> tuple[list[Instance], list[str]]:
    """Return the rows a request is about, and the ids of those that are gone."""
    ids = call.params.get("InstanceIds")
    if ids:
        if "MaxResults" in call.params:
            raise invalid("MaxResults", call.params["MaxResults"], "Not along with ids.")
        mine, gone = own(call, ids)
        return list(mine.values()), gone
    return rows_of.get_all({"project_id": call.project_id}), []


@action("DescribeInstances", policy="compute:servers:list",
        takes=("InstanceIds", "Filters", "MaxResults", "NextToken"))
def describe_instances(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), {**FILTERS, **_BY_RESERVATION})
    limit, after = listing.limit_of(call.params), listing.decode_token(call.params)
    rows, gone = _wanted(call)
    found: dict[str, dict[str, Any]] = {}
    count, token, last = 0, None, None
    for row, views in _views(call, rows, after):
        view = views.one(row)
        if not filters.met({**view, "reservation": row.reservation_id,
                            "owner": row.project_id}):
            continue
        if limit is not None and count == limit and last is not None:
            token = listing.encode_token(_key(last))
            break
        reservation = found.setdefault(row.reservation_id, {
            "ReservationId": row.reservation_id, "OwnerId": row.project_id, "Groups": [],
            "Instances": []})
        reservation["Instances"].append(view)
        count, last = count + 1, row
    answer = list(found.values())
    if gone and not filters:
        answer.append({"OwnerId": call.project_id, "Groups": [], "Instances": [
            {"InstanceId": one, "State": state(TERMINATED)} for one in gone]})
    return {"Reservations": answer, "NextToken": token}


_BY_RESERVATION = {"reservation-id": lambda one: one["reservation"],
                   "owner-id": lambda one: one["owner"]}


@action("DescribeInstanceStatus", policy="compute:servers:list",
        takes=("InstanceIds", "Filters", "MaxResults", "NextToken", "IncludeAllInstances"))
def describe_status(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), {
        "instance-state-name": lambda one: one["InstanceState"]["Name"],
        "instance-state-code": lambda one: one["InstanceState"]["Code"],
        "availability-zone": lambda one: one["AvailabilityZone"],
        "instance-status.status": lambda one: one["InstanceStatus"]["Status"],
        "system-status.status": lambda one: one["SystemStatus"]["Status"]})
    every = call.params.get("IncludeAllInstances")
    rows, _gone = _wanted(call)
    found: list[tuple[str, dict[str, Any]]] = []
    for row, views in _views(call, rows, None):
        now = state_of(row)
        # What is known: the hypervisor runs it.  Nobody looks into the guest.
        word = "ok" if now == RUNNING else "not-applicable"
        view = {"InstanceId": views.id_of(row), "InstanceState": state(now),
                "AvailabilityZone": views.zone(row), "Events": [],
                "InstanceStatus": {"Status": word, "Details": []},
                "SystemStatus": {"Status": word, "Details": []}}
        if (every or now == RUNNING) and filters.met(view):
            found.append((_key(row), view))
    shown, token = listing.page(found, call.params, lambda one: one[0])
    return {"InstanceStatuses": [view for _, view in shown], "NextToken": token}


@action("GetConsoleOutput", policy="compute:servers:console_output",
        takes=("InstanceId", "Latest"))
def get_console_output(call: Call) -> dict[str, Any]:
    row = one_of(call, call.params["InstanceId"])
    try:
        text = call.compute.get_console_output(call.context, row.id)
    except exception.Conflict:      # nothing was printed yet: no host has it
        text = ""
    return {"InstanceId": call.params["InstanceId"], "Timestamp": utcnow(),
            "Output": base64.b64encode(text.encode()).decode("ascii")}
