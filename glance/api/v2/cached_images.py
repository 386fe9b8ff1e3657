# SPDX-License-Identifier: Apache-2.0
"""``/v2/cache``: what the cache of this machine holds; for administrators."""

from __future__ import annotations

from typing import Any

import webob

from glance import concurrency, exceptions, wsgi
from glance.cache import ImageCache, prefetch
from glance.cache.drivers import Entry
from glance.image import states

_TARGETS = {"": (True, True), "cache": (True, False), "queue": (False, True)}


def _cache(request: wsgi.Request) -> ImageCache:
    request.service.policy.check(request.context, "manage_image_cache")
    cache = request.service.cache
    if cache is None:
        raise exceptions.NotSupported("image_cache_dir: this service has no image cache")
    return cache


def _view(entry: Entry) -> dict[str, Any]:
    return {"image_id": entry.image_id, "hits": entry.hits, "size": entry.size,
            "last_accessed": entry.last_accessed, "last_modified": entry.last_modified}


def index(request: wsgi.Request) -> webob.Response:
    """GET: cached and queued images."""
    cache = _cache(request)
    return wsgi.json_response({"cached_images": [_view(entry) for entry in cache.entries()],
                               "queued_images": cache.queued()})


def enqueue(request: wsgi.Request, image_id: str) -> webob.Response:
    """PUT: 202; the image is fetched beside the answer."""
    cache = _cache(request)
    image = request.service.get(request.context, image_id)
    if image["status"] != states.ACTIVE:
        raise exceptions.Invalid(f"image {image_id} is {image['status']}; only an active image "
                                 "can be cached")
    cache.enqueue(image["id"])
    concurrency.spawn(prefetch.run_once, request.service, cache)
    return wsgi.empty_response(202)


def delete(request: wsgi.Request, image_id: str) -> webob.Response:
    """DELETE: one image, from cache and queue."""
    cache = _cache(request)
    if not any([cache.delete(image_id), cache.unqueue(image_id)]):
        raise exceptions.NotFound(f"image {image_id[:64]} is neither cached nor queued")
    return wsgi.empty_response(204)


def clear(request: wsgi.Request) -> webob.Response:
    """DELETE: everything, or what ``X-Image-Cache-Clear-Target`` says: cache or queue."""
    cache = _cache(request)
    target = request.headers.get("X-Image-Cache-Clear-Target", "").lower()
    if target not in _TARGETS:
        raise exceptions.Invalid("X-Image-Cache-Clear-Target: must be cache or queue")
    cached, queued = _TARGETS[target]
    cache.clear(cached=cached, queued=queued)
    return wsgi.empty_response(204)
