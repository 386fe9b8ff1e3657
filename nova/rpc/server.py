# SPDX-License-Identifier: Apache-2.0
"""The answering side: takes messages of one topic and lets an endpoint work on them."""

import logging
import threading
import time
import uuid
from collections import OrderedDict
from typing import Any

from nova import faultpoint, metrics
from nova.context import RequestContext
from nova.exception import NovaError
from nova.rpc import message
from nova.rpc.broker import (
    CONF,
    Address,
    BrokerUnavailable,
    Delivery,
    Source,
    Subscription,
    broker,
)
from nova.rpc.table import MethodTable

LOG = logging.getLogger(__name__)

REMEMBERED = 500        # messages a server knows again when they come twice
AGAIN_PAUSE = 0.2       # seconds before a message whose handler broke is tried again, then twice...
AGAIN_PAUSE_MAX = 5.0


class _Job:
    """One message being worked on, or done; ``reply`` is kept for whoever asks again."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.done = False
        self.reply: bytes | None = None


class Server:
    """A worker: takes from ``<topic>``, ``<topic>.<host>`` and the topic's fanout.

    ``endpoint`` has a method for each row of the table, called as ``method(context, **args)`` in
    a thread of its own, at most ``pool_size`` at a time from each queue.  A message is
    acknowledged when its handler has come back, well or with an error of ours.  One whose worker
    died in the middle, or a cast whose handler raised what nobody expected, comes again, to another
    worker maybe; after ``max_deliveries`` of that it is put into the queue ``nova_dead_letters``,
    as is what cannot be understood.  ``endpoint.message_parked(context, method, args, reason)``,
    where there is one, is told first: what the message was about must not wait for it for ever.
    """

    def __init__(self, table: MethodTable, host: str, endpoint: Any, *,
                 pool_size: int | None = None) -> None:
        missing = [name for name in table.by_name if not callable(getattr(endpoint, name, None))]
        if missing:
            raise TypeError(f"{type(endpoint).__name__} cannot serve {table.topic}: no {missing}")
        self.table = table
        self.host = host
        self.endpoint = endpoint
        self.pool_size = pool_size or CONF.rpc.pool_size
        self._id = uuid.uuid4().hex
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._running = 0
        self._pings: dict[str, threading.Event] = {}
        self._subscription: Subscription | None = None
        self.broker = broker()
        self.last_heard: float | None = None        # time.monotonic() of the last message
        metrics.QUEUE_AGES.watch(table.topic, self)

    def start(self) -> "Server":
        """Begin to listen, now or as soon as the broker can be reached."""
        topic = self.table.topic
        own = f"{topic}.{self.host}"
        self._fanout_queue = f"{topic}_fanout.{self.host}.{self._id[:8]}"
        self._subscription = self.broker.subscribe([
            Source(Address.worker(topic), topic),
            Source(Address.worker(topic, self.host), own),
            Source(Address(Address.FANOUT, topic), self._fanout_queue),
        ], self._on_delivery, prefetch=self.pool_size)
        return self

    def wait_ready(self, timeout: float) -> bool:
        """Wait until the queues are listened on; False when they still are not."""
        return self._subscription is not None and self._subscription.wait_ready(timeout)

    def stop(self, grace: float = 60.0) -> None:
        """Take nothing new, give handlers ``grace`` seconds to come back, stop listening.

        What is not done by then goes back to the queue.
        """
        if self._subscription is None:
            return
        self._subscription.pause()
        deadline = time.monotonic() + grace
        with self._idle:
            while self._running and (left := deadline - time.monotonic()) > 0:
                self._idle.wait(left)
            if self._running:
                LOG.warning("%s handlers of %s are still running", self._running, self.table.topic)
        self._subscription.stop()
        self._subscription = None

    def ping(self, timeout: float) -> bool:
        """Send a message to ourselves through the broker; tell whether it came back in time."""
        token = uuid.uuid4().hex
        heard = self._pings[token] = threading.Event()
        request = message.Request(message.PING, {"token": token}, {}, token)
        deadline = time.monotonic() + timeout
        try:
            if not self.wait_ready(timeout):
                return False
            self.broker.publish(Address(Address.REPLY, self._fanout_queue), request.encode(),
                                expiration=timeout, timeout=max(0.1, deadline - time.monotonic()))
            return heard.wait(max(0.0, deadline - time.monotonic()))
        except BrokerUnavailable:
            return False
        finally:
            del self._pings[token]

    # ------------------------------------------------------------ one message

    def _on_delivery(self, delivery: Delivery) -> None:
        self.last_heard = time.monotonic()
        with self._lock:
            self._running += 1
        threading.Thread(target=self._work, args=(delivery,), daemon=True,
                         name=f"rpc-{self.table.topic}").start()

    def _work(self, delivery: Delivery) -> None:
        try:
            self._handle(delivery)
        except BrokerUnavailable as error:
            # Not acknowledged: it comes again.
            LOG.error("The broker went away in the middle of a message: %s", error)
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def _handle(self, delivery: Delivery) -> None:
        try:
            request = message.Request.decode(delivery.body)
        except message.Malformed as error:
            self._put_aside(delivery, f"malformed: {error}")
            return
        if request.method == message.PING:
            if (heard := self._pings.get(request.unique_id)) is not None:
                heard.set()
            delivery.ack()
            return
        try:
            self.table.check(request.method, request.args)
        except ValueError as error:
            if request.reply_to is None:
                self._put_aside(delivery, str(error))
            else:
                LOG.warning("Refused message %s: %s", request.unique_id, error)
                self._reply(request, message.encode_error(request.unique_id, error))
                delivery.ack()
            return
        job, first = self._job(request, delivery)
        if not first:
            self._again(request, delivery, job)
        elif delivery.redelivered and delivery.address.kind == Address.TOPIC:
            self._count(request, delivery)
        else:
            self._run(request, job, delivery)

    def _job(self, request: message.Request, delivery: Delivery) -> tuple[_Job, bool]:
        with self._lock:
            job = self._jobs.get(request.unique_id)
            if job is not None:
                if not job.done:
                    job.deliveries.append(delivery)
                return job, False
            job = _Job()
            if not delivery.redelivered or delivery.address.kind != Address.TOPIC:
                job.deliveries.append(delivery)
                self._jobs[request.unique_id] = job
                if len(self._jobs) > REMEMBERED:
                    for known, old in list(self._jobs.items())[:len(self._jobs) - REMEMBERED]:
                        if old.done:
                            del self._jobs[known]
            return job, True

    def _again(self, request: message.Request, delivery: Delivery, job: _Job) -> None:
        """The same message once more: the running handler answers it, or did already."""
        if not job.done:
            return
        LOG.info("Message %s came again and is done already", request.unique_id)
        if job.reply is not None:
            self._reply(request, job.reply)
        delivery.ack()

    def _count(self, request: message.Request, delivery: Delivery) -> None:
        """A worker had it and died: send it round once more with that noted on it."""
        self._send_round(request, delivery, "workers died of it")

    def _send_round(self, request: message.Request, delivery: Delivery, what: str) -> None:
        attempts = delivery.attempts + 1
        if attempts >= CONF.rpc.max_deliveries:
            self._tell_parked(request, f"{attempts} {what}")
            self._put_aside(delivery, f"{attempts} {what}")
            return
        LOG.warning("Message %s (%s) comes again, attempt %s", request.unique_id, request.method,
                    attempts + 1)
        self.broker.publish(
            delivery.address, delivery.body, attempts=attempts,
            persistent=request.reply_to is None,
            expiration=request.timeout if request.reply_to else None)
        delivery.ack()

    def _tell_parked(self, request: message.Request, reason: str) -> None:
        tell = getattr(self.endpoint, "message_parked", None)
        if tell is None or request.reply_to is not None:    # who called is told by his deadline
            return
        try:
            tell(RequestContext.from_wire(request.context), request.method, request.args, reason)
        except Exception:       # a message that cannot be parked would come for ever
            LOG.exception("What message %s was about is left as it is", request.unique_id)

    def _put_aside(self, delivery: Delivery, reason: str) -> None:
        LOG.error("A message on %s was put into nova_dead_letters: %s", self.table.topic, reason)
        self.broker.publish(Address(Address.DEAD, "nova_dead_letters"), delivery.body,
                            persistent=True)
        delivery.ack()

    def _run(self, request: message.Request, job: _Job, delivery: Delivery) -> None:
        context = RequestContext.from_wire(request.context)
        context.update_store()      # the request id of every line logged from here on
        started = time.monotonic()
        reply, outcome, broken = None, "ok", False
        try:
            faultpoint.reach(f"handle-{request.method}:before")
            result = getattr(self.endpoint, request.method)(context, **request.args)
            faultpoint.reach(f"handle-{request.method}:after")
            if request.reply_to:
                reply = message.encode_result(request.unique_id, result)
        except Exception as error:      # whatever a handler raises is the caller's answer
            reply, outcome = message.encode_error(request.unique_id, error), type(error).__name__
            if isinstance(error, NovaError):
                LOG.warning("%s.%s: %s", self.table.topic, request.method, error)
            else:
                LOG.exception("%s.%s failed", self.table.topic, request.method)
                broken = request.reply_to is None and delivery.address.kind == Address.TOPIC
        self._note(request, outcome, time.monotonic() - started)
        try:
            if broken:
                self._try_again(request, delivery, outcome)
            elif request.reply_to and reply is not None:
                self._reply(request, reply)
        finally:
            with self._lock:
                job.done = True
                job.reply = reply if request.reply_to else None
                deliveries, job.deliveries = job.deliveries, []
            for one in deliveries:
                one.ack()

    def _try_again(self, request: message.Request, delivery: Delivery, outcome: str) -> None:
        """What nobody expected may be over in a moment, or it never is."""
        time.sleep(min(AGAIN_PAUSE * 2 ** delivery.attempts, AGAIN_PAUSE_MAX))
        with self._lock:
            self._jobs.pop(request.unique_id, None)     # or it would count as done
        self._send_round(request, delivery, f"times it raised {outcome}")

    def _note(self, request: message.Request, outcome: str, seconds: float) -> None:
        """Write the one line of a message, under its sender's request id, and count it."""
        metrics.RPC_HANDLED.labels(self.table.topic, request.method, outcome).observe(seconds)
        LOG.info("%s rpc %s.%s %s %.4fs message=%s", request.context.get("request_id"),
                 self.table.topic, request.method, outcome, seconds, request.unique_id)

    def _reply(self, request: message.Request, reply: bytes) -> None:
        assert request.reply_to is not None
        try:
            self.broker.publish(Address(Address.REPLY, request.reply_to), reply,
                                timeout=request.timeout or 10)
        except BrokerUnavailable as error:
            # The caller asks again when he is connected again; the answer is kept for that.
            LOG.warning("Reply to message %s could not be sent: %s", request.unique_id, error)
