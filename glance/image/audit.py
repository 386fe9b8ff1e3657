# SPDX-License-Identifier: Apache-2.0
"""The registry against the stores: no data without its image, no image without its data."""

from __future__ import annotations

from collections.abc import Iterator

from glance import exceptions
from glance.context import service_context
from glance.image import states
from glance.image.service import ImageService
from glance.registry.types import Image, ImageQuery

_PAGE = 500


def _all_images(service: ImageService) -> Iterator[Image]:
    marker = None
    while True:
        page = service.registry.list_images(service_context(), ImageQuery(
            visibility="all", member_status="all", sort=(("id", "asc"),), marker=marker,
            limit=_PAGE))
        yield from page
        if len(page) < _PAGE:
            return
        marker = page[-1]["id"]


def findings(service: ImageService) -> Iterator[str]:
    """One sentence for each thing that does not match; nothing is changed."""
    known: dict[str, set[str]] = {}
    for image in _all_images(service):
        known[image["id"]] = {place["store"] for place in image["locations"]}
        yield from _check_image(service, image)
    for image in service.registry.list_transient(service_context()):
        known.setdefault(image["id"], set()).update(store.name for store in service.stores)
        yield f"image {image['id']} is {image['status']} since {image['upload_age']:.0f} s"
    for image_id in service.importer.staging.list_ids():
        if image_id not in known:
            yield f"the staging area holds data of image {image_id}, which is gone"
    for store in service.stores:
        for image_id in store.list_ids():
            if store.name not in known.get(image_id, ()):
                yield f"store {store.name} holds data of image {image_id}, which the registry " \
                      "does not know there"


def _check_image(service: ImageService, image: Image) -> Iterator[str]:
    if image["status"] in (states.ACTIVE, states.DEACTIVATED) and not image["locations"]:
        yield f"image {image['id']} is {image['status']} without data"
    for place in image["locations"] if image["status"] != states.QUEUED else ():
        store = service.stores.get(place["store"])
        if store is None:
            yield f"image {image['id']} lies in store {place['store']}, which is not enabled"
            continue
        try:
            size = store.size(place["url"])
        except exceptions.GlanceError as error:
            yield f"image {image['id']}: {error.message}"
            continue
        if size != image["size"]:
            yield (f"image {image['id']} has {size} bytes in store {store.name}, "
                   f"{image['size']} in the registry")
