# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/locations`` and ``/v2/stores/{store}/{id}``: where image data lies."""

from __future__ import annotations

import webob

from glance import exceptions, wsgi


def index(request: wsgi.Request, image_id: str) -> webob.Response:
    """GET: the locations, for services and administrators."""
    return wsgi.json_response(request.service.locations.show(request.context, image_id))


def create(request: wsgi.Request, image_id: str) -> webob.Response:
    """POST {"url", "validation_data"}: 202; the image is active once its data was hashed."""
    document = request.json_object()
    if not isinstance(document, dict):
        raise exceptions.Invalid("body: must be a JSON object")
    request.service.locations.add(request.context, image_id, document.get("url"),
                                  document.get("validation_data"))
    return wsgi.empty_response(202)


def delete_from_store(request: wsgi.Request, store_id: str, image_id: str) -> webob.Response:
    """DELETE: one copy goes, another stays."""
    request.service.locations.remove_from(request.context, store_id, image_id)
    return wsgi.empty_response(204)
