# SPDX-License-Identifier: Apache-2.0
"""Filling the cache with what is queued for it."""

from __future__ import annotations

import logging

from oslo_config import cfg

from glance import exceptions
from glance.cache import ImageCache
from glance.context import service_context
from glance.image.download import open_image
from glance.image.service import ImageService

OPTIONS = [
    cfg.IntOpt("cache_prefetcher_interval", default=300, min=1,
               help="Seconds between two looks of glance-api at the queue of its cache."),
]
LOG = logging.getLogger(__name__)


def run_once(service: ImageService, cache: ImageCache) -> int:
    """Fetch every queued image; how many are cached now that were not.

    An image that cannot be fetched leaves the queue if it is gone, and stays in it if its store is.
    """
    done = 0
    for image_id in cache.queued():
        try:
            done += _fetch(service, cache, image_id)
        except exceptions.NotFound:
            LOG.warning("image %s is gone; taken from the queue of the cache", image_id)
            cache.unqueue(image_id)
        except exceptions.GlanceError as error:
            LOG.error("image %s cannot be cached now: %s", image_id, error.message)
    return done


def _fetch(service: ImageService, cache: ImageCache, image_id: str) -> bool:
    image = service.registry.get_image(service_context(), image_id)
    if cache.is_cached(image_id):
        cache.unqueue(image_id)
        return False
    for _ in cache.tee(image, open_image(service.stores, image)):
        pass
    return cache.is_cached(image_id)
