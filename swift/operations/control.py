# SPDX-License-Identifier: Apache-2.0
"""Starting, stopping and reloading a node's servers: the commands of swift-init.

A server counts as started when it says so itself (sd_notify), not when its process exists. What it
prints before syslog takes over, or without a syslog, is in a .log file beside its pid file.
"""
from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from swift.common.succession import PID_FILE, START_SECONDS, notification_name, write_pid
from swift.operations import servers as names
from swift.operations.servers import Process, Server

OPEN_FILES = 32768
RELOAD_SECONDS = 90.0
Say = Callable[[str], None]


@dataclass
class Options:
    """The options of swift-init; see its --help."""

    wait: bool = True
    once: bool = False
    daemon: bool = True
    graceful: bool = False
    number: int = 0
    kill_wait: float = 15
    kill_after_timeout: bool = False
    strict: bool = True
    verbose: bool = False
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))


def command_of(server: Server, conf: Path, options: Options) -> list[str]:
    """The command line of one instance: the program beside this one, or the module."""
    program = f"swift-{server.name}"
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.exists() else shutil.which(program)
    command = [sys.executable, found] if found and _is_python(found) else [found] if found else \
        [sys.executable, "-m", f"swift.cli.{server.name.replace('-', '_')}"]
    command.append(str(conf))
    if options.once and server.name in names.REST:
        command.append("once")
    if not options.daemon:
        command.append("verbose")
    return command


def _is_python(path: str) -> bool:
    with open(path, "rb") as script:
        return b"python" in script.readline()


class Control:
    """The commands, on some servers. Each returns 0, or 1 when something did not go as asked."""

    def __init__(self, chosen: list[Server], options: Options, say: Say = print) -> None:
        self.chosen, self.options, self.say = chosen, options, say

    # -- looking ---------------------------------------------------------

    def status(self) -> int:
        """say which run"""
        code = 0
        for server in self.chosen:
            found = server.running(self.options.number)
            for process in found:
                self.say(str(process))
            if not found:
                self.say(f"No {server.name} running")
                code = 1
        return code

    # -- starting --------------------------------------------------------

    def start(self) -> int:
        """start what does not run yet"""
        _raise_limits()
        started: list[tuple[Server, subprocess.Popen, Path]] = []
        code = 0
        with _Listener() as listener:
            for server in self.chosen:
                files = self._to_start(server)
                if not files and self.options.strict:
                    code = 1
                for conf in files:
                    started.append((server, self._spawn(server, conf, listener.path), conf))
            if not self.options.daemon:
                return max(code, self._interact([process for _, process, _ in started]))
            if self.options.wait or self.options.once:
                code = max(code, self._wait(started, listener))
        return code

    def _to_start(self, server: Server) -> list[Path]:
        files = server.conf_files(self.options.number)
        if not files:
            number = f" number {self.options.number}" if self.options.number else ""
            self.say(f"Unable to locate config{number} for {server.name}")
            return []
        running = {process.pid_file: process for process in server.running()}
        missing = [conf for conf in files if server.pid_file(conf) not in running]
        for process in running.values():
            if process.conf in files:
                self.say(str(process))
        if not missing:
            self.say(f"{server.name} already started...")
        return missing

    def _spawn(self, server: Server, conf: Path, ready: str) -> subprocess.Popen:
        once = self.options.once and server.name in names.REST
        self.say(f"{'Running' if once else 'Starting'} {server.name}{' once' if once else ''}..."
                 f"({conf})")
        pid_file = server.pid_file(conf)
        pid_file.parent.mkdir(parents=True, exist_ok=True)
        environment = {**self.options.environment, PID_FILE: str(pid_file),
                       "SWIFT_DIR": str(server.swift_dir), "NOTIFY_SOCKET": ready}
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(open(log_of(pid_file), "ab")) if self.options.daemon else None
            process = subprocess.Popen(
                command_of(server, conf, self.options), env=environment, stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, start_new_session=self.options.daemon)
        write_pid(pid_file, process.pid)
        return process

    def _wait(self, started: list[tuple[Server, subprocess.Popen, Path]],
              listener: _Listener) -> int:
        """Until each serves, or with `once` has ended; 1 when one did not."""
        code = 0
        for server, process, conf in started:
            pid_file = server.pid_file(conf)
            if self.options.once and server.name in names.REST:
                failed = process.wait() != 0
                pid_file.unlink(missing_ok=True)
            else:
                failed = not listener.ready(process)
            if failed:
                code = 1
                self.say(f"{server.name} ({conf}) did not "
                         f"{'work' if self.options.once else 'start'}: see {log_of(pid_file)}")
                self.say("\n".join(log_of(pid_file).read_text(errors="replace")
                                   .splitlines()[-5:]))
        return code

    def _interact(self, processes: list[subprocess.Popen]) -> int:
        try:
            return int(any([process.wait() for process in processes]))
        except KeyboardInterrupt:
            self.stop()
            return 1

    # -- stopping --------------------------------------------------------

    def stop(self) -> int:
        """end what runs"""
        signalled: list[Process] = []
        for server in self.chosen:
            found = self._signal(server)
            if not found:
                self.say(f"No {server.name} running")
            signalled += found
        by_pid = {process.pid: process for process in signalled}
        for pid in names.ended(by_pid, self.options.kill_wait):
            process = by_pid.pop(pid)
            process.pid_file.unlink(missing_ok=True)
            self.say(f"{process.server.name} ({pid}) appears to have stopped")
        for pid, process in by_pid.items():
            kill = self.options.kill_after_timeout
            self.say(f"Waited {self.options.kill_wait:g} seconds for {process.server.name} ({pid}) "
                     f"to die; {'killing' if kill else 'giving up'}")
            if kill:
                names.kill_group(pid)
                process.pid_file.unlink(missing_ok=True)
        return int(not signalled or bool(by_pid))

    def _signal(self, server: Server) -> list[Process]:
        number = signal.SIGHUP if self.options.graceful and server.name in names.MAIN else \
            signal.SIGTERM
        found = []
        for process in server.running(self.options.number):
            if self.options.verbose:
                self.say(f"Signal {server.name}  pid: {process.pid}  signal: {number.name}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
            found.append(process)
        return found

    # -- both ------------------------------------------------------------

    def restart(self) -> int:
        """end what runs and start all"""
        self.stop()
        return self.start()

    def reload(self) -> int:
        """as restart, but requests in flight are answered first"""
        self.options.graceful = True
        return max(Control([server], self.options, self.say).restart() for server in self.chosen)

    def reload_seamless(self) -> int:
        """change to new processes with new configuration; no connection is refused meanwhile"""
        code = 0
        for server in self.chosen:
            found = server.running(self.options.number)
            if not found or server.name not in names.MAIN:
                self.say(f"No {server.name} running" if not found else
                         f"{server.name} cannot reload seamlessly: it is no server")
                code = 1
                continue
            for process in found:
                code = max(code, self._reload_seamless(process))
        return code

    def _reload_seamless(self, process: Process) -> int:
        reloaded, why = reload_process(process.pid, RELOAD_SECONDS if self.options.wait else 0)
        self.say(f"{process.server.name} ({process.pid}) {why}")
        return int(not reloaded)

    # -- variations of the above -----------------------------------------

    def no_wait(self) -> int:
        """start, without waiting until they serve"""
        self.options.wait = False
        return self.start()

    def no_daemon(self) -> int:
        """start, attached to this terminal"""
        self.options.daemon = False
        return self.start()

    def once(self) -> int:
        """have daemons make one pass and end; servers start as ever"""
        self.options.once = True
        return self.start()

    def shutdown(self) -> int:
        """stop, but requests in flight are answered first"""
        self.options.graceful = True
        return self.stop()

    def kill(self) -> int:
        """stop; that nothing ran is no error"""
        self.stop()
        return int(any(server.running(self.options.number) for server in self.chosen))

    def force_reload(self) -> int:
        """as reload"""
        return self.reload()


COMMANDS = ("status", "start", "no-wait", "no-daemon", "once", "stop", "kill", "shutdown",
            "restart", "reload", "force-reload", "reload-seamless")


class _Listener:
    """Hears which of the processes started say that they serve."""

    def __enter__(self) -> _Listener:
        self.folder = tempfile.mkdtemp(prefix="swift-init-")
        os.chmod(self.folder, 0o711)               # servers may be another user by now
        self.path = f"{self.folder}/ready"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        os.chmod(self.path, 0o622)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.sock.settimeout(0.1)
        self.heard: set[int] = set()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.sock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ready(self, process: subprocess.Popen) -> bool:
        """Whether a process comes to serve; False when it ends or takes START_SECONDS."""
        for _ in range(int(START_SECONDS / 0.1)):
            if process.pid in self.heard:
                return True
            if process.poll() is not None:
                return False
            self._hear()
        return False

    def _hear(self) -> None:
        try:
            message, extra, _, _ = self.sock.recvmsg(1024, 256)
        except TimeoutError:
            return
        for level, kind, data in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and \
                    b"READY=1" in message.split(b"\n"):
                self.heard.add(int.from_bytes(data[:4], sys.byteorder))


def log_of(pid_file: Path) -> Path:
    """Where a server's standard streams go."""
    return pid_file.with_name(pid_file.name.replace(".pid", ".log"))


def _raise_limits() -> None:
    for limit, wanted in ((resource.RLIMIT_NOFILE, OPEN_FILES),):
        _, most = resource.getrlimit(limit)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (wanted if most < 0 else min(wanted, most), most))


@contextlib.contextmanager
def notifications(pid: int) -> Iterator[socket.socket]:
    """The socket a server tells of its reload on; OSError when another watches already."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(notification_name(pid))
        yield sock


def reload_process(pid: int, seconds: float, tell: Say = lambda _: None) -> tuple[bool, str]:
    """SIGUSR1 to a server; whether its successor serves within `seconds` (0: not waited for).

    The pid file it was started with names the successor then.
    """
    if not seconds:
        os.kill(pid, signal.SIGUSR1)
        return True, "was told to reload"
    try:
        pid_file = psutil.Process(pid).environ().get(PID_FILE)
        with notifications(pid) as sock:
            os.kill(pid, signal.SIGUSR1)
            sock.settimeout(seconds)
            while True:
                words = sock.recv(1024).decode(errors="replace").split("\n")
                tell(" ".join(words))
                said = dict(word.partition("=")[::2] for word in words)
                if "ERRNO" in said:
                    return False, "goes on as it was: its successor did not come to serve"
                if "READY" in said:
                    if pid_file and "MAINPID" in said:
                        write_pid(Path(pid_file), int(said["MAINPID"]))
                    return True, f"reloaded; it is {said.get('MAINPID', pid)} now"
    except TimeoutError:
        return False, f"did not reload within {seconds:g} seconds"
    except (OSError, psutil.Error) as exc:
        return False, f"cannot be watched: {exc}"
