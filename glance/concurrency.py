# SPDX-License-Identifier: Apache-2.0
"""The only place of this service that knows about green threads.

Daemons call :func:`patch` before anything else is imported.  Without it everything here works on
plain threads, so tests and tools need no patching.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import subprocess
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

# eventlet's own resolver costs 17 MB of dnspython per process.  Names are looked up by libc; the
# few that a daemon needs (Keystone, Swift, the database) come from its configuration.
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # eventlet announces its retirement on every import
    import eventlet
    import eventlet.debug
    import eventlet.greenpool
    import eventlet.patcher
    import eventlet.tpool
    import eventlet.wsgi

_NATIVE_QUEUE = eventlet.patcher.original("queue")
_NATIVE_SELECT = eventlet.patcher.original("select")
_NATIVE_THREADING = eventlet.patcher.original("threading")

LOG = logging.getLogger(__name__)
Transfer = Callable[[Callable[[memoryview], None]], None]
#: how much nicer than the rest of the process the threads of bulk work are
MEEKNESS = 10
#: bytes that a thread which receives sleeps for, and milliseconds for which it does at most
HEAP, HEAPING = 1 << 20, 250
P = ParamSpec("P")
T = TypeVar("T")


def patch() -> None:
    """Make the standard library cooperative; must run before other imports of a daemon."""
    eventlet.monkey_patch()
    # Its Popen stands on a copy of the module, whose TimeoutExpired nobody could catch.
    eventlet.patcher.original("subprocess").TimeoutExpired = subprocess.TimeoutExpired
    eventlet.debug.hub_prevent_multiple_readers(True)


def is_patched() -> bool:
    """Whether this process runs on green threads."""
    return eventlet.patcher.is_monkey_patched("socket")


def blocking(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run file or CPU work without stopping other requests; returns or raises what it does.

    In a patched process the call runs in one of eventlet's native threads (20 by default), else
    right here.  Costs about 0.1 ms: use it per megabyte, not per kilobyte.
    """
    if is_patched():
        return eventlet.tpool.execute(function, *args, **kwargs)
    return function(*args, **kwargs)


class Hand:
    """A native thread of its own that does one thing after another: the bulk work of gigabytes.

    A turn costs less than one of `blocking`, and the thread leaves the processor to those that
    answer requests.  It ends with the last reference to this.  Without green threads there is
    none, and things are done by whoever starts them.  Only one at a time may wait.
    """

    def __init__(self) -> None:
        self._jobs: Any = None
        self._bell = -1

    def start(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
        """Begin this once all that came before is done, and go on beside it.

        :returns: a function that waits for its end, and returns or raises what it did; to be
            called once, before anything that the work uses is given up.
        """
        job = _Job(functools.partial(function, *args, **kwargs))
        if not is_patched():
            job.run(self._bell)
        else:
            self._begin()
            self._jobs.put(job)

        def wait() -> T:
            job.is_awaited = True  # before looking: a bell in vain does no harm, a missed one does
            while not job.is_over:
                eventlet.hubs.trampoline(self._bell, read=True)
                os.eventfd_read(self._bell)
            error, job.error = job.error, None
            if error is None:
                return job.value
            try:
                raise error
            finally:
                del error  # which knows this frame: who is in a circle outlives his last user

        return wait

    def _begin(self) -> None:
        if self._jobs is None:
            self._jobs = _NATIVE_QUEUE.SimpleQueue()
            self._bell = os.eventfd(0)
            _NATIVE_THREADING.Thread(target=_toil, args=(self._jobs, self._bell),
                                     daemon=True).start()
            weakref.finalize(self, self._jobs.put, None)


class _Job:
    """Something for a `Hand` to do, and what became of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self.value: Any = None
        self.error: BaseException | None = None
        self.is_awaited = self.is_over = False

    def run(self, bell: int) -> None:
        """Do it, then ring for whoever waits."""
        function = self._function
        del self._function  # what it uses is not held any longer than needed
        try:
            self.value = function()
        except BaseException as error:  # of whatever kind: it is the one's who waits
            self.error = error
        self.is_over = True
        if self.is_awaited:
            os.eventfd_write(bell, 1)


def _toil(jobs: Any, bell: int) -> None:
    os.nice(MEEKNESS)  # of this thread alone, as Linux has it
    while (job := jobs.get()) is not None:
        job.run(bell)
        del job  # the next may be long in coming
    os.close(bell)


class Intake:
    """Puts what a body has next into memory.

    The body of known length of a server comes from its socket, past the green threads; others,
    whatever has `read`, by one copy more.

    :param hand: receives it.
    """

    def __init__(self, body: Any, hand: Hand) -> None:
        self._body = body
        self._hand = hand
        self._source: _Source | None = None

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`, but for the first time and the end; how much it was."""
        if isinstance(self._body, eventlet.wsgi.Input) and not self._body.chunked_input:
            # its one way to be read that also answers Expect: 100-continue and counts
            return len(self._body._do_read(lambda size: self._receive(buffer[:size]), len(buffer)))
        piece = self._body.read(len(buffer))
        buffer[:len(piece)] = piece
        return len(piece)

    def _receive(self, buffer: memoryview) -> memoryview:
        sock = self._body.get_socket()
        if not is_patched() or type(sock) is not eventlet.greenio.GreenSocket:
            return buffer[:self._body.rfile.readinto(buffer)]
        if self._source is None:  # what came along with the header is not in the socket any more
            self._source = _Source(sock)
            piece = self._body.rfile.read1(len(buffer))
            buffer[:len(piece)] = piece
            return buffer[:len(piece)]
        received = self._hand.start(self._source, buffer)
        try:
            return buffer[:received()]
        except BaseException:  # whoever waited was stopped, or there is nothing more to wait for
            self._source.closed = True
            raise


class _Beside:
    """A socket of the green threads in a native one, until it is `closed`.

    :param event: of poll(2): what is waited for.
    """

    def __init__(self, sock: Any, event: int) -> None:
        self._socket = sock.fd
        self._timeout = sock.gettimeout()
        self._poll = _NATIVE_SELECT.poll()
        self._poll.register(self._socket, event)
        self.closed = False

    def _check(self) -> None:
        if self.closed:
            raise ConnectionAbortedError("nobody waits for this any more")

    def _is_ready(self) -> bool:
        """Whether the event comes within the time a connection may be silent."""
        return bool(self._poll.poll(self._timeout and 1000 * self._timeout))


class _Source(_Beside):
    """Receives."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock, _NATIVE_SELECT.POLLIN)

    def __call__(self, buffer: memoryview) -> int:
        count = 0
        while count < len(buffer):
            self._check()
            try:
                received = self._socket.recv_into(buffer[count:])
            except BlockingIOError:
                self._await(len(buffer) - count)
                continue
            if not received:
                break
            count += received
        return count

    def _await(self, missing: int) -> None:
        """Return when so much is there, or, of a client that is slow, anything."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(missing, HEAP))
        came = self._poll.poll(HEAPING)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        if not came and not self._is_ready():
            raise TimeoutError("the client sends nothing")


def way_around(environ: Mapping[str, Any]) -> Callable[[Transfer], None] | None:
    """A way past the server to the client, once the server has sent the beginning of a body.

    The function that is returned takes another, calls it in a native thread of its own with a
    sink for what follows, and returns, or raises what that did, in the end.  For gigabytes: it
    spares the green threads' cost of each piece.  None where the server has no plain socket.
    """
    get_socket = getattr(environ.get("wsgi.input"), "get_socket", None)
    sock = get_socket() if get_socket is not None and is_patched() else None
    if type(sock) is not eventlet.greenio.GreenSocket:
        return None

    def carry(transfer: Transfer) -> None:
        reading, writing = os.pipe()
        sink = _Sink(sock)
        outcome: list[BaseException] = []

        def run() -> None:
            try:
                transfer(sink)
            except BaseException as error:  # of whatever kind: it is the one's who waits
                outcome.append(error)
            finally:
                os.close(writing)  # which is a sign to the reader

        try:
            _NATIVE_THREADING.Thread(target=run, daemon=True).start()
            eventlet.hubs.trampoline(reading, read=True)
        finally:
            sink.closed = True
            os.close(reading)
        if outcome:
            raise outcome[0]

    return carry


class _Sink(_Beside):
    """Sends."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock, _NATIVE_SELECT.POLLOUT)

    def __call__(self, piece: memoryview) -> None:
        while piece:
            self._check()
            try:
                piece = piece[self._socket.send(piece):]
            except BlockingIOError:
                if not self._is_ready():
                    raise TimeoutError("the client takes nothing") from None


def spawn_periodic(interval: float, function: Callable[[], Any], name: str) -> None:
    """Call `function` every `interval` seconds for the life of the process; errors are logged."""

    def loop() -> None:
        while True:
            time.sleep(interval)
            try:
                function()
            except Exception:  # a periodic task must outlive every failure of one round
                LOG.exception("periodic task %s failed; next try in %.0f s", name, interval)

    eventlet.spawn(loop)


def spawn(function: Callable[..., Any], *args: Any) -> None:
    """Run `function` beside this request, in a (green) thread that no process waits for."""
    threading.Thread(target=function, args=args, daemon=True).start()


def listen(host: str, port: int, backlog: int) -> Any:
    """A listening TCP socket; port 0 picks a free one."""
    family = eventlet.green.socket.AF_INET6 if ":" in host else eventlet.green.socket.AF_INET
    return eventlet.listen((host, port), family=family, backlog=backlog, reuse_port=False)


def serve(sock: Any, app: Callable[..., Any], *, max_requests: int, socket_timeout: float,
          keepalive: bool, drain_timeout: float, on_ready: Callable[[], None],
          on_hangup: Callable[[], None]) -> None:
    """Serve `app` until SIGTERM or SIGINT, then finish what is in flight.

    :param socket_timeout: seconds a connection may stay silent, idle or in mid-request.
    :param drain_timeout: seconds that requests in flight get after the signal.
    :param on_hangup: what SIGHUP means.
    """
    pool = eventlet.greenpool.GreenPool(max_requests)
    # Header names leave as they are written here: capitalising each costs time per request.
    server = eventlet.spawn(
        eventlet.wsgi.server, sock, app, custom_pool=pool, log=LOG, log_output=False,
        keepalive=keepalive, socket_timeout=socket_timeout, debug=False,
        url_length_limit=16384, capitalize_response_headers=False)
    stopping = eventlet.event.Event()

    def stop(*_args: Any) -> None:
        if not stopping.ready():
            stopping.send(None)

    server.link(stop)  # a server that dies of itself ends the process too
    _on_signals(stop, on_hangup)
    on_ready()
    stopping.wait()
    LOG.info("stopping: %d connection(s) open, %.0f s to finish", pool.running(), drain_timeout)
    eventlet.kill(server, SystemExit())  # ends the accept loop; it then waits for its requests
    with eventlet.Timeout(drain_timeout, False):
        server.wait()
        return
    LOG.warning("%d connection(s) still busy after %.0f s: cut off", pool.running(), drain_timeout)


def _on_signals(stop: Callable[[], None], hangup: Callable[[], None]) -> None:
    """Call `hangup` in a green thread whenever SIGHUP comes, `stop` when SIGTERM or SIGINT does.

    Through a pipe the interpreter writes to: a handler alone does not wake a hub that waits for
    sockets, the less so when one of the native threads got the signal.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait() -> None:
        while True:
            eventlet.hubs.trampoline(reading, read=True)
            for number in os.read(reading, 64):
                (hangup if number == signal.SIGHUP else stop)()

    eventlet.spawn(wait)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, lambda *_args: None)  # being caught is all that is needed
