# SPDX-License-Identifier: Apache-2.0
"""What this machine has and lacks for the stack, each with what to do about it."""
import os
import shutil
import tempfile
from pathlib import Path

from . import packages, probe
from .image import guest_image
from .layout import PORTS, Cloud
from .progress import say

FREE_BYTES = 2 << 30  # environments, a guest image and the first servers
TCG_TIMEOUT = 30.0
MEMORY_BYTES = 2 << 30


class Report:
    """Lines of findings; `bad` counts those that keep the full stack from working."""

    def __init__(self) -> None:
        self.bad = 0

    def line(self, good: bool, what: str, remedy: str = "") -> None:
        say(f"{'ok  ' if good else 'LACK'}  {what}{'' if good else ': ' + remedy}")
        self.bad += not good


def _memory() -> int:
    for row in Path("/proc/meminfo").read_text().splitlines():
        if row.startswith("MemAvailable:"):
            return int(row.split()[1]) * 1024
    return 0


def _packages(report: Report) -> None:
    for title, names in (("to install", packages.BUILD), ("guest image", packages.GUEST_IMAGE),
                         ("compute", packages.COMPUTE)):
        try:
            lacking = packages.missing(names)
        except packages.InstallError as error:
            report.line(False, f"packages {title}", str(error))
            return
        report.line(not lacking, f"packages {title}", "apt-get install " + " ".join(lacking))


def _virtualization(report: Report, data: Path) -> None:
    if probe.libvirt_answers():
        say("ok    libvirtd answers")
    else:
        report.line(shutil.which("libvirtd") is not None or os.path.exists("/usr/sbin/libvirtd"),
                    "libvirtd does not run; tools/stack up starts it",
                    "apt-get install libvirt-daemon-system")
    with tempfile.TemporaryDirectory(prefix="snakestack-doctor-") as scratch:
        try:
            image = guest_image(Path(scratch))
        except packages.InstallError as error:
            report.line(False, "the guest image can be made", str(error))
            return
        if not os.path.exists("/dev/kvm"):
            say("note  no /dev/kvm: TCG is used")
        elif probe.accelerator_runs("kvm", image):
            say("ok    a guest starts under KVM")
        else:
            say("note  /dev/kvm is there, but a guest under it does not start: TCG is used")
        report.line(probe.accelerator_runs("tcg", image, TCG_TIMEOUT),
                    "a guest starts under TCG", "apt-get install qemu-system-x86")
    existing = next(path for path in (data, *data.parents) if path.exists())
    report.line(probe.reachable_by("libvirt-qemu", existing), f"QEMU's user reaches {existing}",
                "choose --data elsewhere")


def examine(data: Path) -> int:
    """Print the findings; 0 when the full stack can run."""
    report = Report()
    report.line(os.geteuid() == 0, "root", "only `up swift`, or the fake driver, without it")
    _packages(report)
    _virtualization(report, data)
    existing = next(path for path in (data, *data.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    report.line(free >= FREE_BYTES, f"{free >> 20} MiB free at {existing}",
                f"{FREE_BYTES >> 20} MiB are wanted")
    memory = _memory()
    report.line(memory >= MEMORY_BYTES, f"{memory >> 20} MiB of memory available",
                f"{MEMORY_BYTES >> 20} MiB are wanted")
    if Cloud.exists(data):
        cloud = Cloud.load(data)
        say(f"note  a stack of {' '.join(cloud.services)} is in {data}: see tools/stack status")
    else:
        for name, port in PORTS.items():
            report.line(not probe.tcp_open("127.0.0.1", port), f"port {port} ({name}) is free",
                        "somebody listens there; use --port-base N")
    return 1 if report.bad else 0
