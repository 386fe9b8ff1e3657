# SPDX-License-Identifier: Apache-2.0
"""What a worker of the test run leaves running when it is killed: found by a mark, and ended.

A worker that breaks its time limit dies without any fixture's end. Its daemons would go on and
load the machine for the tests after it. Each inherits the worker's environment, and so its mark.
"""
import contextlib
import os
import signal
import time

MARK = "SNAKESTACK_TEST_WORKER"
END_TIMEOUT = 30               # seconds for what was killed to be gone


def marked(mark: str) -> list[int]:
    """The processes whose environment bears the mark, this one excepted."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):      # it has ended meanwhile
            with open(f"/proc/{entry}/environ", "rb") as f:
                if wanted in f.read().split(b"\0"):
                    found.append(int(entry))
    return found


def end(mark: str) -> list[int]:
    """Kill them, also those they start meanwhile, and wait until they are gone; who they were.

    A process that is killed lives on until the kernel comes to it, and on a loaded machine that is
    after the next look: so they are waited for, at most END_TIMEOUT.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + END_TIMEOUT
    while (found := set(marked(mark))) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended |= found
        time.sleep(0.01)
    return sorted(ended)
