# SPDX-License-Identifier: Apache-2.0
"""The one place that starts qemu-img: by absolute paths, explicit formats and limits.

Whatever came from a user enters as a :class:`nova.image.inspection.Verdict` only; a volume or a
snapshot as one that its row in the database wrote.  A qemu-img does not outlive its worker.
"""

import functools
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nova.exception import HypervisorError
from nova.image.inspection import Verdict

ADDRESS_SPACE = 1 << 30     # bytes; a crafted image made qemu-img eat gigabytes once
CPU_SECONDS = 30
TIMEOUT = 60                # seconds on the clock
# A copy gets more by its size, at a pace the slowest machine keeps.
COPY_BYTES_PER_SECOND = 10 << 20
COPY_BYTES_PER_CPU_SECOND = 50 << 20
POLL_SECONDS = 0.5          # between two questions whether a copy is still wanted
FORMATS = frozenset({"raw", "qcow2"})


def create_overlay(base: Verdict, path: Path, size: int) -> None:
    """Make a qcow2 at ``path`` of ``size`` bytes whose untouched parts are ``base``'s."""
    _run("create", "-q", "-f", "qcow2", "-b", _absolute(base.path), "-F", _format(base.format),
         _absolute(path), str(size))


def create_empty(path: Path, size: int, disk_format: str = "qcow2") -> None:
    """Make an empty disk at ``path`` of ``size`` bytes."""
    _run("create", "-q", "-f", _format(disk_format), _absolute(path), str(size))


def copy(source: Verdict, path: Path, disk_format: str,
         wanted: Callable[[], bool] | None = None) -> None:
    """Write the disk in ``source`` to a new file at ``path``; what is all zeros takes no room.

    It ends, with HypervisorError, soon after ``wanted`` says no.
    """
    _run("convert", "-q", "-f", _format(source.format), "-O", _format(disk_format),
         _absolute(source.path), _absolute(path),
         cpu_seconds=CPU_SECONDS + source.virtual_size // COPY_BYTES_PER_CPU_SECOND,
         timeout=TIMEOUT + source.virtual_size // COPY_BYTES_PER_SECOND, wanted=wanted)


def resize(path: Path, disk_format: str, size: int) -> None:
    """Make the disk at ``path`` one of ``size`` bytes; it may be that already, never larger."""
    _run("resize", "-q", "-f", _format(disk_format), _absolute(path), str(size))


def _absolute(path: Path) -> str:
    # A relative name may be read as a protocol: "nbd:", "json:".
    if not path.is_absolute() or "\0" in str(path):
        raise ValueError(f"{path} is not an absolute path")
    return str(path)


def _format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"{name!r} is no format of a disk of ours")
    return name


def _run(*arguments: str, cpu_seconds: int = CPU_SECONDS, timeout: int = TIMEOUT,
         wanted: Callable[[], bool] | None = None) -> None:
    command = ["prlimit", f"--as={ADDRESS_SPACE}", f"--cpu={cpu_seconds}", "--",
               "setpriv", "--pdeathsig", "KILL", "--", "qemu-img", *arguments]
    start = subprocess.run if wanted is None else functools.partial(_watched, wanted)
    try:
        done = start(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, timeout=timeout, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
    except subprocess.TimeoutExpired as error:
        raise HypervisorError(action=f"run qemu-img {arguments[0]}",
                              reason=f"no end after {timeout} seconds") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise HypervisorError(action=f"run qemu-img {arguments[0]}",
                              reason=(reason or [f"exit {done.returncode}"])[-1][:300])


def _watched(wanted: Callable[[], bool], command: list[str], *, timeout: float, check: bool,
             **options: Any) -> "subprocess.CompletedProcess[bytes]":
    """As subprocess.run, and killed when it is not wanted any more."""
    until = time.monotonic() + timeout
    with subprocess.Popen(command, **options) as process:
        while True:
            try:
                _out, errors = process.communicate(timeout=POLL_SECONDS)
                return subprocess.CompletedProcess(command, process.returncode, b"", errors)
            except subprocess.TimeoutExpired:
                late = time.monotonic() >= until
                if late or not wanted():
                    process.kill()
                    process.communicate()
                if late:
                    raise
                if process.returncode is not None:
                    return subprocess.CompletedProcess(command, process.returncode, b"",
                                                       b"it is not wanted any more")
