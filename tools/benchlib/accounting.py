# SPDX-License-Identifier: Apache-2.0
"""CPU seconds of a service's processes, from /proc.

Daemons that poll use CPU when nothing is asked of them. That is measured first, as seconds a
second, and taken off, so that a figure per 1000 requests does not depend on how long they took.
"""
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

IDLE_SECONDS = 10.0
TRAIL_SECONDS = 0.5  # work that trails the last answer is counted


@dataclass
class Meter:
    """Counts the CPU of the process trees below `leaders`, asked anew each time."""

    leaders: Callable[[], Iterable[int]]
    idle: float = 0.0
    _seen_idle: bool = False

    def seconds(self) -> float:
        """User and system time so far, of living processes and of children they waited for."""
        used, seen = 0.0, set()
        for leader in self.leaders():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(leader)
                for member in [process, *process.children(recursive=True)]:
                    if member.pid not in seen:
                        seen.add(member.pid)
                        with contextlib.suppress(psutil.Error):
                            used += sum(member.cpu_times()[:4])
        return used

    def measure_idle(self) -> None:
        """Watch the service do nothing.

        After a round of requests its daemons have something to catch up with: the least counts.
        """
        start, before = time.monotonic(), self.seconds()
        time.sleep(IDLE_SECONDS)
        seen = (self.seconds() - before) / (time.monotonic() - start)
        self.idle = min(self.idle, seen) if self._seen_idle else seen
        self._seen_idle = True

    def cost(self, work: Callable[[], object]) -> float:
        """CPU seconds that `work` cost the service, its idling taken off."""
        start, before = time.monotonic(), self.seconds()
        work()
        time.sleep(TRAIL_SECONDS)
        return max(0.0, self.seconds() - before - self.idle * (time.monotonic() - start))
