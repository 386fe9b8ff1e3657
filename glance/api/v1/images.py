# SPDX-License-Identifier: Apache-2.0
"""``/v1/images``: list, show, create, upload, update and delete."""

from __future__ import annotations

from typing import Any

import webob

from glance import exceptions, wsgi
from glance.api import ranges
from glance.api.data import OCTETS, announced_size, data_response
from glance.api.v1 import headers
from glance.image import states
from glance.image.orders import DOWNLOAD, Order
from glance.image.service import check_uploadable
from glance.registry import query
from glance.registry.types import Image

_BRIEF = ("id", "name", "size", "disk_format", "container_format", "checksum")
_PURGE = "X-Glance-Registry-Purge-Props"


def _found(request: wsgi.Request) -> list[dict[str, Any]]:
    limits = request.service.limits
    wanted = query.parse(request.query_pairs(), is_admin=request.context.is_admin,
                         default_limit=limits.page_default, max_limit=limits.page_max)
    return [headers.document(image, request)
            for image in request.service.list(request.context, wanted)]


def index(request: wsgi.Request) -> webob.Response:
    """GET /v1/images: brief."""
    return wsgi.json_response({"images": [
        {name: image[name] for name in _BRIEF} for image in _found(request)]})


def detail(request: wsgi.Request) -> webob.Response:
    """GET /v1/images/detail: everything."""
    return wsgi.json_response({"images": _found(request)})


def head(request: wsgi.Request, image_id: str) -> webob.Response:
    """HEAD /v1/images/ID: the metadata in headers, no body."""
    image = request.service.get(request.context, image_id)
    return wsgi.empty_response(200, _described(image, request))


def show(request: wsgi.Request, image_id: str) -> webob.Response:
    """GET /v1/images/ID: the metadata in headers, the data in the body."""
    context = request.context
    image = request.service.get(context, image_id)
    size = image["size"] or 0
    part = ranges.requested(request, size) if image["status"] == states.ACTIVE else None
    offset, length = (0, size) if part is None else part
    content = request.service.read_content(context, image, offset, length)
    sent = {**_described(image, request), "Content-Type": OCTETS}
    if part is not None:
        sent["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{size}"
    return data_response(request, content.pieces, length, sent, 200 if part is None else 206,
                         f"download of image {image_id}")


def _described(image: Image, request: wsgi.Request) -> dict[str, str]:
    sent = {**headers.render(image, request), "Location": f"/v1/images/{image['id']}"}
    if image["checksum"]:
        sent["ETag"] = image["checksum"]
    return sent


def create(request: wsgi.Request) -> webob.Response:
    """POST /v1/images: 201; with a body the image is active at once, else it stays queued."""
    context = request.context
    values, expected = headers.parse(request)
    has_data = _has_data(request)
    if has_data:
        check_uploadable({**dict.fromkeys(("disk_format", "container_format")), **values,
                          "status": states.QUEUED})
    if has_data + sum(bool(expected.get(name)) for name in ("location", "copy_from")) > 1:
        raise exceptions.Invalid("body: give one of data, x-image-meta-location and "
                                 f"{headers.COPY_FROM}")
    image = request.service.create(context, values)
    try:
        if has_data:
            image = _upload(request, image["id"], expected)
        else:
            image = _from_elsewhere(request, image, expected)
    except exceptions.GlanceError:
        _forget_if_queued(request, image["id"])
        raise
    return _answer(request, image, 201)


def _from_elsewhere(request: wsgi.Request, image: Image, expected: dict[str, Any]) -> Image:
    """Have the data fetched (the image is saving until then), or note where it lies."""
    service, context = request.service, request.context
    if expected.get("location"):
        return service.locations.register(context, image, expected["location"])
    if expected.get("copy_from"):
        service.policy.check(context, "copy_from", image)
        importer = service.importer
        order = Order(DOWNLOAD, importer.stores(
            expected.get("store") and [expected["store"]], False), expected["copy_from"])
        importer.start(context, image["id"], order, {"import_from": order.uri})
        return service.get(context, image["id"])
    return image


def _forget_if_queued(request: wsgi.Request, image_id: str) -> None:
    """One request made row and data: an upload refused before it began leaves no row either."""
    service = request.context.for_service()
    try:
        if request.service.get(service, image_id)["status"] == states.QUEUED:
            request.service.delete(service, image_id)
    except exceptions.NotFound:
        return


def update(request: wsgi.Request, image_id: str) -> webob.Response:
    """PUT /v1/images/ID: new metadata; properties not sent again are dropped unless the header
    X-Glance-Registry-Purge-Props says false.  A body is the data of a queued image."""
    context = request.context
    values, expected = headers.parse(request)
    image = request.service.get(context, image_id)
    if values.pop("id", image["id"]) != image["id"]:
        raise exceptions.Forbidden("x-image-meta-id: cannot be changed")
    has_data = _has_data(request)
    if has_data and image["status"] != states.QUEUED:
        raise exceptions.Conflict(f"image {image_id} is {image['status']}; data can be uploaded "
                                  "only while it is queued")
    purge = request.headers.get(_PURGE, "true").lower() != "false"
    changes = {name: value for name, value in values.items()
               if name == "properties" or value != image[name]}
    if not _changes_visibility(image, changes):
        changes.pop("visibility", None)
    image = request.service.update(context, image, changes, purge_props=purge)
    if has_data:
        image = _upload(request, image_id, expected)
    elif expected.get("location") or expected.get("copy_from"):
        if image["status"] != states.QUEUED:
            raise exceptions.Conflict(f"image {image_id} is {image['status']}; its data cannot be "
                                      "replaced")
        image = _from_elsewhere(request, image, expected)
    return _answer(request, image, 200)


def _changes_visibility(image: Image, changes: dict[str, Any]) -> bool:
    """This version knows public or not: private and community images are not public already."""
    wanted = changes.get("visibility")
    return wanted is not None and (wanted == "public") != (image["visibility"] == "public")


def _has_data(request: wsgi.Request) -> bool:
    """Whether the request has a body, which then must be declared as bytes."""
    if announced_size(request) == 0:
        return False
    if request.media_type != OCTETS:
        raise exceptions.Invalid(f"Content-Type: must be {OCTETS} for image data")
    return True


def _upload(request: wsgi.Request, image_id: str, expected: dict[str, Any]) -> Image:
    size = announced_size(request)
    if size is None:
        size = expected.get("size")
    elif expected.get("size") not in (None, size):
        raise exceptions.Invalid(
            f"x-image-meta-size: {expected['size']} does not match Content-Length {size}")
    return request.service.upload(
        request.context, image_id, request.environ["wsgi.input"], size,
        store_name=expected.get("store"), checksum=expected.get("checksum"))


def _answer(request: wsgi.Request, image: Image, status: int) -> webob.Response:
    sent = {"Location": wsgi.absolute_url(request, f"/v1/images/{image['id']}")}
    if image["checksum"]:
        sent["ETag"] = image["checksum"]
    return wsgi.json_response({"image": headers.document(image, request)}, status, sent)


def delete(request: wsgi.Request, image_id: str) -> webob.Response:
    """DELETE /v1/images/ID."""
    request.service.delete(request.context, image_id)
    return wsgi.empty_response(200)
