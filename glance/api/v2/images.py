# SPDX-License-Identifier: Apache-2.0
"""``/v2/images``: create, list, show, update and delete image documents."""

from __future__ import annotations

import urllib.parse
from typing import Any

import webob

from glance import exceptions, wsgi
from glance.api.v2 import filters, patch, views
from glance.image import fields
from glance.registry.types import Image


def create(request: wsgi.Request) -> webob.Response:
    """POST /v2/images: 201 with the document of an image without data."""
    document = request.json_object()
    if not isinstance(document, dict):
        raise exceptions.Invalid("body: must be a JSON object")
    for name in document:
        fields.refuse_reserved(name)
    fields.check(document)
    values = fields.split(document)
    if "id" in values:
        values["id"] = fields.canonical_id(values["id"])
    image = request.service.create(request.context, values)
    path = f"/v2/images/{image['id']}"
    stores = request.service.stores
    return wsgi.json_response(views.image(image, request), 201, {
        "Location": wsgi.absolute_url(request, path),
        "OpenStack-image-import-methods": ",".join(request.service.importer.methods),
        "OpenStack-image-store-ids": ",".join(
            store.name for store in stores if not store.read_only)})


def index(request: wsgi.Request) -> webob.Response:
    """GET /v2/images: one page, with links to this listing's first and next page."""
    pairs = request.query_pairs()
    query = filters.parse(pairs, request.service.limits.page_default,
                          request.service.limits.page_max)
    found = request.service.list(request.context, query)
    kept = [(name, value) for name, value in pairs if name != "marker"]
    document: dict[str, Any] = {
        "images": [views.image(image, request) for image in found],
        "schema": "/v2/schemas/images", "first": _link(kept)}
    if found and len(found) == query.limit:
        document["next"] = _link([*kept, ("marker", found[-1]["id"])])
    return wsgi.json_response(document)


def show(request: wsgi.Request, image_id: str) -> webob.Response:
    """GET /v2/images/{id}."""
    return wsgi.json_response(
        views.image(request.service.get(request.context, image_id), request))


def update(request: wsgi.Request, image_id: str) -> webob.Response:
    """PATCH /v2/images/{id}: all of the patch is applied, or nothing."""
    context = request.context
    if request.media_type not in patch.MEDIA_TYPES:
        error = exceptions.UnsupportedMediaType(
            f"Content-Type: must be {patch.V21}, is {request.media_type[:80] or 'missing'}")
        response = wsgi.error_response(error, context.request_id)
        response.headers["Accept-Patch"] = ", ".join(patch.MEDIA_TYPES)
        return response
    changes = patch.parse(request.json_object(patch.MEDIA_TYPES), request.media_type)
    for attempt in range(1, request.service.patch_attempts + 1):
        image = request.service.get(context, image_id)
        try:
            return wsgi.json_response(views.image(_apply(request, image, changes), request))
        except exceptions.Conflict:
            # Only a change that came between is worth another look at the image.
            changed = request.service.get(context, image_id)["version"] != image["version"]
            if not changed or attempt == request.service.patch_attempts:
                raise
    raise exceptions.Conflict(f"image {image_id} is changing too fast")


def _apply(request: wsgi.Request, image: Image,
           changes: list[tuple[str, str, Any]]) -> Image:
    locations = request.service.locations
    if any(patch.is_location(path) for _, path, _ in changes):
        if not locations.shown:
            raise exceptions.Forbidden("locations: this name is reserved")
        return locations.patch(request.context, image, changes)
    values = patch.apply(image, changes)
    if not values:
        return image
    return request.service.update(request.context, image, values)


def delete(request: wsgi.Request, image_id: str) -> webob.Response:
    """DELETE /v2/images/{id}: 204 once nobody can see it."""
    request.service.delete(request.context, image_id)
    return wsgi.empty_response(204)


def _link(pairs: list[tuple[str, str]]) -> str:
    query = urllib.parse.urlencode(pairs)
    return f"/v2/images?{query}" if query else "/v2/images"
