# SPDX-License-Identifier: Apache-2.0
"""Telling others what happened to images: in the log, or over AMQP.

Messages are those that consumers of image notifications know: the 2.0 envelope around event type,
publisher, priority and payload, to the topic exchange ``glance`` with the routing key
``<topic>.info``.  They are hints: a request never waits for the broker, and when it is away for
longer than the buffer lasts, the oldest are dropped, with a line in the log.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import queue
import socket
import time
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from oslo_config import cfg

from glance import concurrency

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.ListOpt("notification_driver", default=[],
                item_type=cfg.types.String(choices=["log", "messaging", "noop"]),
                help="Where to tell what happened to images: log, messaging (AMQP)."),
    cfg.StrOpt("transport_url", secret=True,
               help="URL of the broker (rabbit:// or amqp://user:password@host:port/vhost)."),
    cfg.ListOpt("notification_topics", default=["notifications"],
                help="Topics to send to; each is a durable queue of its own."),
    cfg.StrOpt("default_publisher_id", help="Who is telling; image.<host name> when left out."),
]
BUFFER = 1000
CONNECT_TIMEOUT = 10.0
RETRY_PAUSE = 5.0
#: seconds a connection is kept without anything to say
IDLE_TIMEOUT = 30.0
_FIELDS = ("id", "name", "status", "created_at", "updated_at", "min_disk", "min_ram", "protected",
           "checksum", "owner", "disk_format", "container_format", "size", "virtual_size",
           "visibility", "os_hidden", "os_hash_algo", "os_hash_value", "tags", "properties")


def describe(image: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """An image as notifications show it; where its data lies is not among it."""
    return {**{name: image.get(name) for name in _FIELDS},
            "is_public": image.get("visibility") == "public", **more}


class Sink(Protocol):
    """Where messages go."""

    def send(self, message: dict[str, Any]) -> None:
        """Take a message; never blocks, never raises."""


class LogSink:
    """One line of the log ``glance.notification`` per message."""

    def send(self, message: dict[str, Any]) -> None:
        """See `Sink`."""
        logging.getLogger("glance.notification").info("%s", json.dumps(message))


class AmqpSink:
    """A buffer, and a (green) thread that brings what is in it to the broker."""

    def __init__(self, url: str, topics: list[str]) -> None:
        self._url = url.replace("rabbit://", "amqp://", 1)
        self._topics = topics
        self._buffer: queue.Queue[dict[str, Any]] = queue.Queue(BUFFER)
        self._running = False

    def send(self, message: dict[str, Any]) -> None:
        """See `Sink`."""
        if not self._running:
            self._running = True
            concurrency.spawn(self._run)
        try:
            self._buffer.put_nowait(message)
        except queue.Full:
            LOG.warning("a notification was dropped: the broker is away for too long")

    def _run(self) -> None:
        while True:
            pending = [self._buffer.get()]
            while not self._publish(pending):
                time.sleep(RETRY_PAUSE)

    def _publish(self, pending: list[dict[str, Any]]) -> bool:
        """Deliver the pending message and those that follow; what is left in `pending` was not."""
        import kombu

        exchange = kombu.Exchange("glance", type="topic", durable=True)
        try:
            with kombu.Connection(self._url, connect_timeout=CONNECT_TIMEOUT,
                                  transport_options={"confirm_publish": True}) as connection:
                producer = connection.Producer()
                while pending:
                    for topic in self._topics:
                        key = f"{topic}.{pending[0]['priority'].lower()}"
                        declared = kombu.Queue(key, exchange, routing_key=key, durable=True)
                        producer.publish(
                            {"oslo.version": "2.0", "oslo.message": json.dumps(pending[0])},
                            exchange=exchange, routing_key=key, declare=[declared],
                            serializer="json", delivery_mode=2)
                    pending.clear()
                    with contextlib.suppress(queue.Empty):
                        pending.append(self._buffer.get(timeout=IDLE_TIMEOUT))
        except Exception as error:  # kombu's transports raise many kinds; none may end the thread
            LOG.error("notifications wait: the broker does not take them (%s)",
                      type(error).__name__)
            return False
        return True


class Notifier:
    """Tells every configured sink."""

    def __init__(self, sinks: list[Sink], publisher: str) -> None:
        self._sinks = sinks
        self._publisher = publisher

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Notifier:
        """The notifier `conf` describes."""
        from glance import exceptions

        conf.register_opts(OPTIONS)
        sinks: list[Sink] = []
        for name in conf.notification_driver:
            if name == "log":
                sinks.append(LogSink())
            elif name == "messaging":
                if not conf.transport_url:
                    raise exceptions.ConfigurationError(
                        "transport_url: must be set for notification_driver messaging")
                sinks.append(AmqpSink(conf.transport_url, conf.notification_topics))
        return cls(sinks, conf.default_publisher_id or f"image.{socket.gethostname()}")

    def tell(self, event: str, payload: Mapping[str, Any], priority: str = "INFO") -> None:
        """Say that `event` happened."""
        if not self._sinks:
            return
        moment = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        message = {"message_id": str(uuid.uuid4()), "publisher_id": self._publisher,
                   "event_type": event, "priority": priority, "payload": dict(payload),
                   "timestamp": str(moment)}
        for sink in self._sinks:
            sink.send(message)
