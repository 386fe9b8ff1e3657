# SPDX-License-Identifier: Apache-2.0
"""Green threads, their locks, time limits and the way out of them: the only eventlet importer.

`patch()` is called first thing in every daemon's main. Everything above this module also works
unpatched (then nothing switches while it waits on a socket), so that tests need no patching.

Unfair but true: a call in a thread costs 60-100 us of processor. It pays for what waits on a disk
(fsync) or burns long without the GIL (md5 of 64 KiB and more), never for a small read.
"""
from __future__ import annotations

import os
import queue as _queue
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")              # its maintainers' advice, on each start
    import eventlet
import eventlet.event
import eventlet.hubs
import eventlet.patcher
import eventlet.queue
import eventlet.semaphore
from eventlet import GreenPile, GreenPool, Timeout, spawn, spawn_after, spawn_n
from eventlet.event import Event
from eventlet.green import socket, ssl, subprocess
from eventlet.greenthread import getcurrent, sleep
from eventlet.hubs import trampoline
from eventlet.queue import Empty, Full, LightQueue, Queue
from eventlet.semaphore import Semaphore
from greenlet import GreenletExit

__all__ = [
    "Empty", "Event", "Full", "GreenPile", "GreenPool", "GreenletExit", "LightQueue", "Queue",
    "Semaphore", "Timeout", "after_fork", "getcurrent", "interrupt", "is_patched", "listen",
    "listener_of", "on_signals", "original_subprocess", "patch", "run_in_thread", "send_datagram",
    "sleep", "socket", "spawn", "spawn_after", "spawn_n", "ssl", "subprocess", "trampoline",
    "wait_readable",
]

_original_threading: Any = eventlet.patcher.original("threading")
_SimpleQueue: Any = _queue.SimpleQueue          # the C class: never patched, no Python lock around
_original_socket: Any = eventlet.patcher.original("socket")


def patch() -> None:
    """Make the standard library's sockets, locks, time and subprocess switch green threads.

    `os` stays as it is: files never block in the sense epoll knows, and a forking parent wants
    a waitpid that really sleeps.
    """
    eventlet.patcher.monkey_patch(
        os=False, socket=True, select=True, thread=True, time=True, subprocess=True)
    # Its Popen stands on a copy of the module, whose TimeoutExpired nobody could catch.
    eventlet.patcher.original("subprocess").TimeoutExpired = subprocess.TimeoutExpired


def is_patched() -> bool:
    """Whether `patch()` was called in this process."""
    return bool(eventlet.patcher.is_monkey_patched("socket"))


def listen(host: str, port: int, backlog: int = 4096, reuse_port: bool = False) -> Any:
    """A listening green TCP socket; port 0 picks a free one. Raises OSError as bind does."""
    family = _original_socket.AF_INET6 if ":" in host else _original_socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def listener_of(fd: int) -> Any:
    """The listening green socket behind an open file descriptor."""
    return socket.socket(fileno=fd)


def send_datagram(name: str, data: bytes) -> None:
    """Send to a Unix datagram socket; that nobody listens there is no error."""
    with _original_socket.socket(_original_socket.AF_UNIX, _original_socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(name)
            sock.send(data)
        except OSError:
            pass


def original_subprocess() -> Any:
    """The module as it is without green threads, for whoever must not switch."""
    return eventlet.patcher.original("subprocess")


def wait_readable(fd: int, seconds: float, green: bool) -> bool:
    """Whether `fd` can be read within `seconds`; other green threads run meanwhile if `green`."""
    if not green:
        return bool(eventlet.patcher.original("select").select([fd], [], [], seconds)[0])
    try:
        trampoline(fd, read=True, timeout=seconds, timeout_exc=TimeoutError)
    except TimeoutError:
        return False
    return True


class _Threads:
    """A pool of native threads whose results wake the green thread that asked.

    One byte on a socket pair wakes the hub; results that arrive while it is still unread ride
    along, so a burst costs one wake-up.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pid = os.getpid()
        self.requests = _SimpleQueue()
        self.results = _SimpleQueue()
        self.threads = 0
        self.waiting = 0
        self.rsock, self.wsock = socket.socketpair()
        self.wake = self.wsock.fd.send
        spawn_n(self._deliver)

    def call(self, function: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        event = Event()
        self.waiting += 1
        if self.waiting > self.threads < self.size:
            self.threads += 1
            _original_threading.Thread(target=self._work, daemon=True).start()
        self.requests.put((event, function, args, kwargs))
        try:
            return event.wait()
        finally:
            self.waiting -= 1

    def _work(self) -> None:
        get, put, wake = self.requests.get, self.results.put, self.wake
        while True:
            put(self._one(*get()))
            try:
                wake(b"x")
            except BlockingIOError:          # full of wake-ups: one of them will do
                pass

    @staticmethod
    def _one(event: Any, function: Callable[..., Any], args: tuple, kwargs: dict
             ) -> tuple[Any, bool, Any]:
        try:
            return event, True, function(*args, **kwargs)
        except BaseException as exc:         # whatever it is belongs to the caller, not to us
            return event, False, exc

    def _deliver(self) -> None:
        recv, get = self.rsock.recv, self.results.get_nowait
        while True:
            recv(4096)
            try:
                while True:
                    event, fine, value = get()
                    if fine:
                        event.send(value)
                    else:
                        event.send_exception(value)
            except _queue.Empty:
                pass
            event = value = None


_threads: _Threads | None = None


def run_in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `function` in a native thread while other green threads run; its result or exception.

    `function` must not touch green things. Unpatched, it is simply called. A Timeout that fires
    while waiting leaves the thread working: the call is abandoned, not undone.
    """
    global _threads
    if not is_patched():
        return function(*args, **kwargs)
    if _threads is None or _threads.pid != os.getpid():
        _threads = _Threads(int(os.environ.get("SWIFT_THREADS", "20")))
    return _threads.call(function, args, kwargs)


def after_fork() -> None:
    """Forget the hub and threads inherited over a fork; call first in the child."""
    global _threads
    _threads = None
    eventlet.hubs.use_hub()


def on_signals(signals: Iterable[int], callback: Callable[[int], None]) -> None:
    """Have `callback(signal number)` called in a green thread of its own for each signal.

    The handler itself only wakes the hub, so a signal never interrupts code half way.
    """
    rsock, wsock = socket.socketpair()
    wsock.fd.setblocking(False)
    signal.set_wakeup_fd(wsock.fileno(), warn_on_full_buffer=False)
    wanted = set(signals)
    for number in wanted:
        signal.signal(number, lambda *_: None)

    def watch() -> None:
        keep = wsock                                  # the wake-up end must outlive us
        while keep is not None:
            for number in rsock.recv(64):
                if number in wanted:
                    spawn_n(callback, number)

    spawn_n(watch)


_main_thread = _original_threading.main_thread().ident
_original_sleep: Any = eventlet.patcher.original("time").sleep


def pause(seconds: float) -> None:
    """Sleep, letting other green threads run if this is the thread they run in."""
    if _original_threading.get_ident() == _main_thread:
        sleep(seconds)
    else:
        _original_sleep(seconds)


def interrupt(greenlet: Any) -> None:
    """Raise GreenletExit in a waiting green thread, soon; the caller goes on."""
    eventlet.hubs.get_hub().schedule_call_global(0, greenlet.throw, GreenletExit)


def exit_now(code: int) -> NoReturn:
    """End the process without waiting for abandoned threads; flushes the standard streams."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def cpu_count() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))

