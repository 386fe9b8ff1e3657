# SPDX-License-Identifier: Apache-2.0
"""Finding out what answers and what this machine can do. Every wait has its limit."""
import contextlib
import grp
import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .progress import StackError, say

ANSWER_TIMEOUT = 5.0  # seconds for one request of a probe
KVM_TIMEOUT = 10.0  # under KVM the guest's first process runs after one or two
PROBE_WORD = "snakestack.probe"  # tells the guest's initramfs to say so and power off
LIBVIRT_TIMEOUT = 20.0


def http_status(host: str, port: int, path: str) -> int:
    """Status of GET `path`, 0 when nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def tcp_open(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), ANSWER_TIMEOUT):
        return True
    return False


def wait(what: str, condition: Callable[[], bool], timeout: float,
         dead: Callable[[], str] = lambda: "") -> None:
    """Until `condition` holds.

    :param dead: asked meanwhile; a text it returns ends the wait, it says why there is no hope
    :raises StackError: `timeout` seconds are over
    """
    deadline = time.monotonic() + timeout
    while not condition():
        reason = dead()
        if reason:
            raise StackError(f"{what}: {reason}")
        if time.monotonic() > deadline:
            raise StackError(f"{what}: no answer in {timeout:.0f} s")
        time.sleep(0.05)


def accelerator_runs(name: str, image: Path, timeout: float = KVM_TIMEOUT) -> bool:
    """Whether QEMU with this accelerator (kvm, tcg) brings the guest image's kernel to its first
    process within `timeout`.

    A /dev/kvm that is there proves little, and a boot sector that runs not much more: nested hosts
    exist where real mode works and a kernel hangs.

    :param image: folder with vmlinuz and initrd.gz
    """
    binary = shutil.which("qemu-system-x86_64")
    if binary is None:
        return False
    command = [binary, "-accel", name, "-m", "128", "-display", "none", "-nodefaults",
               "-no-reboot", "-serial", "stdio", "-kernel", str(image / "vmlinuz"),
               "-initrd", str(image / "initrd.gz"),
               "-append", f"console=ttyS0 quiet {PROBE_WORD} panic=-1"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return False
    return b"guest: probed" in done.stdout


def kvm_works(memory: dict[str, object], image: Path) -> bool:
    """accelerator_runs("kvm"), remembered in `memory` until the machine boots anew."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if memory.get("kvm_boot") != boot:
        memory["kvm_boot"], memory["kvm"] = boot, accelerator_runs("kvm", image)
    return bool(memory["kvm"])


def libvirt_answers() -> bool:
    """Whether qemu:///system answers this user."""
    if shutil.which("virsh") is None:
        return False
    try:
        done = subprocess.run(["virsh", "-q", "-c", "qemu:///system", "version"],
                              capture_output=True, timeout=LIBVIRT_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def open_kvm(device: Path = Path("/dev/kvm"), group: str = "kvm") -> None:
    """Give the device to the group Debian's udev rule gives it to, where no udev did; root only.

    libvirt finds out as root what QEMU can do, and finds what it knows out of date as long as
    QEMU's own user may not open the device: it then probes again, for seconds, at every call.
    """
    try:
        now = device.stat()
        wanted = grp.getgrnam(group).gr_gid
    except (FileNotFoundError, KeyError):
        return
    ours = now.st_gid == wanted and now.st_mode & 0o060 == 0o060
    if os.geteuid() != 0 or ours or now.st_mode & 0o006 == 0o006:
        return
    say(f"{device} is given to group {group}, as udev does it")
    os.chown(device, -1, wanted)
    device.chmod(0o660)


def start_libvirt() -> None:
    """Start libvirtd when nobody answers: by systemd where it runs, else by hand, as daemons that
    belong to nobody, so that guests outlive every command of ours.

    :raises StackError: it does not answer within LIBVIRT_TIMEOUT seconds
    """
    open_kvm()
    if libvirt_answers():
        return
    if os.path.isdir("/run/systemd/system"):
        commands = [["systemctl", "start", "virtlogd", "libvirtd"]]
    else:
        commands = [["virtlogd", "-d"], ["libvirtd", "-d"]]
    for command in commands:
        subprocess.run(command, capture_output=True, timeout=LIBVIRT_TIMEOUT, check=False)
    wait("libvirtd", libvirt_answers, LIBVIRT_TIMEOUT)


def reachable_by(user: str, path: Path) -> bool:
    """Whether `user` may walk down to `path`, as QEMU must to open a disk."""
    if shutil.which("runuser") is None or os.geteuid() != 0:
        return True
    done = subprocess.run(["runuser", "-u", user, "--", "test", "-x", str(path)],
                          capture_output=True, timeout=10, check=False)
    return done.returncode == 0
