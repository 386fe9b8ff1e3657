# SPDX-License-Identifier: Apache-2.0
"""What hangs on a server and is only looked at: addresses, actions, interfaces, groups."""

from typing import Any

from nova import exception
from nova.api.openstack.compute.links import micros
from nova.api.openstack.compute.security_groups import group_views
from nova.api.openstack.validation import Schema
from nova.api.openstack.wsgi import Request, Resource, route
from nova.compute.api import API, actions_of, events_of
from nova.db.models import InstanceAction, InstanceActionEvent

_ANY_BODY = Schema({"type": "object"})


class ServerAddresses(Resource):
    """``/servers/ID/ips``"""

    def __init__(self, compute: API) -> None:
        self._compute = compute

    def _addresses(self, req: Request, server_id: str) -> dict[str, Any]:
        server = self._compute.get(req.context, server_id)
        found = self._compute.network.addresses_for_instances(req.context, [server.id])
        return {network: [{"addr": one["addr"], "version": one["version"]} for one in those]
                for network, those in found.get(server.id, {}).items()}

    @route("GET", "/servers/{server_id}/ips", policy="compute:servers:ips")
    def index(self, req: Request, server_id: str) -> dict[str, Any]:
        return {"addresses": self._addresses(req, server_id)}

    @route("GET", "/servers/{server_id}/ips/{network}", policy="compute:servers:ips")
    def show(self, req: Request, server_id: str, network: str) -> dict[str, Any]:
        found = self._addresses(req, server_id)
        if network not in found:
            raise exception.NotFound(f"Server {server_id} is not on network {network[:255]!r}.")
        return {network: found[network]}


class InstanceActions(Resource):
    """``/servers/ID/os-instance-actions``: what was asked of a server and how it ended."""

    @staticmethod
    def _view(row: InstanceAction) -> dict[str, Any]:
        return {"action": row.action, "instance_uuid": row.instance_id,
                "request_id": row.request_id, "user_id": row.user_id,
                "project_id": row.project_id, "start_time": micros(row.started_at),
                "updated_at": micros(row.finished_at or row.started_at),
                "message": row.message}

    @route("GET", "/servers/{server_id}/os-instance-actions",
           policy="compute:instance_actions:list")
    def index(self, req: Request, server_id: str) -> dict[str, Any]:
        return {"instanceActions": [self._view(row)
                                    for row in actions_of(req.context, server_id)]}

    @route("GET", "/servers/{server_id}/os-instance-actions/{request_id}",
           policy="compute:instance_actions:show")
    def show(self, req: Request, server_id: str, request_id: str) -> dict[str, Any]:
        for row in actions_of(req.context, server_id):
            if row.request_id == request_id:
                return {"instanceAction": {
                    **self._view(row),
                    "events": [self._event(one, bool(req.context.is_admin))
                               for one in events_of(row)]}}
        raise exception.NotFound(f"Action for request_id {request_id[:64]} on instance "
                                 f"{server_id} not found")

    @staticmethod
    def _event(row: InstanceActionEvent, for_operator: bool) -> dict[str, Any]:
        """Return one step; where it was done, and why it was refused there, is the operator's."""
        return {"event": row.event, "start_time": micros(row.started_at),
                "finish_time": micros(row.finished_at), "result": row.result,
                "traceback": row.message if for_operator else None,
                **({"host": row.host} if for_operator else {})}


class Interfaces(Resource):
    """``/servers/ID/os-interface``, read only."""

    def __init__(self, compute: API) -> None:
        self._compute = compute

    def _interfaces(self, req: Request, server_id: str) -> list[dict[str, Any]]:
        server = self._compute.get(req.context, server_id)
        return [{
            "port_id": view.port.id, "net_id": view.network.id, "mac_addr": view.port.mac,
            "port_state": view.port.status,
            "fixed_ips": [{
                "ip_address": fixed.address,
                "subnet_id": view.network.subnet_v6_id if ":" in fixed.address
                else view.network.subnet_id} for fixed in view.addresses],
        } for view in self._compute.network.ports_of_instance(req.context, server.id)]

    @route("GET", "/servers/{server_id}/os-interface", policy="compute:interfaces:list")
    def index(self, req: Request, server_id: str) -> dict[str, Any]:
        return {"interfaceAttachments": self._interfaces(req, server_id)}

    @route("GET", "/servers/{server_id}/os-interface/{port_id}", policy="compute:interfaces:show")
    def show(self, req: Request, server_id: str, port_id: str) -> dict[str, Any]:
        for interface in self._interfaces(req, server_id):
            if interface["port_id"] == port_id:
                return {"interfaceAttachment": interface}
        raise exception.PortNotFound(port_id=port_id[:64])

    @route("POST", "/servers/{server_id}/os-interface", body=_ANY_BODY,
           policy="compute:interfaces:change")
    def create(self, req: Request, server_id: str, body: dict[str, Any]) -> None:
        self._compute.get(req.context, server_id)
        raise exception.NotSupported(what="Attaching interfaces to a server")

    @route("DELETE", "/servers/{server_id}/os-interface/{port_id}",
           policy="compute:interfaces:change")
    def delete(self, req: Request, server_id: str, port_id: str) -> None:
        self._compute.get(req.context, server_id)
        raise exception.NotSupported(what="Detaching interfaces from a server")


class ServerGroupsOf(Resource):
    """``/servers/ID/os-security-groups``: the security groups a server's ports are in."""

    def __init__(self, compute: API) -> None:
        self._compute = compute

    @route("GET", "/servers/{server_id}/os-security-groups",
           policy="compute:servers:security_groups")
    def index(self, req: Request, server_id: str) -> dict[str, Any]:
        server = self._compute.get(req.context, server_id)
        return {"security_groups": group_views(
            self._compute.network.security_groups_of_instance(req.context, server.id))}
