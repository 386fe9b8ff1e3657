# SPDX-License-Identifier: Apache-2.0
"""Snapshots of volumes."""

from typing import Any

from nova import exception
from nova.api.openstack.compute.links import micros
from nova.api.openstack.validation import BOOLEAN, METADATA, NOTHING, UUID, Schema, obj, string
from nova.api.openstack.volume import listing
from nova.api.openstack.wsgi import Request, Resource, action, route
from nova.db.volume_models import VolumeSnapshot
from nova.volume.api import API
from nova.volume.states import SnapshotStatus

_NULL: dict[str, Any] = {"type": "null"}
TEXT = {"anyOf": [string(255), _NULL]}
CREATE = Schema(obj({"snapshot": obj({
    "volume_id": UUID, "name": TEXT, "description": TEXT, "display_name": TEXT,
    "display_description": TEXT, "force": {"anyOf": [BOOLEAN, _NULL]},
    "metadata": {"anyOf": [METADATA, _NULL]}}, ("volume_id",))}, ("snapshot",)))
UPDATE = Schema(obj({"snapshot": obj({
    "name": TEXT, "description": TEXT, "display_name": TEXT, "display_description": TEXT,
}, minProperties=1)}, ("snapshot",)))
RESET = Schema(obj({"status": string(32, 1)}, ("status",)))
EMPTY = Schema(NOTHING)
PATH = "/snapshots/{snapshot_id}/action"
FILTERS = {name: name for name in ("name", "status", "volume_id", "user_id", "id", "description")}
FILTERS |= {"display_name": "name", "name~": "name_like"}
SORT_KEYS = {name: name for name in ("created_at", "updated_at", "id", "name", "status")}
SORT_KEYS |= {"size": "size_gb", "display_name": "name"}


def view(row: VolumeSnapshot) -> dict[str, Any]:
    """Return a snapshot as a list shows it."""
    return {"id": row.id, "name": row.name, "description": row.description,
            "volume_id": row.volume_id, "status": row.status, "size": row.size_gb,
            "created_at": micros(row.created_at), "updated_at": micros(row.updated_at),
            "metadata": row.metadata_ or {}}


def detailed(row: VolumeSnapshot) -> dict[str, Any]:
    """Return all of a snapshot."""
    done = row.status == SnapshotStatus.AVAILABLE
    return {**view(row), "user_id": row.user_id,
            "os-extended-snapshot-attributes:project_id": row.project_id,
            "os-extended-snapshot-attributes:progress": "100%" if done else "0%"}


class Snapshots(Resource):
    """``/snapshots``"""

    def __init__(self, api: API) -> None:
        self._api = api

    @route("GET", "/snapshots", policy="volume:snapshots:list")
    def index(self, req: Request) -> dict[str, Any]:
        rows, links = self._page(req, "/snapshots")
        return {"snapshots": [view(row) for row in rows], **links}

    @route("GET", "/snapshots/detail", policy="volume:snapshots:list")
    def detail(self, req: Request) -> dict[str, Any]:
        rows, links = self._page(req, "/snapshots/detail")
        return {"snapshots": [detailed(row) for row in rows], **links}

    def _page(self, req: Request, path: str) -> Any:
        return listing.page(req, "snapshots", path, self._api.get_all_snapshots, FILTERS,
                            SORT_KEYS)

    @route("GET", "/snapshots/{snapshot_id}", policy="volume:snapshots:show")
    def show(self, req: Request, snapshot_id: str) -> dict[str, Any]:
        return {"snapshot": detailed(self._api.get_snapshot(req.context, snapshot_id[:64]))}

    @route("POST", "/snapshots", status=202, body=CREATE, policy="volume:snapshots:create")
    def create(self, req: Request, body: dict[str, Any]) -> dict[str, Any]:
        asked = body["snapshot"]
        volume = self._api.get(req.context, asked["volume_id"])
        if volume.project_id != req.context.project_id:
            # A copy of somebody else's data is not even an administrator's to make.
            raise exception.VolumeNotFound(volume_id=volume.id)
        return {"snapshot": view(self._api.create_snapshot(
            req.context, volume.id, metadata=asked.get("metadata") or {}, **_names(asked)))}

    @route("PUT", "/snapshots/{snapshot_id}", body=UPDATE, policy="volume:snapshots:update")
    def update(self, req: Request, snapshot_id: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"snapshot": view(self._api.update_snapshot(
            req.context, snapshot_id[:64], _names(body["snapshot"])))}

    @route("DELETE", "/snapshots/{snapshot_id}", status=202, policy="volume:snapshots:delete")
    def delete(self, req: Request, snapshot_id: str) -> None:
        self._api.delete_snapshot(req.context, snapshot_id[:64])

    @action(PATH, "os-reset_status", body=RESET, policy="volume:snapshots:reset_status")
    def reset_status(self, req: Request, snapshot_id: str, body: dict[str, Any]) -> None:
        self._api.reset_snapshot_status(req.context, snapshot_id[:64], body["status"])

    @action(PATH, "os-force_delete", body=EMPTY, policy="volume:snapshots:force_delete")
    def force_delete(self, req: Request, snapshot_id: str, body: Any) -> None:
        self._api.delete_snapshot(req.context, snapshot_id[:64])

    @action(PATH, "os-unmanage", policy="volume:unsupported:admin")
    @action(PATH, "os-update_snapshot_status", policy="volume:unsupported:admin")
    def not_there(self, req: Request, snapshot_id: str) -> None:
        raise exception.NotSupported(what="This action of snapshots")


def _names(asked: dict[str, Any]) -> dict[str, Any]:
    """Return name and description, under either of the names this API has for them."""
    found = {}
    for name in ("name", "description"):
        for key in (f"display_{name}", name):
            if key in asked:
                found[name] = asked[key]
    return found
