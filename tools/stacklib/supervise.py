# SPDX-License-Identifier: Apache-2.0
"""The daemons under supervisord: written down, started, asked, stopped.

    supervisor = Supervisor(cloud)
    supervisor.up(daemons)          # starts supervisord and each daemon that does not run
    supervisor.state("nova-all")    # RUNNING, STARTING, BACKOFF, FATAL, STOPPED ...
    supervisor.down()
"""
import contextlib
import hashlib
import http.client
import os
import shlex
import signal
import subprocess
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from . import packages
from .layout import Cloud, write_atomically
from .probe import wait
from .progress import StackError

START_TIMEOUT = 30.0  # supervisord itself
# Until a daemon answers; one that cannot is given up at once. Keystone took 60 s beside 30 others.
ANSWER_TIMEOUT = 180.0
STOP_TIMEOUT = 60.0  # all daemons; each gets STOP_WAIT seconds before SIGKILL
STOP_WAIT = 20
MARK = "SNAKESTACK_DAEMON_OF"  # in each daemon's environment: whose it is
CONFIGURATION = "SNAKESTACK_CONFIGURATION"  # there too: what its files said when it started
SUPERVISORD = "supervisord"
LIVES = 3
SOCKET_PATH_MAX = 100  # the kernel's limit for a Unix socket's name is 108


@dataclass(frozen=True)
class Daemon:
    """One process of the stack.

    `reads` are files of its configuration that `command` does not name.
    `answers` is asked until true before `up` goes on; `timeout` seconds are its limit. None for
    a daemon that serves nobody: that it stays up is its answer.
    """

    name: str
    service: str
    command: list[str]
    answers: Callable[[], bool] | None
    environment: dict[str, str] = field(default_factory=dict)
    timeout: float = ANSWER_TIMEOUT
    stop_signal: str = "TERM"
    reads: tuple[Path, ...] = ()


def clean_environment() -> dict[str, str]:
    """What daemons inherit: nothing of the shell that happened to start them."""
    path = [str(packages.PRODUCT_VENV / "bin"), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
            "/usr/bin", "/sbin", "/bin"]
    kept = {name: os.environ[name] for name in ("HOME", "USER", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": ":".join(path), "LANG": "C.UTF-8"}


def socket_path(cloud: Cloud) -> Path:
    """supervisord's control socket; in a private folder of its own when DATA is too deep."""
    near = cloud.run / "supervisor.sock"
    if len(str(near)) <= SOCKET_PATH_MAX:
        return near
    digest = hashlib.sha256(str(cloud.data).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"snakestack-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise StackError(f"{folder} belongs to somebody else")
    return folder / "supervisor.sock"


def configuration(cloud: Cloud, daemon: Daemon) -> str:
    """Digest of the configuration files a daemon is started with.

    It is part of its definition: one whose files say something else now is started anew.
    """
    digest = hashlib.sha256()
    for path in (*map(Path, daemon.command), *daemon.reads):
        if path.is_absolute() and path.is_relative_to(cloud.etc) and path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def render(cloud: Cloud, daemons: list[Daemon]) -> str:
    """supervisord.conf. A percent sign is doubled: supervisor expands %(...)s."""
    def value(text: object) -> str:
        return str(text).replace("%", "%%")

    lines = [
        "[unix_http_server]", f"file = {value(socket_path(cloud))}", "chmod = 0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        "[supervisord]", f"logfile = {value(cloud.log / 'supervisord.log')}",
        f"pidfile = {value(cloud.run / 'supervisord.pid')}", f"childlogdir = {value(cloud.log)}",
        f"directory = {value(cloud.data)}", "silent = true", "minfds = 4096",
    ]
    if os.geteuid() == 0:
        lines.append("user = root")
    for daemon in daemons:
        environment = {MARK: str(cloud.data), CONFIGURATION: configuration(cloud, daemon),
                       "PYTHONUNBUFFERED": "1", **daemon.environment}
        pairs = ",".join(f'{key}="{value(text)}"' for key, text in environment.items())
        lines += [
            f"[program:{daemon.name}]", f"command = {value(shlex.join(daemon.command))}",
            f"environment = {pairs}", "autostart = false", "autorestart = true",
            "startsecs = 2", "startretries = 3", f"stopwaitsecs = {STOP_WAIT}",
            f"stopsignal = {daemon.stop_signal}",
            "redirect_stderr = true", f"stdout_logfile = {value(cloud.log / daemon.name)}.log",
            "stdout_logfile_maxbytes = 10MB", "stdout_logfile_backups = 3",
        ]
    return "\n".join(lines) + "\n"


class Supervisor:
    """supervisord of one stack, reached over its Unix socket."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def _call(self, method: str, *arguments: object) -> Any:
        """One call of supervisor's XML-RPC interface, over a connection of its own."""
        transport = SupervisorTransport(None, None, f"unix://{socket_path(self.cloud)}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def alive(self) -> bool:
        try:
            return self._call("getState")["statename"] == "RUNNING"
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return False

    def processes(self) -> dict[str, dict[str, Any]]:
        """statename, pid and start of each daemon and of supervisord; empty when it is down."""
        if not self.alive():
            return {}
        found = {info["name"]: info for info in self._call("getAllProcessInfo")}
        pid = self._call("getPID")
        found[SUPERVISORD] = {"name": SUPERVISORD, "statename": "RUNNING", "pid": pid,
                              "start": psutil.Process(pid).create_time()}
        return found

    def up(self, daemons: list[Daemon]) -> None:
        """supervisord runs with this list of daemons; a changed definition restarts just that one.

        Daemons that lost their supervisor are ended first: they hold the ports and nobody would
        restart them.
        """
        path = self.cloud.etc / "supervisord.conf"
        write_atomically(path, render(self.cloud, daemons), 0o600)
        self.cloud.log.mkdir(parents=True, exist_ok=True)
        self.cloud.run.mkdir(parents=True, exist_ok=True)
        if not self.alive():
            self.end_orphans()
            binary = str(packages.PRODUCT_VENV / "bin/supervisord")
            done = subprocess.run([binary, "-c", str(path)], capture_output=True, text=True,
                                  env=clean_environment(), timeout=START_TIMEOUT, check=False)
            if done.returncode:
                raise StackError(f"supervisord does not start: {done.stdout}{done.stderr}")
            wait("supervisord", self.alive, START_TIMEOUT)
            return
        added, changed, removed = self._call("reloadConfig")[0]
        for name in changed + removed:
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)
        for name in added + changed:
            self._call("addProcessGroup", name)

    def start(self, name: str) -> None:
        """The daemon is started unless it runs or is on its way."""
        try:
            self._call("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise

    def state(self, name: str) -> str:
        info = self.processes().get(name)
        return info["statename"] if info else "ABSENT"

    def hopeless(self, name: str, born: set[int]) -> str:
        """Why it makes no sense to wait for this daemon, with the end of its log; or nothing.

        :param born: its pids seen so far, kept up by this method; a daemon that is on its fourth
            life has no future
        """
        info = self.processes().get(name, {"statename": "ABSENT", "pid": 0})
        born.add(info["pid"])
        if (info["statename"] not in ("FATAL", "ABSENT", "EXITED", "UNKNOWN")
                and len(born - {0}) <= LIVES):
            return ""
        return f"{name} does not stay up. The end of its log:\n{self.log_tail(name)}"

    def log_tail(self, name: str, lines: int = 25) -> str:
        path = self.cloud.log / f"{name}.log"
        if not path.exists():
            return "(no log)"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def bring_up(self, daemon: Daemon) -> None:
        """The daemon runs and answers.

        :raises StackError: it does not, with the end of its log
        """
        self.start(daemon.name)
        answers = daemon.answers or (lambda: self.state(daemon.name) == "RUNNING")
        born: set[int] = set()
        wait(daemon.name, answers, daemon.timeout, lambda: self.hopeless(daemon.name, born))

    def down(self) -> None:
        """Every daemon and supervisord have ended; guests run on."""
        if self.alive():
            pid = self._call("getPID")
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._call("shutdown")
            wait("supervisord's end", lambda: not running(pid), STOP_TIMEOUT)
        self.end_orphans()

    def orphans(self) -> list[psutil.Process]:
        """Our daemons, by the mark in their environment; what they started (dnsmasq, QEMU, and
        the like, which are not Python of ours) is not among them."""
        venvs = (str(packages.PRODUCT_VENV), str(packages.KEYSTONE_VENV))
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                command = process.cmdline()
                if (command and command[0].startswith(venvs)
                        and process.environ().get(MARK) == str(self.cloud.data)
                        and process.pid != os.getpid()
                        and process.status() != psutil.STATUS_ZOMBIE):
                    found.append(process)
        return found

    def end_orphans(self) -> None:
        """Daemons of a supervisor that was killed: asked to end, then killed."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            found = self.orphans()
            for process in found:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)
            deadline = time.monotonic() + STOP_WAIT
            while any(running(process.pid) for process in found) and time.monotonic() < deadline:
                time.sleep(0.05)


def running(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
