# SPDX-License-Identifier: Apache-2.0
"""What a daemon tells its operator over HTTP: is it well, and what has it counted.

``GET /healthz`` on every API's own port and on ``[monitoring] port`` of every daemon answers 200
when all checks pass, else 503, with one line a check that says why.  A worker is well when the
message it sent to itself through the broker came back and was written down in the database not
long ago; an API when the database answers.  That serves a load balancer, ``httpGet`` of a
Kubernetes probe and ``curl -f`` alike.  ``GET /metrics`` is Prometheus' text format, on the
daemon's own port alone.

Nobody has to say who he is here, so answers are kept for a moment (:data:`FRESH`): asking often
costs the database nothing, and neither answer says more than states and numbers.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from oslo_config import cfg
from prometheus_client import generate_latest
from prometheus_client.core import REGISTRY, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from nova import concurrency
from nova.db import instances, volumes
from nova.db import session as db_session
from nova.exception import NovaError

LOG = logging.getLogger(__name__)

OPTS = [
    cfg.StrOpt("listen", default="127.0.0.1",
               help="Address of the daemon's own health and metrics."),
    cfg.PortOpt("port", default=0, sample_default=9770,
                help="Port of GET /healthz and GET /metrics of this daemon; 0: none. Each daemon "
                     "of a host needs another one."),
]
CONF = cfg.CONF
CONF.register_opts(OPTS, "monitoring")

FRESH = 2.0         # seconds an answer is good for
CHECK_TIMEOUT = 5   # seconds a check may take before it counts as failed
IDLE = 30
CONNECTIONS = 50

Check = Callable[[], str | None]


def database_answers() -> str | None:
    """Return None when the database answers a small question now, else why not."""
    try:
        with db_session.reader() as session:
            session.connection().exec_driver_sql("SELECT 1")
    except Exception as error:      # whatever a driver raises; only its class is told
        return f"the database cannot be used ({type(error).__name__})"
    return None


class Health:
    """Checks by name, each answering None or a sentence that says what is wrong."""

    def __init__(self, checks: dict[str, Check]) -> None:
        self._checks = checks
        self._lock = threading.Lock()
        self._known: tuple[float, bool, str] | None = None

    def ask(self) -> tuple[bool, str]:
        """Return whether all is well, and one line for each check."""
        with self._lock:
            now = time.monotonic()
            if self._known is None or now - self._known[0] > FRESH:
                found = {name: self._one(check) for name, check in self._checks.items()}
                text = "".join(f"{name}: {why or 'ok'}\n" for name, why in found.items())
                self._known = time.monotonic(), not any(found.values()), text
            return self._known[1:]

    @staticmethod
    def _one(check: Check) -> str | None:
        answer: list[str | None] = []
        # In a thread of its own: one that hangs is an answer too.
        thread = threading.Thread(target=lambda: answer.append(check()), daemon=True,
                                  name="health-check")
        thread.start()
        thread.join(CHECK_TIMEOUT)
        return answer[0] if answer else f"no answer in {CHECK_TIMEOUT} seconds"


def _respond(start_response: Callable, status: str, body: bytes,
             kind: str = "text/plain; charset=utf-8") -> Iterable[bytes]:
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))),
                            ("Cache-Control", "no-store")])
    return [body]


def _healthz(health: Health, start_response: Callable) -> Iterable[bytes]:
    well, text = health.ask()
    return _respond(start_response, "200 OK" if well else "503 Service Unavailable",
                    text.encode())


class HealthFilter:
    """Answers GET /healthz before anything is logged or anybody is asked who he is."""

    def __init__(self, app: Callable, health: Health) -> None:
        self._app = app
        self._health = health

    @classmethod
    def factory(cls, _global_conf: dict[str, str], **_local: str) -> Callable:
        """Return a filter, as paste.deploy wants it."""
        health = Health({"database": database_answers})
        return lambda app: cls(app, health)

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == "/healthz" \
                and environ.get("REQUEST_METHOD") in ("GET", "HEAD"):
            return _healthz(self._health, start_response)
        return self._app(environ, start_response)


class States(Collector):
    """Things by state, counted when somebody looks.  One daemon of a cloud is enough."""

    def __init__(self, name: str, what: str, labels: Sequence[str],
                 count: Callable[[], dict[Any, int]]) -> None:
        self._name, self._what, self._labels, self._count = name, what, labels, count

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the counts; nothing while the database is away."""
        found = GaugeMetricFamily(self._name, self._what, labels=self._labels)
        try:
            counted = self._count()
        except NovaError as error:
            LOG.warning("%s is not counted: %s", self._name, error)
            counted = {}
        for state, number in sorted(counted.items()):
            found.add_metric(list(state), number)
        yield found

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing is asked when this is registered."""
        return ()


_counters: list[States] = []


def count_states() -> None:
    """Have this process show the numbers of instances and volumes by state too."""
    if _counters:
        return
    _counters.extend((
        States("nova_instances", "Instances by state and task.", ["vm_state", "task_state"],
               lambda: instances.count_states()),
        States("nova_volumes", "Volumes by status.", ["status"],
               lambda: volumes.count_states())))
    for counter in _counters:
        REGISTRY.register(counter)


def application(health: Health) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application of ``[monitoring] port``."""
    def answer(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return _respond(start_response, "405 Method Not Allowed", b"GET only\n")
        path = environ.get("PATH_INFO")
        if path == "/healthz":
            return _healthz(health, start_response)
        if path == "/metrics":
            return _respond(start_response, "200 OK", generate_latest(REGISTRY),
                            CONTENT_TYPE_PLAIN_0_0_4)
        return _respond(start_response, "404 Not Found", b"/healthz or /metrics\n")
    return answer


class MonitoringService:
    """Serves health and metrics of one daemon: see :class:`nova.service.Service`."""

    def __init__(self, services: Sequence[Any]) -> None:
        checks: dict[str, Check] = {}
        for service in services:
            if (check := getattr(service, "unwell", None)) is not None:
                checks[service.binary] = check
        # A worker's heartbeat is a write already.
        self.health = Health(checks or {"database": database_answers})
        self._server: concurrency.WebServer | None = None
        self.address: tuple[str, int] | None = None

    def start(self) -> None:
        """Listen and serve; OSError when the port is taken."""
        host = CONF.monitoring.listen
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, CONF.monitoring.port), family=family)
        self.address = sock.getsockname()[:2]
        self._server = concurrency.WebServer(
            sock, application(self.health), idle=IDLE, connections=CONNECTIONS)
        LOG.info("Health and metrics on %s port %s", *self.address)

    def stop(self, grace: float) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.stop(min(grace, 1.0))
