# SPDX-License-Identifier: Apache-2.0
"""Daemons, zones and pools, for those who run the cloud."""

from typing import Any

from oslo_config import cfg

from nova import exception
from nova.api.openstack.compute.links import micros
from nova.api.openstack.validation import Schema, as_bool, obj, string
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import services, volume_hosts
from nova.db.models import Service

CONF = cfg.CONF
CONF.import_opt("service_down_time", "nova.config")
_HOST = {"host": string(255, 1), "binary": string(255, 1)}
SWITCH = Schema(obj(_HOST, ("host", "binary")))
SWITCH_WITH_REASON = Schema(obj({
    **_HOST, "disabled_reason": string(255, 1, format="stripped-name")},
    ("host", "binary", "disabled_reason")))
TOPICS = ("volume", "scheduler")


class Services(Resource):
    """``/os-services``"""

    @staticmethod
    def _find(body: dict[str, Any]) -> Service:
        found = [row for row in services.get_all(host=body["host"], binary=body["binary"])
                 if row.topic in TOPICS]
        if not found:
            raise exception.ServiceNotFound(service_id=f"{body['binary']} on {body['host']}")
        return found[0]

    @route("GET", "/os-services", policy="volume:services:list")
    def index(self, req: Request) -> dict[str, Any]:
        rows = services.get_all(host=req.last("host"), binary=req.last("binary"))
        return {"services": [{
            "binary": row.binary, "host": row.host, "zone": row.availability_zone,
            "status": "disabled" if row.disabled else "enabled",
            "state": "up" if services.is_up(row, CONF.service_down_time) else "down",
            "updated_at": micros(row.last_seen_up), "disabled_reason": row.disabled_reason,
        } for row in rows if row.topic in TOPICS]}

    @route("PUT", "/os-services/enable", body=SWITCH, policy="volume:services:update")
    def enable(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        return self._switch(body, False)

    @route("PUT", "/os-services/disable", body=SWITCH, policy="volume:services:update")
    def disable(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        return self._switch(body, True)

    @route("PUT", "/os-services/disable-log-reason", body=SWITCH_WITH_REASON,
           policy="volume:services:update")
    def disable_with_reason(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        return {**self._switch(body, True, body["disabled_reason"].strip()),
                "disabled_reason": body["disabled_reason"].strip()}

    def _switch(self, body: dict[str, Any], off: bool,
                reason: str | None = None) -> dict[str, Any]:
        row = self._find(body)
        services.change(row.id, disabled=off, disabled_reason=reason)
        return {"host": row.host, "service": row.binary, "binary": row.binary,
                "topic": row.topic, "disabled": off,
                "status": "disabled" if off else "enabled"}


class AvailabilityZones(Resource):
    """``/os-availability-zone``"""

    @route("GET", "/os-availability-zone", policy="volume:availability_zones:list")
    def index(self, req: Request) -> dict[str, Any]:
        zones: dict[str, bool] = {}
        for row in services.get_all(topic="volume"):
            zones[row.availability_zone] = zones.get(row.availability_zone, False) or not (
                row.disabled)
        return {"availabilityZoneInfo": [
            {"zoneName": name, "zoneState": {"available": available}}
            for name, available in sorted(zones.items())]}


class Pools(Resource):
    """``/scheduler-stats/get_pools``: each volume host is one pool."""

    @route("GET", "/scheduler-stats/get_pools", policy="volume:pools:list")
    def index(self, req: Request) -> dict[str, Any]:
        detail = as_bool(req.last("detail", ""))
        claimed = volume_hosts.claimed_by_host()
        pools = []
        for row in volume_hosts.get_all():
            pool: dict[str, Any] = {"name": f"{row.host}@{row.driver}#{row.backend_name}"}
            if detail:
                pool["capabilities"] = {
                    "volume_backend_name": row.backend_name, "total_capacity_gb": row.total_gb,
                    "free_capacity_gb": row.free_gb,
                    "allocated_capacity_gb": claimed.get(row.host, 0),
                    "max_over_subscription_ratio": str(row.allocation_ratio),
                    "storage_protocol": row.driver, "driver_version": "1.0",
                    "vendor_name": "snakestack", "QoS_support": False,
                    "timestamp": micros(row.updated_at or row.created_at)}
            pools.append(pool)
        return {"pools": pools}
