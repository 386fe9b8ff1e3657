# SPDX-License-Identifier: Apache-2.0
"""Images, through compute's own path: a proxy that old clients still use."""

from collections.abc import Mapping
from typing import Any

from nova import exception
from nova.api.openstack import paging
from nova.api.openstack.compute.links import both
from nova.api.openstack.compute.servers_schema import META_ITEM, METADATA_BODY
from nova.api.openstack.wsgi import Request, Resource, route
from nova.image.model import Image

_STATUS = {"active": "ACTIVE", "queued": "SAVING", "saving": "SAVING", "importing": "SAVING",
           "uploading": "SAVING", "deleted": "DELETED", "pending_delete": "DELETED",
           "killed": "ERROR", "deactivated": "ACTIVE"}
_PROGRESS = {"queued": 0, "saving": 50, "importing": 50, "uploading": 50, "active": 100,
             "deactivated": 100}
_FILTERS = {"name": "name", "status": "status", "changes-since": "updated_at",
            "server": "instance_uuid", "type": "image_type", "minRam": "min_ram",
            "minDisk": "min_disk"}
_TO_GLANCE = {"ACTIVE": "active", "SAVING": "saving", "DELETED": "deleted", "ERROR": "killed"}


def basic(req: Request, image: Image) -> dict[str, Any]:
    """Return what a list shows of an image."""
    return {"id": image.id, "name": image.name, "links": [
        *both(req, f"images/{image.id}"),
        {"rel": "alternate", "type": "application/vnd.openstack.image",
         "href": f"{req.root}/images/{image.id}"}]}


def detailed(req: Request, image: Image) -> dict[str, Any]:
    """Return all of an image that the Compute API shows."""
    return {
        **basic(req, image), "status": _STATUS.get(image.status, "UNKNOWN"),
        "progress": _PROGRESS.get(image.status, 0), "minDisk": image.min_disk,
        "minRam": image.min_ram, "metadata": metadata_of(image),
        "created": image.created_at, "updated": image.updated_at,
        "OS-EXT-IMG-SIZE:size": image.size,
    }


def metadata_of(image: Image) -> dict[str, str]:
    """Return an image's own properties as text."""
    return {name: str(value) for name, value in image.properties.items()}


class Images(Resource):
    """``/images``"""

    def __init__(self, images: Any) -> None:
        self._images = images

    @route("GET", "/images", policy="compute:images:list")
    def index(self, req: Request) -> dict[str, Any]:
        return self._list(req, "/images", basic)

    @route("GET", "/images/detail", policy="compute:images:list")
    def detail(self, req: Request) -> dict[str, Any]:
        return self._list(req, "/images/detail", detailed)

    def _list(self, req: Request, path: str, view: Any) -> dict[str, Any]:
        limit = paging.limit_of(req)
        if limit == 0:
            return {"images": []}
        found = self._images.list(req.context, _filters(req), marker=paging.marker_of(req),
                                  limit=limit)
        body: dict[str, Any] = {"images": [view(req, image) for image in found]}
        if found and len(found) == limit:
            body["images_links"] = [paging.next_link(req, path, found[-1].id)]
        return body

    @route("GET", "/images/{image_id}", policy="compute:images:show")
    def show(self, req: Request, image_id: str) -> dict[str, Any]:
        return {"image": detailed(req, self._images.get(req.context, image_id))}

    @route("DELETE", "/images/{image_id}", status=204, policy="compute:images:delete")
    def delete(self, req: Request, image_id: str) -> None:
        self._images.delete(req.context, image_id)

    # ------------------------------------------------------------ metadata

    @route("GET", "/images/{image_id}/metadata", policy="compute:images:show")
    def metadata(self, req: Request, image_id: str) -> dict[str, Any]:
        return {"metadata": metadata_of(self._images.get(req.context, image_id))}

    @route("POST", "/images/{image_id}/metadata", body=METADATA_BODY,
           policy="compute:images:change")
    def add_metadata(self, req: Request, image_id: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": self._set(req, image_id, body["metadata"], ())}

    @route("PUT", "/images/{image_id}/metadata", body=METADATA_BODY, policy="compute:images:change")
    def replace_metadata(self, req: Request, image_id: str,
                         body: dict[str, Any]) -> dict[str, Any]:
        old = metadata_of(self._images.get(req.context, image_id))
        gone = tuple(key for key in old if key not in body["metadata"])
        return {"metadata": self._set(req, image_id, body["metadata"], gone)}

    def _set(self, req: Request, image_id: str, values: Mapping[str, str],
             remove: tuple[str, ...]) -> dict[str, str]:
        return metadata_of(
            self._images.set_properties(req.context, image_id, values, remove))

    @route("GET", "/images/{image_id}/metadata/{key}", policy="compute:images:show")
    def meta(self, req: Request, image_id: str, key: str) -> dict[str, Any]:
        found = metadata_of(self._images.get(req.context, image_id))
        if key not in found:
            raise exception.NotFound(f"Metadata item {key[:255]!r} was not found.")
        return {"meta": {key: found[key]}}

    @route("PUT", "/images/{image_id}/metadata/{key}", body=META_ITEM,
           policy="compute:images:change")
    def set_meta(self, req: Request, image_id: str, key: str,
                 body: dict[str, Any]) -> dict[str, Any]:
        if key not in body["meta"]:
            raise exception.BadRequest("meta: the key has to be the one of the path.")
        self._set(req, image_id, body["meta"], ())
        return {"meta": body["meta"]}

    @route("DELETE", "/images/{image_id}/metadata/{key}", status=204,
           policy="compute:images:change")
    def delete_meta(self, req: Request, image_id: str, key: str) -> None:
        if key not in metadata_of(self._images.get(req.context, image_id)):
            raise exception.NotFound(f"Metadata item {key[:255]!r} was not found.")
        self._set(req, image_id, {}, (key,))


def _filters(req: Request) -> dict[str, str]:
    found = {}
    for name, glance_name in _FILTERS.items():
        value = req.last(name)
        if not value:
            continue
        if name == "status":
            value = _TO_GLANCE.get(value.upper(), value.lower())
        elif name == "changes-since":
            value = f"gte:{value}"
        elif name == "server":
            value = value.rpartition("/")[2]
        elif name in ("minRam", "minDisk"):
            value = str(paging.integer_of(req, name))
        found[glance_name] = value
    return found
