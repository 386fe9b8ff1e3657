# SPDX-License-Identifier: Apache-2.0
"""Servers: create, list, show, update, delete.  What is done to one stands in server_actions."""

import base64
import ipaddress
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from nova import exception
from nova.api.openstack import paging
from nova.api.openstack.compute import block_devices
from nova.api.openstack.compute import servers_view as view
from nova.api.openstack.compute.links import both
from nova.api.openstack.compute.servers_filter import Filter
from nova.api.openstack.compute.servers_schema import CREATE, UPDATE
from nova.api.openstack.validation import as_bool
from nova.api.openstack.wsgi import Answer, Request, Resource, route
from nova.compute.api import API
from nova.compute.boot import BootRequest
from nova.db.models import Instance

SORT_KEYS = {
    "created_at": "created_at", "updated_at": "updated_at", "uuid": "id", "id": "id",
    "display_name": "display_name", "name": "display_name", "host": "host",
    "vm_state": "vm_state", "task_state": "task_state", "power_state": "power_state",
    "launched_at": "launched_at", "project_id": "project_id", "user_id": "user_id",
    "availability_zone": "availability_zone", "image_ref": "image_id",
    "instance_type_id": "flavor_id", "key_name": "key_name", "access_ip_v4": "access_ip_v4",
    "access_ip_v6": "access_ip_v6",
}
# Only an administrator may order by what he alone is shown: order tells as much as a filter.
_ADMIN_SORT_KEYS = {"host"}
PASSWORD_BYTES = 9


class Servers(Resource):
    """``/servers``"""

    def __init__(self, compute: API) -> None:
        self._compute = compute

    # ------------------------------------------------------------ lists

    @route("GET", "/servers", policy="compute:servers:list")
    def index(self, req: Request) -> dict[str, Any]:
        rows, links = self._page(req, "/servers")
        return {"servers": [view.basic(req, row) for row in rows], **links}

    @route("GET", "/servers/detail", policy="compute:servers:list")
    def detail(self, req: Request) -> dict[str, Any]:
        rows, links = self._page(req, "/servers/detail")
        return {"servers": view.detailed(req, rows, self._compute), **links}

    def _page(self, req: Request, path: str) -> tuple[list[Instance], dict[str, Any]]:
        limit = paging.limit_of(req)
        wanted = Filter.of(req, self._compute.network)
        names = {name: column for name, column in SORT_KEYS.items()
                 if req.context.is_admin or name not in _ADMIN_SORT_KEYS}
        sort = paging.sort_of(req, names, (("created_at", "desc"),))
        rows = wanted.page(marker=paging.marker_of(req), limit=limit, sort=sort)
        if not rows or len(rows) < limit:
            return rows, {}
        return rows, {"servers_links": [paging.next_link(req, path, rows[-1].id)]}

    # ------------------------------------------------------------ one

    @route("GET", "/servers/{server_id}", policy="compute:servers:show")
    def show(self, req: Request, server_id: str) -> dict[str, Any]:
        row = self._compute.get(req.context, server_id)
        return {"server": view.detailed(req, [row], self._compute)[0]}

    @route("PUT", "/servers/{server_id}", body=UPDATE, policy="compute:servers:update")
    def update(self, req: Request, server_id: str, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body["server"]
        columns: dict[str, Any] = {}
        if "name" in wanted:
            columns["display_name"] = wanted["name"].strip()
        for name, column in (("accessIPv4", "access_ip_v4"), ("accessIPv6", "access_ip_v6")):
            if name in wanted:
                columns[column] = _address(wanted[name])
        row = self._compute.update(req.context, server_id, columns,
                                   disk_config=wanted.get("OS-DCF:diskConfig"))
        return {"server": view.updated(req, row, self._compute)}

    @route("DELETE", "/servers/{server_id}", status=204, policy="compute:servers:delete")
    def delete(self, req: Request, server_id: str) -> None:
        self._compute.delete(req.context, server_id)

    # ------------------------------------------------------------ create

    @route("POST", "/servers", status=202, body=CREATE, policy="compute:servers:create")
    def create(self, req: Request, body: dict[str, Any]) -> Answer:
        server = body["server"]
        made = self._compute.create(req.context, boot_request(body))
        if as_bool(server.get("return_reservation_id", False)):
            return Answer({"reservation_id": made[0].reservation_id})
        row = made[0]
        links = both(req, f"servers/{row.id}")
        return Answer(
            {"server": {
                "id": row.id, "links": links,
                "OS-DCF:diskConfig": row.build_request["disk_config"],
                "security_groups": [{"name": name} for name in
                                    row.build_request["security_group_names"] or ["default"]],
                "adminPass": server.get("adminPass") or secrets.token_urlsafe(PASSWORD_BYTES)}},
            headers={"Location": links[0]["href"]})


# The old way to boot; also at its own path, where some clients of volumes look.
class BootVolumes(Resource):
    """``/os-volumes_boot``: the same as POST /servers."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    @route("POST", "/os-volumes_boot", status=202, body=CREATE, policy="compute:servers:create")
    def create(self, req: Request, body: dict[str, Any]) -> Answer:
        return self._servers.create(req, body)


def boot_request(body: Mapping[str, Any]) -> BootRequest:
    """Return the boot that a body (it fits its schema) asks for; BadRequest, NotSupported."""
    server = body["server"]
    if server.get("personality"):
        raise exception.BadRequest(
            "personality: files are not written into guests by this cloud; use user_data.")
    hints = body.get("os:scheduler_hints") or body.get("OS-SCH-HNT:scheduler_hints") \
        or server.get("os:scheduler_hints") or {}
    minimum, maximum = _counts(server)
    image_id, volumes = block_devices.parse(server)
    return BootRequest(
        name=server["name"].strip(), flavor_id=str(server["flavorRef"]).rpartition("/")[2],
        image_id=image_id, block_devices=volumes, min_count=minimum, max_count=maximum,
        key_name=server.get("key_name"), networks=_networks(server.get("networks")),
        security_groups=tuple(dict.fromkeys(
            group["name"] for group in server.get("security_groups", ()))),
        user_data=_user_data(server.get("user_data")), metadata=server.get("metadata") or {},
        availability_zone=(server.get("availability_zone") or "").strip() or None,
        config_drive=as_bool(server.get("config_drive")),
        access_ip_v4=_address(server.get("accessIPv4")),
        access_ip_v6=_address(server.get("accessIPv6")), scheduler_hints=_hints(hints),
        disk_config=server.get("OS-DCF:diskConfig", "MANUAL"))


def _address(text: str | None) -> str | None:
    """Return an address in its canonical form; None for none."""
    return str(ipaddress.ip_address(text)) if text else None


def _counts(server: Mapping[str, Any]) -> tuple[int, int]:
    minimum = int(server.get("min_count", 1))
    maximum = int(server.get("max_count", minimum))
    if minimum > maximum:
        raise exception.BadRequest("min_count must be <= max_count")
    return minimum, maximum


def _networks(wanted: Any) -> Sequence[Mapping[str, Any]] | str | None:
    if wanted is None or isinstance(wanted, str):
        return wanted
    found = []
    for position, network in enumerate(wanted):
        network = {name: value for name, value in network.items()
                   if value is not None and name != "tag"}
        if "port" not in network and "uuid" not in network:
            raise exception.BadRequest(f"networks.{position}: uuid or port is required.")
        found.append(network)
    # An empty list has always meant "as if nothing had been said".
    return found or None


def _user_data(text: str | None) -> str | None:
    if not text:
        return None
    text = re.sub(r"\s", "", text)
    base64.b64decode(text, validate=True)
    return text


def _hints(hints: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the hints the scheduler knows, as lists; all others are a user's own words."""
    if hints.get("group"):
        raise exception.NotSupported(what="os:scheduler_hints.group: server groups")
    found = {}
    for name in ("same_host", "different_host"):
        if hints.get(name):
            found[name] = [hints[name]] if isinstance(hints[name], str) else list(hints[name])
    return found
