# SPDX-License-Identifier: Apache-2.0
"""``copy-image``: the data of an active image in further stores, and copies that are given up."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from glance import exceptions
from glance.context import service_context
from glance.image import states
from glance.image.download import open_image
from glance.image.orders import FAILED, TO_STORES, Order
from glance.image.tasks import Tasks
from glance.image.upload import BEAT_INTERVAL
from glance.registry.types import Image, Task

if TYPE_CHECKING:
    from glance.image.service import ImageService

LOG = logging.getLogger(__name__)


class Copier:
    """Works on the orders that leave an image active."""

    def __init__(self, service: ImageService, tasks: Tasks) -> None:
        self._service = service
        self._tasks = tasks

    def copy(self, task: Task, order: Order) -> list[str]:
        """Copy an active image to each store, one location at a time; the stores that failed.

        :raises GlanceError: all of them did, or one when all must succeed.
        """
        failed: list[str] = []
        problem: exceptions.GlanceError | None = None
        for name in order.stores:
            try:
                self._copy_to(task, order, name)
            except exceptions.GlanceError as error:
                LOG.error("image %s: not copied to %s: %s", task["image_id"], name, error.message)
                failed.append(name)
                problem = error
                if order.all_must_succeed or isinstance(error, exceptions.NotFound):
                    break
        left = [name for name in order.stores if name in failed]
        self.tell(task["image_id"], {TO_STORES: "", FAILED: ",".join(left)})
        if problem is not None and (order.all_must_succeed or len(failed) == len(order.stores)):
            raise problem
        return failed

    def _copy_to(self, task: Task, order: Order, name: str) -> None:
        service, image_id = self._service, task["image_id"]
        image = service.registry.get_image(service_context(), image_id)
        store = service.stores.writable(name)
        crc32 = next((place["crc32"] for place in image["locations"]), None)
        stored = store.add(image_id, self._pieces(task, image), image["size"])
        place: dict[str, Any] = {"store": name, "url": stored.url, "crc32": crc32, "metadata": {}}
        rest = order.stores[order.stores.index(name) + 1:]
        try:
            self._enter(image_id, place, rest)
        except exceptions.GlanceError:
            service.remove_bytes(image_id, place)
            raise

    def _pieces(self, task: Task, image: Image) -> Iterator[bytes]:
        last_beat = time.monotonic()
        for piece in open_image(self._service.stores, image):
            yield piece
            if time.monotonic() - last_beat >= BEAT_INTERVAL:
                # NotFound: deleted meanwhile
                self._service.registry.get_image(service_context(), image["id"])
                self._tasks.touch(task["id"])
                last_beat = time.monotonic()

    def _enter(self, image_id: str, place: dict[str, Any], rest: tuple[str, ...]) -> None:
        """Add a location to the row, however often somebody else's change comes between."""
        registry = self._service.registry
        while True:
            fresh = registry.get_image(service_context(), image_id)
            try:
                registry.update_image(
                    service_context(), image_id,
                    {"locations": [*fresh["locations"], place],
                     "properties": {TO_STORES: ",".join(rest)}},
                    version=fresh["version"], from_status=(states.ACTIVE, states.DEACTIVATED))
                return
            except exceptions.Conflict:
                if fresh["version"] == registry.get_image(service_context(), image_id)["version"]:
                    raise

    def tell(self, image_id: str, properties: dict[str, str]) -> None:
        """Set what the image says of its copies, if it is still there."""
        try:
            self._service.registry.update_image(service_context(), image_id,
                                                {"properties": properties})
        except (exceptions.NotFound, exceptions.Conflict):
            LOG.info("image %s was deleted while it was being copied", image_id)

    def remove(self, task: Task) -> None:
        """Remove data that the image's row does not name any more; tried until it works."""
        order, image_id = Order.of(task), task["image_id"]
        try:
            image = self._service.registry.get_image(service_context(), image_id)
            named = [place["url"] for place in image["locations"]]
        except exceptions.NotFound:
            named = []
        if order.uri in named:  # the row was not changed after all
            self._tasks.finish(task["id"], "failure", "the location is still in use")
        elif self._service.remove_bytes(image_id, {"store": order.stores[0], "url": order.uri}):
            self._tasks.finish(task["id"], "success", "", {"image_id": image_id})
        self._tasks.leave(task["id"])
