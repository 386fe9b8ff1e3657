# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ, through kombu.

Each :class:`Subscription` has a connection and a thread of its own that reads from it and, when
it is lost, connects and declares everything anew.  Messages go out over a small pool of other
connections, each used by one thread at a time, and every one is confirmed by the broker.
"""

import contextlib
import functools
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from amqp.exceptions import NotFound as AmqpNotFound
from kombu import Connection, Consumer, Exchange, Message, Producer, Queue
from kombu.exceptions import KombuError

from nova.rpc.broker import (
    CONF,
    DEAD_LETTERS,
    EXCHANGE,
    Address,
    Broker,
    BrokerUnavailable,
    Delivery,
    Source,
    Subscription,
)

LOG = logging.getLogger(__name__)

TOPICS = Exchange(EXCHANGE, type="topic", durable=True)
DEAD = Queue(DEAD_LETTERS, exchange=Exchange(""), routing_key=DEAD_LETTERS, durable=True,
             max_length=10000)
# Notifications are kept for who takes them later, but not for ever for nobody: the oldest go.
NOTIFICATIONS_KEPT = 10000
# A temporary queue outlives its process by this, and a lost connection of it too, in seconds.
TEMPORARY_EXPIRES = 600
ATTEMPTS = "x-nova-attempts"
PUBLISHERS_KEPT = 4
DRAIN = 0.5     # seconds a reader sits in one read: how soon it sees that it is to stop


def _queue(source: Source) -> Queue:
    address, name = source.address, source.queue
    if address.kind == Address.NOTIFICATION:
        return Queue(name, exchange=TOPICS, routing_key=address.name, durable=True,
                     max_length=NOTIFICATIONS_KEPT)
    if address.kind == Address.TOPIC:
        return Queue(name, exchange=TOPICS, routing_key=address.name, durable=True)
    if address.kind == Address.FANOUT:
        exchange = Exchange(f"{address.name}_fanout", type="fanout", durable=True)
        return Queue(name, exchange=exchange, durable=False, auto_delete=True,
                     expires=TEMPORARY_EXPIRES)
    return Queue(name, exchange=Exchange(""), routing_key=name, durable=False, auto_delete=True,
                 expires=TEMPORARY_EXPIRES)


class _AmqpDelivery(Delivery):
    def __init__(self, message: Message, address: Address, lock: Any) -> None:
        body = message.body
        self.address = address
        self.body = body if isinstance(body, bytes) else str(body).encode()
        self.redelivered = bool(message.delivery_info.get("redelivered"))
        attempts = message.headers.get(ATTEMPTS, 0)
        self.attempts = attempts if isinstance(attempts, int) else 0
        self._message = message
        self._lock = lock

    def ack(self) -> None:
        try:
            with self._lock:
                self._message.ack()
        except Exception as error:  # whatever is wrong with the channel: the message comes again
            LOG.debug("Not acknowledged: %s", type(error).__name__)


class _AmqpSubscription(Subscription):
    def __init__(self, owner: "AmqpBroker", sources: list[Source],
                 on_delivery: Callable[[Delivery], None], prefetch: int,
                 on_connect: Callable[[], None]) -> None:
        self._owner = owner
        self._sources = sources
        self._on_delivery = on_delivery
        self._prefetch = prefetch
        self._on_connect = on_connect
        self._ready = threading.Event()
        self._paused = threading.Event()
        self._stopped = threading.Event()
        # Acknowledgements and heartbeats are written by several threads.
        self._write_lock = threading.Lock()
        self._thread = threading.Thread(
            target=self._run, daemon=True, name=f"amqp-{sources[0].queue}")
        self._thread.start()

    def wait_ready(self, timeout: float) -> bool:
        return self._ready.wait(timeout)

    def pause(self) -> None:
        self._paused.set()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join(DRAIN + 2 * CONF.rpc.connect_timeout)

    def _run(self) -> None:
        pause = 0.1
        while not self._stopped.is_set():
            try:
                with self._owner.connection(CONF.rpc.heartbeat) as connection:
                    self._listen(connection)
                pause = 0.1
            except self._owner.errors as error:
                if self._ready.is_set():
                    pause = 0.1
                    LOG.warning("Lost the broker while listening on %s (%s); trying again",
                                self._sources[0].queue, _name(error))
                elif pause >= 1.0:
                    LOG.warning("Broker not reached: %s", _name(error))
            except Exception:   # a bug in here must not end the listening for good
                LOG.exception("Listening on %s failed", self._sources[0].queue)
            self._ready.clear()
            self._stopped.wait(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, CONF.rpc.reconnect_max)

    def _listen(self, connection: Connection) -> None:
        channel = connection.channel()
        channel.basic_qos(prefetch_size=0, prefetch_count=self._prefetch, a_global=False)
        queues = [_queue(source)(channel) for source in self._sources]
        for queue in queues:
            queue.declare()
        consumers = [
            Consumer(channel, [queue], auto_declare=False,
                     on_message=functools.partial(self._on_message, source.address))
            for queue, source in zip(queues, self._sources, strict=True)]
        for consumer in consumers:
            consumer.consume()
        self._ready.set()
        self._on_connect()
        last_beat = time.monotonic()
        consuming = True
        while not self._stopped.is_set():
            if consuming and self._paused.is_set():
                for consumer in consumers:
                    consumer.cancel()
                consuming = False
            with contextlib.suppress(socket.timeout):
                connection.drain_events(timeout=DRAIN)
            if time.monotonic() - last_beat >= CONF.rpc.heartbeat / 4:
                last_beat = time.monotonic()
                with self._write_lock:
                    connection.heartbeat_check(rate=2)

    def _on_message(self, address: Address, message: Message) -> None:
        self._on_delivery(_AmqpDelivery(message, address, self._write_lock))


class _Publisher:
    """One connection for sending, used by one thread at a time."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.channel = connection.channel()
        self.producer = Producer(self.channel, auto_declare=False)
        self._declared: set[Address] = set()

    def send(self, address: Address, body: bytes, *, persistent: bool,
             expiration: float | None, attempts: int) -> None:
        """Send one message and wait for the broker's confirmation."""
        self._declare(address)
        exchange, routing_key = {
            Address.TOPIC: (EXCHANGE, address.name),
            Address.NOTIFICATION: (EXCHANGE, address.name),
            Address.FANOUT: (f"{address.name}_fanout", ""),
        }.get(address.kind, ("", address.name))
        self.producer.publish(
            body, exchange=exchange, routing_key=routing_key,
            delivery_mode=2 if persistent else 1,
            content_type="application/json", content_encoding="binary",
            expiration=expiration, headers={ATTEMPTS: attempts} if attempts else None,
            confirm_timeout=CONF.rpc.confirm_timeout)

    def _declare(self, address: Address) -> None:
        """See to it that a message is kept although no worker has ever listened."""
        if address in self._declared or address.kind == Address.REPLY:
            return
        if address.kind in (Address.TOPIC, Address.NOTIFICATION):
            _queue(Source(address, address.name))(self.channel).declare()
        elif address.kind == Address.DEAD:
            DEAD(self.channel).declare()
        else:
            Exchange(f"{address.name}_fanout", type="fanout", durable=True)(self.channel).declare()
        self._declared.add(address)

    def close(self) -> None:
        """Close without waiting for an answer that may never come."""
        self.connection.collect(socket_timeout=CONF.rpc.connect_timeout)


class AmqpBroker(Broker):
    """RabbitMQ at a URL (or several)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._idle: list[_Publisher] = []
        self._subscriptions: list[_AmqpSubscription] = []
        self._closed = False
        probe = Connection(url)     # connects to nothing
        self.errors: tuple[type[BaseException], ...] = (
            *probe.connection_errors, *probe.channel_errors, KombuError, OSError)

    @contextlib.contextmanager
    def connection(self, heartbeat: int) -> Iterator[Connection]:
        """Connect, once, and close at the end whatever state it is in by then."""
        made = self._connect(heartbeat)
        try:
            yield made
        finally:
            made.collect(socket_timeout=CONF.rpc.connect_timeout)

    def _connect(self, heartbeat: int) -> Connection:
        options: dict[str, Any] = {
            "confirm_publish": True,
            "read_timeout": CONF.rpc.confirm_timeout, "write_timeout": CONF.rpc.confirm_timeout,
            # A peer that is gone without a word is noticed by the kernel.
            "socket_settings": {
                socket.SO_KEEPALIVE: 1, socket.TCP_KEEPIDLE: 20, socket.TCP_KEEPINTVL: 5,
                socket.TCP_KEEPCNT: 3, socket.TCP_USER_TIMEOUT: 20000}}
        made = Connection(self._url, heartbeat=heartbeat, transport_options=options,
                          connect_timeout=CONF.rpc.connect_timeout, ssl=self._tls())
        try:
            made.ensure_connection(
                max_retries=1, interval_start=0.1, interval_step=0.1,
                reraise_as_library_errors=False,
                timeout=CONF.rpc.connect_timeout * 2)
        except BaseException:       # a killed thread too must not leave the socket behind
            made.collect(socket_timeout=1)
            raise
        return made

    def _tls(self) -> Any:
        if not self._url.startswith("amqps://"):
            return False
        host = self._url.partition("://")[2].rpartition("@")[2].partition("/")[0].partition(":")[0]
        return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": host,
                "ca_certs": CONF.rpc.ssl_ca_file or ssl.get_default_verify_paths().cafile}

    def publish(self, address: Address, body: bytes, *, persistent: bool = False,
                expiration: float | None = None, attempts: int = 0,
                timeout: float | None = None) -> None:
        seconds = CONF.rpc.publish_timeout if timeout is None else timeout
        give_up_at = time.monotonic() + seconds
        pause = 0.05
        while True:
            publisher = None
            try:
                publisher = self._take()
                publisher.send(address, body, persistent=persistent, expiration=expiration,
                               attempts=attempts)
                self._give_back(publisher)
                return
            except self.errors as error:
                if publisher is not None:
                    publisher.close()
                if time.monotonic() + pause > give_up_at or self._closed:
                    raise BrokerUnavailable(
                        f"not sent within {seconds:g} seconds ({_name(error)})") from error
            except BaseException:   # a time limit in the middle: its channel is in no known state
                if publisher is not None:
                    publisher.close()
                raise
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, 1.0)

    def _take(self) -> _Publisher:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        # No heartbeats: nobody would look after them while it is idle.
        return _Publisher(self._connect(heartbeat=0))

    def _give_back(self, publisher: _Publisher) -> None:
        with self._lock:
            if len(self._idle) < PUBLISHERS_KEPT and not self._closed:
                self._idle.append(publisher)
                return
        publisher.close()

    def subscribe(self, sources: list[Source], on_delivery: Callable[[Delivery], None], *,
                  prefetch: int, on_connect: Callable[[], None] = lambda: None) -> Subscription:
        subscription = _AmqpSubscription(self, sources, on_delivery, prefetch, on_connect)
        self._subscriptions.append(subscription)
        return subscription

    def depth(self, address: Address) -> int:
        with self.connection(0) as connection:
            queue = DEAD if address.kind == Address.DEAD else _queue(Source(address, address.name))
            try:
                return queue(connection.channel()).queue_declare(passive=True).message_count
            except AmqpNotFound:
                return 0

    def close(self) -> None:
        self._closed = True
        for subscription in self._subscriptions:
            subscription.stop()
        self._subscriptions.clear()
        with self._lock:
            idle, self._idle = self._idle, []
        for publisher in idle:
            publisher.close()


def _name(error: BaseException) -> str:
    """Name an error without its text: that may hold the URL, and so a password."""
    return type(error).__name__
