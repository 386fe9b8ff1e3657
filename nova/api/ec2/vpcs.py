# SPDX-License-Identifier: Apache-2.0
"""Networks as EC2 sees them: DescribeVpcs and DescribeSubnets.

A network is a VPC with one subnet; pools of public addresses are neither.
"""

from ipaddress import ip_network
from typing import Any

from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.db import ec2_ids, networks
from nova.db.models import Network


def _own(call: Call) -> list[Network]:
    return networks.find(call.project_id, external=False)


def _owner(call: Call, row: Network) -> str:
    return row.project_id or ""


def _chosen(kind: str, views: list[dict[str, Any]], name: str, call: Call, wanted: list[str] | None,
            filters: listing.Filters) -> tuple[list[dict[str, Any]], str | None]:
    known = {view[name] for view in views}
    if missing := [one for one in wanted or () if one not in known]:
        raise listing.not_found(kind, missing)
    return listing.page([view for view in views
                         if (not wanted or view[name] in wanted) and filters.met(view)],
                        call.params, lambda one: one[name])


@action("DescribeVpcs", policy="network:networks:list",
        takes=("VpcIds", "Filters", "MaxResults", "NextToken"))
def describe_vpcs(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), {
        "vpc-id": lambda one: one["VpcId"], "cidr": lambda one: one["CidrBlock"],
        "state": lambda one: one["State"], "is-default": lambda one: one["IsDefault"],
        "isDefault": lambda one: one["IsDefault"], "owner-id": lambda one: one["OwnerId"],
        "tags": lambda one: {tag["Key"]: tag["Value"] for tag in one["Tags"]}})
    rows = _own(call)
    ids = ec2_ids.ids_of("vpc", [row.id for row in rows])
    default = [row.id for row in networks.owned(call.project_id)]
    shown, token = _chosen("vpc", [{
        "VpcId": ids[row.id], "CidrBlock": row.cidr, "State": "available",
        "OwnerId": _owner(call, row), "InstanceTenancy": "default",
        "IsDefault": default == [row.id], "Tags": listing.tag_list({"Name": row.name}),
    } for row in rows], "VpcId", call, call.params.get("VpcIds"), filters)
    return {"Vpcs": shown, "NextToken": token}


@action("DescribeSubnets", policy="network:subnets:list",
        takes=("SubnetIds", "Filters", "MaxResults", "NextToken"))
def describe_subnets(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), {
        "subnet-id": lambda one: one["SubnetId"], "vpc-id": lambda one: one["VpcId"],
        "cidr-block": lambda one: one["CidrBlock"], "cidr": lambda one: one["CidrBlock"],
        "state": lambda one: one["State"], "owner-id": lambda one: one["OwnerId"],
        "tags": lambda one: {tag["Key"]: tag["Value"] for tag in one["Tags"]}})
    rows = [row for row in _own(call) if row.cidr]      # a network may have no subnet yet
    vpcs = ec2_ids.ids_of("vpc", [row.id for row in rows])
    ids = ec2_ids.ids_of("subnet", [row.subnet_id for row in rows])
    taken = networks.availability([row.id for row in rows])
    shown, token = _chosen("subnet", [{
        "SubnetId": ids[row.subnet_id], "VpcId": vpcs[row.id], "CidrBlock": row.cidr,
        "State": "available", "OwnerId": _owner(call, row), "MapPublicIpOnLaunch": False,
        "AvailableIpAddressCount": _free(row, taken), "AssignIpv6AddressOnCreation": False,
        "Tags": listing.tag_list({"Name": row.subnet_name or row.name}),
    } for row in rows], "SubnetId", call, call.params.get("SubnetIds"), filters)
    return {"Subnets": shown, "NextToken": token}


def _free(row: Network, taken: dict[str, tuple[int, int]]) -> int:
    total, used = taken.get(row.id, (ip_network(row.cidr).num_addresses, 0))
    return max(0, total - used)
