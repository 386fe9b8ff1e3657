# SPDX-License-Identifier: Apache-2.0
"""Version documents and extensions: what clients ask before anything else."""

from typing import Any

from nova import exception
from nova.api.openstack.network import listing
from nova.api.openstack.wsgi import Request, Resource, route

UPDATED = "2026-01-01T00:00:00Z"
RESOURCES = {"network": "networks", "subnet": "subnets", "port": "ports",
             "floatingip": "floatingips", "security_group": "security-groups",
             "security_group_rule": "security-group-rules", "quota": "quotas"}
# Only what is there as the alias promises it; of "router" floating addresses are.
EXTENSIONS = {
    "router": ("Floating IP addresses", "Public addresses that lead to a port; no routers"),
    "external-net": ("External networks", "Networks that floating addresses come from"),
    "security-group": ("Security groups", "What may reach a port and what may leave it"),
    "quotas": ("Quotas", "How much a project may have"),
    "quota_details": ("Quota details", "How much of its quota a project uses"),
    "net-mtu": ("Network MTU", "The largest packet of a network"),
    "net-mtu-writable": ("Writable network MTU", "The largest packet can be changed"),
    "project-id": ("project_id", "The owner under its newer name"),
    "standard-attr-timestamp": ("Times", "When a thing was made and last changed"),
    "sorting": ("Sorting", "sort_key and sort_dir"),
    "pagination": ("Pagination", "limit and marker"),
    "filter-validation": ("Filter validation", "An unknown filter is refused"),
    "network-ip-availability": ("Network IP availability", "How many addresses are taken"),
    "binding": ("Port binding", "The host a port is on, for administrators"),
    "fip-port-details": ("Floating IP port details", "The port a floating address leads to"),
    "security-groups-normalized-cidr": ("Normalized CIDR", "A rule's network in canonical form"),
}


def _extension(alias: str) -> dict[str, Any]:
    name, description = EXTENSIONS[alias]
    return {"alias": alias, "name": name, "description": description, "updated": UPDATED,
            "links": []}


class Versions(Resource):
    """What is served at the root, before any token."""

    @route("GET", "/", public=True)
    def index(self, req: Request) -> dict[str, Any]:
        return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [
            {"rel": "self", "href": f"{req.root}/v2.0/"}]}]}

    @route("GET", "/v2.0", public=True)
    def show(self, req: Request) -> dict[str, Any]:
        return {"resources": [
            {"name": name, "collection": path.replace("-", "_"), "links": [
                {"rel": "self", "href": f"{req.root}/v2.0/{path}"}]}
            for name, path in RESOURCES.items()]}


class Extensions(Resource):
    """``/extensions``"""

    @route("GET", "/extensions", policy="network:extensions:list")
    def index(self, req: Request) -> dict[str, Any]:
        return {"extensions": [listing.fields_of(req, _extension(alias))
                               for alias in EXTENSIONS]}

    @route("GET", "/extensions/{alias}", policy="network:extensions:list")
    def show(self, req: Request, alias: str) -> dict[str, Any]:
        if alias not in EXTENSIONS:
            raise exception.NotFound(f"Extension {alias[:64]!r} could not be found.")
        return {"extension": _extension(alias)}
