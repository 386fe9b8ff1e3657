# SPDX-License-Identifier: Apache-2.0
"""The asking side: calls with a deadline, casts, and the process's one reply queue."""

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from nova import faultpoint, metrics
from nova.context import RequestContext
from nova.exception import NovaError, RpcTimeout, RpcUnavailable
from nova.rpc import message
from nova.rpc.broker import Address, Broker, BrokerUnavailable, Delivery, Source, broker
from nova.rpc.table import MethodTable

LOG = logging.getLogger(__name__)


class Client:
    """Asks the workers of one topic."""

    def __init__(self, table: MethodTable) -> None:
        self.table = table

    def call(self, context: RequestContext, method: str, *, host: str | None = None,
             timeout: float | None = None, **args: Any) -> Any:
        """Have a worker do something and return its answer, a JSON value.

        ``host`` None is any worker of the topic; ``timeout`` in seconds, by default the method's.
        Raises what the worker raised if it is one of :mod:`nova.exception`, RemoteError for
        anything else, RpcTimeout after the deadline, RpcUnavailable without a broker.
        ValueError for what is not in the table.
        """
        spec = self.table.check(method, args)
        seconds = spec.timeout if timeout is None else timeout
        address = Address.worker(self.table.topic, host)
        request = message.Request(
            method, args, context.to_wire(), uuid.uuid4().hex, timeout=seconds)
        LOG.debug("Calling %s.%s, message %s", address.name, method, request.unique_id)
        with self._counted(method, "call"):
            return _replies().call(address, request, seconds)

    def cast(self, context: RequestContext, method: str, *, host: str | None = None,
             **args: Any) -> None:
        """Leave a message for a worker: on the broker's disk when this returns.

        RpcUnavailable when the broker does not take it in ``publish_timeout`` seconds.
        """
        self._send(Address.worker(self.table.topic, host), context, method, args, persistent=True)

    def fanout(self, context: RequestContext, method: str, **args: Any) -> None:
        """Tell all workers of the topic that listen now."""
        self._send(Address(Address.FANOUT, self.table.topic), context, method, args,
                   persistent=False)

    def _send(self, address: Address, context: RequestContext, method: str,
              args: dict[str, Any], *, persistent: bool) -> None:
        self.table.check(method, args)
        request = message.Request(method, args, context.to_wire(), uuid.uuid4().hex)
        LOG.debug("Casting %s to %s %s, message %s", method, address.kind, address.name,
                  request.unique_id)
        with self._counted(method, "cast" if persistent else "fanout"):
            try:
                broker().publish(address, request.encode(), persistent=persistent)
            except BrokerUnavailable as error:
                raise RpcUnavailable(reason=str(error)) from error

    @contextlib.contextmanager
    def _counted(self, method: str, kind: str) -> Iterator[None]:
        outcome = "ok"
        try:
            faultpoint.reach(f"{kind}-{method}:before")
            yield
            faultpoint.reach(f"{kind}-{method}:after")
        except NovaError as error:
            outcome = type(error).__name__
            raise
        finally:
            metrics.RPC_SENT.labels(self.table.topic, method, kind, outcome).inc()


class _Waiter:
    def __init__(self, address: Address, body: bytes, give_up_at: float) -> None:
        self.address = address
        self.body = body
        self.give_up_at = give_up_at
        self.answered = threading.Event()
        self.result: Any = None
        self.error: NovaError | None = None


class _Replies:
    """The reply queue of this process and who waits for what.

    When the connection it hangs on was lost, whoever still waits has his question sent again
    under the same id: the worker knows it by that, and answers without doing the work twice.
    """

    def __init__(self, owner: Broker) -> None:
        self.broker = owner
        self.name = f"reply.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        self._waiting: dict[str, _Waiter] = {}
        self._connected_before = False
        self._subscription = owner.subscribe(
            [Source(Address(Address.REPLY, self.name), self.name)], self._on_delivery,
            prefetch=1000, on_connect=self._on_connect)

    def call(self, address: Address, request: message.Request, seconds: float) -> Any:
        """Send a request and wait for its answer."""
        request.reply_to = self.name
        waiter = _Waiter(address, request.encode(), time.monotonic() + seconds)
        timed_out = RpcTimeout(method=request.method, topic=address.name, seconds=seconds)
        if not self._subscription.wait_ready(seconds):
            raise timed_out
        self._waiting[request.unique_id] = waiter
        try:
            self._send(waiter)
            if not waiter.answered.wait(max(0.0, waiter.give_up_at - time.monotonic())):
                raise timed_out
        except BrokerUnavailable as error:
            raise RpcUnavailable(reason=str(error)) from error
        finally:
            del self._waiting[request.unique_id]
        if waiter.error is not None:
            raise waiter.error
        return waiter.result

    def _send(self, waiter: _Waiter) -> None:
        left = max(0.1, waiter.give_up_at - time.monotonic())
        # What nobody waits for any more need not be done.
        self.broker.publish(waiter.address, waiter.body, expiration=left, timeout=left)

    def _on_connect(self) -> None:
        if self._connected_before and self._waiting:
            threading.Thread(target=self._send_again, daemon=True, name="rpc-resend").start()
        self._connected_before = True

    def _send_again(self) -> None:
        for unique_id, waiter in list(self._waiting.items()):
            LOG.info("Sending message %s to %s again", unique_id, waiter.address.name)
            try:
                self._send(waiter)
            except BrokerUnavailable as error:
                LOG.warning("Message %s could not be sent again: %s", unique_id, error)

    def _on_delivery(self, delivery: Delivery) -> None:
        try:
            message_id, result, error = message.decode_reply(delivery.body)
        except message.Malformed as malformed:
            LOG.warning("A reply that is none was dropped: %s", malformed)
        else:
            waiter = self._waiting.get(message_id)
            if waiter is None:
                LOG.debug("Nobody waits for the reply to message %s any more", message_id)
            else:
                waiter.result, waiter.error = result, error
                waiter.answered.set()
        delivery.ack()


_lock = threading.Lock()
_current: _Replies | None = None


def _replies() -> _Replies:
    global _current
    with _lock:
        if _current is None or _current.broker is not broker():
            _current = _Replies(broker())
        return _current
