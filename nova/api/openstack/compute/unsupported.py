# SPDX-License-Identifier: Apache-2.0
"""Parts of the Compute API this cloud does not have: they say so, with 501."""

from collections.abc import Iterable
from typing import Any

from nova import exception
from nova.api.openstack.wsgi import Mark, Request, Resource, route

_MISSING = (
    "os-volumes", "os-snapshots", "os-agents", "os-assisted-volume-snapshots", "os-cells",
    "os-cloudpipe", "os-fixed-ips", "os-fping", "os-instance_usage_audit_log",
    "os-quota-class-sets", "os-security-group-default-rules",
    "os-server-external-events", "os-console-auth-tokens", "os-certificates",
    "os-floating-ips-bulk", "os-floating-ip-dns", "os-virtual-interfaces", "os-baremetal-nodes")
_OPERATORS = {
    "os-agents", "os-assisted-volume-snapshots", "os-cells", "os-fixed-ips",
    "os-instance_usage_audit_log", "os-quota-class-sets", "os-server-external-events",
    "os-floating-ips-bulk", "os-baremetal-nodes", "diagnostics", "migrations"}
_BELOW_SERVER = (
    "os-server-password", "diagnostics", "migrations", "remote-consoles", "topology", "tags",
    "os-virtual-interfaces")


class EmptyLists(Resource):
    """Lists that are empty, whose members can neither exist nor be made."""

    @route("GET", "/os-aggregates", policy="compute:aggregates:list")
    def aggregates(self, req: Request) -> dict[str, Any]:
        return {"aggregates": []}

    @route("GET", "/os-server-groups", policy="compute:server_groups:list")
    def groups(self, req: Request) -> dict[str, Any]:
        return {"server_groups": []}

    @route("GET", "/os-migrations", policy="compute:migrations:list")
    def migrations(self, req: Request) -> dict[str, Any]:
        return {"migrations": []}

    @route("GET", "/os-aggregates/{aggregate_id}", policy="compute:aggregates:list")
    def aggregate(self, req: Request, aggregate_id: str) -> None:
        raise exception.NotFound(f"Aggregate {aggregate_id[:64]} could not be found.")

    @route("GET", "/os-server-groups/{group_id}", policy="compute:server_groups:list")
    def group(self, req: Request, group_id: str) -> None:
        raise exception.NotFound(f"Instance group {group_id[:64]} could not be found.")

    @route("POST", "/os-aggregates", policy="compute:aggregates:change")
    @route("POST", "/os-aggregates/{aggregate_id}/action", policy="compute:aggregates:change")
    @route("PUT", "/os-aggregates/{aggregate_id}", policy="compute:aggregates:change")
    @route("DELETE", "/os-aggregates/{aggregate_id}", policy="compute:aggregates:change")
    def no_aggregates(self, req: Request, aggregate_id: str | None = None) -> None:
        raise exception.NotSupported(what="Host aggregates")

    @route("POST", "/os-server-groups", policy="compute:server_groups:change")
    @route("DELETE", "/os-server-groups/{group_id}", policy="compute:server_groups:change")
    def no_groups(self, req: Request, group_id: str | None = None) -> None:
        raise exception.NotSupported(what="Server groups")


class Missing(Resource):
    """Paths that answer 501 to every method."""

    def handlers(self) -> Iterable[Any]:
        """Return one handler per method and path, made from the tables above."""
        places = [(name, f"/{name}") for name in _MISSING]
        places += [(name, f"/servers/{{server_id}}/{name}") for name in _BELOW_SERVER]
        for name, place in places:
            rule = "compute:unsupported:admin" if name in _OPERATORS else "compute:unsupported"
            for path in (place, place + "/{rest:.*}"):
                for method in ("GET", "POST", "PUT", "DELETE"):
                    yield Mark(method, path, 200, None, rule, False, None), self.refuse

    def refuse(self, req: Request, server_id: str | None = None, rest: str = "") -> None:
        """Say what is not there."""
        raise exception.NotSupported(what=req.path_info[:128])

