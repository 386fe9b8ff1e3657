# SPDX-License-Identifier: Apache-2.0
"""Keys and values of volumes and snapshots: ``/volumes/ID/metadata``, ``/snapshots/ID/metadata``.
"""

import abc
from collections.abc import Callable, Iterable
from typing import Any

from nova import exception
from nova.api.openstack.compute.servers_schema import META_ITEM, METADATA_BODY
from nova.api.openstack.wsgi import Mark, Request, Resource
from nova.volume.api import API


class _Metadata(Resource, abc.ABC):
    """Metadata of one kind of thing; the subclass says which."""

    kind: str

    @abc.abstractmethod
    def _row(self, req: Request, thing_id: str) -> Any:
        """Return the thing; raise NotFound of its kind."""

    @abc.abstractmethod
    def _add(self, req: Request, thing_id: str, values: dict[str, str]) -> dict[str, str]:
        """Set some keys; return all."""

    @abc.abstractmethod
    def _replace(self, req: Request, thing_id: str, values: dict[str, str]) -> dict[str, str]:
        """Set these keys and remove all others; return all."""

    @abc.abstractmethod
    def _remove(self, req: Request, thing_id: str, key: str) -> None:
        """Remove one key, which is there."""

    def handlers(self) -> Iterable[tuple[Mark, Callable]]:
        """Return one handler per method, under the kind's own path and policies."""
        path = f"/{self.kind}/{{thing_id}}/metadata"
        key = path + "/{key}"
        see, change = (f"volume:{self.kind.rstrip('s')}_metadata:{may}"
                       for may in ("list", "change"))
        yield Mark("GET", path, 200, None, see, False, None), self.index
        yield Mark("POST", path, 200, METADATA_BODY, change, False, None), self.add
        yield Mark("PUT", path, 200, METADATA_BODY, change, False, None), self.replace
        yield Mark("GET", key, 200, None, see, False, None), self.show
        yield Mark("PUT", key, 200, META_ITEM, change, False, None), self.set
        yield Mark("DELETE", key, 200, None, change, False, None), self.delete

    def index(self, req: Request, thing_id: str) -> dict[str, Any]:
        return {"metadata": self._row(req, thing_id[:64]).metadata_ or {}}

    def add(self, req: Request, thing_id: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": self._add(req, thing_id[:64], body["metadata"])}

    def replace(self, req: Request, thing_id: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": self._replace(req, thing_id[:64], body["metadata"])}

    def show(self, req: Request, thing_id: str, key: str) -> dict[str, Any]:
        found = self._row(req, thing_id[:64]).metadata_ or {}
        if key not in found:
            raise exception.NotFound(f"Metadata item {key[:255]!r} was not found.")
        return {"meta": {key: found[key]}}

    def set(self, req: Request, thing_id: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
        if key not in body["meta"]:
            raise exception.BadRequest("meta: the key has to be the one of the path.")
        self._add(req, thing_id[:64], body["meta"])
        return {"meta": body["meta"]}

    def delete(self, req: Request, thing_id: str, key: str) -> None:
        self._remove(req, thing_id[:64], key)


class VolumeMetadata(_Metadata):
    """Metadata of volumes."""

    kind = "volumes"

    def __init__(self, api: API) -> None:
        self._api = api

    def _row(self, req: Request, thing_id: str) -> Any:
        return self._api.get(req.context, thing_id)

    def _add(self, req: Request, thing_id: str, values: dict[str, str]) -> dict[str, str]:
        return self._api.add_metadata(req.context, thing_id, values)

    def _replace(self, req: Request, thing_id: str, values: dict[str, str]) -> dict[str, str]:
        return self._api.replace_metadata(req.context, thing_id, values)

    def _remove(self, req: Request, thing_id: str, key: str) -> None:
        self._api.delete_metadata(req.context, thing_id, key)


class SnapshotMetadata(_Metadata):
    """Metadata of snapshots."""

    kind = "snapshots"

    def __init__(self, api: API) -> None:
        self._api = api

    def _row(self, req: Request, thing_id: str) -> Any:
        return self._api.get_snapshot(req.context, thing_id)

    def _add(self, req: Request, thing_id: str, values: dict[str, str]) -> dict[str, str]:
        return self._api.add_snapshot_metadata(req.context, thing_id, values)

    def _replace(self, req: Request, thing_id: str, values: dict[str, str]) -> dict[str, str]:
        return self._api.replace_snapshot_metadata(req.context, thing_id, values)

    def _remove(self, req: Request, thing_id: str, key: str) -> None:
        self._api.delete_snapshot_metadata(req.context, thing_id, key)
