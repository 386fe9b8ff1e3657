# SPDX-License-Identifier: Apache-2.0
"""What nova counts about itself, by prometheus-client; shown by :mod:`nova.monitoring`.

One table of everything that is counted.  Labels have few values, all of them ours: a route's
pattern and never a path, a method's name and never an id, so that neither callers nor guests can
make the tables grow, and no name of a project or server is in them.
"""

import time
import weakref
from collections.abc import Iterable
from typing import Protocol

from prometheus_client import Counter, Histogram
from prometheus_client.core import REGISTRY, GaugeMetricFamily
from prometheus_client.registry import Collector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

API_REQUESTS = Histogram(
    "nova_api_request_seconds", "Requests answered, by how long it took.",
    ("api", "method", "route", "status"), buckets=_SECONDS)
RPC_HANDLED = Histogram(
    "nova_rpc_handled_seconds", "Messages a worker here has worked on, by how long it took.",
    ("topic", "method", "outcome"), buckets=_SECONDS)
RPC_SENT = Counter(
    "nova_rpc_sent", "Messages sent from here: call, cast or fanout, and whether it worked.",
    ("topic", "method", "kind", "outcome"))
SCHEDULED = Counter("nova_scheduler_placed", "Instances that got a host.")
REFUSED = Counter(
    "nova_scheduler_refused_hosts",
    "Hosts that a filter refused an instance or volume which got none.",
    ("filter",))
NO_HOST = Counter("nova_scheduler_no_valid_host", "Instances for which there was no host.")
NOTIFICATIONS = Counter(
    "nova_notifications", "Notifications, by event and whether they were sent.",
    ("event_type", "outcome"))


class Heard(Protocol):
    """A listener of a queue, as far as its age goes."""

    last_heard: float | None


class _QueueAges(Collector):
    """How long ago each queue was last heard of; a worker's own ping counts as a message."""

    def __init__(self) -> None:
        self._listeners: weakref.WeakValueDictionary[str, Heard] = weakref.WeakValueDictionary()

    def watch(self, topic: str, listener: Heard) -> None:
        """Show the age of a topic's listener as long as it lives."""
        self._listeners[topic] = listener

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the ages in seconds, of those that have heard anything."""
        found = GaugeMetricFamily(
            "nova_rpc_last_message_age_seconds",
            "Seconds since a message of this topic came, the worker's own pings included.",
            labels=["topic"])
        for topic, listener in sorted(self._listeners.items()):
            if listener.last_heard is not None:
                found.add_metric([topic], time.monotonic() - listener.last_heard)
        yield found

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing is asked when this is registered."""
        return ()


QUEUE_AGES = _QueueAges()
REGISTRY.register(QUEUE_AGES)


def known_method(method: str) -> str:
    """Return an HTTP method as a label: what is none is OTHER, whatever was sent."""
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") else "OTHER"
