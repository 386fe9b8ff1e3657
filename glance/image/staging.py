# SPDX-License-Identifier: Apache-2.0
"""Data on its way into an image: taken from a caller or a source, and kept until it is imported.

A file system store of its own, shared by all processes of the service.  Beside it lies a second
one with what was made of staged data by converting it.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from glance import exceptions
from glance.context import RequestContext, service_context
from glance.image import states
from glance.image.formats import Inspector
from glance.image.orders import FAILED, TO_STORES
from glance.image.tasks import Tasks
from glance.image.upload import Readable, UploadStream
from glance.registry.types import Image
from glance.store.filesystem import FilesystemStore

if TYPE_CHECKING:
    from glance.image.service import ImageService

LOG = logging.getLogger(__name__)

SECTION = "os_glance_staging_store"
CONVERTED = "converted"


class Staging:
    """The staging area of one `ImageService`.

    :param lifetime: seconds after which staged data that nobody imports is removed.
    """

    def __init__(self, service: ImageService, tasks: Tasks, directory: str | os.PathLike[str],
                 lifetime: float = 24 * 3600.0) -> None:
        self._service = service
        self._tasks = tasks
        self.store = FilesystemStore(SECTION, directory)
        self.converted = FilesystemStore(SECTION, os.path.join(directory, CONVERTED))
        self.lifetime = lifetime

    @staticmethod
    def url(image_id: str) -> str:
        """The address of an image's data, the same in both stores."""
        return f"file:///{image_id}"

    def check(self) -> None:
        """Raise unless data can be staged."""
        self.store.check()
        self.converted.check()

    def discard(self, image_id: str) -> None:
        """Remove all that is staged for an image; harmless if nothing is."""
        self.store.discard(image_id)
        self.converted.discard(image_id)

    def list_ids(self) -> Iterator[str]:
        """Ids of images of which anything is here, for the audit."""
        yield from {*self.store.list_ids(), *self.converted.list_ids()}

    def size(self, image_id: str) -> int:
        """Bytes staged for an image; `Conflict` if none are (yet)."""
        try:
            return self.store.size(self.url(image_id))
        except exceptions.NotFound:
            raise exceptions.Conflict(
                f"image {image_id}: its data is not staged (yet)") from None

    # In

    def stage(self, context: RequestContext, image_id: str, body: Readable,
              size: int | None) -> None:
        """Take data for a later import from `body`; the image is ``uploading`` from then on."""
        service, image = self._service, self._service.get(context, image_id)
        service.check_mutable(context, image, "import_image")
        if image["status"] != states.QUEUED:
            raise exceptions.Conflict(f"image {image_id} is {image['status']}; data can be staged "
                                      "only while it is queued")
        service.limits.check_size(size or 0)
        service.limits.check_upload(service.registry, context, image["owner"], size or 0)
        with service.worker.working(str(uuid.uuid4())) as token:
            service.registry.update_image(
                context.for_service(), image_id,
                {"status": states.UPLOADING, "upload_token": token,
                 "upload_worker": service.worker.id, "upload_bytes": 0},
                from_status=(states.QUEUED,))
            self._receive(context.for_service(), image, token, body, size)

    def _receive(self, context: RequestContext, image: Image, token: str, body: Readable,
                 size: int | None) -> None:
        image_id, registry = image["id"], self._service.registry
        stream = self.stream(image, token, body, size)
        self.discard(image_id)
        try:
            self.store.add(image_id, stream, size)
        except BaseException as error:
            LOG.warning("staging of image %s failed: %s", image_id, error)
            self._move(image_id, token, states.UPLOADING, states.QUEUED)
            raise
        try:
            registry.update_image(
                context, image_id,
                {"upload_token": None, "upload_worker": None, "upload_bytes": stream.received},
                upload_token=token, from_status=(states.UPLOADING,))
        except (exceptions.NotFound, exceptions.Conflict):
            if self._status(image_id) not in (None, states.QUEUED):
                return  # its import began before these words were out
            self.discard(image_id)
            self._service.finish_delete(context, image_id)
            raise exceptions.Gone(
                f"image {image_id} was deleted while its data was being staged") from None

    def fill(self, image: Image, token: str, source: Readable, size: int | None) -> None:
        """Bring the data of an import from `source`, within limits and quota."""
        self._service.limits.check_size(size or 0)
        self._service.limits.check_upload(self._service.registry, service_context(),
                                          image["owner"], size or 0, already_counted=1)
        stream = self.stream(image, token, source, size)
        self.discard(image["id"])
        self.store.add(image["id"], stream, size)

    def stream(self, image: Image, token: str, source: Readable, size: int | None,
               algorithm: str | None = None) -> UploadStream:
        """Data on its way in, held to limits, declared format and the life of its image.

        :param algorithm: of its os_hash_value; by default what is configured
        """
        service = self._service

        def on_beat(received: int) -> None:
            self.beat(image, token, received)

        declared = image["disk_format"] and image["container_format"]
        inspector = service.inspector(image) if declared else Inspector("raw", "ovf")
        return UploadStream(source, size, inspector, check_size=service.limits.check_size,
                            on_beat=on_beat, algorithm=algorithm or service.hashing_algorithm)

    def beat(self, image: Image, token: str, received: int) -> None:
        """A sign of life of an upload or an import; raises to stop it."""
        self._service.beat(image, token, received)
        if image["status"] == states.IMPORTING:
            self._tasks.touch(token)

    # Out

    def staged(self, image: Image, token: str) -> UploadStream:
        """The data to be imported: as it was staged, or what it was converted into."""
        url = self.url(image["id"])
        for store in (self.converted, self.store):
            try:
                size = store.size(url)
            except exceptions.NotFound:
                continue
            return self.stream(image, token, Pieces(store.read(url)), size)
        raise exceptions.Conflict(f"image {image['id']}: its data is not staged (yet)")

    # Back

    def put_back(self, image_id: str, token: str, stores: tuple[str, ...], *, keep: bool,
                 killed: bool, locations: list[dict[str, Any]] | None = None) -> None:
        """End an import that failed.

        :param keep: staged data, if it is there, stays for another import.
        :param killed: nothing may begin under this id any more.
        :param locations: what the row says then of where data lies.
        """
        size = None
        if keep and not killed:
            try:
                size = self.size(image_id)
                self.converted.discard(image_id)
            except exceptions.Conflict:
                LOG.warning("image %s: the data staged for it is gone", image_id)
        if size is None:
            self.discard(image_id)
        new = states.QUEUED if size is None else states.UPLOADING
        more = {} if locations is None or killed else {"locations": locations}
        self._move(image_id, token, states.IMPORTING, states.KILLED if killed else new,
                   upload_bytes=size, **more,
                   properties={TO_STORES: "", FAILED: ",".join(stores)})

    def _move(self, image_id: str, token: str, old: str, new: str, **values: Any) -> bool:
        """Put an image back where it came from, if it is still the one of this attempt."""
        try:
            self._service.registry.update_image(
                service_context(), image_id,
                {"status": new, "upload_token": None, "upload_worker": None,
                 "upload_bytes": values.pop("upload_bytes", None), **values},
                upload_token=token, from_status=(old,))
        except (exceptions.NotFound, exceptions.Conflict):
            self._service.finish_delete(service_context(), image_id)
            return False
        except exceptions.GlanceError as error:
            LOG.error("image %s stays in status %s until the next round of the reconciler: %s",
                      image_id, old, error.message)
            return False
        return True

    def unstage(self, image: Image) -> bool:
        """Remove staged data that waits too long, or of which only half is there."""
        self.discard(image["id"])
        values = {"status": states.QUEUED, "upload_token": None, "upload_worker": None,
                  "upload_bytes": None}
        try:
            self._service.registry.update_image(
                service_context(), image["id"], values, upload_token=image["upload_token"],
                version=image["version"], from_status=(states.UPLOADING,))
        except (exceptions.Conflict, exceptions.NotFound):
            return False
        LOG.warning("image %s: staged data removed; status is queued again", image["id"])
        return True

    def _status(self, image_id: str) -> str | None:
        try:
            return str(self._service.registry.get_image(service_context(), image_id)["status"])
        except exceptions.NotFound:
            return None


class Pieces:
    """An iterator of pieces as something to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def read(self, size: int, /) -> bytes:
        """What follows of a piece, empty at the end; a broken store shows as a broken source."""
        try:
            piece = self._left or next(self._pieces, b"")
        except exceptions.CorruptData as error:
            raise OSError(error.message) from None
        self._left = piece[size:]
        return piece[:size]
