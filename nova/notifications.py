# SPDX-License-Identifier: Apache-2.0
"""What happened to instances and volumes, told to whoever bills, indexes or watches.

Each change of state of a row becomes one notification, made in one place from the row before and
after: :mod:`nova.db.changes` calls :func:`row_changed` after every commit, so a state somebody
adds to :mod:`nova.compute.states` has its notifications by itself.

``compute.instance.<verb>.start``
    a task was begun: ``create``, ``delete``, ``power_off``, ``power_on``, ``reboot``, ...
``compute.instance.<verb>.end`` and ``.error``
    it was done, or the instance is in ERROR now
``compute.instance.update``
    any other change: to the next step of a task, or what a reconciler wrote down
``volume.<verb>.start``, ``.end``, ``.error``, ``volume.update``
    likewise for ``create``, ``attach``, ``detach``, ``resize`` and ``delete``;
    ``snapshot.<verb>...`` for ``create`` and ``delete``: see :mod:`nova.volume.events`

An envelope is JSON: ``message_id``, ``publisher_id`` (``nova.`` and the host), ``event_type``,
``priority`` (INFO or ERROR), ``timestamp`` (UTC), ``request_id`` and ``payload``, whose keys are
those of :data:`PAYLOAD`, or of :data:`nova.volume.events.VOLUME_PAYLOAD`.  There is nothing in it
that anybody could use as a password: no token, no context, no user data, key or metadata, no text
of an error.

Drivers: ``log`` writes a line, ``rabbitmq`` publishes to the topic exchange ``nova`` under the
routing keys ``notifications.info`` and ``notifications.error``; durable queues of these names keep
the last :data:`nova.rpc.amqp.NOTIFICATIONS_KEPT` until somebody takes them.  Nobody waits for a
notification to be sent: when the broker is away they pile up to :data:`PENDING` and further ones
are dropped and counted, and what a killed process had not sent is lost.  Rows are the truth, these
are news.
"""

import datetime
import json
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from oslo_config import cfg
from oslo_context import context as oslo_context

from nova import metrics
from nova.compute.states import TaskState, VmState
from nova.db import changes
from nova.db.models import Instance, utcnow
from nova.rpc.broker import Address, BrokerUnavailable, broker
from nova.volume import events as volume_events

LOG = logging.getLogger(__name__)

OPTS = [
    cfg.ListOpt("drivers", default=[],
                item_type=cfg.types.String(choices=["log", "rabbitmq"]),
                help="What becomes of notifications: log (a line each), rabbitmq (the exchange "
                     "nova, routing keys notifications.info and notifications.error), both, or "
                     "nothing."),
]
CONF = cfg.CONF
CONF.import_opt("host", "nova.config")
CONF.register_opts(OPTS, "notifications")

PENDING = 1000      # notifications that may wait to be sent
INFO, ERROR = "info", "error"

_VERBS = {
    TaskState.SCHEDULING: "create", TaskState.NETWORKING: "create", TaskState.SPAWNING: "create",
    TaskState.POWERING_OFF: "power_off", TaskState.POWERING_ON: "power_on",
    TaskState.REBOOTING: "reboot", TaskState.REBOOTING_HARD: "reboot",
    TaskState.DELETING: "delete",
}

# Payload: key and the column it is, besides those of the change itself (see payload_of()).
PAYLOAD = {
    "instance_id": "id", "tenant_id": "project_id", "user_id": "user_id",
    "display_name": "display_name", "hostname": "hostname", "reservation_id": "reservation_id",
    "image_id": "image_id", "kernel_id": "kernel_id", "ramdisk_id": "ramdisk_id",
    "instance_type": "flavor_name", "flavor_id": "flavor_id", "vcpus": "vcpus",
    "memory_mb": "memory_mb", "root_gb": "root_gb", "ephemeral_gb": "ephemeral_gb",
    "swap_mb": "swap_mb", "host": "host", "availability_zone": "availability_zone",
    "power_state": "power_state", "created_at": "created_at", "launched_at": "launched_at",
}


def verb_of(task: str | None) -> str | None:
    """Return what a task is called in events; None for none."""
    if not task:
        return None
    return _VERBS.get(TaskState(task)) or task.replace("-", "_")


def event_of(change: changes.Change) -> tuple[str, str] | None:
    """Return (event type, priority) of a change, None when no state has changed."""
    row = change.row
    if not isinstance(row, Instance):
        found = volume_events.event_of(change)
        return None if found is None else (found[0], ERROR if found[1] else INFO)
    return _instance_event(change, row)


def _instance_event(change: changes.Change, row: Instance) -> tuple[str, str] | None:
    before = change.before
    if change.gone:
        return "compute.instance.delete.end", INFO
    after = changes.states_in(row)
    old = verb_of(before[1]) if before else None
    new = verb_of(row.task_state)
    if new and new != old:
        return f"compute.instance.{new}.start", INFO
    if old and not new:
        failed = row.vm_state == VmState.ERROR
        return (f"compute.instance.{old}.{'error' if failed else 'end'}",
                ERROR if failed else INFO)
    if before == after:
        return None
    return "compute.instance.update", ERROR if row.vm_state == VmState.ERROR else INFO


def payload_of(change: changes.Change) -> dict[str, Any]:
    """Return what is said of an instance: the columns of PAYLOAD, its states, and how they were.

    For a volume or snapshot what :mod:`nova.volume.events` says.
    """
    row, before = change.row, change.before or (None, None, None)
    if not isinstance(row, Instance):
        return {key: _plain(value) for key, value in volume_events.payload_of(change).items()}
    found = {key: _plain(getattr(row, column)) for key, column in PAYLOAD.items()}
    return {**found, "state": "deleted" if change.gone else row.vm_state,
            "task_state": None if change.gone else row.task_state, "old_state": before[0],
            "old_task_state": before[1], "old_host": before[2],
            "deleted_at": _plain(utcnow()) if change.gone else None}


def _plain(value: Any) -> Any:
    return value.isoformat() + "Z" if isinstance(value, datetime.datetime) else value


def row_changed(change: changes.Change) -> None:
    """Tell of a change; never raises and waits for nobody."""
    try:
        event = event_of(change)
        if event is not None:
            emit(event[0], payload_of(change), event[1])
    except Exception:       # news about a change must not undo it
        LOG.exception("A change of %s was not told", change.row.id)


def emit(event_type: str, payload: Mapping[str, Any], priority: str = INFO) -> None:
    """Send a notification by every driver of ``[notifications] drivers``."""
    current = oslo_context.get_current()
    envelope = {
        "message_id": str(uuid.uuid4()), "publisher_id": f"nova.{CONF.host}",
        "event_type": event_type, "priority": priority.upper(), "timestamp": _plain(utcnow()),
        "request_id": current.request_id if current else None, "payload": dict(payload)}
    for driver in CONF.notifications.drivers:
        _DRIVERS[driver](envelope)


def _log(envelope: dict[str, Any]) -> None:
    logging.getLogger(f"{__name__}.{envelope['event_type']}").info("%s", json.dumps(envelope))
    metrics.NOTIFICATIONS.labels(envelope["event_type"], "ok").inc()


class _Sender:
    """One thread that sends what waits, in order."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue(PENDING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, envelope: dict[str, Any]) -> None:
        """Take a notification, or drop it when too many wait."""
        try:
            self._waiting.put_nowait(envelope)
        except queue.Full:
            metrics.NOTIFICATIONS.labels(envelope["event_type"], "dropped").inc()
            LOG.error("Notification %s is dropped: %s wait to be sent", envelope["event_type"],
                      PENDING)
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True,
                                                name="notifications")
                self._thread.start()

    def flush(self, timeout: float) -> bool:
        """Wait until nothing waits any more; False when something still does."""
        give_up_at = time.monotonic() + timeout
        while self._waiting.unfinished_tasks and time.monotonic() < give_up_at:
            time.sleep(0.02)
        return not self._waiting.unfinished_tasks

    def _run(self) -> None:
        while True:
            envelope = self._waiting.get()
            outcome = "failed"
            try:
                broker().publish(
                    Address(Address.NOTIFICATION, f"notifications.{envelope['priority'].lower()}"),
                    json.dumps(envelope).encode(), persistent=True)
                outcome = "ok"
            except BrokerUnavailable as error:
                LOG.error("Notification %s is lost: %s", envelope["event_type"], error)
            except Exception:       # the next one may fare better
                LOG.exception("Notification %s is lost", envelope["event_type"])
            finally:
                metrics.NOTIFICATIONS.labels(envelope["event_type"], outcome).inc()
                self._waiting.task_done()


_sender = _Sender()
_DRIVERS: dict[str, Callable[[dict[str, Any]], None]] = {"log": _log, "rabbitmq": _sender.put}


def set_up(reaches_others: bool) -> None:
    """Begin to tell what happens, if there are drivers.

    ValueError for ``rabbitmq`` where there is none (``transport_url = memory://``).
    """
    changes.watch(row_changed if CONF.notifications.drivers else None)
    if "rabbitmq" in CONF.notifications.drivers and not reaches_others:
        raise ValueError("[notifications] drivers: rabbitmq needs transport_url = amqp://...")


def flush(timeout: float) -> bool:
    """Wait until what was told is sent; False when some of it still is not."""
    return _sender.flush(timeout)
