# SPDX-License-Identifier: Apache-2.0
"""The rows of tasks, as the process that works on them writes them."""

from __future__ import annotations

import dataclasses
import logging
import uuid
from typing import TYPE_CHECKING, Any

from glance import exceptions
from glance.context import RequestContext, service_context
from glance.image.orders import Order
from glance.registry.tasks import expiry
from glance.registry.types import Task

if TYPE_CHECKING:
    from glance.image.service import ImageService

LOG = logging.getLogger(__name__)


class Tasks:
    """Writes down what is to be done, that it goes on, and how it ended."""

    def __init__(self, service: ImageService) -> None:
        self._service = service

    def record(self, context: RequestContext, image_id: str, order: Order,
               request: dict[str, Any], kind: str) -> Task:
        """Write down what is to be done; this process is at it from now on."""
        task_id = str(uuid.uuid4())
        task = {"id": task_id, "type": kind, "status": "pending",
                "owner": context.project_id, "user_id": context.user_id,
                "request_id": context.request_id, "image_id": image_id,
                "input": {**request, "image_id": image_id, "backend": list(order.stores),
                          "order": dataclasses.asdict(order)},
                "worker": self._service.worker.id}
        self._service.worker.uploads.add(task_id)
        try:
            return self._service.registry.create_task(service_context(context.request_id), task)
        except BaseException:
            self._service.worker.uploads.discard(task_id)
            raise

    def begin(self, task_id: str) -> bool:
        """Whether the task is this process's to work on: it waited, and nobody gave it up."""
        return self._service.registry.update_task(
            service_context(), task_id, {"status": "processing"}, ("pending",))

    def touch(self, task_id: str) -> None:
        """A sign of life of a task."""
        try:
            self._service.registry.update_task(service_context(), task_id,
                                               {"status": "processing"}, ("processing",))
        except exceptions.Unavailable as error:
            LOG.warning("task %s goes on without a sign of life: %s", task_id, error.message)

    def finish(self, task_id: str, status: str, message: str,
               result: dict[str, Any] | None = None) -> None:
        """Write the verdict; a registry that is away leaves the task to the reconciler."""
        try:
            self._service.registry.update_task(service_context(), task_id, {
                "status": status, "message": message[:1000], "result": result,
                "expires_at": expiry()})
        except exceptions.GlanceError as error:
            LOG.error("task %s ended in %s, which could not be recorded: %s", task_id, status,
                      error.message)

    def leave(self, task_id: str) -> None:
        """This process does not work on it any more."""
        self._service.worker.uploads.discard(task_id)
