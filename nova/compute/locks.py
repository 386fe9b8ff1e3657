# SPDX-License-Identifier: Apache-2.0
"""One thing at a time with one instance, within this worker."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class InstanceLocks:
    """A lock per instance, there only while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def hold(self, instance_id: str) -> Iterator[None]:
        """Wait for the instance and hold it."""
        lock = self._enter(instance_id)
        try:
            with lock:
                yield
        finally:
            self._leave(instance_id)

    @contextmanager
    def try_hold(self, instance_id: str) -> Iterator[bool]:
        """Hold the instance if nobody does; gives whether it is held now."""
        lock = self._enter(instance_id)
        try:
            held = lock.acquire(blocking=False)
            try:
                yield held
            finally:
                if held:
                    lock.release()
        finally:
            self._leave(instance_id)

    def _enter(self, instance_id: str) -> threading.Lock:
        with self._guard:
            lock, users = self._locks.get(instance_id) or (threading.Lock(), 0)
            self._locks[instance_id] = (lock, users + 1)
            return lock

    def _leave(self, instance_id: str) -> None:
        with self._guard:
            lock, users = self._locks[instance_id]
            if users == 1:
                del self._locks[instance_id]
            else:
                self._locks[instance_id] = (lock, users - 1)

    def held(self, instance_id: str) -> bool:
        """Tell whether somebody holds the instance just now."""
        with self._guard:
            entry = self._locks.get(instance_id)
            return entry is not None and entry[0].locked()
