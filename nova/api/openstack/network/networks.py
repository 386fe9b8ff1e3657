# SPDX-License-Identifier: Apache-2.0
"""Networks: each one a bridge of its own on the host that serves it."""

from typing import Any

from nova import exception, policy, quota
from nova.api.openstack.network import bodies, listing
from nova.api.openstack.network.bodies import FLAG, NAME, OWNER
from nova.api.openstack.validation import integer
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import floating_ips, networks, ports
from nova.db.models import Network, new_id
from nova.network.api import API, scope

_COMMON = {"name": NAME, "shared": FLAG, "admin_state_up": FLAG, "router:external": FLAG,
           "mtu": {"anyOf": [integer(1280, 9216), {"type": "null"}]},
           "description": bodies.DESCRIPTION, "port_security_enabled": FLAG, "is_default": FLAG}
CREATE = bodies.create("network", "networks", {
    **_COMMON, **OWNER,
    **{name: {} for name in ("provider:network_type", "provider:physical_network",
                             "provider:segmentation_id", "availability_zone_hints", "qos_policy_id",
                             "dns_domain", "vlan_transparent", "segments")}})
UPDATE = bodies.update("network", _COMMON)
_PROVIDER = ("provider:network_type", "provider:physical_network", "provider:segmentation_id")


def network_view(row: Network, admin: bool) -> dict[str, Any]:
    """Return a network as the API shows it."""
    subnets = [row.subnet_id] if row.cidr else []
    if row.cidr_v6:
        subnets.append(str(row.subnet_v6_id))
    view = {
        "id": row.id, "name": row.name, "tenant_id": row.project_id or "",
        "project_id": row.project_id or "", "admin_state_up": True, "status": "ACTIVE",
        "shared": row.shared, "router:external": row.external, "mtu": row.mtu,
        "subnets": subnets, "port_security_enabled": True, "description": "",
        "availability_zone_hints": [], "availability_zones": ["nova"], **bodies.times(row)}
    if row.external:
        view["is_default"] = False
    if admin:
        view |= {"provider:network_type": "flat", "provider:segmentation_id": row.vlan,
                 "provider:physical_network": row.bridge_interface or row.bridge}
    return view


_KNOWN = ("id", "name", "project_id", "admin_state_up", "status", "shared", "router:external",
          "mtu", "subnets", "description", "is_default", *_PROVIDER)


class Networks(Resource):
    """``/networks``"""

    def __init__(self, api: API) -> None:
        self.api = api

    @route("GET", "/networks", policy="network:networks:list")
    def index(self, req: Request) -> dict[str, Any]:
        rows = networks.find(scope(req.context), ids=listing.wanted_ids(req))
        admin = bool(req.context.is_admin)
        views = [{"is_default": False, **network_view(row, admin)} for row in rows]
        return listing.answer(req, "networks", views, _KNOWN if admin else _KNOWN[:-3])

    @route("GET", "/networks/{network_id}", policy="network:networks:show")
    def show(self, req: Request, network_id: str) -> dict[str, Any]:
        row = networks.get(network_id, scope(req.context))
        return {"network": listing.fields_of(
            req, network_view(row, bool(req.context.is_admin)))}

    @route("POST", "/networks", status=201, body=CREATE, policy="network:networks:create")
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        return bodies.make(body, "network", "networks", lambda values: self._create(req, values),
                           lambda view: networks.delete_network(view["id"]))

    def _create(self, req: Request, asked: dict[str, Any]) -> dict[str, Any]:
        values = dict(asked)
        project_id = bodies.owner_of(req, values, "network:other_projects")
        network_id = new_id()
        columns = self._columns(req, values)
        for name in (*_PROVIDER, "availability_zone_hints", "qos_policy_id", "dns_domain",
                     "vlan_transparent", "segments"):
            bodies.only(values, name, None, "", [], what=f"The field {name} of a network")
        external = columns.get("external", False)
        row = networks.create(
            {"id": network_id, "project_id": project_id, "name": "", "shared": False,
             # Of the id: two clouds on one machine cannot both have it.
             "bridge": None if external else f"br{network_id.replace('-', '')[:12]}", **columns},
            guard=quota.guard(project_id, {"networks": 1}))
        return network_view(row, bool(req.context.is_admin))

    def _columns(self, req: Request, values: dict[str, Any]) -> dict[str, Any]:
        """Return the columns a body sets; what cannot be so is refused."""
        columns: dict[str, Any] = {}
        for name, column in (("shared", "shared"), ("router:external", "external")):
            if name in values:
                columns[column] = bodies.truth(values.pop(name))
                if columns[column]:
                    policy.authorize(req.context, "network:networks:shared")
        for name in ("admin_state_up", "port_security_enabled"):
            bodies.only(values, name, True, "true", "True", 1, "1")
        bodies.only(values, "is_default", False, "false", "False", 0, "0")
        bodies.only(values, "description", "", what="The description of a network")
        if "name" in values:
            columns["name"] = values.pop("name")
        if values.get("mtu") is not None:
            columns["mtu"] = int(values["mtu"])
        values.pop("mtu", None)
        return columns

    @route("PUT", "/networks/{network_id}", body=UPDATE, policy="network:networks:update")
    def update(self, req: Request, network_id: str, body: dict[str, Any]) -> dict[str, Any]:
        row = owned(req, network_id)
        columns = self._columns(req, dict(body["network"]))
        if columns.pop("external", row.external) != row.external:
            raise exception.NotSupported(what="Making an external network internal or back")
        if columns.get("shared") is False and row.shared:
            policy.authorize(req.context, "network:networks:shared")
            if any(port.project_id != row.project_id for port in self._ports_on(network_id)):
                raise exception.Conflict(f"Network {network_id} is used by other projects.")
        row = networks.change(network_id, columns)
        if "mtu" in columns and row.host:
            self.api.refresh_network(req.context, row)
        return {"network": network_view(row, bool(req.context.is_admin))}

    @staticmethod
    def _ports_on(network_id: str) -> list[Any]:
        return [view.port for view in ports.find(network_ids=[network_id])]

    @route("DELETE", "/networks/{network_id}", status=204, policy="network:networks:delete")
    def delete(self, req: Request, network_id: str) -> None:
        owned(req, network_id)
        self.api.remove_network(req.context, networks.delete_network(network_id))


def owned(req: Request, network_id: str) -> Network:
    """Return a network the caller may change.

    NetworkNotFound for one it cannot see, Forbidden for one that is merely shared with it.
    """
    row = networks.get(network_id, scope(req.context))
    if not req.context.is_admin and row.project_id != req.context.project_id:
        raise exception.Forbidden(f"Network {network_id} belongs to another project.")
    return row


class IpAvailabilities(Resource):
    """``/network-ip-availabilities``: how many addresses there are, and how many are taken."""

    @route("GET", "/network-ip-availabilities", policy="network:networks:availability")
    def index(self, req: Request) -> dict[str, Any]:
        rows = networks.find(scope(req.context))
        views = self._views(rows)
        version = req.query.pop("ip_version", ["4"])
        return listing.answer(req, "network_ip_availabilities", views if "4" in version else [])

    @route("GET", "/network-ip-availabilities/{network_id}", policy="network:networks:availability")
    def show(self, req: Request, network_id: str) -> dict[str, Any]:
        [view] = self._views([networks.get(network_id, scope(req.context))])
        return {"network_ip_availability": view}

    @staticmethod
    def _views(rows: list[Network]) -> list[dict[str, Any]]:
        inside = networks.availability([row.id for row in rows])
        pools = floating_ips.availability([row.id for row in rows])
        views = []
        for row in rows:
            total, used = (pools if row.external else inside).get(row.id, (0, 0))
            views.append({
                "id": row.id, "network_id": row.id, "network_name": row.name,
                "tenant_id": row.project_id or "", "project_id": row.project_id or "",
                "total_ips": total, "used_ips": used, "subnet_ip_availability": [{
                    "subnet_id": row.subnet_id, "subnet_name": row.subnet_name, "ip_version": 4,
                    "cidr": row.cidr, "total_ips": total, "used_ips": used}] if row.cidr else []})
        return views
