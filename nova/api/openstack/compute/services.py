# SPDX-License-Identifier: Apache-2.0
"""Daemons, hypervisors and zones, for those who run the cloud."""

import json
from typing import Any

from oslo_config import cfg

from nova import exception
from nova.api.openstack import paging
from nova.api.openstack.compute.links import micros
from nova.api.openstack.validation import BOOLEAN, Schema, as_bool, obj, string
from nova.api.openstack.wsgi import Request, Resource, route
from nova.compute.api import API
from nova.db import compute_nodes, instances, services
from nova.db.models import ComputeNode, Service

CONF = cfg.CONF
CONF.import_opt("service_down_time", "nova.config")
_HOST = {"host": string(255, 1), "binary": string(255, 1)}
SWITCH = Schema(obj(_HOST, ("host", "binary")))
SWITCH_WITH_REASON = Schema(obj({
    **_HOST, "disabled_reason": string(255, 1, format="stripped-name")},
    ("host", "binary", "disabled_reason")))
FORCE_DOWN = Schema(obj({**_HOST, "forced_down": BOOLEAN}, ("host", "binary", "forced_down")))
_ENABLE = {"enum": ["enable", "disable", "Enable", "Disable", "ENABLE", "DISABLE"]}
HOST = Schema(obj({"status": _ENABLE, "maintenance_mode": _ENABLE}, minProperties=1))


def number_of(row_id: str) -> int:
    """Return the id of a row as the number that API 2.1 wants: the first 48 bits of the UUID."""
    return int(row_id.replace("-", "")[:12], 16)


def is_up(row: Service) -> bool:
    """Tell whether a daemon has heard itself lately."""
    return services.is_up(row, CONF.service_down_time)


class Services(Resource):
    """``/os-services``"""

    @staticmethod
    def _find(body: dict[str, Any]) -> Service:
        found = services.get_all(host=body["host"], binary=body["binary"])
        if not found:
            raise exception.HostNotFound(host=body["host"])
        return found[0]

    @route("GET", "/os-services", policy="compute:services:list")
    def index(self, req: Request) -> dict[str, Any]:
        rows = services.get_all(host=req.last("host"), binary=req.last("binary"))
        return {"services": [{
            "id": number_of(row.id), "binary": row.binary, "host": row.host,
            "zone": row.availability_zone if row.topic == "compute" else "internal",
            "status": "disabled" if row.disabled else "enabled",
            "state": "up" if is_up(row) else "down",
            "updated_at": micros(row.last_seen_up), "disabled_reason": row.disabled_reason,
            "forced_down": row.forced_down,
        } for row in rows]}

    @route("PUT", "/os-services/enable", body=SWITCH, policy="compute:services:update")
    def enable(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        services.change(self._find(body).id, disabled=False, disabled_reason=None)
        return {"service": {"host": body["host"], "binary": body["binary"],
                            "status": "enabled"}}

    @route("PUT", "/os-services/disable", body=SWITCH, policy="compute:services:update")
    def disable(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        services.change(self._find(body).id, disabled=True)
        return {"service": {"host": body["host"], "binary": body["binary"],
                            "status": "disabled"}}

    @route("PUT", "/os-services/disable-log-reason", body=SWITCH_WITH_REASON,
           policy="compute:services:update")
    def disable_with_reason(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        reason = body["disabled_reason"].strip()
        services.change(self._find(body).id, disabled=True, disabled_reason=reason)
        return {"service": {"host": body["host"], "binary": body["binary"],
                            "status": "disabled", "disabled_reason": reason}}

    @route("PUT", "/os-services/force-down", body=FORCE_DOWN, policy="compute:services:update")
    def force_down(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        forced = as_bool(body["forced_down"])
        services.change(self._find(body).id, forced_down=forced)
        return {"service": {"host": body["host"], "binary": body["binary"],
                            "forced_down": forced}}

    @route("DELETE", "/os-services/{service_id}", status=204, policy="compute:services:delete")
    def delete(self, req: Request, service_id: str) -> None:
        found = [row for row in services.get_all()
                 if service_id in (row.id, str(number_of(row.id)))]
        if not found:
            raise exception.ServiceNotFound(service_id=service_id[:64])
        row = found[0]
        if row.topic == "compute" and instances.ids_on_host(row.host):
            raise exception.Conflict(f"Host {row.host} still has servers.")
        services.remove(row.id)


class Hosts(Resource):
    """``/os-hosts``: the older view of the same; changing a host is not possible here."""

    @route("GET", "/os-hosts", policy="compute:hosts:list")
    def index(self, req: Request) -> dict[str, Any]:
        zone = req.last("zone")
        found = [{"host_name": row.host, "service": row.topic,
                  "zone": row.availability_zone if row.topic == "compute" else "internal"}
                 for row in services.get_all()]
        return {"hosts": [host for host in found if not zone or host["zone"] == zone]}

    @staticmethod
    def _known(host: str) -> ComputeNode:
        try:
            return compute_nodes.get(host)
        except exception.HostNotFound:
            raise exception.HostNotFound(host=host[:255]) from None

    @route("GET", "/os-hosts/{host}", policy="compute:hosts:show")
    def show(self, req: Request, host: str) -> dict[str, Any]:
        node = self._known(host)
        rows = instances.get_all({"host": host})

        def line(project: str, cpu: int, memory_mb: int, disk_gb: int) -> dict[str, Any]:
            return {"resource": {"host": host, "project": project, "cpu": cpu,
                                 "memory_mb": memory_mb, "disk_gb": disk_gb}}
        used = instances.usage_of_host(host)
        lines = [line("(total)", node.vcpus, node.memory_mb, node.local_gb),
                 line("(used_now)", used.vcpus, used.memory_mb + node.reserved_memory_mb,
                      used.disk_gb + node.reserved_disk_gb),
                 line("(used_max)", used.vcpus, used.memory_mb, used.disk_gb)]
        for project in sorted({row.project_id for row in rows}):
            own = [row for row in rows if row.project_id == project]
            lines.append(line(project, sum(row.vcpus for row in own),
                              sum(row.memory_mb for row in own),
                              sum(instances.disk_gb(row) for row in own)))
        return {"host": lines}

    @route("PUT", "/os-hosts/{host}", body=HOST, policy="compute:hosts:update")
    def update(self, req: Request, host: str, body: dict[str, Any]) -> None:
        self.power(req, host)

    @route("GET", "/os-hosts/{host}/startup", policy="compute:hosts:update")
    @route("GET", "/os-hosts/{host}/shutdown", policy="compute:hosts:update")
    @route("GET", "/os-hosts/{host}/reboot", policy="compute:hosts:update")
    def power(self, req: Request, host: str) -> None:
        self._known(host)
        raise exception.NotSupported(what="Power and maintenance of hosts")


class Hypervisors(Resource):
    """``/os-hypervisors``"""

    def __init__(self, compute: API) -> None:
        self._compute = compute

    @staticmethod
    def _by_host() -> dict[str, Service]:
        return {row.host: row for row in services.get_all(topic="compute")}

    @staticmethod
    def _get(hypervisor_id: str) -> ComputeNode:
        for node in compute_nodes.get_all():
            if hypervisor_id in (node.id, str(number_of(node.id))):
                return node
        raise exception.NotFound(f"Hypervisor with ID '{hypervisor_id[:64]}' could not be found.")

    def _basic(self, node: ComputeNode, service: Service | None) -> dict[str, Any]:
        return {"id": number_of(node.id), "hypervisor_hostname": node.hypervisor_hostname,
                "state": "up" if service is not None and is_up(service) else "down",
                "status": "disabled" if service is None or service.disabled else "enabled"}

    def _detailed(self, node: ComputeNode, service: Service | None,
                  used: instances.Usage) -> dict[str, Any]:
        return {
            **self._basic(node, service),
            "hypervisor_type": node.hypervisor_type,
            "hypervisor_version": node.hypervisor_version, "host_ip": node.host_ip,
            "vcpus": node.vcpus, "memory_mb": node.memory_mb, "local_gb": node.local_gb,
            "vcpus_used": used.vcpus, "memory_mb_used": used.memory_mb + node.reserved_memory_mb,
            "local_gb_used": used.disk_gb + node.reserved_disk_gb,
            "free_ram_mb": node.memory_mb - node.reserved_memory_mb - used.memory_mb,
            "free_disk_gb": node.local_gb - node.reserved_disk_gb - used.disk_gb,
            "disk_available_least": node.disk_available_gb, "running_vms": used.instances,
            "current_workload": 0, "cpu_info": json.dumps(node.cpu_info) if node.cpu_info else "",
            "service": {"host": node.host, "id": number_of(service.id) if service else None,
                        "disabled_reason": service.disabled_reason if service else None},
        }

    @route("GET", "/os-hypervisors", policy="compute:hypervisors:list")
    def index(self, req: Request) -> dict[str, Any]:
        by_host = self._by_host()
        nodes = self._page(req)
        return {"hypervisors": [self._basic(node, by_host.get(node.host)) for node in nodes]}

    @route("GET", "/os-hypervisors/detail", policy="compute:hypervisors:list")
    def detail(self, req: Request) -> dict[str, Any]:
        by_host, used = self._by_host(), instances.usage_by_host()
        return {"hypervisors": [
            self._detailed(node, by_host.get(node.host), used.get(node.host, instances.Usage()))
            for node in self._page(req)]}

    @staticmethod
    def _page(req: Request) -> list[ComputeNode]:
        nodes = compute_nodes.get_all()
        pattern = req.last("hypervisor_hostname_pattern")
        if pattern is not None:
            nodes = [node for node in nodes if pattern in node.hypervisor_hostname]
            if not nodes:
                raise exception.NotFound(f"No hypervisor matching '{pattern[:64]}' was found.")
        return nodes[:paging.limit_of(req)]

    @route("GET", "/os-hypervisors/statistics", policy="compute:hypervisors:list")
    def statistics(self, req: Request) -> dict[str, Any]:
        by_host, used = self._by_host(), instances.usage_by_host()
        views = [self._detailed(node, by_host.get(node.host),
                                used.get(node.host, instances.Usage()))
                 for node in compute_nodes.get_all()
                 if node.host in by_host and not by_host[node.host].disabled]
        names = ("vcpus", "memory_mb", "local_gb", "vcpus_used", "memory_mb_used",
                 "local_gb_used", "free_ram_mb", "free_disk_gb", "current_workload",
                 "running_vms", "disk_available_least")
        return {"hypervisor_statistics": {
            "count": len(views), **{name: sum(view[name] or 0 for view in views)
                                    for name in names}}}

    @route("GET", "/os-hypervisors/{hypervisor_id}", policy="compute:hypervisors:show")
    def show(self, req: Request, hypervisor_id: str) -> dict[str, Any]:
        node = self._get(hypervisor_id)
        used = instances.usage_of_host(node.host)
        return {"hypervisor": self._detailed(node, self._by_host().get(node.host), used)}

    @route("GET", "/os-hypervisors/{hypervisor_id}/uptime", policy="compute:hypervisors:show")
    def uptime(self, req: Request, hypervisor_id: str) -> dict[str, Any]:
        node = self._get(hypervisor_id)
        service = self._by_host().get(node.host)
        basic = self._basic(node, service)
        if basic["state"] != "up":
            raise exception.BadRequest(f"The compute service of host {node.host} is down.")
        return {"hypervisor": {**basic,
                               "uptime": self._compute.host_uptime(req.context, node.host)}}

    @staticmethod
    def _matching(pattern: str) -> list[ComputeNode]:
        nodes = [node for node in compute_nodes.get_all() if pattern in node.hypervisor_hostname]
        if not nodes:
            raise exception.NotFound(f"No hypervisor matching '{pattern[:64]}' could be found.")
        return nodes

    @route("GET", "/os-hypervisors/{pattern}/search", policy="compute:hypervisors:list")
    def search(self, req: Request, pattern: str) -> dict[str, Any]:
        by_host = self._by_host()
        return {"hypervisors": [self._basic(node, by_host.get(node.host))
                                for node in self._matching(pattern)]}

    @route("GET", "/os-hypervisors/{pattern}/servers", policy="compute:hypervisors:list")
    def servers(self, req: Request, pattern: str) -> dict[str, Any]:
        by_host = self._by_host()
        nodes = self._matching(pattern)
        rows = instances.get_all({"host": [node.host for node in nodes]})
        found = []
        for node in nodes:
            view = self._basic(node, by_host.get(node.host))
            servers = [{"uuid": row.id, "name": f"instance-{row.id}"}
                       for row in rows if row.host == node.host]
            found.append({**view, "servers": servers} if servers else view)
        return {"hypervisors": found}


class AvailabilityZones(Resource):
    """``/os-availability-zone``"""

    @staticmethod
    def _zones() -> dict[str, list[Service]]:
        found: dict[str, list[Service]] = {}
        for row in services.get_all():
            zone = row.availability_zone if row.topic == "compute" else "internal"
            found.setdefault(zone, []).append(row)
        return found

    @route("GET", "/os-availability-zone", policy="compute:availability_zones:list")
    def index(self, req: Request) -> dict[str, Any]:
        return {"availabilityZoneInfo": [
            {"zoneName": name, "hosts": None,
             "zoneState": {"available": any(is_up(row) and not row.disabled for row in rows)}}
            for name, rows in sorted(self._zones().items()) if name != "internal"]}

    @route("GET", "/os-availability-zone/detail", policy="compute:availability_zones:detail")
    def detail(self, req: Request) -> dict[str, Any]:
        found = []
        for name, rows in sorted(self._zones().items()):
            hosts: dict[str, Any] = {}
            for row in rows:
                hosts.setdefault(row.host, {})[row.binary] = {
                    "active": not row.disabled, "available": is_up(row),
                    "updated_at": micros(row.last_seen_up)}
            found.append({
                "zoneName": name, "hosts": hosts,
                "zoneState": {"available": any(is_up(row) and not row.disabled for row in rows)}})
        return {"availabilityZoneInfo": found}
