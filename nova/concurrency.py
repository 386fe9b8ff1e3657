# SPDX-License-Identifier: Apache-2.0
"""The one door to eventlet in nova.

Everything above this module asks here for a thread, a pause or a queue and so runs
unpatched in a test.  Only ``nova.cmd`` calls :func:`patch`, before any other import.
"""

import os
import socket
import subprocess
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

# eventlet's own resolver costs every process 6 MB and 0.2 s; see _resolve().
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")     # that eventlet is only maintained: known, and its place
    import eventlet
import eventlet.green.socket
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
    eventlet.monkey_patch(all=True, psycopg=False)      # see green_postgresql()
    eventlet.green.socket.getaddrinfo = socket.getaddrinfo = _resolve
    # Its Popen stands on a copy of the module, whose TimeoutExpired nobody could catch.
    eventlet.patcher.original("subprocess").TimeoutExpired = subprocess.TimeoutExpired


def green_postgresql() -> None:
    """Let other green threads run while PostgreSQL works; nothing in an unpatched process.

    Not done by :func:`patch`: it would load the driver where it is not used.
    """
    if is_monkey_patched("socket"):
        from eventlet.support import psycopg2_patcher
        psycopg2_patcher.make_psycopg_green()


def _resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
    """``socket.getaddrinfo`` that lets other green threads run while a name server is asked."""
    original = eventlet.patcher.original("socket")
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if text is None or ":" in text or text.replace(".", "").isdigit() or text == "localhost":
        return original.getaddrinfo(host, port, *args, **kwargs)
    return eventlet.tpool.execute(original.getaddrinfo, host, port, *args, **kwargs)


class WebServer:
    """An HTTP/1.1 server in front of a WSGI application: one green thread a connection.

    Request line and each header are limited to 16 KiB, all headers to 64 KiB, a connection on
    which nothing moves to ``idle`` seconds, all connections to ``connections``.  Nothing is
    logged here and no traceback goes out: the application answers for its errors.
    """

    def __init__(self, sock: socket.socket, app: Callable[..., Any], *, idle: float,
                 connections: int) -> None:
        import eventlet.wsgi
        eventlet.wsgi.MAX_HEADER_LINE = 16384
        eventlet.wsgi.MAX_REQUEST_LINE = 16384
        self._pool = GreenPool(connections)
        self._thread = spawn(
            eventlet.wsgi.server, sock, app, custom_pool=self._pool, log_output=False,
            debug=False, keepalive=True, socket_timeout=idle, url_length_limit=16384,
            capitalize_response_headers=False)

    def stop(self, grace: float) -> None:
        """Accept nothing more, end idle connections, let running requests end in time."""
        self._thread.kill()
        with Timeout(grace, False):
            self._pool.waitall()


def run_in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run a blocking call (libvirt, disk, a child process) in a real thread and return its result.

    The calling green thread waits, the hub goes on.  In an unpatched process, a test say, the
    function simply runs here: there is no hub that could be blocked.
    """
    if not is_monkey_patched("thread"):
        return function(*args, **kwargs)
    return eventlet.tpool.execute(function, *args, **kwargs)
