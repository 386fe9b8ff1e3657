# SPDX-License-Identifier: Apache-2.0
"""Keeps one container from getting more updates a second than its servers can take.

Containers share buckets by a hash, so that any number of them costs the same memory. An update
whose bucket is not due yet is deferred; when all others have gone, what was deferred is drained,
each bucket at its rate, until the pass is over. What is left then, or was too much to remember,
is skipped: its file waits for the next pass.
"""
from __future__ import annotations

import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from swift.common.concurrency import pause

T = TypeVar("T")
EVENTS = ("skips", "deferrals", "drains")


class ContainerBrake(Generic[T]):
    """Lets updates through, at most `rate` a second of each of `buckets`; 0 is no limit.

    At most `most_deferred` are remembered. `note` is told what happens to an update that is not let
    through at once, by one of EVENTS.
    """

    def __init__(self, rate: float, buckets: int, most_deferred: int,
                 note: Callable[[T, str], None]) -> None:
        self.rate, self.buckets, self.most_deferred = rate, buckets, most_deferred
        self.note = note
        self._salt = random.random()     # who shares a bucket in one pass does not in the next
        self._due: dict[int, float] = {}
        self._deferred: dict[int, deque[T]] = {}
        self._count = 0

    def let(self, updates: Iterable[T], key: Callable[[T], Hashable | None], until: float
            ) -> Iterator[T]:
        """The updates in the order they may be sent; `key` says whose one is, None: of nobody who
        is limited. Draining ends at `until`, by the monotonic clock."""
        if not self.rate:
            yield from updates
            return
        for update in updates:
            whose = key(update)
            if whose is None:
                yield update
                continue
            bucket = hash((self._salt, whose)) % self.buckets
            now = time.monotonic()
            if self._due.get(bucket, now) <= now:
                self._due[bucket] = now + 1 / self.rate
                yield update
            else:
                self._defer(bucket, update)
                pause(0)                 # others' answers are waiting to be read
        yield from self._drain(until)

    def _defer(self, bucket: int, update: T) -> None:
        if not self.most_deferred:
            self.note(update, "skips")
            return
        self.note(update, "deferrals")
        self._deferred.setdefault(bucket, deque()).append(update)
        self._count += 1
        if self._count > self.most_deferred:
            # The longest queue is the least likely to be drained in time.
            longest = max(self._deferred, key=lambda each: len(self._deferred[each]))
            self.note(self._next(longest), "skips")

    def _next(self, bucket: int) -> T:
        """Take the update that has waited longest out of a bucket."""
        waiting = self._deferred[bucket]
        update = waiting.popleft()
        if not waiting:
            del self._deferred[bucket]
        self._count -= 1
        return update

    def _drain(self, until: float) -> Iterator[T]:
        order = [(self._due[bucket], bucket) for bucket in self._deferred]
        heapq.heapify(order)
        while order:
            due, bucket = heapq.heappop(order)
            if due > until:
                break
            pause(max(0.0, due - time.monotonic()))
            self._due[bucket] = max(due, time.monotonic()) + 1 / self.rate
            update = self._next(bucket)
            if bucket in self._deferred:
                heapq.heappush(order, (self._due[bucket], bucket))
            self.note(update, "drains")
            yield update
        for bucket in list(self._deferred):
            while bucket in self._deferred:
                self.note(self._next(bucket), "skips")
