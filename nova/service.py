# SPDX-License-Identifier: Apache-2.0
"""What a daemon is made of: workers behind rpc, web servers, periodic tasks, signals.

A worker's manager is an ordinary object::

    class NetworkManager:
        def __init__(self, host: str) -> None: ...
        # one method for each row of its method table: method(context, **args)
        def start(self) -> None: ...            # optional: before it listens; must be repeatable
        def stop(self) -> None: ...             # optional: after it stopped listening
        def periodic_tasks(self):               # optional: [(name, seconds, function), ...]
            return [("reconcile", 60.0, self.reconcile)]
        def hypervisor_up(self) -> bool: ...    # optional: false keeps the heartbeat back

It is used from several threads at once, green ones in a daemon.
"""

import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from oslo_config import cfg

from nova import config, monitoring, notifications, policy, rpc
from nova.context import admin_context
from nova.db import services as service_rows
from nova.exception import NovaError
from nova.rpc.table import MethodTable

LOG = logging.getLogger(__name__)

CONF = cfg.CONF

FLUSH_TIMEOUT = 5.0     # seconds for what is still to be told when a daemon ends
BEATS_MISSED = 3        # a worker that missed so many heartbeats says that it is not well


class Service(Protocol):
    """One thing a daemon runs."""

    def start(self) -> None: ...

    def stop(self, grace: float) -> None: ...


class Periodic:
    """Calls a function every ``seconds``, never twice at a time, until stopped.

    Distances vary by a tenth and the first call comes after a random part of one, so that
    daemons started together do not all ask the database in the same moment.  What the function
    raises is logged, and the next call comes in its time.
    """

    def __init__(self, name: str, seconds: float, function: Callable[[], Any], *,
                 at_once: bool = False) -> None:
        self.name = name
        self.seconds = seconds
        self._function = function
        self._at_once = at_once
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"periodic-{name}")

    def start(self) -> None:
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Call it no more; wait for a running call at most ``grace`` seconds."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(grace)

    def _run(self) -> None:
        pause = 0.0 if self._at_once else self.seconds * random.random()
        while not self._stopped.wait(pause):
            self.once()
            pause = self.seconds * random.uniform(0.9, 1.1)

    def once(self) -> None:
        """Call the function now, in this thread."""
        admin_context().update_store()      # a request id of its own for what it logs
        try:
            self._function()
        except NovaError as error:
            LOG.warning("Periodic task %s: %s", self.name, error)
        except Exception:       # whatever it is, the task must come round again
            LOG.exception("Periodic task %s failed", self.name)


class Worker:
    """A manager that takes messages of one topic, with its row in ``services``."""

    def __init__(self, binary: str, table: MethodTable, manager: Any, *,
                 host: str | None = None) -> None:
        self.binary = binary
        self.table = table
        self.manager = manager
        self.host = host or CONF.host
        self.server: rpc.Server | None = None
        self._row_id: str | None = None
        self._tasks: list[Periodic] = []
        self._last_beat: float | None = None

    def start(self) -> None:
        """Prepare the manager, register, listen, and begin the periodic tasks."""
        if (prepare := getattr(self.manager, "start", None)) is not None:
            prepare()
        self._register()
        self.server = rpc.Server(self.table, self.host, self.manager).start()
        tasks: list[Any] = list(getattr(self.manager, "periodic_tasks", list)())
        self._tasks = [Periodic("heartbeat", CONF.report_interval, self.heartbeat, at_once=True),
                       *(Periodic(f"{self.binary}:{name}", seconds, function)
                         for name, seconds, function in tasks)]
        for task in self._tasks:
            task.start()
        LOG.info("%s on %s: serving topic %s", self.binary, self.host, self.table.topic)

    def _register(self) -> None:
        self._row_id = service_rows.register(
            self.host, self.binary, self.table.topic, CONF.default_availability_zone).id

    def heartbeat(self) -> bool:
        """Write that we are up, if our own message comes back; tell whether it did."""
        assert self.server is not None and self._row_id is not None
        ready = getattr(self.manager, "hypervisor_up", None)
        if ready is not None and not ready():
            LOG.warning("%s: no heartbeat, its hypervisor does not answer", self.binary)
            return False
        if not self.server.ping(CONF.report_interval):
            LOG.warning("%s: no heartbeat, its message to itself did not come back", self.binary)
            return False
        if not service_rows.beat(self._row_id):
            self._register()        # somebody removed the row of a living worker
        self._last_beat = time.monotonic()
        return True

    def unwell(self) -> str | None:
        """Return None when the last heartbeat is not long ago, else what is wrong.

        A heartbeat is a message that came back through the broker and a row that was written.
        """
        if self._last_beat is None:
            return "no heartbeat yet"
        age = time.monotonic() - self._last_beat
        if age > BEATS_MISSED * CONF.report_interval:
            return f"no heartbeat for {age:.0f} seconds"
        return None

    def stop(self, grace: float) -> None:
        """Take no more messages, let running ones end, then the manager."""
        for task in self._tasks:
            task.stop(0)
        deadline = time.monotonic() + grace
        if self.server is not None:
            self.server.stop(grace)
        for task in self._tasks:
            task.stop(max(0.0, deadline - time.monotonic()))
        if (finish := getattr(self.manager, "stop", None)) is not None:
            finish()


def run(services: Sequence[Service]) -> int:
    """Start services, serve until SIGTERM or SIGINT, stop them; return the exit status.

    SIGTERM lets what is running end within ``graceful_shutdown_timeout`` seconds, a second one
    ends the process at once; SIGHUP reads the configuration again, as far as it can change while
    running, and the policy file, and opens the log anew.
    """
    # The interpreter itself writes a signal's number there: a handler could not, green or not.
    hear, say = socket.socketpair()
    say.setblocking(False)
    stopping = threading.Event()

    def note(number: int, _frame: Any) -> None:
        if number != signal.SIGHUP and stopping.is_set():
            os._exit(1)

    signal.set_wakeup_fd(say.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    started: list[Service] = []
    try:
        for service in services:
            service.start()
            started.append(service)
    except Exception:       # said in the log; those that did start are stopped again
        LOG.exception("Cannot start")
        _stop(started, 0)
        return 1
    LOG.info("Ready")
    notify_ready()
    while (got := hear.recv(1)[0]) not in (signal.SIGTERM, signal.SIGINT):
        if got == signal.SIGHUP:
            reload()
    stopping.set()
    LOG.info("Stopping on %s", signal.Signals(got).name)
    _stop(started, CONF.graceful_shutdown_timeout)
    notifications.flush(FLUSH_TIMEOUT)
    LOG.info("Stopped")
    return 0


def _stop(services: Sequence[Service], grace: float) -> None:
    """Stop the last started first: who is asked goes on answering until nobody asks any more."""
    deadline = time.monotonic() + grace
    for service in reversed(services):
        service.stop(max(0.0, deadline - time.monotonic()))


def reload() -> None:
    """Read configuration and policy again and open the log anew."""
    try:
        CONF.mutate_config_files()
    except cfg.Error as error:
        LOG.error("Configuration is left as it was: %s", error)
    config.set_up_log()
    policy.reset()
    LOG.info("Configuration was read again")


def notify_ready() -> None:
    """Tell systemd, if it asked to be told, that we answer now."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(b"READY=1", "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            LOG.warning("systemd could not be told: %s", error)


def daemon(prog: str, make: Callable[[], Sequence[Service]],
           argv: Sequence[str] | None = None) -> int:
    """Run a daemon from its command line; return its exit status."""
    config.initialize(sys.argv[1:] if argv is None else argv, prog)
    try:
        services = list(make())
        if CONF.monitoring.port:
            services.insert(0, monitoring.MonitoringService(services))
    except Exception as error:      # said once, on the log, in place of a bare traceback
        LOG.exception("%s cannot start", prog)
        print(f"{prog}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return run(services)
