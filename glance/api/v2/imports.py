# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/stage`` and ``/import``: data in two steps, or from elsewhere."""

from __future__ import annotations

from typing import Any

import webob

from glance import exceptions, wsgi
from glance.api.data import OCTETS, announced_size
from glance.image.importing import DOWNLOAD, Order


def stage(request: wsgi.Request, image_id: str) -> webob.Response:
    """PUT: 204 once the data waits for its import."""
    context = request.context
    if request.media_type != OCTETS:
        raise exceptions.UnsupportedMediaType(
            f"Content-Type: must be {OCTETS}, is {request.media_type[:80] or 'missing'}")
    request.service.importer.stage(context, image_id, request.environ["wsgi.input"],
                                   announced_size(request))
    return wsgi.empty_response(204)


def _boolean(document: dict[str, Any], name: str, default: bool) -> bool:
    value = document.get(name, default)
    if not isinstance(value, bool):
        raise exceptions.Invalid(f"{name}: must be true or false")
    return value


def start(request: wsgi.Request, image_id: str) -> webob.Response:
    """POST {"method": {"name", "uri"}, "stores", "all_stores", "all_stores_must_succeed"}: 202,
    and the rest is told by the image and its tasks."""
    document = request.json_object()
    method = document.get("method") if isinstance(document, dict) else None
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        raise exceptions.Invalid("method: an object with a name is needed")
    uri = method.get("uri")
    if method["name"] == DOWNLOAD and not isinstance(uri, str):
        raise exceptions.Invalid("method.uri: is needed to fetch data")
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
                  uri if method["name"] == DOWNLOAD else None,
                  _boolean(document, "all_stores_must_succeed", True))
    importer.start(request.context, image_id, order, {"import_req": document})
    return wsgi.empty_response(202)
