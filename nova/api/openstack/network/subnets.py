# SPDX-License-Identifier: Apache-2.0
"""Subnets: at most one of IPv4 and one of IPv6 a network.

All networks of a host are in one routing table.  So no two of them overlap, and a project that is
no administrator takes its ranges from those meant for it: another range would lead other people's
packets, and the host's own, to it.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

from oslo_config import cfg

from nova import exception
from nova.api.openstack.network import bodies, listing
from nova.api.openstack.network.bodies import FLAG, NAME, OWNER
from nova.api.openstack.network.networks import owned
from nova.api.openstack.validation import UUID, obj, string
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import networks
from nova.db.models import Network, new_id
from nova.db.networks import LARGEST_PREFIX
from nova.network.api import API, scope

OPTS = [
    cfg.ListOpt("project_ranges", default=["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
                help="The IPv4 ranges projects may make subnets of. The networks of the hosts "
                     "themselves must not be in them."),
]
CONF = cfg.CONF
CONF.register_opts(OPTS, "network_api")

SMALLEST_PREFIX = 30
_POOL = obj({"start": string(45), "end": string(45)}, ("start", "end"))
_SERVERS = {"anyOf": [{"type": "array", "maxItems": 5, "items": string(45)}, {"type": "null"}]}
_POOLS = {"anyOf": [{"type": "array", "maxItems": 32, "items": _POOL}, {"type": "null"}]}
_COMMON = {"name": NAME, "description": bodies.DESCRIPTION, "dns_nameservers": _SERVERS,
           "enable_dhcp": FLAG, "gateway_ip": {"type": ["string", "null"], "maxLength": 45},
           "host_routes": {"type": ["array", "null"]}, "allocation_pools": _POOLS,
           "service_types": {"type": ["array", "null"]}}
CREATE = bodies.create("subnet", "subnets", {
    **_COMMON, **OWNER, "network_id": UUID, "cidr": string(49, 1),
    "ip_version": {"enum": [4, 6, "4", "6"]}, "ipv6_address_mode": {}, "ipv6_ra_mode": {},
    "subnetpool_id": {}, "use_default_subnetpool": {}, "prefixlen": {}, "segment_id": {},
}, ("network_id", "ip_version"))
UPDATE = bodies.update("subnet", _COMMON)
_KNOWN = ("id", "name", "project_id", "network_id", "ip_version", "cidr", "gateway_ip",
          "allocation_pools", "dns_nameservers", "host_routes", "enable_dhcp", "description",
          "ipv6_address_mode", "ipv6_ra_mode", "subnetpool_id", "service_types")


def subnet_views(rows: list[Network]) -> Iterator[dict[str, Any]]:
    """Yield the subnets of networks as the API shows them."""
    pools = networks.pools([row.id for row in rows if not row.external])
    for row in rows:
        common = {
            "tenant_id": row.project_id or "", "project_id": row.project_id or "",
            "network_id": row.id, "name": row.subnet_name, "description": "", "host_routes": [],
            "service_types": [], "subnetpool_id": None, "router:external": row.external,
            "shared": row.shared, **bodies.times(row)}
        if row.cidr:
            yield {
                **common, "id": row.subnet_id, "ip_version": 4, "cidr": row.cidr,
                "gateway_ip": row.gateway, "enable_dhcp": not row.external,
                "dns_nameservers": list(row.dns_servers), "ipv6_address_mode": None,
                "ipv6_ra_mode": None, "allocation_pools": [
                    {"start": first, "end": last} for first, last in pools.get(row.id, ())]}
        if row.cidr_v6:
            prefix = IPv6Network(row.cidr_v6)
            yield {
                **common, "id": row.subnet_v6_id, "ip_version": 6, "cidr": row.cidr_v6,
                "gateway_ip": row.gateway_v6, "enable_dhcp": True, "dns_nameservers": [],
                "ipv6_address_mode": "slaac", "ipv6_ra_mode": "slaac", "allocation_pools": [
                    {"start": str(prefix[2]), "end": str(prefix[-1])}]}


class Subnets(Resource):
    """``/subnets``"""

    def __init__(self, api: API) -> None:
        self.api = api

    @route("GET", "/subnets", policy="network:subnets:list")
    def index(self, req: Request) -> dict[str, Any]:
        rows = networks.find(scope(req.context), ids=listing.wanted_ids(req, "network_id"))
        views = list(subnet_views(rows))
        for view in views:
            view.pop("router:external")
            view.pop("shared")
        return listing.answer(req, "subnets", views, _KNOWN)

    @route("GET", "/subnets/{subnet_id}", policy="network:subnets:show")
    def show(self, req: Request, subnet_id: str) -> dict[str, Any]:
        return {"subnet": listing.fields_of(req, self._view(
            networks.get_by_subnet(subnet_id, scope(req.context)), subnet_id))}

    @staticmethod
    def _view(row: Network, subnet_id: str | None) -> dict[str, Any]:
        for view in subnet_views([row]):
            if view["id"] == subnet_id:
                view.pop("router:external")
                view.pop("shared")
                return view
        raise exception.SubnetNotFound(subnet_id=subnet_id)

    @route("POST", "/subnets", status=201, body=CREATE, policy="network:subnets:create")
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        return bodies.make(body, "subnet", "subnets", lambda values: self._create(req, values),
                           lambda view: self._remove(view["network_id"], view["id"]))

    def _create(self, req: Request, asked: dict[str, Any]) -> dict[str, Any]:
        values = dict(asked)
        row = owned(req, values.pop("network_id"))
        project_id = bodies.owner_of(req, values, "network:other_projects")
        if not req.context.is_admin and project_id != row.project_id:
            raise exception.Forbidden("tenant_id: a subnet has its network's owner.")
        version = int(values.pop("ip_version"))
        for name in ("subnetpool_id", "use_default_subnetpool", "prefixlen", "segment_id"):
            bodies.only(values, name, None, False, what=f"The field {name} of a subnet")
        self._check_common(values, row)
        if not values.get("cidr"):
            raise exception.BadRequest("cidr: a subnet needs one; there are no subnet pools.")
        if version == 4:
            row = self._create_v4(req, row, values)
        else:
            row = self._create_v6(row, values)
        if not row.external:
            self.api.refresh_network(req.context, row)
        return self._view(row, row.subnet_id if version == 4 else row.subnet_v6_id)

    def _create_v4(self, req: Request, row: Network, values: dict[str, Any]) -> Network:
        for name in ("ipv6_address_mode", "ipv6_ra_mode"):
            if values.pop(name, None) is not None:
                raise exception.BadRequest(f"{name}: makes no sense for an IPv4 subnet.")
        cidr = _cidr_v4(values["cidr"])
        if not req.context.is_admin:
            _check_range(cidr)
        gateway = _address(values.get("gateway_ip") or str(cidr[1]), "gateway_ip", cidr)
        ranges = _pools(values.get("allocation_pools") or (), cidr)
        inside = {str(address) for address in cidr.hosts()
                  if not ranges or any(first <= address <= last for first, last in ranges)}
        everything = {str(address) for address in cidr}
        columns = {"cidr": str(cidr), "gateway": str(gateway),
                   "subnet_name": values.get("name", ""), "subnet_id": new_id(),
                   "dns_servers": _servers(values.get("dns_nameservers"))}
        if row.external:
            _check_pool_size(inside)
            return networks.add_subnet(
                row.id, columns, floating=sorted(inside - {str(gateway)},
                                                 key=lambda one: int(IPv4Address(one))))
        _refuse_external_overlap(cidr)
        return networks.add_subnet(row.id, {**columns, "dhcp_server": str(gateway)},
                                   reserved=everything - inside)

    def _create_v6(self, row: Network, values: dict[str, Any]) -> Network:
        if row.external or not row.cidr:
            raise exception.NotSupported(
                what="An IPv6 subnet of a network that has no IPv4 one, or is external,")
        for name in ("ipv6_address_mode", "ipv6_ra_mode"):
            bodies.only(values, name, None, "slaac")
        if values.get("allocation_pools") or values.get("dns_nameservers"):
            raise exception.NotSupported(what="allocation_pools or dns_nameservers with IPv6")
        try:
            cidr = IPv6Network(values["cidr"], strict=False)
        except ValueError:
            raise exception.BadRequest("cidr: is no IPv6 network.") from None
        if cidr.prefixlen != 64 or cidr.is_multicast or cidr.is_link_local or cidr.is_loopback:
            raise exception.BadRequest("cidr: guests make their own IPv6 addresses, which takes "
                                       "a /64 that is neither multicast nor link-local.")
        gateway = _address(values.get("gateway_ip") or str(cidr[1]), "gateway_ip", cidr)
        for other in networks.find():
            if other.cidr_v6 and IPv6Network(other.cidr_v6).overlaps(cidr):
                raise exception.AlreadyExists(f"The cidr {cidr} overlaps with {other.cidr_v6}.")
        return networks.set_subnet_v6(row.id, {
            "cidr_v6": str(cidr), "gateway_v6": str(gateway), "subnet_v6_id": new_id()},
            there=False)

    @staticmethod
    def _check_common(values: dict[str, Any], row: Network) -> None:
        bodies.only(values, "description", "", what="The description of a subnet")
        bodies.only(values, "host_routes", None, [], what="host_routes")
        bodies.only(values, "service_types", None, [], what="service_types")
        if "enable_dhcp" in values and not row.external \
                and not bodies.truth(values["enable_dhcp"]):
            raise exception.NotSupported(what="A subnet without DHCP")
        if values.get("gateway_ip", "") is None and not row.external:
            raise exception.NotSupported(what="A subnet without a gateway")

    @route("PUT", "/subnets/{subnet_id}", body=UPDATE, policy="network:subnets:update")
    def update(self, req: Request, subnet_id: str, body: dict[str, Any]) -> dict[str, Any]:
        row = networks.get_by_subnet(subnet_id, scope(req.context))
        row = owned(req, row.id)
        values = dict(body["subnet"])
        self._check_common(values, row)
        shown = self._view(row, subnet_id)
        for name in ("gateway_ip", "allocation_pools"):
            if values.get(name, shown[name]) != shown[name]:
                raise exception.NotSupported(what=f"Changing the {name} of a subnet")
        columns: dict[str, Any] = {}
        if "name" in values:
            columns["subnet_name"] = values["name"]
        if "dns_nameservers" in values:
            if shown["ip_version"] == 6 and values["dns_nameservers"]:
                raise exception.NotSupported(what="dns_nameservers with IPv6")
            columns["dns_servers"] = _servers(values["dns_nameservers"])
        row = networks.change(row.id, columns)
        if "dns_servers" in columns and row.host:
            self.api.refresh_network(req.context, row)
        return {"subnet": self._view(row, subnet_id)}

    @route("DELETE", "/subnets/{subnet_id}", status=204, policy="network:subnets:delete")
    def delete(self, req: Request, subnet_id: str) -> None:
        row = networks.get_by_subnet(subnet_id, scope(req.context))
        owned(req, row.id)
        gone = self._remove(row.id, subnet_id)
        if gone.cidr_v6 is None or subnet_id == gone.subnet_id:
            self.api.remove_network(req.context, gone)
        else:
            self.api.refresh_network(req.context, gone)

    @staticmethod
    def _remove(network_id: str, subnet_id: str) -> Network:
        row = networks.get(network_id)
        if subnet_id == row.subnet_v6_id:
            return networks.set_subnet_v6(network_id, {
                "cidr_v6": None, "gateway_v6": None, "subnet_v6_id": None}, there=True)
        if row.cidr_v6:
            raise exception.Conflict("Delete the network's IPv6 subnet first.")
        return networks.remove_subnet(network_id)


def _cidr_v4(text: str) -> IPv4Network:
    try:
        cidr = IPv4Network(text, strict=False)
    except ValueError:
        raise exception.BadRequest("cidr: is no IPv4 network.") from None
    if not LARGEST_PREFIX <= cidr.prefixlen <= SMALLEST_PREFIX:
        raise exception.BadRequest(
            f"cidr: the prefix has to be from {LARGEST_PREFIX} to {SMALLEST_PREFIX} bits long.")
    if cidr.is_multicast or cidr.is_loopback or cidr.is_link_local or cidr.is_unspecified \
            or cidr.is_reserved or cidr.overlaps(IPv4Network("0.0.0.0/8")):
        raise exception.BadRequest("cidr: hosts cannot have addresses of this range.")
    return cidr


def _check_range(cidr: IPv4Network) -> None:
    allowed = CONF.network_api.project_ranges
    if not any(cidr.subnet_of(IPv4Network(one, strict=False)) for one in allowed):
        raise exception.Forbidden(
            f"cidr: projects make their subnets of {', '.join(allowed)}.")


def _refuse_external_overlap(cidr: IPv4Network) -> None:
    for other in networks.find(external=True):
        if other.cidr and IPv4Network(other.cidr).overlaps(cidr):
            raise exception.AlreadyExists(
                f"The cidr {cidr} overlaps with the external network {other.id}.")


def _check_pool_size(addresses: set[str]) -> None:
    if len(addresses) > 4096:
        raise exception.BadRequest("allocation_pools: a pool of floating IPs has at most 4096.")


def _address(text: str, field: str, cidr: IPv4Network | IPv6Network) -> Any:
    try:
        address = type(cidr.network_address)(text)
    except ValueError:
        raise exception.BadRequest(f"{field}: {text[:45]!r} is no IPv{cidr.version} address.") \
            from None
    if address not in cidr or address == cidr.network_address \
            or (cidr.version == 4 and address == cidr.broadcast_address):
        raise exception.BadRequest(f"{field}: {address} is no host's address in {cidr}.")
    return address


def _pools(pools: Any, cidr: IPv4Network) -> list[tuple[Any, Any]]:
    found = [(_address(pool["start"], "allocation_pools", cidr),
              _address(pool["end"], "allocation_pools", cidr)) for pool in pools]
    for first, last in found:
        if first > last:
            raise exception.BadRequest(f"allocation_pools: {first} is behind {last}.")
    ordered = sorted(found)
    for (_, end), (start, _) in zip(ordered, ordered[1:], strict=False):
        if start <= end:
            raise exception.BadRequest("allocation_pools: ranges overlap.")
    return found


def _servers(texts: list[str] | None) -> list[str]:
    """Return name servers' addresses in their canonical form."""
    try:
        found = [str(IPv4Address(text)) for text in texts or ()]
    except ValueError:
        raise exception.BadRequest(
            "dns_nameservers: one of them is no IPv4 address.") from None
    if len(found) != len(set(found)):
        raise exception.BadRequest("dns_nameservers: one of them is there twice.")
    return found
