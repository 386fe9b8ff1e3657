# SPDX-License-Identifier: Apache-2.0
"""Ports as EC2 sees them: DescribeNetworkInterfaces, and the one a RunInstances may describe."""

from collections.abc import Mapping, Sequence
from typing import Any

from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import Ec2Error, unsupported
from nova.db import ec2_ids, instances, ports, security_groups, services
from nova.db.ports import DEVICE_OWNER, PortView

_ASKED = frozenset({"DeviceIndex", "SubnetId", "Groups", "PrivateIpAddress",
                    "DeleteOnTermination", "AssociatePublicIpAddress"})


def flattened(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return RunInstances' parameters with a ``NetworkInterfaces`` of one said without it.

    What differs is refused by name: several, one that is there already, a public address at once.
    """
    asked = params.get("NetworkInterfaces")
    if not asked:
        return params
    for name in ("SubnetId", "SecurityGroupIds", "SecurityGroups", "PrivateIpAddress"):
        if params.get(name):
            raise Ec2Error("InvalidParameterCombination",
                           f"NetworkInterfaces and {name} are not to be given both.")
    [one, *more] = asked
    strange = sorted(one.keys() - _ASKED)
    if more or strange or one.get("DeviceIndex", 0) != 0:
        raise unsupported(f"NetworkInterface.1.{strange[0]}" if strange else
                          "More than one network interface, or a DeviceIndex other than 0")
    if one.get("AssociatePublicIpAddress") or not one.get("DeleteOnTermination", True):
        raise unsupported("A network interface with a public address from the start, or one that "
                          "stays")
    rest = {name: value for name, value in params.items() if name != "NetworkInterfaces"}
    return {**rest, **{name: one[key] for name, key in (
        ("SubnetId", "SubnetId"), ("SecurityGroupIds", "Groups"),
        ("PrivateIpAddress", "PrivateIpAddress")) if one.get(key)}}


def _views(call: Call, found: Sequence[PortView]) -> list[dict[str, Any]]:
    groups = {view.group.id: view.group.name for view in security_groups.find(call.project_id)}
    of_servers = [str(view.port.device_id) for view in found if _is_of_server(view)]
    servers = instances.get_many(of_servers)
    zones = services.zones_of({row.host for row in servers.values() if row.host})
    ids = {kind: ec2_ids.ids_of(kind, wanted) for kind, wanted in (
        ("eni", [view.port.id for view in found]), ("sg", list(groups)),
        ("i", list(servers)), ("vpc", [view.network.id for view in found]),
        ("subnet", [view.network.subnet_id for view in found]),
        ("eipalloc", [one.id for view in found for one in view.floating]),
        ("eipassoc", [one.id for view in found for one in view.floating]))}
    return [_view(view, ids, groups, servers, zones) for view in found]


def _is_of_server(view: PortView) -> bool:
    return bool(view.port.device_id) and view.port.device_owner.startswith(DEVICE_OWNER)


def _view(view: PortView, ids: Mapping[str, Mapping[str, str]], groups: Mapping[str, str],
          servers: Mapping[str, Any], zones: Mapping[str, str]) -> dict[str, Any]:
    port = view.port
    fixed = [one.address for one in view.addresses if ":" not in one.address]
    found: dict[str, Any] = {
        "NetworkInterfaceId": ids["eni"][port.id], "OwnerId": port.project_id,
        "SubnetId": ids["subnet"][view.network.subnet_id],
        "VpcId": ids["vpc"][view.network.id], "MacAddress": port.mac, "Description": port.name,
        "InterfaceType": "interface", "RequesterManaged": False, "SourceDestCheck": True,
        "Status": "in-use" if port.device_id else "available",
        "PrivateIpAddress": fixed[0] if fixed else None, "TagSet": [],
        "PrivateIpAddresses": [{"PrivateIpAddress": one, "Primary": number == 0}
                               for number, one in enumerate(fixed)],
        "Ipv6Addresses": [{"Ipv6Address": one.address} for one in view.addresses
                          if ":" in one.address],
        "Groups": [{"GroupId": ids["sg"][one], "GroupName": groups[one]}
                   for one in sorted(set(view.group_ids) & groups.keys(), key=groups.__getitem__)]}
    if view.floating:
        one = view.floating[0]
        found["Association"] = {
            "PublicIp": one.address, "PublicDnsName": "", "IpOwnerId": port.project_id,
            "AllocationId": ids["eipalloc"][one.id], "AssociationId": ids["eipassoc"][one.id]}
    server = servers.get(port.device_id or "") if _is_of_server(view) else None
    if server is not None:
        found["AvailabilityZone"] = zones.get(server.host or "") or server.availability_zone or ""
        found["Attachment"] = {"InstanceId": ids["i"][server.id],
                               "InstanceOwnerId": server.project_id, **attachment_of(view)}
    return found


def attachment_of(view: PortView) -> dict[str, Any]:
    """Return how a port is a server's."""
    return {"DeviceIndex": view.port.device_index, "Status": "attached",
            "AttachTime": view.port.created_at,
            "DeleteOnTermination": view.port.owned_by_instance}


FILTERS: Mapping[str, Any] = {
    "network-interface-id": lambda one: one["NetworkInterfaceId"],
    "subnet-id": lambda one: one["SubnetId"], "vpc-id": lambda one: one["VpcId"],
    "mac-address": lambda one: one["MacAddress"], "status": lambda one: one["Status"],
    "owner-id": lambda one: one["OwnerId"], "description": lambda one: one["Description"],
    "private-ip-address": lambda one: one["PrivateIpAddress"],
    "addresses.private-ip-address":
        lambda one: [it["PrivateIpAddress"] for it in one["PrivateIpAddresses"]],
    "availability-zone": lambda one: one.get("AvailabilityZone"),
    "group-id": lambda one: [it["GroupId"] for it in one["Groups"]],
    "group-name": lambda one: [it["GroupName"] for it in one["Groups"]],
    "attachment.instance-id": lambda one: one.get("Attachment", {}).get("InstanceId"),
    "attachment.device-index": lambda one: one.get("Attachment", {}).get("DeviceIndex"),
    "attachment.status": lambda one: one.get("Attachment", {}).get("Status"),
    "association.public-ip": lambda one: one.get("Association", {}).get("PublicIp"),
    "association.allocation-id": lambda one: one.get("Association", {}).get("AllocationId"),
    "association.association-id": lambda one: one.get("Association", {}).get("AssociationId"),
}


@action("DescribeNetworkInterfaces", policy="network:ports:list",
        takes=("NetworkInterfaceIds", "Filters", "MaxResults", "NextToken"))
def describe_interfaces(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), FILTERS)
    found = ports.find(call.project_id)
    if wanted := call.params.get("NetworkInterfaceIds"):
        rows = listing.chosen("eni", wanted, [view.port for view in found])
        found = [view for view in found if view.port.id in {row.id for row in rows}]
    met = [view for view in _views(call, found) if filters.met(view)]
    shown, token = listing.page(met, call.params, lambda one: one["NetworkInterfaceId"])
    return {"NetworkInterfaces": shown, "NextToken": token}
