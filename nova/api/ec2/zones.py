# SPDX-License-Identifier: Apache-2.0
"""Where there are computers: DescribeAvailabilityZones and DescribeRegions."""

from typing import Any

from oslo_config import cfg

from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import Ec2Error
from nova.db import services

CONF = cfg.CONF
CONF.import_opt("service_down_time", "nova.config")


def _only(views: list[dict[str, Any]], name: str, wanted: list[str] | None,
          filters: listing.Filters) -> list[dict[str, Any]]:
    known = {view[name] for view in views}
    for one in wanted or ():
        if one not in known:
            raise Ec2Error("InvalidParameterValue", f"Invalid {name}: {ascii(one[:64])}")
    return [view for view in views
            if (not wanted or view[name] in wanted) and filters.met(view)]


@action("DescribeAvailabilityZones", policy="compute:availability_zones:list",
        takes=("ZoneNames", "Filters", "AllAvailabilityZones"))
def describe_zones(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), {
        "zone-name": lambda one: one["ZoneName"], "state": lambda one: one["State"],
        "region-name": lambda one: one["RegionName"]})
    up: dict[str, bool] = {}
    for row in services.get_all(topic="compute"):
        alive = not row.disabled and services.is_up(row, CONF.service_down_time)
        up[row.availability_zone] = up.get(row.availability_zone, False) or alive
    return {"AvailabilityZones": _only([
        {"ZoneName": zone, "State": "available" if alive else "unavailable",
         "RegionName": CONF.ec2.region_name, "Messages": [], "ZoneType": "availability-zone"}
        for zone, alive in sorted(up.items())], "ZoneName", call.params.get("ZoneNames"), filters)}


@action("DescribeRegions", policy="compute:availability_zones:list",
        takes=("RegionNames", "Filters", "AllRegions"))
def describe_regions(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), {
        "region-name": lambda one: one["RegionName"], "endpoint": lambda one: one["Endpoint"]})
    return {"Regions": _only([
        {"RegionName": CONF.ec2.region_name, "Endpoint": call.endpoint,
         "OptInStatus": "opt-in-not-required"}],
        "RegionName", call.params.get("RegionNames"), filters)}
