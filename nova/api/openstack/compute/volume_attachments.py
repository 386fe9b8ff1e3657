# SPDX-License-Identifier: Apache-2.0
"""``/servers/ID/os-volume_attachments``: the volumes of a server."""

from typing import Any

from nova import exception
from nova.api.openstack import paging
from nova.api.openstack.validation import UUID, Schema, obj
from nova.api.openstack.wsgi import Request, Resource, route
from nova.compute.api import API
from nova.db.volume_models import VolumeAttachment

_DEVICE = {"type": ["string", "null"], "maxLength": 64}
CREATE = Schema(obj({"volumeAttachment": obj(
    {"volumeId": UUID, "device": _DEVICE}, ("volumeId",))}, ("volumeAttachment",)))
UPDATE = Schema(obj({"volumeAttachment": obj(
    {"volumeId": UUID}, ("volumeId",), more=True)}, ("volumeAttachment",)))


def _view(one: VolumeAttachment) -> dict[str, Any]:
    return {"id": one.volume_id, "volumeId": one.volume_id, "serverId": one.instance_id,
            "device": f"/dev/{one.device}"}


class VolumeAttachments(Resource):
    """What is attached to one server.  An attachment is known by its volume's id."""

    def __init__(self, compute: API) -> None:
        self._compute = compute

    @route("GET", "/servers/{server_id}/os-volume_attachments",
           policy="compute:volume_attachments:list")
    def index(self, req: Request, server_id: str) -> dict[str, Any]:
        server = self._compute.get(req.context, server_id)
        found = list(self._compute.attachments.of([server.id]).get(server.id, ()))
        start = paging.integer_of(req, "offset")
        return {"volumeAttachments": [
            _view(one) for one in found[start:start + paging.limit_of(req)]]}

    @route("GET", "/servers/{server_id}/os-volume_attachments/{volume_id}",
           policy="compute:volume_attachments:show")
    def show(self, req: Request, server_id: str, volume_id: str) -> dict[str, Any]:
        server = self._compute.get(req.context, server_id)
        return {"volumeAttachment": _view(
            self._compute.attachments.get(server, volume_id[:64]))}

    @route("POST", "/servers/{server_id}/os-volume_attachments", body=CREATE,
           policy="compute:volume_attachments:create")
    def create(self, req: Request, server_id: str, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body["volumeAttachment"]
        return {"volumeAttachment": _view(self._compute.attachments.attach(
            req.context, server_id, wanted["volumeId"], wanted.get("device")))}

    @route("PUT", "/servers/{server_id}/os-volume_attachments/{volume_id}", body=UPDATE,
           policy="compute:volume_attachments:swap")
    def swap(self, req: Request, server_id: str, volume_id: str, body: dict[str, Any]) -> None:
        self._compute.attachments.get(self._compute.get(req.context, server_id), volume_id[:64])
        raise exception.NotSupported(what="Swapping volumes of a server")

    @route("DELETE", "/servers/{server_id}/os-volume_attachments/{volume_id}", status=202,
           policy="compute:volume_attachments:delete")
    def delete(self, req: Request, server_id: str, volume_id: str) -> None:
        self._compute.attachments.detach(req.context, server_id, volume_id[:64])
