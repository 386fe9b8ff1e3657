# SPDX-License-Identifier: Apache-2.0
"""The network through compute's own, old paths, for clients that still ask here.

Networks are for reading; floating addresses can be taken and given back.
"""

from typing import Any

from nova import exception, quota
from nova.api.openstack.validation import Schema, obj, string
from nova.api.openstack.wsgi import Request, Resource, route
from nova.compute.api import API, scope_of
from nova.db import floating_ips, networks, ports
from nova.db.models import FloatingIp, Network

ALLOCATE = Schema({"anyOf": [
    obj({"pool": {"anyOf": [string(255), {"type": "null"}]}}), {"type": "null"}]})


def _full(network: Network) -> dict[str, Any]:
    return {"id": network.id, "label": network.name, "cidr": network.cidr,
            "cidr_v6": network.cidr_v6, "gateway": network.gateway,
            "gateway_v6": network.gateway_v6, "project_id": network.project_id,
            "mtu": network.mtu, "dhcp_server": network.dhcp_server}


class Networks(Resource):
    """``/os-networks`` and ``/os-tenant-networks``"""

    @route("GET", "/os-networks", policy="compute:networks:list")
    def index(self, req: Request) -> dict[str, Any]:
        return {"networks": [_full(row) for row in networks.find(scope_of(req.context))]}

    @route("GET", "/os-networks/{network_id}", policy="compute:networks:show")
    def show(self, req: Request, network_id: str) -> dict[str, Any]:
        return {"network": _full(networks.get(network_id, scope_of(req.context)))}

    @route("GET", "/os-tenant-networks", policy="compute:networks:list")
    def tenant_index(self, req: Request) -> dict[str, Any]:
        return {"networks": [self._short(row) for row in networks.find(req.project_id)]}

    @route("GET", "/os-tenant-networks/{network_id}", policy="compute:networks:show")
    def tenant_show(self, req: Request, network_id: str) -> dict[str, Any]:
        return {"network": self._short(networks.get(network_id, scope_of(req.context)))}

    @staticmethod
    def _short(row: Network) -> dict[str, Any]:
        return {"id": row.id, "label": row.name, "cidr": row.cidr}


class FloatingIps(Resource):
    """``/os-floating-ips`` and ``/os-floating-ip-pools``"""

    def __init__(self, compute: API) -> None:
        self._network = compute.network

    @staticmethod
    def _views(rows: list[FloatingIp]) -> list[dict[str, Any]]:
        pools = {row.id: row.name for row in networks.find(external=True)}
        held = {view.port.id: view for view in ports.find(
            ids=[row.port_id for row in rows if row.port_id])} if rows else {}
        found = []
        for row in rows:
            view = held.get(row.port_id or "")
            fixed = next((a.address for a in view.addresses if ":" not in a.address), None) \
                if view else None
            found.append({"id": row.id, "ip": row.address, "fixed_ip": fixed,
                          "instance_id": view.port.device_id if view else None,
                          "pool": pools.get(row.network_id)})
        return found

    @route("GET", "/os-floating-ips", policy="compute:floating_ips:list")
    def index(self, req: Request) -> dict[str, Any]:
        return {"floating_ips": self._views(floating_ips.find(req.project_id))}

    @route("GET", "/os-floating-ips/{floating_id}", policy="compute:floating_ips:show")
    def show(self, req: Request, floating_id: str) -> dict[str, Any]:
        row = floating_ips.get(floating_id, req.project_id)
        return {"floating_ip": self._views([row])[0]}

    @route("POST", "/os-floating-ips", body=ALLOCATE, policy="compute:floating_ips:create")
    def create(self, req: Request, body: dict[str, Any] | None) -> dict[str, Any]:
        wanted = (body or {}).get("pool")
        pools = [row for row in networks.find(req.project_id, external=True)
                 if wanted in (None, row.name, row.id)]
        if not pools:
            raise exception.NotFound(f"There is no floating IP pool {wanted or 'at all'}.")
        project_id = req.project_id
        row = floating_ips.allocate(pools[0].id, project_id,
                                    guard=quota.guard(project_id, {"floating_ips": 1}))
        return {"floating_ip": self._views([row])[0]}

    @route("DELETE", "/os-floating-ips/{floating_id}", status=202,
           policy="compute:floating_ips:delete")
    def delete(self, req: Request, floating_id: str) -> None:
        row = floating_ips.get(floating_id, req.project_id)
        self._network.release_floating(req.context, row)

    @route("GET", "/os-floating-ip-pools", policy="compute:floating_ips:list")
    def pools(self, req: Request) -> dict[str, Any]:
        return {"floating_ip_pools": [
            {"name": row.name} for row in networks.find(req.project_id, external=True)]}
