# SPDX-License-Identifier: Apache-2.0
"""Images that get their data in two steps, or from elsewhere, while nobody waits.

``glance-direct`` takes data that was staged by an upload, ``web-download`` fetches it from a web
server, ``glance-download`` from the image service of another region, ``copy-image`` copies what is
in one store to others.  Each import is a task: a row that says what is to be done and by which
process, written before anything happens.  The verdict on image and task is one conditional step
each; a process that dies in between leaves a row from which `Importer.abandon` takes everything
back.

Data passes through the staging area always, is inspected as any upload is, and every store gets it
from there.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from glance import concurrency, exceptions
from glance.context import RequestContext, service_context
from glance.image import conversion, states
from glance.image.conversion import Converter
from glance.image.copies import Copier
from glance.image.orders import (
    COPY,
    DIRECT,
    DOWNLOAD,
    FAILED,
    LOOK,
    METHODS,
    REGION,
    REMOVE,
    TO_STORES,
    Order,
)
from glance.image.regions import Regions, Source
from glance.image.staging import SECTION as STAGING
from glance.image.staging import Pieces, Staging
from glance.image.tasks import Tasks
from glance.image.upload import UploadStream
from glance.outbound import Fetcher
from glance.registry.types import Image, Task
from glance.store.base import Store

if TYPE_CHECKING:
    from glance.image.service import ImageService

LOG = logging.getLogger(__name__)

#: of data that stays elsewhere, for which nobody vouches: what OpenStack's would be by default
LOCATED_HASH = "sha512"

OPTIONS = [
    cfg.ListOpt("enabled_import_methods", default=list(METHODS),
                item_type=cfg.types.String(choices=list(METHODS)),
                help="How images can be imported."),
    cfg.IntOpt("import_workers", default=4, min=1,
               help="Imports that one process works on at a time; further ones wait."),
    cfg.IntOpt("staged_data_lifetime", default=24 * 3600, min=60,
               help="Seconds after which staged data that nobody imported is removed and the "
                    "image is queued again."),
    cfg.BoolOpt("do_secure_hash", default=True,
                help="Read and hash data that is registered by its address before the image is "
                     "active.  Without it the image has the hashes that were sent along, or "
                     "none, and nobody can tell whether its data changed."),
]
STAGING_OPTIONS = [
    cfg.StrOpt("filesystem_store_datadir",
               help="Directory for data on its way into an import, shared by all processes of "
                    "the service; the directory staging in state_path when left out."),
]
PLUGIN_GROUP = "image_import_opts"
PLUGIN_OPTIONS = [
    cfg.ListOpt("image_import_plugins", default=[], bounds=True,
                item_type=cfg.types.String(choices=[conversion.PLUGIN]),
                help="What is done to the data of every import, as [image_conversion]."),
]


class Importer:
    """Runs imports, for one `ImageService`.

    :param secure: hash data that lies elsewhere before it is an image.
    :param converter: what turns disks into another format on their way; None to take them as
        they are.
    """

    def __init__(self, service: ImageService, tasks: Tasks, staging: Staging, fetcher: Fetcher, *,
                 taken_over: Regions, methods: Sequence[str] = METHODS, workers: int = 4,
                 secure: bool = True, converter: Converter | None = None) -> None:
        self.service = service
        self.tasks = tasks
        self.staging = staging
        self.copier = Copier(service, tasks)
        self.fetcher = fetcher
        self.methods = tuple(methods)
        self._secure = secure
        self._taken_over = taken_over
        self._converter = converter
        self._slots = threading.BoundedSemaphore(workers)
        #: stands in for a thread of its own in tests
        self.spawn: Callable[..., None] = concurrency.spawn

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, service: ImageService) -> Importer:
        """The importer `conf` describes."""
        conf.register_opts(OPTIONS)
        conf.register_opts(STAGING_OPTIONS, STAGING)
        conf.register_opts(PLUGIN_OPTIONS, PLUGIN_GROUP)
        tasks = Tasks(service)
        staging = Staging(
            service, tasks, conf[STAGING].filesystem_store_datadir or f"{conf.state_path}/staging",
            conf.staged_data_lifetime)
        converts = conversion.PLUGIN in conf[PLUGIN_GROUP].image_import_plugins
        return cls(service, tasks, staging, Fetcher.from_conf(conf),
                   taken_over=Regions.from_conf(conf), methods=conf.enabled_import_methods,
                   workers=conf.import_workers, secure=conf.do_secure_hash,
                   converter=Converter.from_conf(conf) if converts else None)

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
              request: dict[str, Any], kind: str = "api_image_import", *,
              source: Source | None = None) -> Task:
        """What a caller orders: `begin` it, if it is by one of the enabled methods."""
        if order.method not in self.methods:
            raise exceptions.Invalid(f"method: {order.method[:64]!r} is not one of "
                                     f"{', '.join(self.methods) or 'none'}")
        return self.begin(context, image_id, order, request, kind, source)

    def begin(self, context: RequestContext, image_id: str, order: Order,
              request: dict[str, Any], kind: str, source: Source | None = None) -> Task:
        """Check everything that can be checked now, record the task, and begin.

        :param source: the image of another region, for ``glance-download``.
        """
        image = self.service.get(context, image_id)
        if order.method == COPY:
            order = self._check_copy(context, image, order)
        else:
            self._check_new(context, image, order)
        task = self.tasks.record(context, image_id, order, request, kind)
        try:
            self._announce(image, task, order)
        except BaseException as error:
            self.tasks.leave(task["id"])
            if isinstance(error, exceptions.GlanceError):
                self.tasks.finish(task["id"], "failure", error.message)
            raise
        self.spawn(self.run, task, source)
        return task

    def _check_new(self, context: RequestContext, image: Image, order: Order) -> None:
        if order.method != LOOK:
            self.service.check_mutable(context, image, "import_image")
        wanted = states.UPLOADING if order.method == DIRECT else states.QUEUED
        if image["status"] != wanted:
            raise exceptions.Conflict(f"image {image['id']} is {image['status']}; {order.method} "
                                      f"needs it to be {wanted}")
        for field in ("disk_format", "container_format"):
            if not image[field] and order.method != REGION:
                raise exceptions.Invalid(f"{field}: must be set before an import")
        if order.method == DOWNLOAD:
            self.fetcher.check(order.uri or "")
        elif order.method == DIRECT:
            self.staging.size(image["id"])
        self.service.limits.check_upload(
            self.service.registry, context, image["owner"], 0,
            already_counted=1 if order.method == DIRECT else 0)

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
            arrived = self.staging.size(image["id"]) if order.method == DIRECT else 0
            values |= {"status": states.IMPORTING, "upload_token": task["id"],
                       "upload_worker": self.service.worker.id, "upload_bytes": arrived}
        self.service.registry.update_image(service_context(), image["id"], values,
                                           from_status=(expected,))

    # Running

    def run(self, task: Task, source: Source | None = None) -> None:
        """Do what the task says; never raises: whoever would catch it has gone home."""
        order = Order.of(task)
        try:
            with self._slots:
                if not self.tasks.begin(task["id"]):
                    return
                failed = self.copier.copy(task, order) if order.method == COPY else self._import(
                    task, order, source)
            message = f"not stored in {', '.join(failed)}" if failed else ""
            self.tasks.finish(task["id"], "success", message, {"image_id": task["image_id"]})
        except exceptions.GlanceError as error:
            LOG.warning("task %s: import of image %s failed: %s", task["id"], task["image_id"],
                        error.message)
            self.tasks.finish(task["id"], "failure", error.message)
        except Exception:  # the end of a thread: the task must not look as if it went on
            LOG.exception("task %s: import of image %s failed", task["id"], task["image_id"])
            self.tasks.finish(task["id"], "failure", "an unexpected error occurred")
        finally:
            self.tasks.leave(task["id"])

    def _import(self, task: Task, order: Order, source: Source | None) -> list[str]:
        image = self.service.registry.get_image(service_context(), task["image_id"])
        places: list[dict[str, Any]] = []
        failed: list[str] = []
        changes: dict[str, Any] = {}
        try:
            if order.method == LOOK:
                changes = self._look(image, task["id"], order, places)
            else:
                changes = self._bring(image, task["id"], order, source)
                image = {**image, **changes}
                changes |= self._convert(image, task["id"])
                digests, failed = self._spread({**image, **changes}, task["id"], order, places)
                changes |= digests
            told = {**changes.pop("properties", {}), TO_STORES: "", FAILED: ",".join(failed)}
            after = self.service.finish_upload(service_context(), image["id"], task["id"], {
                "status": states.ACTIVE, **changes, "upload_token": None, "upload_worker": None,
                "upload_bytes": None, "locations": places, "properties": told},
                (states.IMPORTING,))
        except BaseException as error:
            self._take_back(image["id"], task["id"], order, places, error)
            raise
        self.staging.discard(image["id"])
        self.service.tell("image.activate", after)
        return failed

    def _take_back(self, image_id: str, token: str, order: Order,
                   places: list[dict[str, Any]], error: BaseException) -> None:
        """Remove what is stored already; keep staged data unless the data itself is at fault.

        An address that was no good stays in the row of the queued image, for its owner to see;
        nothing is ever read from there, and the next attempt replaces it.
        """
        clean = all([self.service.remove_bytes(image_id, place) for place in places])
        at_fault = isinstance(error, exceptions.GlanceError) and error.code in (400, 413, 415)
        # Something of it still in a store: no second life under this id.
        self.staging.put_back(
            image_id, token, order.stores, keep=order.method == DIRECT and not at_fault,
            killed=not clean, locations=[{"store": order.stores[0], "url": order.uri,
                                          "crc32": None}] if order.method == LOOK else None)

    # Where data comes from

    def _bring(self, image: Image, token: str, order: Order,
               source: Source | None) -> dict[str, Any]:
        """Have the data in the staging area; what else of the image changes with it."""
        if order.method == DOWNLOAD:
            answer = self.fetcher.open(order.uri or "")
            try:
                self.staging.fill(image, token, answer, answer.size)
            finally:
                answer.close()
        elif order.method == REGION:
            return self._bring_from(source, image, token)
        return {}

    def _bring_from(self, source: Source | None, image: Image, token: str) -> dict[str, Any]:
        if source is None:
            raise exceptions.Invalid("method: whoever asked for this import is gone")
        document, data = source.open(self._taken_over.cacert)
        may = functools.partial(self.service.protections.may, source.context, "create")
        changes = self._taken_over.changes(document, may)
        self.service.limits.check_document(
            {"properties": {**image["properties"], **changes["properties"]}})
        self.staging.fill({**image, **changes}, token, data, document.get("size"))
        return changes

    def _look(self, image: Image, token: str, order: Order,
              places: list[dict[str, Any]]) -> dict[str, Any]:
        """Read data that lies elsewhere and will stay there: its digests, if it is as said."""
        store, uri = self.service.stores[order.stores[0]], order.uri or ""
        place: dict[str, Any] = {"store": store.name, "url": uri, "crc32": None, "metadata": {}}
        if not self._secure:
            places.append(place)
            return {"size": store.size(uri), **(order.expected or {})}
        expected = order.expected or {"os_hash_algo": LOCATED_HASH}
        stream = self.staging.stream(image, token, Pieces(store.read(uri)), store.size(uri),
                                     expected["os_hash_algo"])
        for _ in stream:
            pass
        digests = stream.digests()
        if expected.get("os_hash_value", digests["os_hash_value"]) != digests["os_hash_value"]:
            raise exceptions.Invalid("os_hash_value: the data has another hash")
        places.append({**place, "crc32": stream.crc32})
        return digests

    # Where it goes

    def _convert(self, image: Image, token: str) -> dict[str, Any]:
        """Have the data in the format this site wants; what of the image changes with it."""
        converter = self._converter
        if converter is None or not converter.wants(image):
            return {}
        staging = self.staging
        converter.convert(image, staging.store.path(staging.url(image["id"])), staging.converted,
                          lambda written: staging.beat(image, token, written))
        return {"disk_format": converter.output_format}

    def _spread(self, image: Image, token: str, order: Order,
                places: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
        """Store the staged data in each store; (digests, stores that failed).

        `places` is filled as it goes, so that a caller who gives up knows what there is.
        """
        failed: list[str] = []
        digests: dict[str, Any] = {}
        problem: exceptions.GlanceError | None = None
        for name in order.stores:
            stream = self.staging.staged(image, token)
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

    # Taking back what dead processes began

    def abandon(self, task: Task, *, proven: bool) -> None:
        """The process of an unfinished task is gone: undo what it did, and say so.

        :param proven: its lock is free.  Without proof it may come back, and what it then
            removes must not be anybody's: the image is killed instead of being queued again.
        """
        order, image_id = Order.of(task), task["image_id"]
        if order.method == REMOVE:
            self.copier.remove(task)
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
            self.copier.tell(image_id, {TO_STORES: "", FAILED: ",".join(
                name for name in order.stores if name not in there)})
        elif image is not None and image["status"] == states.IMPORTING:
            self.staging.put_back(image_id, task["id"], order.stores,
                                  keep=order.method == DIRECT, killed=not proven)
        self.tasks.finish(task["id"], "failure", "the process that worked on this task died")
