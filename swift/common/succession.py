# SPDX-License-Identifier: Apache-2.0
"""Handing a server over to a new process of itself while clients go on: SIGUSR1.

The old process starts the new one with the listening sockets, and drains when that one says it
serves; if it dies instead, the old one goes on as if nothing had been asked. Between the two no
connection is refused: both hold the same sockets. Who calls: `swift.common.runner`.

Service managers hear of it by READY, RELOADING, STOPPING and MAINPID on $NOTIFY_SOCKET (sd_notify);
swift-reload on a socket named after the process it reloads.
"""
from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from pathlib import Path
from typing import Any

from swift.common import concurrency

_LISTENERS, _READY = "SWIFT_LISTENERS", "SWIFT_READY_FD"
PID_FILE = "SWIFT_PID_FILE"           # in the environment; the file names whoever serves
START_SECONDS = 60.0                  # a successor that does not serve after this is given up


def notification_name(pid: int) -> str:
    """The abstract socket on which swift-reload hears of process `pid`, as OpenStack Swift's."""
    return f"\0swift-notifications\0{pid}"


def notify(message: str, pid: int | None = None) -> None:
    """Tell the service manager, and swift-reload if it watches `pid` (default: this process)."""
    names = [notification_name(pid or os.getpid())]
    if os.environ.get("NOTIFY_SOCKET"):
        names.append(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
    for name in names:
        concurrency.send_datagram(name, message.encode())


def inherited() -> list[Any]:
    """The listening sockets a predecessor left us; none when there was no predecessor."""
    return [concurrency.listener_of(int(fd))
            for fd in os.environ.pop(_LISTENERS, "").split()]


def write_pid(path: Path, pid: int) -> None:
    """Have a pid file name a process; whoever reads it sees the old or the new one."""
    replacement = path.with_name(f".{path.name}.{os.getpid()}")
    replacement.write_text(f"{pid}\n")
    replacement.rename(path)


def serving() -> None:
    """Say that this process serves: to its predecessor, the pid file and the service manager."""
    ready = os.environ.pop(_READY, None)
    if ready is None:
        notify("READY=1")
        return
    if path := os.environ.get(PID_FILE):
        with contextlib.suppress(PermissionError):      # a server is not root: the tool does it
            write_pid(Path(path), os.getpid())
    notify(f"MAINPID={os.getpid()}\nREADY=1", os.getppid())
    os.write(int(ready), b"1")
    os.close(int(ready))


def start(sockets: list[Any], logger: logging.Logger, green: bool) -> bool:
    """Start a successor with these listening sockets; whether it serves.

    Its command line is this process's own. What goes wrong is logged, and then nothing is changed.
    `green`: other green threads go on while this one waits.
    """
    notify("RELOADING=1")
    readable, writable = os.pipe()
    fds = [sock.fileno() for sock in sockets]
    process = None
    try:
        process = concurrency.original_subprocess().Popen(
            [sys.executable, *sys.orig_argv[1:]], pass_fds=[*fds, writable], env={
                **os.environ, _LISTENERS: " ".join(map(str, fds)), _READY: str(writable)})
        os.close(writable)
        writable = -1
        if concurrency.wait_readable(readable, START_SECONDS, green) and os.read(readable, 1):
            logger.info("Process %d serves from now on", process.pid)
            return True
        logger.error("ERROR the successor %d does not serve: going on without", process.pid)
        process.kill()
        process.wait()
    except OSError as exc:
        logger.error("ERROR starting a successor: %s", exc)
    finally:
        os.close(readable)
        if writable >= 0:
            os.close(writable)
    notify(f"ERRNO={errno.ECHILD}\nREADY=1")
    return False
