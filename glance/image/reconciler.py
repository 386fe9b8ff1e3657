# SPDX-License-Identifier: Apache-2.0
"""Finishing what a dead process began: runs when a service starts, and on a period."""

from __future__ import annotations

import logging

from oslo_config import cfg

from glance import exceptions
from glance.context import service_context
from glance.image import states
from glance.image.service import ImageService
from glance.registry.types import Image, Task

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.IntOpt("reconcile_interval", default=60, min=5,
               help="Seconds between two looks for uploads and deletes that nobody works on."),
    cfg.IntOpt("scrub_time", default=0, min=0,
               help="With delayed_delete: seconds that the data of a deleted image is kept."),
    cfg.IntOpt("wakeup_time", default=300, min=1,
               help="Seconds between two rounds of glance-scrubber --daemon."),
    cfg.IntOpt("upload_stall_timeout", default=900, min=60,
               help="Seconds without a sign of life after which an upload through another "
                    "machine counts as dead.  Uploads of this machine's processes are known to "
                    "be dead at once."),
]
#: seconds a delete gets to finish in the process that began it
DELETE_GRACE = 60.0
UNFINISHED = ("pending", "processing")


class Reconciler:
    """Puts right images and tasks that are in a transient status without an owner."""

    def __init__(self, service: ImageService, stall_timeout: float = 900.0) -> None:
        self.service = service
        self.stall_timeout = stall_timeout

    def run_once(self, *, at_start: bool = False) -> int:
        """Look at every image being saved or deleted; returns how many were put right.

        :param at_start: this process has just begun, so a delete without a live upload is
            nobody's work any more.
        """
        context = service_context()
        self.service.worker.sweep()
        done = 0
        for image in self.service.registry.list_transient(context):
            try:
                done += self._settle(image, at_start)
            except exceptions.GlanceError as error:
                LOG.error("image %s in status %s could not be put right, trying again later: %s",
                          image["id"], image["status"], error.message)
        for task in self.service.registry.list_tasks(context, statuses=list(UNFINISHED)):
            try:
                done += self._settle_task(task)
            except exceptions.GlanceError as error:
                LOG.error("task %s could not be put right, trying again later: %s", task["id"],
                          error.message)
        return done

    def _settle_task(self, task: Task) -> bool:
        alive = self.service.worker.is_alive(task["worker"], task["id"])
        if alive or (alive is None and task["age"] < self.stall_timeout):
            return False
        self.service.importer.abandon(task, proven=alive is False)
        return True

    def _settle_import(self, image: Image, alive: bool | None) -> bool:
        if alive or (alive is None and image["upload_age"] < self.stall_timeout):
            return False
        task = self.service.registry.get_task(service_context(), image["upload_token"])
        self.service.importer.abandon(task, proven=alive is False)
        return True

    def _settle_staged(self, image: Image, alive: bool | None) -> bool:
        """Half of a staged image goes with its process, a whole one when its time is over."""
        staging = self.service.importer.staging
        if image["upload_token"]:
            if alive is None:
                alive = image["upload_age"] < self.stall_timeout
            return not alive and staging.unstage(image)
        return image["upload_age"] > staging.lifetime and staging.unstage(image)

    def _settle(self, image: Image, at_start: bool) -> bool:
        alive = self.service.worker.is_alive(image["upload_worker"], image["upload_token"])
        if image["status"] == states.SAVING:
            if alive is None:
                alive = image["upload_age"] < self.stall_timeout
            return not alive and self._kill(image)
        if image["status"] == states.UPLOADING:
            return self._settle_staged(image, alive)
        if image["status"] == states.IMPORTING:
            return self._settle_import(image, alive)
        uploading = bool(image["upload_token"]) and alive is not False
        if uploading and image["upload_age"] < self.stall_timeout:
            return False
        if self.service.delayed_delete and image["locations"]:
            return False  # glance-scrubber's
        if not at_start and image["upload_age"] < DELETE_GRACE:
            return False
        return self._remove(image)

    def scrub(self, scrub_time: float) -> int:
        """Finish deletes that are older than that, for glance-scrubber; how many."""
        done = 0
        for image in self.service.registry.list_transient(service_context()):
            if image["status"] == states.PENDING_DELETE and image["upload_age"] >= scrub_time:
                try:
                    done += self._remove(image)
                except exceptions.GlanceError as error:
                    LOG.error("image %s cannot be scrubbed now: %s", image["id"], error.message)
        return done

    def _kill(self, image: Image) -> bool:
        """The uploader is dead: say so first, so that it cannot come back, then remove bytes."""
        context = service_context()
        try:
            self.service.registry.update_image(
                context, image["id"], {"status": states.KILLED, "upload_bytes": None},
                upload_token=image["upload_token"], from_status=(states.SAVING,))
        except (exceptions.Conflict, exceptions.NotFound):
            return False  # it moved on by itself
        LOG.warning("image %s: its upload died after %s bytes; status is now killed",
                    image["id"], image["upload_bytes"])
        for store in self.service.stores:
            store.discard(image["id"])
        return True

    def _remove(self, image: Image) -> bool:
        if not all([self.service.remove_bytes(image["id"], place)
                    for place in image["locations"]]):
            return False
        for store in (*self.service.stores, self.service.importer.staging):
            store.discard(image["id"])
        self.service.registry.delete_image(service_context(), image["id"], final=True)
        LOG.info("image %s: delete finished", image["id"])
        return True
