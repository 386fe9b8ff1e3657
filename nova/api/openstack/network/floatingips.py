# SPDX-License-Identifier: Apache-2.0
"""Floating IPs: public addresses that lead to a port's address."""

from collections.abc import Sequence
from typing import Any

from nova import exception, policy, quota
from nova.api.openstack.network import bodies, listing
from nova.api.openstack.network.bodies import DESCRIPTION, OPTIONAL_ID, OWNER
from nova.api.openstack.validation import UUID
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import floating_ips, networks, ports
from nova.db.models import FloatingIp
from nova.db.ports import PortView
from nova.network.api import API, scope

_COMMON = {"port_id": OPTIONAL_ID, "fixed_ip_address": OPTIONAL_ID, "description": DESCRIPTION,
           "dns_name": {}, "dns_domain": {}, "qos_policy_id": {}}
CREATE = bodies.create("floatingip", "floatingips", {
    **_COMMON, **OWNER, "floating_network_id": UUID, "floating_ip_address": OPTIONAL_ID,
    "subnet_id": OPTIONAL_ID}, ("floating_network_id",))
UPDATE = bodies.update("floatingip", _COMMON)
_KNOWN = ("id", "project_id", "floating_ip_address", "floating_network_id", "port_id",
          "fixed_ip_address", "router_id", "status", "description")


def floating_views(rows: Sequence[FloatingIp]) -> list[dict[str, Any]]:
    """Return floating addresses as the API shows them; two queries for any number."""
    ids = sorted({row.port_id for row in rows if row.port_id})
    held = {view.port.id: view for view in ports.find(ids=ids)} if ids else {}
    return [_view(row, held.get(row.port_id or "")) for row in rows]


def _view(row: FloatingIp, port: PortView | None) -> dict[str, Any]:
    return {
        "id": row.id, "tenant_id": row.project_id, "project_id": row.project_id,
        "floating_ip_address": row.address, "floating_network_id": row.network_id,
        "port_id": row.port_id, "fixed_ip_address": _fixed_of(port) if port else None,
        "router_id": None, "status": "ACTIVE" if row.host and row.port_id else "DOWN",
        "description": row.description, "port_details": {
            "name": port.port.name, "network_id": port.network.id, "mac_address": port.port.mac,
            "admin_state_up": True, "status": port.port.status,
            "device_id": port.port.device_id or "", "device_owner": port.port.device_owner,
        } if port else None, "port_forwardings": [], **bodies.times(row)}


def _fixed_of(view: PortView) -> str | None:
    return next((fixed.address for fixed in view.addresses if ":" not in fixed.address), None)


class FloatingIps(Resource):
    """``/floatingips``"""

    def __init__(self, api: API) -> None:
        self.api = api

    @route("GET", "/floatingips", policy="network:floatingips:list")
    def index(self, req: Request) -> dict[str, Any]:
        rows = floating_ips.find(scope(req.context), ids=listing.wanted_ids(req))
        return listing.answer(req, "floatingips", floating_views(rows), _KNOWN)

    @route("GET", "/floatingips/{floating_id}", policy="network:floatingips:show")
    def show(self, req: Request, floating_id: str) -> dict[str, Any]:
        row = floating_ips.get(floating_id, scope(req.context))
        return {"floatingip": listing.fields_of(req, floating_views([row])[0])}

    @route("POST", "/floatingips", status=201, body=CREATE, policy="network:floatingips:create")
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        return bodies.make(
            body, "floatingip", "floatingips", lambda values: self._create(req, values),
            lambda view: self.api.release_floating(req.context, floating_ips.get(view["id"])))

    def _create(self, req: Request, asked: dict[str, Any]) -> dict[str, Any]:
        values = dict(asked)
        project_id = bodies.owner_of(req, values, "network:other_projects")
        network = networks.get(values["floating_network_id"], scope(req.context))
        if not network.external:
            raise exception.BadRequest(
                f"floating_network_id: network {network.id} is not external.")
        if values.get("subnet_id") and values["subnet_id"] != network.subnet_id:
            raise exception.BadRequest(f"subnet_id: is not of network {network.id}.")
        self._refuse_missing(values)
        address = values.get("floating_ip_address") or None
        if address:
            policy.authorize(req.context, "network:floatingips:address")
        port = self._port(req, project_id, values)
        row = floating_ips.allocate(
            network.id, project_id, address, values.get("description", ""),
            guard=quota.guard(project_id, {"floating_ips": 1}))
        if port is not None:
            try:
                row = self.api.set_floating_port(req.context, row, port.port.id)
            except exception.NovaError:
                self.api.release_floating(req.context, row)
                raise
        return floating_views([row])[0]

    @staticmethod
    def _refuse_missing(values: dict[str, Any]) -> None:
        for name in ("dns_name", "dns_domain", "qos_policy_id"):
            bodies.only(values, name, None, "", what=f"The field {name} of a floating IP")

    @staticmethod
    def _port(req: Request, project_id: str, values: dict[str, Any]) -> PortView | None:
        """Return the port asked for, if it can have a floating address at all."""
        port_id, fixed = values.get("port_id"), values.get("fixed_ip_address")
        if not port_id:
            if fixed:
                raise exception.BadRequest("fixed_ip_address: makes no sense without port_id.")
            return None
        view = ports.get(port_id, project_id)
        own = _fixed_of(view)
        if own is None or fixed not in (None, "", own):
            raise exception.BadRequest(
                f"fixed_ip_address: port {port_id} has no such IPv4 address.")
        return view

    @route("PUT", "/floatingips/{floating_id}", body=UPDATE, policy="network:floatingips:update")
    def update(self, req: Request, floating_id: str, body: dict[str, Any]) -> dict[str, Any]:
        row = floating_ips.get(floating_id, scope(req.context))
        values = dict(body["floatingip"])
        self._refuse_missing(values)
        if values.get("fixed_ip_address") and "port_id" not in values:
            values["port_id"] = row.port_id
        if "description" in values:
            floating_ips.describe(row.id, values["description"])
        if "port_id" in values:
            port = self._port(req, str(row.project_id), values)
            self.api.set_floating_port(req.context, row, port.port.id if port else None)
        return {"floatingip": floating_views([floating_ips.get(row.id)])[0]}

    @route("DELETE", "/floatingips/{floating_id}", status=204,
           policy="network:floatingips:delete")
    def delete(self, req: Request, floating_id: str) -> None:
        self.api.release_floating(req.context,
                                  floating_ips.get(floating_id, scope(req.context)))
