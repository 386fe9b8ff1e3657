# SPDX-License-Identifier: Apache-2.0
"""A broker for one process: queues in memory, nothing to poll, nothing running while idle.

kombu has a memory transport, but its consumers ask every queue several times a second whether
there is something; here a message is handed on by whoever publishes or acknowledges one.
Messages die with the process, which is what rows with deadlines and reconcilers are for.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from nova.rpc.broker import Address, Broker, Delivery, Source, Subscription


@dataclass
class _Message:
    body: bytes
    expires_at: float | None = None
    attempts: int = 0
    redelivered: bool = False


@dataclass(eq=False)
class _Listener:
    subscription: "_MemorySubscription"
    address: Address
    queue: "_Queue"
    free: int


@dataclass
class _Queue:
    waiting: deque[_Message] = field(default_factory=deque)
    listeners: deque[_Listener] = field(default_factory=deque)     # in turn


class _MemoryDelivery(Delivery):
    def __init__(self, message: _Message, listener: _Listener) -> None:
        self.body = message.body
        self.address = listener.address
        self.redelivered = message.redelivered
        self.attempts = message.attempts
        self.message = message
        self.listener = listener

    def ack(self) -> None:
        self.listener.subscription.done(self)


class _MemorySubscription(Subscription):
    def __init__(self, owner: "MemoryBroker", on_delivery: Callable[[Delivery], None]) -> None:
        self.owner = owner
        self.on_delivery = on_delivery
        self.listeners: list[_Listener] = []
        self.in_hand: dict[int, _MemoryDelivery] = {}
        self.temporary: list[tuple[Address, str]] = []

    def wait_ready(self, timeout: float) -> bool:
        return True

    def pause(self) -> None:
        with self.owner.lock:
            for listener in self.listeners:
                if listener in listener.queue.listeners:
                    listener.queue.listeners.remove(listener)

    def stop(self) -> None:
        self.pause()
        with self.owner.lock:
            queues = []
            for delivery in reversed(self.in_hand.values()):
                delivery.message.redelivered = True
                delivery.listener.queue.waiting.appendleft(delivery.message)
                queues.append(delivery.listener.queue)
            self.in_hand.clear()
            for address, name in self.temporary:
                self.owner.forget(address, name)
            ready = [pair for queue in queues for pair in self.owner.hand_out(queue)]
        self.owner.deliver(ready)

    def done(self, delivery: _MemoryDelivery) -> None:
        with self.owner.lock:
            if self.in_hand.pop(id(delivery), None) is None:
                return
            delivery.listener.free += 1
            ready = self.owner.hand_out(delivery.listener.queue)
        self.owner.deliver(ready)


class MemoryBroker(Broker):
    """Queues of one process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._queues: dict[str, _Queue] = {}
        self._fanouts: dict[str, set[str]] = {}
        self._subscriptions: list[_MemorySubscription] = []

    def publish(self, address: Address, body: bytes, *, persistent: bool = False,
                expiration: float | None = None, attempts: int = 0,
                timeout: float | None = None) -> None:
        expires_at = None if expiration is None else time.monotonic() + expiration
        ready: list[tuple[_Listener, _MemoryDelivery]] = []
        with self.lock:
            for queue in self._targets(address):
                queue.waiting.append(_Message(body, expires_at, attempts))
                ready.extend(self.hand_out(queue))
        self.deliver(ready)

    def _targets(self, address: Address) -> list[_Queue]:
        if address.kind == Address.FANOUT:
            return [self._queues[name] for name in self._fanouts.get(address.name, ())]
        if address.kind == Address.REPLY:
            return [self._queues[address.name]] if address.name in self._queues else []
        return [self._queues.setdefault(address.name, _Queue())]

    def hand_out(self, queue: _Queue) -> list[tuple[_Listener, _MemoryDelivery]]:
        """Give waiting messages to listeners that have a hand free.  Call with the lock held."""
        ready = []
        while queue.waiting and any(listener.free for listener in queue.listeners):
            message = queue.waiting.popleft()
            if message.expires_at is not None and message.expires_at < time.monotonic():
                continue
            while not queue.listeners[0].free:
                queue.listeners.rotate(-1)
            listener = queue.listeners[0]
            queue.listeners.rotate(-1)
            listener.free -= 1
            delivery = _MemoryDelivery(message, listener)
            listener.subscription.in_hand[id(delivery)] = delivery
            ready.append((listener, delivery))
        return ready

    def deliver(self, ready: list[tuple[_Listener, _MemoryDelivery]]) -> None:
        """Tell listeners what was handed to them.  Call without the lock."""
        for listener, delivery in ready:
            listener.subscription.on_delivery(delivery)

    def forget(self, address: Address, name: str) -> None:
        """Remove a queue that lives as long as its listener.  Call with the lock held."""
        self._queues.pop(name, None)
        self._fanouts.get(address.name, set()).discard(name)

    def subscribe(self, sources: list[Source], on_delivery: Callable[[Delivery], None], *,
                  prefetch: int, on_connect: Callable[[], None] = lambda: None) -> Subscription:
        subscription = _MemorySubscription(self, on_delivery)
        ready = []
        with self.lock:
            self._subscriptions.append(subscription)
            for source in sources:
                queue = self._queues.setdefault(source.queue, _Queue())
                if source.address.kind == Address.FANOUT:
                    self._fanouts.setdefault(source.address.name, set()).add(source.queue)
                if source.address.kind in (Address.FANOUT, Address.REPLY):
                    subscription.temporary.append((source.address, source.queue))
                listener = _Listener(subscription, source.address, queue, prefetch)
                subscription.listeners.append(listener)
                queue.listeners.append(listener)
                ready.extend(self.hand_out(queue))
        on_connect()
        self.deliver(ready)
        return subscription

    def depth(self, address: Address) -> int:
        with self.lock:
            return sum(len(queue.waiting) for queue in self._targets(address))

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.stop()
        self._subscriptions.clear()
