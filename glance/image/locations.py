# SPDX-License-Identifier: Apache-2.0
"""Where the data of an image lies: seen and set by whom policy allows, the service by default.

Only addresses of read-only stores (web servers) can be set: what lies in a store of our own is
entered by the upload that put it there and by nothing else, so no address can make this service
read or remove anything in its own stores.  An image that has data keeps it: its hashes never
change, its last location is never removed, and it is never queued again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glance import exceptions
from glance.context import RequestContext, service_context
from glance.image import states
from glance.image.orders import LOOK, REMOVE, Order
from glance.registry.types import Image, Task

if TYPE_CHECKING:
    from glance.image.service import ImageService

_HEX = re.compile(r"[0-9a-f]+")
_HASHES = ("checksum", "os_hash_algo", "os_hash_value")
MAX_LOCATIONS = 10
_MAX_METADATA = 4096

Operation = tuple[str, str, Any]


def check_validation(data: Any) -> dict[str, str]:
    """The hashes in ``validation_data``; `Invalid` unless they can be those of anything."""
    if data is None:
        return {}
    if not isinstance(data, dict) or not set(data) <= set(_HASHES):
        raise exceptions.Invalid(f"validation_data: must be an object of {', '.join(_HASHES)}")
    algorithm, value = data.get("os_hash_algo"), data.get("os_hash_value")
    if (algorithm is None) != (value is None):
        raise exceptions.Invalid("validation_data: os_hash_algo and os_hash_value go together")
    sizes = {"checksum": 32}
    if algorithm is not None:
        if algorithm not in ("sha256", "sha384", "sha512"):
            raise exceptions.Invalid("os_hash_algo: must be sha256, sha384 or sha512")
        sizes["os_hash_value"] = 2 * hashlib.new(algorithm).digest_size
    for name, size in sizes.items():
        text = data.get(name)
        if text is not None and (not isinstance(text, str) or len(text) != size
                                 or not _HEX.fullmatch(text)):
            raise exceptions.Invalid(f"{name}: must be {size} hexadecimal digits")
    return {name: data[name] for name in _HASHES if data.get(name) is not None}


class Locations:
    """The locations of one service's images.

    :param shown: they are part of image documents, and can be patched there.
    :param direct_url: the first of them is.
    """

    def __init__(self, service: ImageService, *, shown: bool = False,
                 direct_url: bool = False) -> None:
        self.service = service
        self.shown = shown
        self.direct_url = direct_url

    # Looking

    def view(self, context: RequestContext, image: Image) -> dict[str, Any]:
        """What an image document says of its locations, for this caller."""
        document: dict[str, Any] = {}
        if image["locations"]:
            document["stores"] = ",".join(dict.fromkeys(
                place["store"] for place in self.service.stores.ordered(image["locations"])))
        if (self.shown or self.direct_url) and self.service.policy.allows(
                context, "get_image_location", image):
            places = self.listed(image)
            if self.shown:
                document["locations"] = places
            if self.direct_url and places:
                document["direct_url"] = places[0]["url"]
        return document

    @staticmethod
    def listed(image: Image) -> list[dict[str, Any]]:
        """[{url, metadata}]."""
        return [{"url": place["url"], "metadata": place.get("metadata") or {}}
                for place in image["locations"]]

    def show(self, context: RequestContext, image_id: str) -> list[dict[str, Any]]:
        """The locations, for whom policy allows to see them."""
        image = self.service.get(context, image_id)
        self.service.policy.check(context, "get_image_location", image)
        return [{"url": place["url"], "metadata": {
            **(place.get("metadata") or {}), "store": place["store"]}}
            for place in image["locations"]]

    # Setting

    def _place(self, location: Any) -> tuple[dict[str, Any], dict[str, str]]:
        """(location for the row, hashes that were sent with it) of a document."""
        if not isinstance(location, dict) or not set(location) <= {
                "url", "metadata", "validation_data"}:
            raise exceptions.Invalid("locations: each must be an object of url, metadata and "
                                     "validation_data")
        metadata = location.get("metadata") or {}
        if not isinstance(metadata, dict) or len(str(metadata)) > _MAX_METADATA:
            raise exceptions.Invalid("metadata: must be an object of moderate size")
        url = location.get("url")
        return ({"store": self._store(url), "url": url, "crc32": None, "metadata": metadata},
                check_validation(location.get("validation_data")))

    def _store(self, url: Any) -> str:
        """Name of the read-only store an address belongs to; `Invalid` for any other address."""
        if not isinstance(url, str):
            raise exceptions.Invalid("url: must be a text")
        store = self.service.stores.for_scheme(url.partition(":")[0].lower())
        if store is None or not store.read_only:
            raise exceptions.Invalid("url: data cannot be registered by an address of this kind")
        self.service.importer.fetcher.check(url)
        return store.name

    def _size(self, place: Mapping[str, Any]) -> int:
        try:
            return self.service.stores[place["store"]].size(place["url"])
        except exceptions.NotFound as error:
            raise exceptions.Invalid(error.message) from None

    def add(self, context: RequestContext, image_id: str, url: Any, validation: Any) -> Task:
        """Register data of a queued image by its address; a task reads and hashes it, and the
        image is active once that is done."""
        image = self.service.get(context, image_id)
        self.service.check_mutable(context, image, "set_image_location")
        store, hashes = self._store(url), check_validation(validation)
        hashes.pop("checksum", None)
        if image["status"] != states.QUEUED:
            raise exceptions.Conflict(f"image {image_id} is {image['status']}; a location can be "
                                      "added only while it is queued")
        self._size({"store": store, "url": url})
        order = Order(LOOK, (store,), url, True, hashes or None)
        return self.service.importer.begin(context, image_id, order,
                                           {"loc_url": url, "validation_data": hashes},
                                           "location_import")

    def register(self, context: RequestContext, image: Image, url: str) -> Image:
        """Make a queued image active with the data at `url`, unread."""
        return self.patch(context, image, [("add", "locations/-", {"url": url})])

    def patch(self, context: RequestContext, image: Image, changes: list[Operation]) -> Image:
        """Apply one JSON patch operation on ``/locations``."""
        if len(changes) != 1:
            raise exceptions.Invalid("locations: one change at a time, and apart from others")
        operation, path, value = changes[0]
        index = path.partition("/")[2]
        if operation == "add" and index:
            return self._append(context, image, index, value)
        if operation == "replace" and not index:
            return self._replace(context, image, value)
        if operation == "remove" and index.isascii() and index.isdigit() and len(index) < 4:
            return self.remove(context, image, int(index))
        raise exceptions.Invalid(f"{path[:64]}: cannot be the path of {operation}")

    def _check_set(self, context: RequestContext, image: Image) -> None:
        self.service.check_mutable(context, image, "set_image_location")
        if image["status"] not in (states.QUEUED, states.ACTIVE):
            raise exceptions.Conflict(f"image {image['id']} is {image['status']}; locations can "
                                      "be set only while it is queued or active")

    def _append(self, context: RequestContext, image: Image, index: str, value: Any) -> Image:
        self._check_set(context, image)
        if image["status"] == states.ACTIVE and isinstance(value, dict):
            self._check_same(image, value.get("validation_data"))
        place, hashes = self._place(value)
        # What a queued image has there is an address that was no good.
        places = list(image["locations"]) if image["status"] == states.ACTIVE else []
        if any(place["url"] == there["url"] for there in places):
            raise exceptions.Invalid("url: is a location of this image already")
        if len(places) >= MAX_LOCATIONS:
            raise exceptions.LimitExceeded(f"locations: at most {MAX_LOCATIONS}")
        if index == "-":
            places.append(place)
        elif index.isascii() and index.isdigit() and int(index[:4]) <= len(places):
            places.insert(int(index), place)
        else:
            raise exceptions.Invalid(f"locations: there is no place {index[:16]!r}")
        size = self._size(place)
        changes: dict[str, Any] = {"locations": places}
        if image["status"] == states.QUEUED:
            changes |= {"status": states.ACTIVE, "size": size, **hashes}
        elif size != image["size"]:
            raise exceptions.Conflict("url: the image has other data than this")
        return self._write(image, changes)

    @staticmethod
    def _check_same(image: Image, validation: Any) -> None:
        """Hashes sent for an image that has data are those of that data."""
        if isinstance(validation, dict) and any(
                name in validation and validation[name] != image[name] for name in _HASHES):
            raise exceptions.Conflict("validation_data: the image has other data than this")

    def _replace(self, context: RequestContext, image: Image, value: Any) -> Image:
        if not isinstance(value, list) or not value or len(value) > MAX_LOCATIONS:
            raise exceptions.Invalid(f"locations: must be a list of 1 to {MAX_LOCATIONS}")
        if image["status"] == states.QUEUED and len(value) == 1:
            return self._append(context, image, "-", value[0])
        self._check_set(context, image)
        urls = [each.get("url") if isinstance(each, dict) else None for each in value]
        if urls != [place["url"] for place in image["locations"]]:
            raise exceptions.Invalid("locations: only metadata can be replaced; data stays where "
                                     "it is")
        places = []
        for given, place in zip(value, image["locations"], strict=True):
            metadata = given.get("metadata") or {}
            if not isinstance(metadata, dict) or len(str(metadata)) > _MAX_METADATA:
                raise exceptions.Invalid("metadata: must be an object of moderate size")
            places.append({**place, "metadata": metadata})
        return self._write(image, {"locations": places})

    def _write(self, image: Image, changes: Mapping[str, Any]) -> Image:
        return self.service.registry.update_image(
            service_context(), image["id"], changes, version=image["version"],
            from_status=(image["status"],))

    # Removing

    def remove(self, context: RequestContext, image: Image, index: int) -> Image:
        """Remove one of several copies: first from the row, then from its store."""
        self.service.check_mutable(context, image, "delete_image_location")
        if image["status"] != states.ACTIVE:
            raise exceptions.Conflict(f"image {image['id']} is {image['status']}; a copy of it "
                                      "cannot be removed now")
        if index >= len(image["locations"]):
            raise exceptions.NotFound(f"locations: there is no place {index}")
        if len(image["locations"]) == 1:
            raise exceptions.Forbidden("locations: the last one cannot be removed, only the image")
        places = list(image["locations"])
        place = places.pop(index)
        importer = self.service.importer
        order = Order(REMOVE, (place["store"],), place["url"])
        task = importer.tasks.record(context, image["id"], order, {}, "location_delete")
        try:
            image = self._write(image, {"locations": places})
        finally:
            importer.copier.remove(task)
        return image

    def remove_from(self, context: RequestContext, store: str, image_id: str) -> None:
        """Remove the copy in one store."""
        image = self.service.get(context, image_id)
        self.service.stores.writable(store)
        for index, place in enumerate(image["locations"]):
            if place["store"] == store:
                self.remove(context, image, index)
                return
        raise exceptions.NotFound(f"image {image_id} has no data in store {store[:64]!r}")
