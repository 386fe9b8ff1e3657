# SPDX-License-Identifier: Apache-2.0
"""Instances made and moved: Run-, Start-, Stop-, Reboot- and TerminateInstances."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from nova import exception
from nova.api.ec2 import block_devices, listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import Ec2Error, invalid, unsupported
from nova.api.ec2.instances import own
from nova.api.ec2.instances_view import RUNNING, STOPPED, TERMINATED, Views, state, state_of
from nova.api.ec2.interfaces import flattened
from nova.api.ec2.tagging import tags_for
from nova.compute.boot import BootRequest
from nova.db import ec2_ids, flavors, networks, security_groups
from nova.db import instances as rows_of
from nova.db.models import Instance

DEFAULT_TYPE = "m1.small"
MAX_AT_ONCE = 1000
MAX_USER_DATA = 16384
MAX_TOKEN = 64


def _image(kind: str, ec2_id: str | None) -> str | None:
    return listing.uuids_of(kind, [ec2_id])[ec2_id] if ec2_id else None


def type_named(call: Call, name: str) -> str:
    """Return the flavor's id of an instance type that the caller may use."""
    for flavor in flavors.get_all(project_id=call.project_id):
        if flavor.name == name and not flavor.disabled:
            return flavor.flavorid
    raise invalid("InstanceType", name)


def groups_named(call: Call, ids: list[str], names: list[str]) -> tuple[str, ...]:
    """Return the UUIDs of groups of the caller's project."""
    uuids = listing.uuids_of("sg", ids)
    own_groups = security_groups.find(call.project_id)
    known = {view.group.id for view in own_groups}
    if missing := [one for one, uuid in uuids.items() if uuid not in known]:
        raise listing.not_found("sg", missing)
    found = [*uuids.values()]
    for name in names:
        fit = [view.group.id for view in own_groups if view.group.name == name]
        if not fit:
            raise Ec2Error("InvalidGroup.NotFound",
                           f"The security group {ascii(name[:255])} does not exist")
        found.append(fit[0])
    return tuple(dict.fromkeys(found))


def _user_data(text: str | None) -> str | None:
    if not text:
        return None
    text = re.sub(r"\s", "", text)
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Ec2Error("InvalidUserData.Malformed", "UserData is not base64.") from None
    if len(raw) > MAX_USER_DATA:
        raise invalid("UserData", f"{len(raw)} bytes", f"At most {MAX_USER_DATA} are taken.")
    return text


def _zone(params: Mapping[str, Any]) -> str | None:
    placement = dict(params.get("Placement") or {})
    zone = placement.pop("AvailabilityZone", None)
    if placement.pop("Tenancy", "default") != "default" or any(placement.values()):
        raise unsupported("Placement other than AvailabilityZone")
    return zone or None


def _refuse_wishes(params: Mapping[str, Any]) -> None:
    """Refuse what AWS can do and we cannot, when it is asked for."""
    for name in ("EbsOptimized", "DisableApiTermination"):
        if params.get(name):
            raise unsupported(name)
    if (params.get("Monitoring") or {}).get("Enabled"):
        raise unsupported("Monitoring")
    if params.get("InstanceInitiatedShutdownBehavior", "stop") != "stop":
        raise unsupported("InstanceInitiatedShutdownBehavior other than stop")


def _network(call: Call, params: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    if not params.get("SubnetId"):
        if params.get("PrivateIpAddress"):
            raise Ec2Error("MissingParameter", "PrivateIpAddress needs a SubnetId.")
        return None
    uuid = listing.uuids_of("subnet", [params["SubnetId"]])[params["SubnetId"]]
    try:
        wanted = {"uuid": networks.get_by_subnet(uuid, call.project_id).id}
    except exception.NotFound:
        raise listing.not_found("subnet", [params["SubnetId"]]) from None
    if params.get("PrivateIpAddress"):
        wanted["fixed_ip"] = params["PrivateIpAddress"]
    return [wanted]


def _boot_request(call: Call) -> BootRequest:
    params = flattened(call.params)
    minimum, maximum = params["MinCount"], params["MaxCount"]
    if not 1 <= minimum <= maximum <= MAX_AT_ONCE:
        raise invalid("MinCount", minimum, f"1 <= MinCount <= MaxCount <= {MAX_AT_ONCE}.")
    if not params.get("ImageId"):
        raise Ec2Error("MissingParameter", "The request must contain the parameter ImageId")
    _refuse_wishes(params)
    tags = tags_for(params, "instance", "volume")
    image_id, volumes = block_devices.asked_for(call, str(_image("ami", params["ImageId"])))
    return BootRequest(
        name=tags.pop("Name", "") or "instance", min_count=minimum, max_count=maximum,
        flavor_id=type_named(call, params.get("InstanceType") or DEFAULT_TYPE),
        image_id=image_id, block_devices=volumes,
        kernel_id=_image("aki", params.get("KernelId")),
        ramdisk_id=_image("ari", params.get("RamdiskId")),
        key_name=params.get("KeyName") or None, networks=_network(call, params),
        security_groups=groups_named(call, params.get("SecurityGroupIds") or [],
                                     params.get("SecurityGroups") or []),
        user_data=_user_data(params.get("UserData")), metadata=tags,
        availability_zone=_zone(params))


def _reservation(call: Call) -> tuple[str, str] | None:
    """Return (what stands for the token, what stands for the rest) of an idempotent request."""
    token = call.params.get("ClientToken")
    if not token:
        return None
    if len(token) > MAX_TOKEN or not token.isascii():
        raise invalid("ClientToken", token, f"At most {MAX_TOKEN} ASCII characters.")
    rest = {name: value for name, value in call.params.items() if name != "ClientToken"}
    return (hashlib.sha256(f"{call.project_id}\n{token}".encode()).hexdigest()[:15],
            hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:15])


def _made_before(call: Call, token: str, rest: str) -> list[Instance]:
    """Return what the same request has made already.

    A reservation's id is made of the token and of all else that was asked for, so the instances
    themselves remember both, for as long as one of them is there.
    """
    found = ec2_ids.reservation(call.project_id, f"r-{token}")
    if found and found[0].reservation_id != f"r-{token}{rest}":
        raise Ec2Error("IdempotentParameterMismatch",
                       "The ClientToken was used before with other parameters.")
    return found


@action("RunInstances", policy="compute:servers:create", takes=(
    "ImageId", "MinCount", "MaxCount", "InstanceType", "KeyName", "UserData", "SecurityGroupIds",
    "SecurityGroups", "Placement", "KernelId", "RamdiskId", "ClientToken", "TagSpecifications",
    "SubnetId", "PrivateIpAddress", "Monitoring", "EbsOptimized", "DisableApiTermination",
    "BlockDeviceMappings", "InstanceInitiatedShutdownBehavior", "NetworkInterfaces"))
def run_instances(call: Call) -> dict[str, Any]:
    token = _reservation(call)
    made = _made_before(call, *token) if token else []
    if not made:
        request = _boot_request(call)
        try:
            made = call.compute.create(call.context, request, reservation_id=(
                f"r-{token[0]}{token[1]}" if token else None))
        except exception.AlreadyExists:     # the same request was faster
            made = _made_before(call, *token) if token else []
            if not made:
                raise
        except exception.BadRequest as error:
            raise _named(error) from None
    views = Views(call.project_id, made)
    return {"ReservationId": made[0].reservation_id, "OwnerId": call.project_id, "Groups": [],
            "Instances": [views.one(row) for row in made]}


_FIELDS = {"imageRef": "InvalidAMIID.NotFound", "key_name": "InvalidKeyPair.NotFound",
           "kernel_id": "InvalidAMIID.NotFound", "ramdisk_id": "InvalidAMIID.NotFound"}


def _named(error: exception.BadRequest) -> Ec2Error:
    """Return AWS's code for what a boot refers to and does not find."""
    field, _, rest = str(error).partition(": ")
    if field in _FIELDS and "not active" not in rest:
        return Ec2Error(_FIELDS[field], rest)
    return Ec2Error("InvalidParameterValue", str(error))


# ---------------------------------------------------------------- state changes

def _change(call: Call, already: tuple[int, str] | None,
            do: Callable[[Instance], None]) -> list[dict[str, Any]]:
    """Do something to all instances of a request, after all of them were found."""
    mine, gone = own(call, call.params["InstanceIds"])
    if gone and already != TERMINATED:
        raise listing.not_found("i", gone)
    before = {one: state_of(row) for one, row in mine.items()}
    for one, row in mine.items():
        if before[one] != already:
            do(row)
    after = rows_of.get_many([row.id for row in mine.values()])
    changes = [{"InstanceId": one, "PreviousState": state(before[one]),
                "CurrentState": state(state_of(after[row.id]) if row.id in after
                                      else TERMINATED)} for one, row in mine.items()]
    return changes + [{"InstanceId": one, "PreviousState": state(TERMINATED),
                       "CurrentState": state(TERMINATED)} for one in gone]


@action("StartInstances", policy="compute:servers:start", takes=("InstanceIds",))
def start_instances(call: Call) -> dict[str, Any]:
    return {"StartingInstances": _change(
        call, RUNNING, lambda row: call.compute.start(call.context, row.id))}


@action("StopInstances", policy="compute:servers:stop", takes=("InstanceIds", "Force"))
def stop_instances(call: Call) -> dict[str, Any]:
    return {"StoppingInstances": _change(
        call, STOPPED, lambda row: call.compute.stop(call.context, row.id))}


@action("RebootInstances", policy="compute:servers:reboot", takes=("InstanceIds",))
def reboot_instances(call: Call) -> None:
    _change(call, None, lambda row: call.compute.reboot(call.context, row.id, hard=False))


@action("TerminateInstances", policy="compute:servers:delete", takes=("InstanceIds",))
def terminate_instances(call: Call) -> dict[str, Any]:
    def terminate(row: Instance) -> None:
        call.compute.delete(call.context, row.id)
    mine, _gone = own(call, call.params["InstanceIds"])
    failed = any(state_of(row) == TERMINATED for row in mine.values())
    # A build that failed shows as terminated and still has a row to remove.
    if failed:
        for row in mine.values():
            if state_of(row) == TERMINATED:
                terminate(row)
    return {"TerminatingInstances": _change(call, TERMINATED, terminate)}
