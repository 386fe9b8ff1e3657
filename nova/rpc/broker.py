# SPDX-License-Identifier: Apache-2.0
"""What rpc needs of a message broker, and which one is in use.

A broker moves bytes: :class:`Client` and :class:`Server` above know what is in them, and run the
same over each of the two, :mod:`nova.rpc.memory` and :mod:`nova.rpc.amqp`.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from oslo_config import cfg

OPTS = [
    cfg.StrOpt("transport_url", default="memory://", secret=True,
               help="Message broker: amqp://user:password@host:port/virtual_host (several, "
                    "separated by semicolons, are tried in turn; amqps:// for TLS), or memory:// "
                    "when all of nova runs in one process."),
]
RPC_OPTS = [
    cfg.IntOpt("pool_size", default=64, min=1,
               help="Messages of one queue a worker works on at the same time."),
    cfg.IntOpt("heartbeat", default=30, min=5,
               help="Seconds between heartbeats on a connection that waits for messages."),
    cfg.IntOpt("connect_timeout", default=5, min=1,
               help="Seconds to wait for the broker to accept a connection."),
    cfg.IntOpt("publish_timeout", default=30, min=1,
               help="Seconds a message is tried to be handed to the broker before the sender is "
                    "told that it cannot be."),
    cfg.IntOpt("confirm_timeout", default=10, min=1,
               help="Seconds to wait for the broker's word that it has a message; then it is "
                    "sent again over a new connection."),
    cfg.FloatOpt("reconnect_max", default=10.0, min=0.1,
                 help="Longest pause, in seconds, between attempts to reach the broker again."),
    cfg.IntOpt("max_deliveries", default=5, min=1,
               help="A message that was being worked on this many times when its worker died is "
                    "put aside in the queue nova_dead_letters."),
    cfg.StrOpt("ssl_ca_file",
               help="CA certificates the broker's certificate is checked against (amqps:// only; "
                    "default: the system's). Certificate and host name are always checked."),
]
CONF = cfg.CONF
CONF.register_opts(OPTS)
CONF.register_opts(RPC_OPTS, "rpc")

EXCHANGE = "nova"
DEAD_LETTERS = "nova_dead_letters"


class BrokerUnavailable(Exception):
    """The broker could not be reached, or did not confirm, in the time given."""


@dataclass(frozen=True)
class Address:
    """Where a message goes, or comes from."""

    kind: str       # TOPIC, FANOUT, REPLY, DEAD or NOTIFICATION
    name: str

    TOPIC: ClassVar[str] = "topic"
    FANOUT: ClassVar[str] = "fanout"
    REPLY: ClassVar[str] = "reply"
    DEAD: ClassVar[str] = "dead"
    NOTIFICATION: ClassVar[str] = "notification"

    @classmethod
    def worker(cls, topic: str, host: str | None = None) -> "Address":
        """Any worker of a topic, or the one on a host."""
        return cls(cls.TOPIC, topic if host is None else f"{topic}.{host}")


@dataclass(frozen=True)
class Source:
    """A queue to listen on.  ``queue`` is its own name; for a topic it is the address's."""

    address: Address
    queue: str


class Delivery(abc.ABC):
    """One message in a worker's hands.  It comes again if it is never acknowledged."""

    body: bytes
    address: Address    # what it was sent to
    redelivered: bool
    attempts: int       # deaths of workers it has seen, as far as they were counted

    @abc.abstractmethod
    def ack(self) -> None:
        """Say that it is done with.  Never raises: what cannot be said comes again."""


class Subscription(abc.ABC):
    """Listening on some queues."""

    @abc.abstractmethod
    def wait_ready(self, timeout: float) -> bool:
        """Wait until the queues exist and are listened on; False when they still are not."""

    @abc.abstractmethod
    def pause(self) -> None:
        """Take no new messages; those in hand can still be acknowledged."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop listening.  What was not acknowledged goes back to its queue."""


class Broker(abc.ABC):
    """A way to send and to receive bytes."""

    @abc.abstractmethod
    def publish(self, address: Address, body: bytes, *, persistent: bool = False,
                expiration: float | None = None, attempts: int = 0,
                timeout: float | None = None) -> None:
        """Hand a message to the broker; it has it when this returns.

        BrokerUnavailable after ``timeout`` seconds (default ``publish_timeout``).  Without
        a listener a message waits in the durable queue of its topic, at most ``expiration``
        seconds; to a fanout or a reply queue that is not there it is dropped.
        """

    @abc.abstractmethod
    def subscribe(self, sources: list[Source], on_delivery: Callable[[Delivery], None], *,
                  prefetch: int, on_connect: Callable[[], None] = lambda: None) -> Subscription:
        """Listen on queues, at most ``prefetch`` unacknowledged messages from each.

        ``on_delivery`` must return at once.  ``on_connect`` is called each time that the
        queues are being listened on (again).
        """

    @abc.abstractmethod
    def depth(self, address: Address) -> int:
        """Return how many messages wait there: for operators and tests."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop all listening and close connections."""


_broker: Broker | None = None


def configure(url: str | None = None) -> Broker:
    """Use the broker at ``url`` (default: ``transport_url``) from now on; connects to nothing yet.

    ValueError for a kind of URL that is not known.
    """
    global _broker
    url = url or CONF.transport_url
    scheme = url.partition("://")[0]
    made: Broker
    if scheme == "memory":
        from nova.rpc.memory import MemoryBroker
        made = MemoryBroker()
    elif scheme in ("amqp", "amqps"):
        from nova.rpc.amqp import AmqpBroker  # kombu is not needed within one process
        made = AmqpBroker(url)
    else:
        raise ValueError(f"transport_url: {scheme}:// is not supported")
    if _broker is not None:
        _broker.close()
    _broker = made
    return made


def broker() -> Broker:
    """Return the broker in use, configured from the options when nobody has done it yet."""
    return _broker or configure()
