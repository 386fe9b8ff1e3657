# SPDX-License-Identifier: Apache-2.0
"""Flavors, by their names: DescribeInstanceTypes, DescribeInstanceTypeOfferings."""

from typing import Any

from oslo_config import cfg

from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import Ec2Error, unsupported
from nova.db import flavors, services
from nova.db.models import Flavor

CONF = cfg.CONF


def _view(flavor: Flavor) -> dict[str, Any]:
    return {
        "InstanceType": flavor.name, "CurrentGeneration": True, "FreeTierEligible": False,
        "BareMetal": False, "InstanceStorageSupported": True,
        "VCpuInfo": {"DefaultVCpus": flavor.vcpus},
        "MemoryInfo": {"SizeInMiB": flavor.memory_mb},
        "InstanceStorageInfo": {"TotalSizeInGB": flavor.root_gb + flavor.ephemeral_gb},
        "SupportedRootDeviceTypes": ["instance-store"],
        "SupportedVirtualizationTypes": ["hvm"], "SupportedUsageClasses": ["on-demand"]}


FILTERS = {
    "instance-type": lambda one: one["InstanceType"],
    "vcpu-info.default-vcpus": lambda one: one["VCpuInfo"]["DefaultVCpus"],
    "memory-info.size-in-mib": lambda one: one["MemoryInfo"]["SizeInMiB"],
}


@action("DescribeInstanceTypes", policy="compute:flavors:list",
        takes=("InstanceTypes", "Filters", "MaxResults", "NextToken"))
def describe_types(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), FILTERS)
    found = {flavor.name: flavor for flavor in flavors.get_all(project_id=call.project_id)
             if not flavor.disabled}
    wanted = call.params.get("InstanceTypes") or list(found)
    if missing := [one for one in wanted if one not in found]:
        raise Ec2Error("InvalidInstanceType", "The following supplied instance types do not "
                                              f"exist: [{ascii(missing[0][:255])}]")
    views = [view for view in (_view(found[one]) for one in dict.fromkeys(wanted))
             if filters.met(view)]
    shown, token = listing.page(views, call.params, lambda one: one["InstanceType"])
    return {"InstanceTypes": shown, "NextToken": token}


@action("DescribeInstanceTypeOfferings", policy="compute:flavors:list",
        takes=("LocationType", "Filters", "MaxResults", "NextToken"))
def describe_offerings(call: Call) -> dict[str, Any]:
    """Every type is offered in every zone: what a host has room for, its scheduler finds out."""
    kind = call.params.get("LocationType") or "region"
    if kind == "region":
        places = [CONF.ec2.region_name]
    elif kind == "availability-zone":
        places = sorted({row.availability_zone for row in services.get_all(topic="compute")})
    else:
        raise unsupported(f"The location type {ascii(kind[:64])}")
    filters = listing.Filters(call.params.get("Filters"), {
        "instance-type": lambda one: one["InstanceType"],
        "location": lambda one: one["Location"]})
    views = [{"InstanceType": flavor.name, "LocationType": kind, "Location": place}
             for flavor in flavors.get_all(project_id=call.project_id) if not flavor.disabled
             for place in places]
    shown, token = listing.page([one for one in views if filters.met(one)], call.params,
                                lambda one: f"{one['InstanceType']}|{one['Location']}")
    return {"InstanceTypeOfferings": shown, "NextToken": token}
