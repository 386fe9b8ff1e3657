# SPDX-License-Identifier: Apache-2.0
"""Ports: a MAC with its addresses and security groups, plugged into a server or waiting to be."""

from typing import Any

import netaddr

from nova import exception, policy, quota
from nova.api.openstack.network import bodies, listing
from nova.api.openstack.network.bodies import FLAG, NAME, OPTIONAL_ID, OWNER
from nova.api.openstack.validation import UUID, obj, string
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import networks, ports, security_groups
from nova.db.models import Network
from nova.db.ports import PortView
from nova.network import vifs
from nova.network.api import API, scope

_FIXED = obj({"subnet_id": UUID, "ip_address": string(45, 1)})
_COMMON = {
    "name": NAME, "description": bodies.DESCRIPTION, "admin_state_up": FLAG,
    "device_id": OPTIONAL_ID, "device_owner": OPTIONAL_ID, "mac_address": OPTIONAL_ID,
    "fixed_ips": {"anyOf": [{"type": "array", "maxItems": 8, "items": _FIXED}, {"type": "null"}]},
    "security_groups": {"anyOf": [{"type": "array", "maxItems": 64, "items": UUID},
                                  {"type": "null"}]},
    "allowed_address_pairs": {}, "extra_dhcp_opts": {}, "port_security_enabled": FLAG,
    "binding:host_id": {}, "binding:vnic_type": {}, "binding:profile": {}, "dns_name": {},
    "dns_domain": {}, "qos_policy_id": {}}
CREATE = bodies.create("port", "ports", {**_COMMON, **OWNER, "network_id": UUID}, ("network_id",))
UPDATE = bodies.update("port", _COMMON)
_KNOWN = ("id", "name", "project_id", "network_id", "mac_address", "admin_state_up", "status",
          "device_id", "device_owner", "fixed_ips", "security_groups", "binding:host_id",
          "description", "binding:vnic_type", "port_security_enabled")


def port_view(view: PortView, admin: bool) -> dict[str, Any]:
    """Return a port as the API shows it."""
    port, network = view.port, view.network
    shown = {
        "id": port.id, "name": port.name, "tenant_id": port.project_id,
        "project_id": port.project_id, "network_id": port.network_id, "mac_address": port.mac,
        "admin_state_up": port.admin_state_up, "status": port.status if port.device_id else "DOWN",
        "device_id": port.device_id or "", "device_owner": port.device_owner,
        "fixed_ips": [
            {"subnet_id": network.subnet_v6_id if ":" in fixed.address else network.subnet_id,
             "ip_address": fixed.address} for fixed in view.addresses],
        "security_groups": list(view.group_ids), "allowed_address_pairs": [],
        "extra_dhcp_opts": [], "port_security_enabled": True, "description": "",
        "binding:vnic_type": "normal", **bodies.times(port)}
    if admin:
        shown |= {"binding:host_id": port.host or "", "binding:profile": {},
                  "binding:vif_type": "bridge" if port.host else "unbound",
                  "binding:vif_details": {"port_filter": True}}
    return shown


class Ports(Resource):
    """``/ports``"""

    def __init__(self, api: API) -> None:
        self.api = api

    @route("GET", "/ports", policy="network:ports:list")
    def index(self, req: Request) -> dict[str, Any]:
        found = ports.find(
            scope(req.context), ids=listing.wanted_ids(req),
            device_ids=_without_empty(listing.wanted_ids(req, "device_id")),
            network_ids=listing.wanted_ids(req, "network_id"))
        admin = bool(req.context.is_admin)
        known = _KNOWN if admin else [one for one in _KNOWN if one != "binding:host_id"]
        return listing.answer(req, "ports", [port_view(view, admin) for view in found], known)

    @route("GET", "/ports/{port_id}", policy="network:ports:show")
    def show(self, req: Request, port_id: str) -> dict[str, Any]:
        return {"port": listing.fields_of(req, self._view(req, port_id))}

    @staticmethod
    def _view(req: Request, port_id: str) -> dict[str, Any]:
        return port_view(ports.get(port_id, scope(req.context)), bool(req.context.is_admin))

    @route("POST", "/ports", status=201, body=CREATE, policy="network:ports:create")
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        return bodies.make(body, "port", "ports", lambda values: self._create(req, values),
                           lambda view: ports.delete_port(view["id"]))

    def _create(self, req: Request, asked: dict[str, Any]) -> dict[str, Any]:
        values = dict(asked)
        project_id = bodies.owner_of(req, values, "network:other_projects")
        network = networks.get(values["network_id"], scope(req.context))
        if network.external or not network.cidr:
            raise exception.Conflict(
                f"Network {network.id} {'is external' if network.external else 'has no subnet'}: "
                "it has no addresses for ports.")
        columns = self._columns(req, values)
        address = _wanted_address(network, values.get("fixed_ips"))
        groups = self._groups(project_id, values.get("security_groups"))
        port = ports.create(
            {"network_id": network.id, "project_id": project_id, **columns}, address=address,
            address_v6=lambda mac: vifs.address_v6(network, mac), group_ids=groups,
            guard=quota.guard(project_id, {"ports": 1}))
        self.api.refresh_instances(req.context, referring=groups)
        return port_view(ports.get(port.id), bool(req.context.is_admin))

    def _columns(self, req: Request, values: dict[str, Any]) -> dict[str, Any]:
        """Return the columns a body sets; what cannot be so is refused."""
        bodies.only(values, "description", "", what="The description of a port")
        bodies.only(values, "admin_state_up", True, "true", "True", 1, "1",
                    what="A port that is administratively down")
        bodies.only(values, "port_security_enabled", True, "true", "True", 1, "1",
                    what="A port without security")
        bodies.only(values, "binding:vnic_type", "normal", None)
        for name in ("allowed_address_pairs", "extra_dhcp_opts", "binding:profile",
                     "binding:host_id", "dns_name", "dns_domain", "qos_policy_id"):
            bodies.only(values, name, None, "", [], {}, what=f"The field {name} of a port")
        columns: dict[str, Any] = {}
        if values.get("name") is not None:
            columns["name"] = values["name"]
        for name, column in (("device_id", "device_id"), ("device_owner", "device_owner"),
                             ("mac_address", "mac")):
            if values.get(name):
                # Whoever could set these could make its port another's, or slip its filters.
                policy.authorize(req.context, "network:ports:bind")
                columns[column] = _mac(values[name]) if column == "mac" else values[name]
        return columns

    @staticmethod
    def _groups(project_id: str, wanted: list[str] | None) -> list[str]:
        default = security_groups.default_id(project_id)
        if wanted is None:
            wanted = [default]
        if default in wanted:
            security_groups.ensure_default(project_id)
        own = {view.group.id for view in security_groups.find(project_id, ids=wanted)}
        for group in wanted:
            if group not in own:
                raise exception.SecurityGroupNotFound(group_id=group)
        return sorted(own)

    @route("PUT", "/ports/{port_id}", body=UPDATE, policy="network:ports:update")
    def update(self, req: Request, port_id: str, body: dict[str, Any]) -> dict[str, Any]:
        view = ports.get(port_id, scope(req.context))
        values = dict(body["port"])
        shown = port_view(view, True)
        # What is there already is no change; of the rest only some can be changed.
        for name in ("mac_address", "device_id", "device_owner"):
            if name in values and (values[name] or "") == shown[name]:
                del values[name]
        if "fixed_ips" in values and not _same_addresses(shown["fixed_ips"], values["fixed_ips"]):
            raise exception.NotSupported(what="Changing the addresses of a port")
        if view.port.device_id and {"mac_address", "device_id", "device_owner"} & values.keys():
            policy.authorize(req.context, "network:ports:bind")
            raise exception.InUse(kind="Port", name=port_id)
        columns = self._columns(req, values)
        groups = None
        if "security_groups" in values:
            groups = self._groups(view.port.project_id, values["security_groups"] or [])
        ports.change(port_id, columns, groups)
        if groups is not None and set(groups) != set(view.group_ids):
            if view.port.device_id:
                self.api.refresh_instances(req.context, instance_ids=[view.port.device_id])
            self.api.refresh_instances(
                req.context, referring=sorted(set(groups) ^ set(view.group_ids)))
        return {"port": self._view(req, port_id)}

    @route("DELETE", "/ports/{port_id}", status=204, policy="network:ports:delete")
    def delete(self, req: Request, port_id: str) -> None:
        view = ports.get(port_id, scope(req.context))
        if view.port.device_id and view.port.device_owner.startswith(ports.DEVICE_OWNER):
            raise exception.InUse(kind="Port", name=port_id)
        self.api.delete_port(req.context, view)


def _without_empty(values: list[str] | None) -> list[str] | None:
    """Leave the question for ports without a device to the filter on what is shown."""
    return None if values is None or "" in values else values


def _mac(text: str) -> str:
    try:
        mac = netaddr.EUI(text, dialect=netaddr.mac_unix_expanded)
    except (ValueError, netaddr.AddrFormatError):
        raise exception.BadRequest(f"mac_address: {text[:32]!r} is no MAC address.") from None
    if mac.version != 48 or mac.words[0] & 1 or int(mac) == 0:
        raise exception.BadRequest(f"mac_address: {text[:32]!r} cannot be an interface's.")
    return str(mac)


def _wanted_address(network: Network, fixed_ips: list[dict[str, str]] | None) -> str | None:
    """Return the IPv4 address asked for; None where any will do."""
    address = None
    of_v4 = 0
    for one in fixed_ips or ():
        subnet_id, wanted = one.get("subnet_id"), one.get("ip_address")
        if not subnet_id and not wanted:
            raise exception.BadRequest("fixed_ips: each needs a subnet_id or an ip_address.")
        if subnet_id not in (None, network.subnet_id, network.subnet_v6_id):
            raise exception.BadRequest(
                f"fixed_ips: subnet {subnet_id} is not of network {network.id}.")
        if subnet_id == network.subnet_v6_id and subnet_id is not None or ":" in (wanted or ""):
            if wanted:
                raise exception.NotSupported(what="Choosing an IPv6 address")
            continue
        of_v4 += 1
        address = wanted
    if of_v4 > 1:
        raise exception.NotSupported(what="A port with several IPv4 addresses")
    if address is not None:
        try:
            address = str(netaddr.IPAddress(address, 4, flags=netaddr.INET_PTON))
        except (ValueError, netaddr.AddrFormatError):
            raise exception.BadRequest(
                f"fixed_ips: {address[:45]!r} is no IPv4 address.") from None
    return address


def _same_addresses(shown: list[dict[str, Any]], wanted: list[dict[str, str]] | None) -> bool:
    return {one["ip_address"] for one in shown} == {one.get("ip_address") for one in wanted or ()}
