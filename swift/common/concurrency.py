# SPDX-License-Identifier: Apache-2.0
"""Green threads, their locks, time limits and the way out of them: the only eventlet importer.

`patch()` is called first thing in every daemon's main. Everything above this module also works
unpatched (then nothing switches while it waits on a socket), so that tests need no patching.

Unfair but true: a call in a thread costs 60-100 us of processor. It pays for what waits on a disk
(fsync) or burns long without the GIL (md5 of 64 KiB and more), never for a small read.
"""
from __future__ import annotations

import errno
import os
import queue as _queue
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

# eventlet's own resolver costs every process 16 MB and a second to load; see _resolve().
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")              # its maintainers' advice, on each start
    import eventlet
import eventlet.event
import eventlet.hubs
import eventlet.hubs.epolls
import eventlet.patcher
import eventlet.queue
import eventlet.semaphore
from eventlet import GreenPile, GreenPool, Timeout, spawn, spawn_after, spawn_n
from eventlet.event import Event
from eventlet.green import socket, ssl, subprocess
from eventlet.greenthread import getcurrent, sleep
from eventlet.hubs import get_hub, trampoline
from eventlet.queue import Empty, Full, LightQueue, Queue
from eventlet.semaphore import Semaphore
from greenlet import GreenletExit

__all__ = [
    "Empty", "Event", "Full", "GreenPile", "GreenPool", "GreenletExit", "Hub", "LightQueue",
    "Queue", "Semaphore", "StreamSocket", "Timeout", "after_fork", "before_exit", "get_hub",
    "getcurrent",
    "interrupt", "is_patched", "listen", "listener_of", "on_signals", "original_subprocess",
    "patch", "run_in_thread", "send_datagram", "sleep", "sleep_all", "socket", "spawn",
    "spawn_after", "spawn_n", "ssl", "subprocess", "trampoline", "wait_readable",
]

_original_threading: Any = eventlet.patcher.original("threading")
_SimpleQueue: Any = _queue.SimpleQueue          # the C class: never patched, no Python lock around
_original_socket: Any = eventlet.patcher.original("socket")
select: Any = eventlet.patcher.original("select")


def patch() -> None:
    """Make the standard library's sockets, locks, time and subprocess switch green threads.

    `os` stays as it is: files never block in the sense epoll knows, and a forking parent wants
    a waitpid that really sleeps.
    """
    eventlet.hubs.use_hub(Hub)
    eventlet.patcher.monkey_patch(
        os=False, socket=True, select=True, thread=True, time=True, subprocess=True)
    for module in (socket, sys.modules["socket"]):
        vars(module)["getaddrinfo"] = _resolve
    # Its Popen stands on a copy of the module, whose TimeoutExpired nobody could catch.
    eventlet.patcher.original("subprocess").TimeoutExpired = subprocess.TimeoutExpired


def _resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
    """`socket.getaddrinfo` that lets other green threads run while a name server is asked."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if text is None or ":" in text or text.replace(".", "").isdigit() or text == "localhost" or \
            _original_threading.get_ident() != _main_thread:
        return _original_socket.getaddrinfo(host, port, *args, **kwargs)
    return run_in_thread(_original_socket.getaddrinfo, host, port, *args, **kwargs)


def datagram_address(host: str, port: int) -> tuple[int, Any]:
    """(family, address) of where datagrams to a host go; a name that cannot be looked up stays one.

    Blocks, for it is called before a process forks: it may have no threads then.
    """
    try:
        family, _, _, _, address = _original_socket.getaddrinfo(
            host, port, 0, socket.SOCK_DGRAM)[0]
    except OSError:
        return socket.AF_INET, (host, port)
    return family, address


def is_patched() -> bool:
    """Whether `patch()` was called in this process."""
    return bool(eventlet.patcher.is_monkey_patched("socket"))


def listen(host: str, port: int, backlog: int = 4096, reuse_port: bool = False,
           keep_idle: int = 0) -> Any:
    """A listening green TCP socket; port 0 picks a free one. Raises OSError as bind does.

    With `keep_idle` the kernel asks peers of which nothing came for so many seconds whether they
    are there, and closes their connections if not.
    """
    family = _original_socket.AF_INET6 if ":" in host else _original_socket.AF_INET
    sock = StreamSocket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if keep_idle:                                # accepted sockets inherit it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keep_idle)
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def listener_of(fd: int) -> Any:
    """The listening green socket behind an open file descriptor."""
    return StreamSocket(_original_socket.socket(fileno=fd))


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


class Hub(eventlet.hubs.epolls.Hub):
    """eventlet's hub, whose epoll keeps a `StreamSocket` registered from one wait to the next."""

    def __init__(self, clock: Any = None) -> None:
        super().__init__(clock)
        self.kept: dict[int, Any] = {}       # descriptor -> what has its `on_event`
        # Asked before each poll how long it may take at most, told how long it would.
        self.before_poll: Callable[[float | None], float | None] | None = None

    @staticmethod
    def is_available() -> bool:
        """For eventlet: this is Linux."""
        return True

    def wait(self, seconds: float | None = None) -> None:
        """Let those run whose descriptors are ready; return after `seconds` at the latest."""
        if self.listeners[self.READ] or self.listeners[self.WRITE]:
            super().wait(seconds)
        else:
            self.do_poll(seconds)

    def do_poll(self, seconds: float | None) -> list[tuple[int, int]]:
        """Poll, and serve the waits of a StreamSocket; the events that are about others."""
        kept, others = self.kept, []
        if self.before_poll is not None:
            seconds = self.before_poll(seconds)
        for fileno, event in self.poll.poll(seconds):
            sock = kept.get(fileno)
            if sock is None:
                others.append((fileno, event))
                continue
            try:
                sock.on_event(event)
            except self.SYSTEM_EXCEPTIONS:
                raise
            except BaseException:        # a green thread's end that nobody waits for
                self.squelch_generic_exception(sys.exc_info())
        return others


_READABLE = select.EPOLLIN | select.EPOLLPRI | select.EPOLLERR | select.EPOLLHUP
_WRITABLE = select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP
_BITS = (select.EPOLLIN, select.EPOLLOUT)
_PATIENCE = 1.0               # seconds that `recv_much` waits for more than there is


class StreamSocket(socket.socket):
    """A green TCP or Unix stream whose waits cost half.

    Its descriptor stays in the hub's epoll, and one timer serves many waits: it is set to the first
    deadline and looks, when it fires, whether anyone still waits and until when. Closing it ends
    waits of others on it at once (EBADF). At most one reader and one writer.
    """

    _hub: Hub | None = None                          # whose epoll has the descriptor
    _timer: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: list[Any] = [None, None]      # greenlets: reader, writer
        self._deadline = [0.0, 0.0]
        self._timer_at = 0.0
        self._mask = 0
        self._least = 1                              # bytes that make it readable (SO_RCVLOWAT)
        self._raw_recv, self._raw_send = self.fd.recv, self.fd.send
        del self.__dict__["close"]                   # the descriptor's own: ours says more

    def settimeout(self, howlong: float | None) -> None:
        """Seconds a wait may take, None for ever."""
        self._timeout = howlong
        self.act_non_blocking = howlong == 0

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """At most that much, as soon as there is anything; b"" when the other side is gone."""
        while True:
            try:
                return self._raw_recv(bufsize, flags)
            except BlockingIOError:
                self._wait(0)
            except ConnectionResetError:
                return b""

    def recv_much(self, bufsize: int, least: int) -> bytes:
        """`recv`, once there are `least` bytes; of a slow sender's as many as came in a while.

        Each piece of a long body costs a wake-up and more on every node it passes.
        """
        timeout = self._timeout
        if type(get_hub()) is Hub and not self.act_non_blocking:
            self._timeout = _PATIENCE if timeout is None else min(_PATIENCE, timeout)
            try:
                self._wait(0, least)
            except TimeoutError:
                pass
            finally:
                self._timeout = timeout
        return self.recv(bufsize)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """`recv` into the front of a buffer; how much it was."""
        while True:
            try:
                return self.fd.recv_into(buffer, nbytes, flags)
            except BlockingIOError:
                self._wait(0)
            except ConnectionResetError:
                return 0

    def send(self, data: Any, flags: int = 0) -> int:
        """Send some of `data`; how much."""
        while True:
            try:
                return self._raw_send(data, flags)
            except BlockingIOError:
                self._wait(1)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of `data`."""
        sent, size = self.send(data, flags), len(data)
        if sent < size:
            view = memoryview(data)
            while sent < size:
                sent += self.send(view[sent:], flags)

    def send_pieces(self, pieces: tuple[bytes, ...]) -> None:
        """Send all of `pieces`, without first making one of them."""
        try:
            sent = self.fd.sendmsg(pieces)
        except BlockingIOError:
            sent = 0
        for piece in pieces:
            if sent < len(piece):
                self.sendall(memoryview(piece)[sent:] if sent else piece)
                sent = 0
            else:
                sent -= len(piece)

    def close(self) -> None:
        """Close it; who waits gets EBADF. More than once is fine."""
        hub = self._hub
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if hub is not None:
            self._forget()
            for which, greenlet in enumerate(self._waiting):
                if greenlet is not None:
                    hub.schedule_call_global(0, self._throw, which, greenlet, OSError(
                        errno.EBADF, "another green thread closed the socket"))
        if self.fd is not None:                      # there was a descriptor to be had
            self.fd.close()

    # -- waiting ---------------------------------------------------------

    def _wait(self, which: int, least: int = 1) -> None:
        """Until it can be read (0), `least` bytes, or written (1). TimeoutError after the timeout.
        """
        if self.act_non_blocking:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        hub = get_hub()
        if type(hub) is not Hub:                     # tests, and native threads
            self._trampoline(self.fd, read=not which, write=bool(which), timeout=self._timeout,
                             timeout_exc=TimeoutError("timed out"))
            return
        waiting = self._waiting
        if waiting[which] is not None:
            raise RuntimeError("two green threads wait for the same of one socket")
        if least != self._least and not which:
            self.fd.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
            self._least = least
        bit = _BITS[which]
        if self._hub is not hub:
            fileno = self.fd.fileno()
            hub.poll.register(fileno, bit)
            hub.kept[fileno] = self
            self._hub, self._mask = hub, bit
        elif not self._mask & bit:
            self._mask |= bit
            hub.poll.modify(self.fd.fileno(), self._mask)
        if self._timeout is None:
            self._deadline[which] = 0.0
        else:
            self._arm(hub, which)
        waiting[which] = getcurrent()
        try:
            hub.switch()
        finally:
            waiting[which] = None

    def on_event(self, event: int) -> None:
        """For the hub: let go on who waits for this.

        What nobody waits for leaves the epoll, which would return at once ever after.
        """
        reader, writer = self._waiting
        if reader is not None and event & _READABLE:
            reader.switch()
        elif writer is not None and event & _WRITABLE:
            writer.switch()
        elif reader is None and writer is None:
            self._forget()
        else:
            assert self._hub is not None
            self._mask = _BITS[0] if reader is not None else _BITS[1]
            self._hub.poll.modify(self.fd.fileno(), self._mask)

    def _forget(self) -> None:
        hub, self._hub = self._hub, None
        fileno = self.fd.fileno()
        if hub is not None and hub.kept.get(fileno) is self:
            del hub.kept[fileno]
            hub.poll.unregister(fileno)

    def _arm(self, hub: Hub, which: int) -> None:
        deadline = self._deadline[which] = hub.clock() + self._timeout
        timer = self._timer
        if timer is None or self._timer_at > deadline:
            if timer is not None:
                timer.cancel()
            self._timer_at = deadline
            self._timer = hub.schedule_call_global(self._timeout, self._expire, hub)

    def _expire(self, hub: Hub) -> None:
        self._timer = None
        now, following, expired = hub.clock(), 0.0, []
        for which, greenlet in enumerate(self._waiting):
            deadline = self._deadline[which]
            if greenlet is None or not deadline:
                continue
            if deadline <= now:
                expired.append((which, greenlet))
            elif not following or deadline < following:
                following = deadline
        if following:
            self._timer_at = following
            self._timer = hub.schedule_call_global(following - now, self._expire, hub)
        for which, greenlet in expired:
            self._throw(which, greenlet, TimeoutError("timed out"))

    def _throw(self, which: int, greenlet: Any, exc: BaseException) -> None:
        """Raise in a greenlet, if it still waits."""
        if self._waiting[which] is greenlet:
            greenlet.throw(exc)


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
        self.rsock, self.wsock = map(StreamSocket, _original_socket.socketpair())
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
    eventlet.hubs.use_hub(Hub)


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


def sleep_all(seconds: float) -> None:
    """Sleep, and let nobody else run: for whoever is about to end the process."""
    _original_sleep(seconds)


def pause(seconds: float) -> None:
    """Sleep, letting other green threads run if this is the thread they run in."""
    if _original_threading.get_ident() == _main_thread:
        sleep(seconds)
    else:
        _original_sleep(seconds)


def interrupt(find: Callable[[], Any]) -> None:
    """Raise GreenletExit, soon, in the green thread that `find()` returns then; the caller goes on.

    It must be waiting. None: it waits no more for what was to be interrupted.
    """
    def strike() -> None:
        greenlet = find()
        if greenlet is not None:
            greenlet.throw(GreenletExit)
    eventlet.hubs.get_hub().schedule_call_global(0, strike)


_before_exit: list[Callable[[], Any]] = []


def before_exit(callback: Callable[[], Any]) -> None:
    """Have `callback`, which must not wait for green threads, called when `exit_now` ends the
    process."""
    _before_exit.append(callback)


def exit_now(code: int) -> NoReturn:
    """End the process without waiting for abandoned threads; flushes the standard streams."""
    for callback in _before_exit:
        callback()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def cpu_count() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))

