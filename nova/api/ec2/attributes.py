# SPDX-License-Identifier: Apache-2.0
"""One attribute of an instance: DescribeInstanceAttribute and ModifyInstanceAttribute."""

from collections.abc import Callable, Mapping
from typing import Any

from nova import exception, policy
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import Ec2Error, invalid, unsupported
from nova.api.ec2.instances import one_of
from nova.api.ec2.instances_view import Views
from nova.api.ec2.lifecycle import groups_named
from nova.db import instances as rows_of
from nova.db import ports, volume_attachments
from nova.db.models import Instance

# What cannot be changed here is what it is for every instance.
_FIXED: dict[str, Any] = {
    "InstanceInitiatedShutdownBehavior": "stop", "DisableApiTermination": False,
    "DisableApiStop": False, "SourceDestCheck": True, "EbsOptimized": False}
_SHOWN: dict[str, Callable[[Instance, Mapping[str, Any]], dict[str, Any]]] = {
    "instanceType": lambda row, _: {"InstanceType": {"Value": row.flavor_name}},
    "userData": lambda row, _: {
        "UserData": {"Value": row.user_data} if row.user_data else {}},
    "groupSet": lambda _, view: {"Groups": view["SecurityGroups"]},
    "rootDeviceName": lambda _, view: {"RootDeviceName": {"Value": view["RootDeviceName"]}},
    "kernel": lambda _, view: {"KernelId": {"Value": view["KernelId"]}},
    "ramdisk": lambda _, view: {"RamdiskId": {"Value": view["RamdiskId"]}},
    "blockDeviceMapping":
        lambda _, view: {"BlockDeviceMappings": view["BlockDeviceMappings"]},
    "productCodes": lambda _, view: {"ProductCodes": view["ProductCodes"]},
}
_SHOWN_FIXED = {name[0].lower() + name[1:]: {name: {"Value": value}}
                for name, value in _FIXED.items()}


@action("DescribeInstanceAttribute", policy="compute:servers:show",
        takes=("InstanceId", "Attribute"))
def describe_attribute(call: Call) -> dict[str, Any]:
    row, wanted = one_of(call, call.params["InstanceId"]), call.params["Attribute"]
    found: dict[str, Any] = {"InstanceId": call.params["InstanceId"]}
    if wanted in _SHOWN_FIXED:
        return {**found, **_SHOWN_FIXED[wanted]}
    if wanted not in _SHOWN:
        raise unsupported(f"The attribute {ascii(wanted[:64])}")
    view = Views(call.project_id, [row]).one(row)
    if wanted == "userData":        # lists do without this column
        row = rows_of.get(row.id)
    return {**found, **_SHOWN[wanted](row, view)}


@action("ModifyInstanceAttribute", policy="compute:servers:update",
        takes=("InstanceId", "Groups", "BlockDeviceMappings", *_FIXED))
def modify_attribute(call: Call) -> None:
    row = one_of(call, call.params["InstanceId"])
    wanted = {name: call.params[name] for name in call.params.keys() - {"InstanceId", "DryRun"}}
    if len(wanted) != 1:
        raise Ec2Error("InvalidParameterCombination" if wanted else "MissingParameter",
                       "The request must contain one attribute, and one alone")
    [(name, value)] = wanted.items()
    if name == "Groups":
        _set_groups(call, row, value)
    elif name == "BlockDeviceMappings":
        _set_mappings(call, row, value)
    elif (value or {}).get("Value") != _FIXED[name]:
        raise unsupported(f"Another {name} than {str(_FIXED[name]).lower()}")


def _set_groups(call: Call, row: Instance, ids: list[str]) -> None:
    """Have an instance be in just these groups; it has to have a port by now."""
    policy.authorize(call.context, "compute:servers:security_groups")
    if not ids:
        raise invalid("GroupId", "", "An instance is in one group at least.")
    wanted = set(groups_named(call, ids, []))
    views = ports.find(call.project_id, device_ids=[row.id])
    if not views:
        raise Ec2Error("IncorrectInstanceState", "The instance has no network interface yet.")
    now = {group for view in views for group in view.group_ids}
    for group in sorted(wanted):
        if not all(group in view.group_ids for view in views):
            call.compute.add_security_group(call.context, row.id, group)
    for group in sorted(now - wanted):
        try:
            call.compute.remove_security_group(call.context, row.id, group)
        except exception.SecurityGroupNotFound:     # taken out meanwhile
            pass


def _set_mappings(call: Call, row: Instance, mappings: list[Mapping[str, Any]]) -> None:
    """Say which of an instance's volumes go with it."""
    policy.authorize(call.context, "compute:volume_attachments:create")
    held = {f"/dev/{one.device}": one for one in volume_attachments.get_of_instance(row.id)}
    changes = []
    for one in mappings:
        ebs = one.get("Ebs") or {}
        if any(one.get(name) is not None for name in ("VirtualName", "NoDevice")) \
                or "DeleteOnTermination" not in ebs or len(ebs) > 1:
            raise unsupported("A change of a mapping other than Ebs.DeleteOnTermination")
        if one.get("DeviceName") not in held:
            raise Ec2Error("InvalidInstanceAttributeValue",
                           f"No volume is at {ascii(str(one.get('DeviceName'))[:64])}")
        changes.append((held[one["DeviceName"]].id, ebs["DeleteOnTermination"]))
    for attachment_id, value in changes:
        volume_attachments.set_delete_on_termination(attachment_id, value)
