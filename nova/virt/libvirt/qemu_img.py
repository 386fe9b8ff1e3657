# SPDX-License-Identifier: Apache-2.0
"""The one place that starts qemu-img: by absolute paths, explicit formats and limits.

Whatever came from a user enters as a :class:`nova.virt.libvirt.inspection.Verdict` only.
"""

import subprocess
from pathlib import Path

from nova.exception import HypervisorError
from nova.virt.libvirt.inspection import Verdict

ADDRESS_SPACE = 1 << 30     # bytes; a crafted image made qemu-img eat gigabytes once
CPU_SECONDS = 30
TIMEOUT = 60                # seconds on the clock


def create_overlay(base: Verdict, path: Path, size: int) -> None:
    """Make a qcow2 at ``path`` of ``size`` bytes whose untouched parts are ``base``'s."""
    _run("create", "-q", "-f", "qcow2", "-b", _absolute(base.path), "-F", base.format,
         _absolute(path), str(size))


def create_empty(path: Path, size: int) -> None:
    """Make an empty qcow2 at ``path`` of ``size`` bytes."""
    _run("create", "-q", "-f", "qcow2", _absolute(path), str(size))


def _absolute(path: Path) -> str:
    # A relative name may be read as a protocol: "nbd:", "json:".
    if not path.is_absolute() or "\0" in str(path):
        raise ValueError(f"{path} is not an absolute path")
    return str(path)


def _run(*arguments: str) -> None:
    command = ["prlimit", f"--as={ADDRESS_SPACE}", f"--cpu={CPU_SECONDS}", "--",
               "qemu-img", *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, timeout=TIMEOUT, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
    except subprocess.TimeoutExpired as error:
        raise HypervisorError(action=f"run qemu-img {arguments[0]}",
                              reason=f"no end after {TIMEOUT} seconds") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise HypervisorError(action=f"run qemu-img {arguments[0]}",
                              reason=(reason or [f"exit {done.returncode}"])[-1][:300])
