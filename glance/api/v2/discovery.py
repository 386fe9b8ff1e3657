# SPDX-License-Identifier: Apache-2.0
"""``/v2/info/...``: what this service is set up to do."""

from __future__ import annotations

from typing import Any

import webob

from glance import wsgi


def _store(request: wsgi.Request, name: str) -> dict[str, Any]:
    document: dict[str, Any] = {"id": name}
    if name == request.service.stores.default:
        document["default"] = "true"
    if request.service.stores[name].weight:
        document["weight"] = request.service.stores[name].weight
    if request.service.stores[name].read_only:
        document["read-only"] = "true"
    return document


def stores(request: wsgi.Request) -> webob.Response:
    """GET /v2/info/stores: the names a client may put into ``X-Image-Meta-Store``."""
    request.require_identity()
    return wsgi.json_response({"stores": [_store(request, store.name)
                                          for store in request.service.stores]})


def stores_detail(request: wsgi.Request) -> webob.Response:
    """GET /v2/info/stores/detail, for administrators: types and sizes; never paths or accounts."""
    request.service.policy.check(request.context, "get_store_details")
    return wsgi.json_response({"stores": [
        {**_store(request, store.name), "type": store.kind or store.schemes[0],
         "properties": store.details()}
        for store in request.service.stores]})


def imports(request: wsgi.Request) -> webob.Response:
    """GET /v2/info/import: how images can be imported."""
    request.require_identity()
    return wsgi.json_response({"import-methods": {
        "description": "Import methods available.", "type": "array",
        "value": list(request.service.importer.methods)}})


def usage(request: wsgi.Request) -> webob.Response:
    """GET /v2/info/usage: what the caller's project has and may have; -1 is no limit."""
    context = request.context
    used = request.service.registry.usage(context, context.project_id)
    limits = request.service.limits
    mib = 1 << 20
    return wsgi.json_response({"usage": {
        "image_size_total": {"limit": limits.bytes // mib if limits.bytes >= 0 else -1,
                             "usage": -(-used.bytes // mib)},
        "image_stage_total": {"limit": limits.staged // mib if limits.staged >= 0 else -1,
                              "usage": -(-used.staged // mib)},
        "image_count_total": {"limit": limits.images, "usage": used.images},
        "image_count_uploading": {"limit": limits.uploads, "usage": used.uploads}}})
