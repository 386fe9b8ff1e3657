# SPDX-License-Identifier: Apache-2.0
"""Several processes of one daemon, each with its share of the work.

The parent sleeps in waitpid, starts a worker anew that died, and ends with its workers. Who calls:
`swift.common.daemon`.
"""
from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from swift.common.process import child

RESTART_SECONDS = 1.0                 # workers that die at once must not spin


def run(count: int, work: Callable[[int], int], once: bool) -> int:
    """Have `work(number)` done in a process for each number below `count`; the worst exit code.

    Without `once` a worker that dies is started anew, until a signal ends all.
    """
    children: dict[int, int] = {}     # pid -> number
    stopping: list[int] = []

    def on_signal(number: int, _frame: Any) -> None:
        stopping.append(number)
        for pid in children:
            os.kill(pid, signal.SIGTERM)

    def start(number: int) -> None:
        pid = os.fork()
        if pid == 0:
            child(lambda: work(number))
        children[pid] = number

    for wanted in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(wanted, on_signal)
    for number in range(count):
        start(number)
    worst = 0
    while children:
        pid, status = os.waitpid(-1, 0)
        number = children.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if once:
            worst = max(worst, abs(code))
        elif not stopping:
            time.sleep(RESTART_SECONDS)
            if not stopping:
                start(number)
    return worst
