# SPDX-License-Identifier: Apache-2.0
"""glance-control: start, stop and look at the daemons of this machine, by their pid files."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import pathlib
import shutil
import signal
import sys
import time

SERVERS = ("api", "registry", "scrubber")
START_TIMEOUT = 5.0
_TICK = 0.1


class Daemon:
    """One daemon: its pid file is locked by it for as long as it lives, so a stale pid, or one
    that was given to another process, is never taken for it."""

    def __init__(self, name: str, directory: pathlib.Path) -> None:
        self.name = f"glance-{name}"
        self.extra = ["--daemon"] if name == "scrubber" else []
        self.pid_file = directory / f"{self.name}.pid"

    def pid(self) -> int | None:
        """The process id, None when it does not run."""
        try:
            with open(self.pid_file, encoding="ascii") as held:
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(held.read() or "0") or None
        except FileNotFoundError:
            pass
        return None

    def start(self, arguments: list[str], log: str) -> None:
        """Start it in a session of its own, its output appended to `log`."""
        if self.pid() is not None:
            raise ControlError(f"{self.name} runs already")
        program = shutil.which(self.name) or os.path.join(
            os.path.dirname(os.path.abspath(sys.argv[0])), self.name)
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.pid_file, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(descriptor, True)
        try:
            pid = os.posix_spawn(program, [program, *arguments, *self.extra], dict(os.environ),
                                 file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640),
                (os.POSIX_SPAWN_DUP2, 1, 2)], setsid=True)
        except OSError as error:
            raise ControlError(f"{self.name}: {error}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(pid).encode(), 0)
        os.close(descriptor)  # the daemon has it open, and so the lock
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if os.waitpid(pid, os.WNOHANG)[0]:
                raise ControlError(f"{self.name} ended at once; see {log}")
            time.sleep(_TICK)

    def signal(self, number: int) -> None:
        """Send a signal to it."""
        pid = self.pid()
        if pid is None:
            raise ControlError(f"{self.name} does not run")
        os.kill(pid, number)

    def stop(self, timeout: float) -> None:
        """Ask it to finish what it does; kill it when that takes longer than `timeout`."""
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout
        while (pid := self.pid()) is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                deadline = float("inf")
            time.sleep(_TICK)
        self.pid_file.unlink(missing_ok=True)


class ControlError(Exception):
    """What was asked for cannot be; the message says why."""


def _act(daemon: Daemon, args: argparse.Namespace, rest: list[str]) -> None:
    if args.action in ("stop", "restart") and (args.action == "stop" or daemon.pid()):
        daemon.stop(args.timeout)
        print(f"{daemon.name} stopped")
    if args.action in ("start", "restart"):
        daemon.start(rest, args.log or os.devnull)
        print(f"{daemon.name} started, pid {daemon.pid()}")
    if args.action == "reload":
        daemon.signal(signal.SIGHUP)
        print(f"{daemon.name} reads its configuration again")
    if args.action == "status":
        pid = daemon.pid()
        if pid is None:
            raise ControlError(f"{daemon.name} does not run")
        print(f"{daemon.name} runs, pid {pid}")


def main(argv: list[str] | None = None) -> int:
    """Run one action; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="glance-control", description=__doc__,
        epilog="whatever else is given (--config-file...) goes to the daemon")
    parser.add_argument("server", choices=["all", *SERVERS])
    parser.add_argument("action", choices=["start", "stop", "restart", "reload",
                                           "status"])
    parser.add_argument("--pid-dir", type=pathlib.Path, default=pathlib.Path("/run/glance"))
    parser.add_argument("--log", help="file for the daemon's output; none when left out")
    parser.add_argument("--timeout", type=float, default=90.0,
                        help="seconds a daemon gets to stop")
    args, rest = parser.parse_known_args(argv)
    status = 0
    for name in SERVERS if args.server == "all" else (args.server,):
        try:
            _act(Daemon(name, args.pid_dir), args, rest)
        except ControlError as error:
            print(f"glance-control: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
