# SPDX-License-Identifier: Apache-2.0
"""Volumes: create, list, show, update, delete.  What is done to one stands in volume_actions."""

from typing import Any

from nova import exception, policy
from nova.api.openstack.validation import BOOLEAN, METADATA, UUID, Schema, as_bool, integer, obj
from nova.api.openstack.validation import string as text
from nova.api.openstack.volume import listing, volumes_view
from nova.api.openstack.wsgi import Answer, Request, Resource, route
from nova.db.volume_models import Volume
from nova.volume.api import API
from nova.volume.request import MAX_SIZE_GB

_NULL: dict[str, Any] = {"type": "null"}
TEXT = {"anyOf": [text(255), _NULL]}
_ID = {"anyOf": [UUID, {"const": ""}, _NULL]}
_METADATA = {"anyOf": [METADATA, _NULL]}
_BOOL = {"anyOf": [BOOLEAN, _NULL]}
CREATE = Schema(obj({"volume": obj({
    "size": {"anyOf": [integer(1, MAX_SIZE_GB), _NULL]}, "name": TEXT, "display_name": TEXT,
    "description": TEXT, "display_description": TEXT, "volume_type": TEXT,
    "availability_zone": TEXT, "snapshot_id": _ID, "source_volid": _ID, "imageRef": _ID,
    "image_id": _ID, "metadata": _METADATA, "multiattach": _BOOL, "consistencygroup_id": TEXT,
    "source_replica": TEXT, "group_id": TEXT, "backup_id": TEXT,
}), "OS-SCH-HNT:scheduler_hints": {"type": ["object", "null"]}}, ("volume",)))
UPDATE = Schema(obj({"volume": obj({
    "name": TEXT, "description": TEXT, "display_name": TEXT, "display_description": TEXT,
    "metadata": METADATA}, minProperties=1)}, ("volume",)))
# What other clouds can do with a new volume and this one cannot.
_UNSUPPORTED = ("multiattach", "consistencygroup_id", "source_replica", "group_id", "backup_id")
FILTERS = {name: name for name in ("name", "status", "bootable", "availability_zone", "user_id",
                                   "snapshot_id", "description")}
FILTERS |= {"display_name": "name", "size": "size_gb", "id": "id", "source_volid":
            "source_volume_id", "name~": "name_like"}
SORT_KEYS = {name: name for name in ("created_at", "updated_at", "id", "name", "status",
                                     "availability_zone", "bootable")}
SORT_KEYS |= {"size": "size_gb", "display_name": "name"}


class Volumes(Resource):
    """``/volumes``"""

    def __init__(self, api: API) -> None:
        self._api = api

    @route("GET", "/volumes", policy="volume:volumes:list")
    def index(self, req: Request) -> dict[str, Any]:
        rows, links = self._page(req, "/volumes")
        return {"volumes": [volumes_view.basic(req, row) for row in rows], **links}

    @route("GET", "/volumes/detail", policy="volume:volumes:list")
    def detail(self, req: Request) -> dict[str, Any]:
        rows, links = self._page(req, "/volumes/detail")
        return {"volumes": volumes_view.detailed(req, rows), **links}

    def _page(self, req: Request, path: str) -> Any:
        return listing.page(req, "volumes", path, self._api.get_all, FILTERS, SORT_KEYS)

    @route("GET", "/volumes/{volume_id}", policy="volume:volumes:show")
    def show(self, req: Request, volume_id: str) -> dict[str, Any]:
        return _one(req, self._api.get(req.context, volume_id[:64]))

    @route("POST", "/volumes", status=202, body=CREATE, policy="volume:volumes:create")
    def create(self, req: Request, body: dict[str, Any]) -> Answer:
        asked = body["volume"]
        for name in _UNSUPPORTED:
            if asked.get(name) not in (None, "", False, "false", "False"):
                raise exception.NotSupported(what=f"volume.{name}")
        if hints := body.get("OS-SCH-HNT:scheduler_hints"):
            raise exception.NotSupported(
                what=f"OS-SCH-HNT:scheduler_hints: {', '.join(sorted(hints))[:64]}")
        size = asked.get("size")
        row = self._api.create(
            req.context, None if size is None else int(size), **_names(asked),
            volume_type=asked.get("volume_type") or None,
            availability_zone=asked.get("availability_zone") or None,
            snapshot_id=asked.get("snapshot_id") or None,
            source_volume_id=asked.get("source_volid") or None,
            image_id=asked.get("imageRef") or asked.get("image_id") or None,
            metadata=asked.get("metadata") or {})
        return Answer(_one(req, row), headers={
            "Location": f"{req.base}/volumes/{row.id}"})

    @route("PUT", "/volumes/{volume_id}", body=UPDATE, policy="volume:volumes:update")
    def update(self, req: Request, volume_id: str, body: dict[str, Any]) -> dict[str, Any]:
        asked = body["volume"]
        if "metadata" in asked:
            policy.authorize(req.context, "volume:volume_metadata:change")
            self._api.replace_metadata(req.context, volume_id[:64], asked["metadata"])
        return _one(req, self._api.update(req.context, volume_id[:64], _names(asked)))

    @route("DELETE", "/volumes/{volume_id}", status=202, policy="volume:volumes:delete")
    def delete(self, req: Request, volume_id: str) -> None:
        if as_bool(req.last("force", "")):
            policy.authorize(req.context, "volume:volumes:force_delete")
        self._api.delete(req.context, volume_id[:64],
                         cascade=as_bool(req.last("cascade", "")))


def _names(asked: dict[str, Any]) -> dict[str, Any]:
    """Return name and description, under either of the names this API has for them."""
    found = {}
    for name in ("name", "description"):
        for key in (f"display_{name}", name):
            if key in asked:
                found[name] = asked[key]
    return found


def _one(req: Request, row: Volume) -> dict[str, Any]:
    return {"volume": volumes_view.detailed(req, [row])[0]}
