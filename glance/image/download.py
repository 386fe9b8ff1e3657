# SPDX-License-Identifier: Apache-2.0
"""Reading an image back, with an eye on whether it is still what was written."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence

from glance import exceptions
from glance.registry.types import Image
from glance.store import Stores
from glance.store.checked import checked

LOG = logging.getLogger(__name__)


def open_image(stores: Stores, image: Image, offset: int = 0, length: int | None = None,
               prefer: Sequence[str] = ()) -> Iterator[bytes]:
    """The bytes of an active image from the first of its locations that can deliver.

    A whole image is checked while it streams: on a wrong checksum or size the last piece is never
    handed out and `CorruptData` is raised, so no reader can mistake bad data for good.
    """
    problem: exceptions.GlanceError = exceptions.NotFound(f"image {image['id']} has no data")
    for place in stores.ordered(image["locations"], prefer):
        try:
            store = stores[place["store"]]
            found = store.size(place["url"])
            if found != image["size"]:
                raise exceptions.CorruptData(
                    f"image {image['id']}: {image['size']} bytes were stored, {found} are there")
            pieces = store.read(place["url"], offset, length)
        except exceptions.GlanceError as error:
            LOG.error("image %s cannot be read from store %s: %s", image["id"], place["store"],
                      error.message)
            problem = error
            continue
        if offset == 0 and length in (None, image["size"]) and place["crc32"] is not None:
            return checked(pieces, image["size"], place["crc32"], functools.partial(
                LOG.error, "image %s in store %s is corrupt: %s", image["id"], store.name))
        return pieces
    if isinstance(problem, exceptions.NotFound):
        problem = exceptions.CorruptData(f"the data of image {image['id']} is missing")
    raise problem
