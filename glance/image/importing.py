# SPDX-License-Identifier: Apache-2.0
"""Images that get their data in two steps, or from elsewhere, while nobody waits.

``glance-direct`` takes data that was staged by an upload, ``web-download`` fetches it from a web
server, ``copy-image`` copies what is in one store to others.  Each import is a task: a row that
says what is to be done and by which process, written before anything happens.  The verdict on
image and task is one conditional step each; a process that dies in between leaves a row from which
`Importer.abandon` takes everything back.

Data passes through the staging area always, is inspected as any upload is, and every store gets it
from there.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from glance import concurrency, exceptions
from glance.context import RequestContext, service_context
from glance.image import states
from glance.image.download import open_image
from glance.image.formats import Inspector
from glance.image.upload import BEAT_INTERVAL, Readable, UploadStream
from glance.outbound import Fetcher
from glance.registry.tasks import expiry
from glance.registry.types import Image, Task
from glance.store.base import Store
from glance.store.filesystem import FilesystemStore

if TYPE_CHECKING:
    from glance.image.service import ImageService

LOG = logging.getLogger(__name__)

DIRECT, DOWNLOAD, COPY = "glance-direct", "web-download", "copy-image"
METHODS = (DIRECT, DOWNLOAD, COPY)
#: orders of the service itself: look at data that lies elsewhere; remove one of several copies
LOOK, REMOVE = "location", "remove-copy"
STAGING = "os_glance_staging_store"
OPTIONS = [
    cfg.ListOpt("enabled_import_methods", default=list(METHODS),
                item_type=cfg.types.String(choices=list(METHODS)),
                help="How images can be imported."),
    cfg.IntOpt("import_workers", default=4, min=1,
               help="Imports that one process works on at a time; further ones wait."),
    cfg.IntOpt("staged_data_lifetime", default=24 * 3600, min=60,
               help="Seconds after which staged data that nobody imported is removed and the "
                    "image is queued again."),
]
STAGING_OPTIONS = [
    cfg.StrOpt("filesystem_store_datadir",
               help="Directory for data on its way into an import, shared by all processes of "
                    "the service; the directory staging in state_path when left out."),
]
#: properties that tell of an import; only the service writes them
TO_STORES, FAILED = "os_glance_importing_to_stores", "os_glance_failed_import"


@dataclasses.dataclass(frozen=True)
class Order:
    """What an import is to do; travels in the input of its task.

    :ivar stores: names of the stores the data goes to.
    :ivar all_must_succeed: whether one store that fails fails the import.
    """

    method: str
    stores: tuple[str, ...]
    uri: str | None = None
    all_must_succeed: bool = True
    #: ``os_hash_algo`` and ``os_hash_value`` that data which lies elsewhere must have
    expected: dict[str, str] | None = None

    @classmethod
    def of(cls, task: Task) -> Order:
        """The order in a task's input."""
        given = task["input"]["order"]
        return cls(given["method"], tuple(given["stores"]), given["uri"],
                   given["all_must_succeed"], given["expected"])


class Importer:
    """Stages data and runs imports, for one `ImageService`."""

    def __init__(self, service: ImageService, staging: FilesystemStore, fetcher: Fetcher, *,
                 methods: Sequence[str] = METHODS, workers: int = 4,
                 lifetime: float = 24 * 3600.0) -> None:
        self.service = service
        self.staging = staging
        self.fetcher = fetcher
        self.methods = tuple(methods)
        self.lifetime = lifetime
        self._slots = threading.BoundedSemaphore(workers)
        #: stands in for a thread of its own in tests
        self.spawn: Callable[..., None] = concurrency.spawn

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, service: ImageService) -> Importer:
        """The importer `conf` describes."""
        conf.register_opts(OPTIONS)
        conf.register_opts(STAGING_OPTIONS, STAGING)
        directory = conf[STAGING].filesystem_store_datadir or f"{conf.state_path}/staging"
        return cls(service, FilesystemStore(STAGING, directory), Fetcher.from_conf(conf),
                   methods=conf.enabled_import_methods, workers=conf.import_workers,
                   lifetime=conf.staged_data_lifetime)

    # Staging

    def stage(self, context: RequestContext, image_id: str, body: Readable,
              size: int | None) -> None:
        """Take data for a later import from `body`; the image is ``uploading`` from then on."""
        service, image = self.service, self.service.get(context, image_id)
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
        image_id, registry = image["id"], self.service.registry
        stream = self._stream(image, token, body, size)
        self.staging.discard(image_id)
        try:
            self.staging.add(image_id, stream, size)
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
            self.staging.discard(image_id)
            self.service.finish_delete(context, image_id)
            raise exceptions.Gone(
                f"image {image_id} was deleted while its data was being staged") from None

    def _stream(self, image: Image, token: str, source: Readable, size: int | None,
                algorithm: str = "sha512") -> UploadStream:
        """Data on its way in, held to limits, declared format and the life of its image."""
        service = self.service

        def on_beat(received: int) -> None:
            service.beat(image, token, received)
            if image["status"] == states.IMPORTING:
                self._touch(token)

        declared = image["disk_format"] and image["container_format"]
        inspector = service.inspector(image) if declared else Inspector("raw", "ovf")
        return UploadStream(source, size, inspector, check_size=service.limits.check_size,
                            on_beat=on_beat, algorithm=algorithm)

    def _touch(self, task_id: str) -> None:
        """A sign of life of a task."""
        try:
            self.service.registry.update_task(service_context(), task_id,
                                              {"status": "processing"}, ("processing",))
        except exceptions.Unavailable as error:
            LOG.warning("task %s goes on without a sign of life: %s", task_id, error.message)

    def _status(self, image_id: str) -> str | None:
        try:
            return str(self.service.registry.get_image(service_context(), image_id)["status"])
        except exceptions.NotFound:
            return None

    def _move(self, image_id: str, token: str, old: str, new: str, **values: Any) -> bool:
        """Put an image back where it came from, if it is still the one of this attempt."""
        try:
            self.service.registry.update_image(
                service_context(), image_id,
                {"status": new, "upload_token": None, "upload_worker": None,
                 "upload_bytes": values.pop("upload_bytes", None), **values},
                upload_token=token, from_status=(old,))
        except (exceptions.NotFound, exceptions.Conflict):
            self.service.finish_delete(service_context(), image_id)
            return False
        except exceptions.GlanceError as error:
            LOG.error("image %s stays in status %s until the next round of the reconciler: %s",
                      image_id, old, error.message)
            return False
        return True

    # Starting

    def stores(self, names: Sequence[str] | None, every: bool) -> tuple[str, ...]:
        """The stores an import asks for, all of which can be written to."""
        stores = self.service.stores
        if every:
            return tuple(store.name for store in stores if not store.read_only)
        wanted = tuple(dict.fromkeys(names or (stores.default,)))
        for name in wanted:
            stores.writable(name)
        return wanted

    def start(self, context: RequestContext, image_id: str, order: Order,
              request: dict[str, Any], kind: str = "api_image_import") -> Task:
        """Check everything that can be checked now, record the task, and begin."""
        if order.method not in (*self.methods, LOOK):
            raise exceptions.Invalid(f"method: {order.method[:64]!r} is not one of "
                                     f"{', '.join(self.methods) or 'none'}")
        image = self.service.get(context, image_id)
        if order.method == COPY:
            order = self._check_copy(context, image, order)
        else:
            self._check_new(context, image, order)
        task = self.record(context, image_id, order, request, kind)
        try:
            self._announce(image, task, order)
        except BaseException as error:
            self.service.worker.uploads.discard(task["id"])
            if isinstance(error, exceptions.GlanceError):
                self._finish(task["id"], "failure", error.message)
            raise
        self.spawn(self.run, task)
        return task

    def record(self, context: RequestContext, image_id: str, order: Order,
               request: dict[str, Any], kind: str) -> Task:
        """Write down what is to be done; this process is at it from now on."""
        task_id = str(uuid.uuid4())
        task = {"id": task_id, "type": kind, "status": "pending",
                "owner": context.project_id, "user_id": context.user_id,
                "request_id": context.request_id, "image_id": image_id,
                "input": {**request, "image_id": image_id, "backend": list(order.stores),
                          "order": dataclasses.asdict(order)},
                "worker": self.service.worker.id}
        self.service.worker.uploads.add(task_id)
        try:
            return self.service.registry.create_task(service_context(context.request_id), task)
        except BaseException:
            self.service.worker.uploads.discard(task_id)
            raise

    def _check_new(self, context: RequestContext, image: Image, order: Order) -> None:
        if order.method != LOOK:
            self.service.check_mutable(context, image, "import_image")
        wanted = states.UPLOADING if order.method == DIRECT else states.QUEUED
        if image["status"] != wanted:
            raise exceptions.Conflict(f"image {image['id']} is {image['status']}; {order.method} "
                                      f"needs it to be {wanted}")
        for field in ("disk_format", "container_format"):
            if not image[field]:
                raise exceptions.Invalid(f"{field}: must be set before an import")
        if order.method == DOWNLOAD:
            self.fetcher.check(order.uri or "")
        elif order.method == DIRECT:
            self._staged_size(image["id"])
        self.service.limits.check_upload(
            self.service.registry, context, image["owner"], 0,
            already_counted=1 if order.method == DIRECT else 0)

    def _staged_size(self, image_id: str) -> int:
        try:
            return self.staging.size(self._staged(image_id))
        except exceptions.NotFound:
            raise exceptions.Conflict(
                f"image {image_id}: its data is not staged (yet)") from None

    @staticmethod
    def _staged(image_id: str) -> str:
        return f"file:///{image_id}"

    def _check_copy(self, context: RequestContext, image: Image, order: Order) -> Order:
        self.service.policy.check(context, "copy_image", image)
        if image["status"] != states.ACTIVE:
            raise exceptions.Conflict(f"image {image['id']} is {image['status']}; only an active "
                                      "image can be copied")
        if image["properties"].get(TO_STORES):
            raise exceptions.Conflict(f"image {image['id']} is being copied already")
        there = {place["store"] for place in image["locations"]}
        return dataclasses.replace(order, stores=tuple(
            name for name in order.stores if name not in there))

    def _announce(self, image: Image, task: Task, order: Order) -> None:
        """Say in the image's row that this task has it now."""
        values: dict[str, Any] = {"properties": {TO_STORES: ",".join(order.stores), FAILED: ""}}
        expected: str = states.ACTIVE
        if order.method != COPY:
            expected = states.UPLOADING if order.method == DIRECT else states.QUEUED
            arrived = self._staged_size(image["id"]) if order.method == DIRECT else 0
            values |= {"status": states.IMPORTING, "upload_token": task["id"],
                       "upload_worker": self.service.worker.id, "upload_bytes": arrived}
        self.service.registry.update_image(service_context(), image["id"], values,
                                           from_status=(expected,))

    # Running

    def run(self, task: Task) -> None:
        """Do what the task says; never raises: whoever would catch it has gone home."""
        order, registry = Order.of(task), self.service.registry
        try:
            with self._slots:
                if not registry.update_task(service_context(), task["id"],
                                            {"status": "processing"}, ("pending",)):
                    return
                failed = self._copy(task, order) if order.method == COPY else self._import(
                    task, order)
            message = f"not stored in {', '.join(failed)}" if failed else ""
            self._finish(task["id"], "success", message, {"image_id": task["image_id"]})
        except exceptions.GlanceError as error:
            LOG.warning("task %s: import of image %s failed: %s", task["id"], task["image_id"],
                        error.message)
            self._finish(task["id"], "failure", error.message)
        except Exception:  # the end of a thread: the task must not look as if it went on
            LOG.exception("task %s: import of image %s failed", task["id"], task["image_id"])
            self._finish(task["id"], "failure", "an unexpected error occurred")
        finally:
            self.service.worker.uploads.discard(task["id"])

    def _finish(self, task_id: str, status: str, message: str,
                result: dict[str, Any] | None = None) -> None:
        try:
            self.service.registry.update_task(service_context(), task_id, {
                "status": status, "message": message[:1000], "result": result,
                "expires_at": expiry()})
        except exceptions.GlanceError as error:
            LOG.error("task %s ended in %s, which could not be recorded: %s", task_id, status,
                      error.message)

    def _import(self, task: Task, order: Order) -> list[str]:
        image = self.service.registry.get_image(service_context(), task["image_id"])
        places: list[dict[str, Any]] = []
        failed: list[str] = []
        try:
            if order.method == LOOK:
                digests = self._look(image, task["id"], order, places)
            else:
                if order.method == DOWNLOAD:
                    self._fetch(image, task["id"], order.uri or "")
                digests, failed = self._spread(image, task["id"], order, places)
            after = self.service.finish_upload(service_context(), image["id"], task["id"], {
                "status": states.ACTIVE, **digests, "upload_token": None, "upload_worker": None,
                "upload_bytes": None, "locations": places,
                "properties": {TO_STORES: "", FAILED: ",".join(failed)}}, (states.IMPORTING,))
        except BaseException as error:
            self._take_back(image["id"], task["id"], order, places, error)
            raise
        self.staging.discard(image["id"])
        self.service.tell("image.activate", after)
        return failed

    def _take_back(self, image_id: str, token: str, order: Order,
                   places: list[dict[str, Any]], error: BaseException) -> None:
        """Remove what is stored already; keep staged data unless the data itself is at fault."""
        clean = all([self.service.remove_bytes(image_id, place) for place in places])
        at_fault = isinstance(error, exceptions.GlanceError) and error.code in (400, 413, 415)
        # Something of it still in a store: no second life under this id.
        self._put_back(image_id, token, order, keep=not at_fault, killed=not clean)

    def _fetch(self, image: Image, token: str, uri: str) -> None:
        """Bring the data of a web server into the staging area."""
        answer = self.fetcher.open(uri)
        try:
            self.service.limits.check_size(answer.size or 0)
            self.service.limits.check_upload(
                self.service.registry, service_context(), image["owner"], answer.size or 0,
                already_counted=1)
            stream = self._stream(image, token, answer, answer.size)
            self.staging.discard(image["id"])
            self.staging.add(image["id"], stream, answer.size)
        finally:
            answer.close()

    def _look(self, image: Image, token: str, order: Order,
              places: list[dict[str, Any]]) -> dict[str, Any]:
        """Read data that lies elsewhere and will stay there: its digests, if it is as said."""
        store, uri = self.service.stores[order.stores[0]], order.uri or ""
        expected = order.expected or {"os_hash_algo": "sha512"}
        stream = self._stream(image, token, _Pieces(store.read(uri)), store.size(uri),
                              expected["os_hash_algo"])
        for _ in stream:
            pass
        digests = stream.digests()
        if expected.get("os_hash_value", digests["os_hash_value"]) != digests["os_hash_value"]:
            raise exceptions.Invalid("os_hash_value: the data has another hash")
        places.append({"store": store.name, "url": uri, "crc32": stream.crc32, "metadata": {}})
        return digests

    def _spread(self, image: Image, token: str, order: Order,
                places: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
        """Store the staged data in each store; (digests, stores that failed).

        `places` is filled as it goes, so that a caller who gives up knows what there is.
        """
        failed: list[str] = []
        digests: dict[str, Any] = {}
        problem: exceptions.GlanceError | None = None
        for name in order.stores:
            stream = self._stream(image, token, _Pieces(self.staging.read(
                self._staged(image["id"]))), self._staged_size(image["id"]))
            try:
                self._put(self.service.stores[name], image["id"], stream, places)
            except (exceptions.Unavailable, exceptions.StorageFull, exceptions.CorruptData,
                    exceptions.Duplicate) as error:
                LOG.error("image %s: not stored in %s: %s", image["id"], name, error.message)
                if order.all_must_succeed:
                    raise
                failed.append(name)
                problem = error
                continue
            digests = stream.digests()
        if not places:
            raise problem or exceptions.Invalid("stores: the import names none")
        return digests, failed

    @staticmethod
    def _put(store: Store, image_id: str, stream: UploadStream,
             places: list[dict[str, Any]]) -> None:
        stored = store.add(image_id, stream, stream.announced)
        places.append({"store": store.name, "url": stored.url, "crc32": stream.crc32})

    def _copy(self, task: Task, order: Order) -> list[str]:
        """Copy an active image to each store, one location at a time."""
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
        self._tell(task["image_id"], {TO_STORES: "", FAILED: ",".join(left)})
        if problem is not None and (order.all_must_succeed or len(failed) == len(order.stores)):
            raise problem
        return failed

    def _copy_to(self, task: Task, order: Order, name: str) -> None:
        service, image_id = self.service, task["image_id"]
        image = service.registry.get_image(service_context(), image_id)
        store = service.stores.writable(name)

        def pieces() -> Iterator[bytes]:
            last_beat = time.monotonic()
            for piece in open_image(service.stores, image):
                yield piece
                if time.monotonic() - last_beat >= BEAT_INTERVAL:
                    service.registry.get_image(service_context(), image_id)  # NotFound: deleted
                    self._touch(task["id"])
                    last_beat = time.monotonic()

        crc32 = next((place["crc32"] for place in image["locations"]), None)
        stored = store.add(image_id, pieces(), image["size"])
        place: dict[str, Any] = {"store": name, "url": stored.url, "crc32": crc32, "metadata": {}}
        try:
            while True:
                fresh = service.registry.get_image(service_context(), image_id)
                rest = order.stores[order.stores.index(name) + 1:]
                try:
                    service.registry.update_image(service_context(), image_id, {
                        "locations": [*fresh["locations"], place],
                        "properties": {TO_STORES: ",".join(rest)}},
                        version=fresh["version"],
                        from_status=(states.ACTIVE, states.DEACTIVATED))
                    return
                except exceptions.Conflict:
                    if fresh["version"] == service.registry.get_image(
                            service_context(), image_id)["version"]:
                        raise
        except exceptions.GlanceError:
            service.remove_bytes(image_id, place)
            raise

    def _tell(self, image_id: str, properties: dict[str, str]) -> None:
        try:
            self.service.registry.update_image(service_context(), image_id,
                                               {"properties": properties})
        except (exceptions.NotFound, exceptions.Conflict):
            LOG.info("image %s was deleted while it was being copied", image_id)

    def remove_copy(self, task: Task) -> None:
        """Remove data that the image's row does not name any more; tried until it works."""
        order, image_id = Order.of(task), task["image_id"]
        try:
            image = self.service.registry.get_image(service_context(), image_id)
            named = [place["url"] for place in image["locations"]]
        except exceptions.NotFound:
            named = []
        if order.uri in named:  # the row was not changed after all
            self._finish(task["id"], "failure", "the location is still in use")
        elif self.service.remove_bytes(image_id, {"store": order.stores[0], "url": order.uri}):
            self._finish(task["id"], "success", "", {"image_id": image_id})
        self.service.worker.uploads.discard(task["id"])

    # Taking back what dead processes began

    def abandon(self, task: Task, *, proven: bool) -> None:
        """The process of an unfinished task is gone: undo what it did, and say so.

        :param proven: its lock is free.  Without proof it may come back, and what it then
            removes must not be anybody's: the image is killed instead of being queued again.
        """
        order, image_id = Order.of(task), task["image_id"]
        if order.method == REMOVE:
            self.remove_copy(task)
            return
        try:
            image = self.service.registry.get_image(service_context(), image_id)
        except exceptions.NotFound:
            image = None
        there = {place["store"] for place in image["locations"]} if image else set()
        if image is not None:
            for name in order.stores:
                store = self.service.stores.get(name)
                if store is not None and name not in there:
                    store.discard(image_id)
        if image is not None and order.method == COPY:
            self._tell(image_id, {TO_STORES: "", FAILED: ",".join(
                name for name in order.stores if name not in there)})
        elif image is not None and image["status"] == states.IMPORTING:
            self._put_back(image_id, task["id"], order, keep=True, killed=not proven)
        self._finish(task["id"], "failure", "the process that worked on this task died")

    def _put_back(self, image_id: str, token: str, order: Order, *, keep: bool,
                  killed: bool) -> None:
        """End an import that failed: staged data that is to be kept, and is there, stays."""
        size = None
        if order.method == DIRECT and keep and not killed:
            try:
                size = self._staged_size(image_id)
            except exceptions.Conflict:
                LOG.warning("image %s: the data staged for it is gone", image_id)
        if size is None:
            self.staging.discard(image_id)
        new = states.QUEUED if size is None else states.UPLOADING
        self._move(image_id, token, states.IMPORTING, states.KILLED if killed else new,
                   upload_bytes=size,
                   properties={TO_STORES: "", FAILED: ",".join(order.stores)})

    def unstage(self, image: Image) -> bool:
        """Remove staged data that waits too long, or of which only half is there."""
        self.staging.discard(image["id"])
        values = {"status": states.QUEUED, "upload_token": None, "upload_worker": None,
                  "upload_bytes": None}
        try:
            self.service.registry.update_image(
                service_context(), image["id"], values, upload_token=image["upload_token"],
                version=image["version"], from_status=(states.UPLOADING,))
        except (exceptions.Conflict, exceptions.NotFound):
            return False
        LOG.warning("image %s: staged data removed; status is queued again", image["id"])
        return True


class _Pieces:
    """An iterator of pieces as something to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, _size: int, /) -> bytes:
        """The next piece, empty at the end; a broken store shows as a broken source."""
        try:
            return next(self._pieces, b"")
        except exceptions.CorruptData as error:
            raise OSError(error.message) from None
