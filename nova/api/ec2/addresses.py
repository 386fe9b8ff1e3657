# SPDX-License-Identifier: Apache-2.0
"""Floating addresses: Allocate-, Release-, Associate-, Disassociate- and DescribeAddress(es)."""

from typing import Any

from nova import exception, quota
from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import Ec2Error, invalid
from nova.api.ec2.instances import one_of
from nova.api.ec2.tagging import tags_for
from nova.db import ec2_ids, floating_ips, networks, ports
from nova.db.models import FloatingIp


def _one(call: Call, kind: str = "eipalloc", parameter: str = "AllocationId") -> FloatingIp:
    """Return the address of the caller's project that a request names, by id or as itself."""
    ec2_id, address = call.params.get(parameter), call.params.get("PublicIp")
    if bool(ec2_id) == bool(address):
        raise Ec2Error("MissingParameter", f"The request must contain one of {parameter} and "
                                           "PublicIp")
    if address:
        found = floating_ips.find(call.project_id, addresses=[address])
        if not found:
            raise Ec2Error("InvalidAddress.NotFound", f"Address {ascii(address[:64])} not found.")
        return found[0]
    assert ec2_id is not None
    uuid = listing.uuids_of(kind, [ec2_id])[ec2_id]
    try:
        return floating_ips.get(uuid, call.project_id)
    except exception.FloatingIpNotFound:
        raise listing.not_found(kind, [ec2_id]) from None


@action("AllocateAddress", policy="network:floatingips:create",
        takes=("Domain", "TagSpecifications"))
def allocate_address(call: Call) -> dict[str, Any]:
    if call.params.get("Domain", "vpc") not in ("vpc", "standard"):
        raise invalid("Domain", call.params["Domain"])
    tags = tags_for(call.params, "elastic-ip")
    for pool in networks.find(call.project_id, external=True):
        try:
            row = floating_ips.allocate(pool.id, call.project_id, guard=quota.guard(
                call.project_id, {"floating_ips": 1}), tags=tags)
        except exception.NoMoreAddresses:
            continue
        return {"PublicIp": row.address, "AllocationId": ec2_ids.id_of("eipalloc", row.id),
                "Domain": "vpc"}
    raise Ec2Error("InsufficientAddressCapacity", "No more addresses in any pool.")


@action("ReleaseAddress", policy="network:floatingips:delete", takes=("AllocationId", "PublicIp"))
def release_address(call: Call) -> None:
    row = _one(call)
    if row.port_id:
        raise Ec2Error("InvalidIPAddress.InUse", f"Address {row.address} is in use.")
    call.compute.network.release_floating(call.context, row)


@action("AssociateAddress", policy="network:floatingips:update", takes=(
    "AllocationId", "PublicIp", "InstanceId", "PrivateIpAddress", "AllowReassociation"))
def associate_address(call: Call) -> dict[str, Any]:
    row = _one(call)
    if not call.params.get("InstanceId"):
        raise Ec2Error("MissingParameter", "The request must contain the parameter InstanceId")
    server = one_of(call, call.params["InstanceId"])
    wanted = call.params.get("PrivateIpAddress")
    for view in ports.find(call.project_id, device_ids=[server.id]):
        fixed = [one.address for one in view.addresses if ":" not in one.address]
        if fixed and wanted in (None, *fixed):
            break
    else:
        raise Ec2Error("InvalidParameterValue" if wanted else "IncorrectInstanceState",
                       "The instance has no such private address (yet).")
    taken = Ec2Error("Resource.AlreadyAssociated", "The address or the instance's private "
                                                   "address is already associated.")
    if row.port_id not in (None, view.port.id) and not call.params.get("AllowReassociation"):
        raise taken
    try:
        call.compute.network.set_floating_port(call.context, row, view.port.id)
    except exception.Conflict:
        raise taken from None
    return {"AssociationId": ec2_ids.id_of("eipassoc", row.id)}


@action("DisassociateAddress", policy="network:floatingips:update",
        takes=("AssociationId", "PublicIp"))
def disassociate_address(call: Call) -> None:
    row = _one(call, "eipassoc", "AssociationId")
    if row.port_id is None:
        if call.params.get("AssociationId"):
            raise listing.not_found("eipassoc", [call.params["AssociationId"]])
        return
    call.compute.network.set_floating_port(call.context, row, None)


@action("DescribeAddresses", policy="network:floatingips:list",
        takes=("PublicIps", "AllocationIds", "Filters"))
def describe_addresses(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), {
        "public-ip": lambda one: one["PublicIp"],
        "allocation-id": lambda one: one["AllocationId"], "domain": lambda one: one["Domain"],
        "association-id": lambda one: one.get("AssociationId"),
        "instance-id": lambda one: one.get("InstanceId"),
        "private-ip-address": lambda one: one.get("PrivateIpAddress"),
        "network-interface-id": lambda one: one.get("NetworkInterfaceId"),
        "tags": lambda one: {tag["Key"]: tag["Value"] for tag in one["Tags"]}})
    rows = floating_ips.find(call.project_id)
    if call.params.get("AllocationIds"):
        uuids = listing.uuids_of("eipalloc", call.params["AllocationIds"])
        known = {row.id for row in rows}
        if missing := [one for one, uuid in uuids.items() if uuid not in known]:
            raise listing.not_found("eipalloc", missing)
        rows = [row for row in rows if row.id in uuids.values()]
    if wanted := call.params.get("PublicIps"):
        known = {row.address for row in rows}
        if missing := [one for one in wanted if one not in known]:
            raise Ec2Error("InvalidAddress.NotFound",
                           f"Address {ascii(missing[0][:64])} not found.")
        rows = [row for row in rows if row.address in wanted]
    return {"Addresses": [view for view in _views(call, rows) if filters.met(view)]}


def _views(call: Call, rows: list[FloatingIp]) -> list[dict[str, Any]]:
    held = {view.port.id: view for view in ports.find(
        call.project_id, ids=[row.port_id for row in rows if row.port_id])}
    ids = ec2_ids.ids_of("eipalloc", [row.id for row in rows])
    found = []
    for row in rows:
        view: dict[str, Any] = {"PublicIp": row.address, "AllocationId": ids[row.id],
                                "Domain": "vpc", "Tags": listing.tag_list(row.tags or {})}
        port = held.get(row.port_id or "")
        if port is not None:
            view |= {
                "AssociationId": ec2_ids.id_of("eipassoc", row.id),
                "NetworkInterfaceId": ec2_ids.id_of("eni", port.port.id),
                "NetworkInterfaceOwnerId": call.project_id,
                "PrivateIpAddress": next((one.address for one in port.addresses
                                          if ":" not in one.address), None)}
            if port.port.device_id and port.port.device_owner.startswith(ports.DEVICE_OWNER):
                view["InstanceId"] = ec2_ids.id_of("i", port.port.device_id)
        found.append(view)
    return found
