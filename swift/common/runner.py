# SPDX-License-Identifier: Apache-2.0
"""Processes of WSGI servers: sockets, workers, signals.

A server of one worker is one process without a parent. With more, the parent sleeps in waitpid and
starts a worker anew when one dies. SIGTERM and SIGHUP drain: what is in flight is answered, then
the process ends (after SIGTERM within a minute); SIGUSR1 does so once a successor serves
(swift.common.succession). With servers_per_port there are workers for each device, which may end as
little as one disk works. Several servers can share a process (`run_servers`): the all-in-one does.
"""
from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from swift.common import concurrency, priority, succession, unheeded
from swift.common.app_conf import load_context
from swift.common.conf import (
    config_float,
    config_int,
    config_port,
    config_true,
    read_conf,
    read_swift_conf,
)
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger
from swift.common.pipeline import complete
from swift.common.process import child, drop_privileges, keep_loaded
from swift.common.storage import validate_configuration
from swift.common.wsgi import Server, raise_limits

MAX_KEEP_IDLE = 32767         # seconds, as Linux has it
DRAIN_SECONDS = 60.0          # after SIGTERM a process ends even with requests in flight


@dataclass
class Plan:
    """One server to be: its file, its section (`object-server`) and its usual port."""

    conf_path: str
    app_section: str
    default_port: int


def worker_count(conf: dict[str, str]) -> int:
    """The option `workers`: a number, or auto for one per processor; 0 and 1 are one process."""
    value = conf.get("workers", "auto").strip().lower()
    if value == "auto":
        return concurrency.cpu_count()
    return max(1, config_int(conf, "workers", 1))


def _tls(conf: dict[str, str]) -> Any:
    """A function that wraps an accepted socket, if cert_file is set."""
    if not conf.get("cert_file"):
        return None
    context = concurrency.ssl.SSLContext(concurrency.ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(conf["cert_file"], conf.get("key_file"))
    return lambda sock: context.wrap_socket(sock, server_side=True)


def bind(conf: dict[str, str], port: int, left: list[Any] | None = None) -> Any:
    """The listening socket of bind_ip, a port and backlog; ConfigError when it is taken.

    One in `left`, of a predecessor, is used when it has that address.
    """
    host, idle = conf.get("bind_ip", "0.0.0.0"), config_int(conf, "keep_idle", 600, 1)
    if idle > MAX_KEEP_IDLE:
        raise ConfigError(f"keep_idle must be at most {MAX_KEEP_IDLE}, not {idle}")
    for sock in left or ():
        if sock.getsockname()[:2] == (host, port):
            return sock
    deadline = time.monotonic() + config_float(conf, "bind_timeout", 30)
    while True:
        try:
            return concurrency.listen(host, port, config_int(conf, "backlog", 4096, 1),
                                      keep_idle=idle)
        except OSError as exc:
            # A predecessor that still drains gives the port back within seconds.
            if time.monotonic() > deadline:
                raise ConfigError(f"bind_ip, bind_port: {host}:{port}: {exc.strerror}") from exc
            time.sleep(0.1)


def is_per_port(plan: Plan, conf: dict[str, str]) -> bool:
    """Whether a server is to have processes for each port of the node's devices."""
    return plan.app_section == "object-server" and config_port(conf, plan.default_port) is None


def ports_of(plan: Plan, conf: dict[str, str]) -> list[int]:
    """Where a server listens; ConfigError."""
    if not is_per_port(plan, conf):
        return [config_int(conf, "bind_port", plan.default_port)]
    from swift.common.ports import object_ports  # much to load for whom it is nothing
    return object_ports(conf)


def make_servers(plan: Plan, socks: list[Any], verbose: bool = False) -> list[Server]:
    """Load the application of `plan` and put it behind each of `socks`."""
    conf = server_conf(plan)
    _raise_limits()
    logger = get_logger(conf, conf.get("log_name", plan.app_section), verbose)
    unheeded.check(plan.conf_path, plan.app_section, logger)
    app = complete(load_context(plan.conf_path), logger).create()
    inner: Any = app
    while not hasattr(inner, "access_log") and hasattr(inner, "app"):
        inner = inner.app
    return [Server(sock, app, logger, access_log=getattr(inner, "access_log", None),
                   **server_options(conf)) for sock in socks]


def _raise_limits() -> None:
    """Take requests as long as swift.conf's max_request_line and max_header_size allow."""
    try:
        section = read_swift_conf().get("swift-constraints", {})
    except ConfigError:
        return                            # the hash secrets were set without a file: tests, tools
    raise_limits(config_int(section, "max_request_line", 0),
                 config_int(section, "max_header_size", 0))


def server_options(conf: dict[str, str]) -> dict[str, Any]:
    """What a configuration says of connections; ConfigError for what cannot be."""
    return {"client_timeout": config_float(conf, "client_timeout", 60),
            "keepalive_timeout": config_float(conf, "keepalive_timeout", 60),
            "max_clients": config_int(conf, "max_clients", 1024, 1),
            "url_scheme": "https" if conf.get("cert_file") else "http", "wrap": _tls(conf),
            "proxied": config_true(conf.get("require_proxy_protocol", "false"))}


def server_conf(plan: Plan) -> dict[str, str]:
    """[DEFAULT] and the app's section in one dictionary."""
    conf = read_conf(plan.conf_path, "app:" + plan.app_section)
    if conf.get("log_name") == "app:" + plan.app_section:
        conf["log_name"] = plan.app_section
    return conf


def run_server(conf_path: str, app_section: str, default_port: int, verbose: bool = False,
               test_config: bool = False) -> int:
    """Run one server with its workers until a signal ends it; the exit code."""
    plan = Plan(conf_path, app_section, default_port)
    if test_config:
        return check_configuration([plan])
    return run_servers([plan], verbose=verbose)


def check_configuration(plans: list[Plan]) -> int:
    """Load all of `plans` as if to run them; 0 when they can be, 1 and the reason otherwise."""
    try:
        validate_configuration()
        _raise_limits()
        for plan in plans:
            conf = server_conf(plan)
            worker_count(conf)
            ports_of(plan, conf)
            server_options(conf)
            priority.wanted(conf)
            drain_seconds(conf)
            logger = get_logger(conf, plan.app_section, True)
            unheeded.check(plan.conf_path, plan.app_section, logger)
            complete(load_context(plan.conf_path), logger).create()
    except ConfigError as exc:
        print(f"Cannot start: {exc}", file=sys.stderr)
        return 1
    return 0


def run_servers(plans: list[Plan], verbose: bool = False, workers: int | None = None,
                extra: Any = None) -> int:
    """Run all of `plans` together in one process, or in each of `workers` processes.

    `extra()`, if given, is called once the servers run (to start daemons in green threads).
    """
    try:
        validate_configuration()
        confs = [server_conf(plan) for plan in plans]
        left = succession.inherited()
        per_port = any(map(is_per_port, plans, confs))
        if per_port and len(plans) > 1:
            raise ConfigError("servers_per_port: an object server with others in its process has "
                              "one port")
        socks = [[bind(conf, port, left) for port in ports_of(plan, conf)]
                 for conf, plan in zip(confs, plans, strict=True)]
        for sock in left:
            if not any(sock in some for some in socks):
                sock.close()
        priority.set_own(confs[0])
        drop_privileges(confs[0].get("user", "swift"))
        drain = drain_seconds(confs[0])
        count = worker_count(confs[0]) if workers is None else workers
        # Before the fork: what is wrong is said once, and what was loaded is shared.
        servers = [server for plan, some in zip(plans, socks, strict=True)
                   for server in make_servers(plan, some, verbose)]
        if per_port:
            count = config_int(confs[0], "servers_per_port", 0)
    except ConfigError as exc:
        print(f"Cannot start: {exc}", file=sys.stderr)
        return 1
    gc.collect()
    keep_loaded()
    works = [partial(_work_apart, server, servers, drain) for server in servers] if per_port else \
        [partial(_work, servers, drain, extra)]
    if len(works) * count > 1:
        return _parent(works * count, servers)
    return _work(servers, drain, extra, alone=True)


def drain_seconds(conf: dict[str, str]) -> float:
    """How long a process that was replaced, or told to by SIGHUP, may go on with what is in flight:
    an upload may take hours."""
    return config_float(conf, "stale_worker_timeout", 86400)


def _work_apart(server: Server, servers: list[Server], drain: float) -> int:
    """Serve for one of `servers` only."""
    for other in servers:
        if other is not server:
            other.sock.close()
    return _work([server], drain, None)


def _work(servers: list[Server], drain: float, extra: Any, alone: bool = False) -> int:
    """Serve until a signal; `alone`: without a parent that hands over to successors."""
    changing = False

    def stop(number: int) -> None:
        nonlocal changing
        if number == signal.SIGUSR1:
            if changing:
                return
            changing = True
            if not succession.start([server.sock for server in servers], servers[0].logger, True):
                changing = False
                return
        concurrency.spawn_after(drain if number in (signal.SIGUSR1, signal.SIGHUP)
                                else DRAIN_SECONDS, concurrency.exit_now, 0)
        for server in servers:
            server.stop()

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    wanted = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
    concurrency.on_signals([*wanted, signal.SIGUSR1] if alone else wanted, stop)
    threads = [concurrency.spawn(server.run) for server in servers]
    if extra is not None:
        extra()
    if alone:
        succession.serving()
    for thread in threads:
        thread.wait()
    concurrency.exit_now(0)
    return 0


def _parent(works: Sequence[Callable[[], int]], servers: list[Server]) -> int:
    """Keep a child running for each of `works`; pass signals on; wait for all in the end."""
    count = len(works)
    children: dict[int, Callable[[], int]] = {}
    idle = list(works)            # what no child does
    stopping: list[int] = []

    def on_signal(number: int, _frame: Any) -> None:
        if number == signal.SIGUSR1 and (stopping or not succession.start(
                [server.sock for server in servers], servers[0].logger, False)):
            return
        stopping.append(number)
        for pid in children:
            os.kill(pid, signal.SIGHUP if number in (signal.SIGUSR1, signal.SIGHUP)
                    else signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, on_signal)
    born, told = 0.0, False
    while children or not stopping:
        while idle and not stopping:
            if time.monotonic() - born < 0.05 and len(children) + 1 < count and born:
                time.sleep(0.05)                     # children that die at once must not spin
            born = time.monotonic()
            work = idle.pop()
            pid = os.fork()
            if pid == 0:
                child(work)
            children[pid] = work
        if not told:
            told = True
            succession.serving()
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        if pid in children:
            idle.append(children.pop(pid))
        if not stopping and os.waitstatus_to_exitcode(status) != 0:
            time.sleep(1)
    return 0
