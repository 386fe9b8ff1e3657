# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/stage`` and ``/import``: data in two steps, or from elsewhere."""

from __future__ import annotations

from typing import Any

import webob

from glance import exceptions, wsgi
from glance.api.data import OCTETS, announced_size
from glance.image import regions
from glance.image.fields import canonical_id
from glance.image.orders import DOWNLOAD, REGION, Order


def stage(request: wsgi.Request, image_id: str) -> webob.Response:
    """PUT: 204 once the data waits for its import."""
    context = request.context
    if request.media_type != OCTETS:
        raise exceptions.UnsupportedMediaType(
            f"Content-Type: must be {OCTETS}, is {request.media_type[:80] or 'missing'}")
    request.service.importer.staging.stage(context, image_id, request.environ["wsgi.input"],
                                   announced_size(request))
    return wsgi.empty_response(204)


def _boolean(document: dict[str, Any], name: str, default: bool) -> bool:
    value = document.get(name, default)
    if not isinstance(value, bool):
        raise exceptions.Invalid(f"{name}: must be true or false")
    return value


def _text(method: dict[str, Any], name: str, default: str | None = None) -> str:
    value = method.get(name, default)
    if not isinstance(value, str):
        raise exceptions.Invalid(f"method.{name}: a text is needed for {method['name']}")
    return value


def _image_of_region(request: wsgi.Request, method: dict[str, Any]) -> regions.Source:
    """The image that ``glance-download`` names, by the caller's catalog."""
    try:
        image_id = canonical_id(_text(method, "glance_image_id"))
    except exceptions.Invalid:
        raise exceptions.Invalid(
            "method.glance_image_id: image id does not look like a UUID") from None
    url = regions.endpoint(request.environ.get("HTTP_X_SERVICE_CATALOG"),
                           _text(method, "glance_region"),
                           _text(method, "glance_service_interface", "public"))
    return regions.Source(request.context, url, image_id)


def start(request: wsgi.Request, image_id: str) -> webob.Response:
    """POST {"method": {"name", ...}, "stores", "all_stores", "all_stores_must_succeed"}: 202,
    and the rest is told by the image and its tasks.

    Of a method's other members, ``web-download`` needs a uri, ``glance-download``
    glance_image_id, glance_region and perhaps glance_service_interface.
    """
    document = request.json_object()
    method = document.get("method") if isinstance(document, dict) else None
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        raise exceptions.Invalid("method: an object with a name is needed")
    uri, source = None, None
    if method["name"] == DOWNLOAD:
        uri = _text(method, "uri")
    elif method["name"] == REGION:
        source = _image_of_region(request, method)
        uri = source.image_id
    stores = document.get("stores")
    if stores is not None and (not isinstance(stores, list) or len(stores) > 100 or not all(
            isinstance(name, str) for name in stores)):
        raise exceptions.Invalid("stores: must be a list of names")
    every = _boolean(document, "all_stores", False)
    header = request.headers.get("X-Image-Meta-Store")
    if sum(map(bool, (stores, every, header))) > 1:
        raise exceptions.Invalid("stores: give one of stores, all_stores and X-Image-Meta-Store")
    importer = request.service.importer
    order = Order(method["name"], importer.stores(stores or (header and [header]), every),
                  uri, _boolean(document, "all_stores_must_succeed", True))
    importer.start(request.context, image_id, order, {"import_req": document}, source=source)
    return wsgi.empty_response(202)
