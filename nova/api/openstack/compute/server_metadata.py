# SPDX-License-Identifier: Apache-2.0
"""A server's own keys and values: ``/servers/ID/metadata``."""

from typing import Any

from nova import exception
from nova.api.openstack.compute.servers_schema import META_ITEM, METADATA_BODY
from nova.api.openstack.wsgi import Request, Resource, route
from nova.compute.api import API

_PATH = "/servers/{server_id}/metadata"


class ServerMetadata(Resource):
    """Metadata of servers."""

    def __init__(self, compute: API) -> None:
        self._compute = compute

    @route("GET", _PATH, policy="compute:server_metadata:list")
    def index(self, req: Request, server_id: str) -> dict[str, Any]:
        return {"metadata": self._compute.get(req.context, server_id).metadata_}

    @route("POST", _PATH, body=METADATA_BODY, policy="compute:server_metadata:change")
    def add(self, req: Request, server_id: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": self._compute.add_metadata(
            req.context, server_id, body["metadata"])}

    @route("PUT", _PATH, body=METADATA_BODY, policy="compute:server_metadata:change")
    def replace(self, req: Request, server_id: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": self._compute.replace_metadata(
            req.context, server_id, body["metadata"])}

    @route("GET", _PATH + "/{key}", policy="compute:server_metadata:show")
    def show(self, req: Request, server_id: str, key: str) -> dict[str, Any]:
        metadata = self._compute.get(req.context, server_id).metadata_
        if key not in metadata:
            raise exception.NotFound(f"Metadata item {key[:255]!r} was not found.")
        return {"meta": {key: metadata[key]}}

    @route("PUT", _PATH + "/{key}", body=META_ITEM, policy="compute:server_metadata:change")
    def set(self, req: Request, server_id: str, key: str,
            body: dict[str, Any]) -> dict[str, Any]:
        if key not in body["meta"]:
            raise exception.BadRequest("meta: the key has to be the one of the path.")
        self._compute.add_metadata(req.context, server_id, body["meta"])
        return {"meta": body["meta"]}

    @route("DELETE", _PATH + "/{key}", status=204, policy="compute:server_metadata:change")
    def delete(self, req: Request, server_id: str, key: str) -> None:
        self._compute.delete_metadata(req.context, server_id, key)
