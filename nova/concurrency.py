# SPDX-License-Identifier: Apache-2.0
"""The one door to eventlet in nova.

Everything above this module asks here for a thread, a pause or a queue and so runs
unpatched in a test.  Only ``nova.cmd`` calls :func:`patch`, before any other import.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import eventlet
import eventlet.tpool
from eventlet import event, greenpool, greenthread, queue, semaphore, timeout
from eventlet.patcher import is_monkey_patched

T = TypeVar("T")

Event = event.Event
GreenPool = greenpool.GreenPool
LightQueue = queue.LightQueue
Queue = queue.Queue
QueueEmpty = queue.Empty
Semaphore = semaphore.Semaphore
Timeout = timeout.Timeout
listen = eventlet.listen
sleep = greenthread.sleep
spawn = greenthread.spawn
spawn_after = greenthread.spawn_after


def patch() -> None:
    """Make the standard library yield; call once, before anything else is imported."""
    eventlet.monkey_patch()


def run_in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run a blocking call (libvirt, disk, a child process) in a real thread and return its result.

    The calling green thread waits, the hub goes on.  In an unpatched process, a test say, the
    function simply runs here: there is no hub that could be blocked.
    """
    if not is_monkey_patched("thread"):
        return function(*args, **kwargs)
    return eventlet.tpool.execute(function, *args, **kwargs)
