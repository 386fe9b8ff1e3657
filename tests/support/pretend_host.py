# SPDX-License-Identifier: Apache-2.0
"""A pretend host: network and mount namespaces of its own, with its own libvirtd.

    with PretendHost("compute1") as host:
        host.run(["virsh", "list"], check=True)          # inside; connects to the host's libvirtd
        host.client.run(["curl", "172.24.4.10"])  # a machine on the public network
        process = host.popen([sys.executable, "worker.py"])

Nothing of it shows on the machine: bridges, taps, iptables rules, /run/libvirt and
/var/lib/libvirt are its own, so several hosts coexist and tests run in parallel. Its public
interface is `pub`, 172.24.4.2/24, on a cable to the client's 172.24.4.1. Leaving the context, or
the death of the process that entered it, ends every process in it, guests too. Needs root,
libvirtd and QEMU; files that QEMU opens must be reachable by the user libvirt-qemu: use
host.workdir, not pytest's tmp_path.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

START_TIMEOUT = 60  # seconds until libvirtd answers; the first ever probes QEMU's capabilities
RUN_TIMEOUT = 120
STOP_TIMEOUT = 20
PUBLIC = "172.24.4.2/24"
CLIENT = "172.24.4.1/24"
CACHE = Path(tempfile.gettempdir()) / "snakestack-test-cache/libvirt"

# Runs inside the fresh namespaces. A new /sys shows this network's cards; libvirt needs the
# cgroups that are mounted below the old one.
SETUP = """
set -e
mkdir -p {work}/oldsys
mount --rbind /sys {work}/oldsys
mount -t sysfs sysfs /sys
mount --rbind {work}/oldsys/fs/cgroup /sys/fs/cgroup
umount -l {work}/oldsys
rmdir {work}/oldsys
hostname {name}
mount --bind {work}/hosts /etc/hosts
for place in run/libvirt var/lib/libvirt etc/libvirt var/log/libvirt var/cache/libvirt; do
    mkdir -p /$place {work}/$place
    mount --bind {work}/$place /$place
done
: > {work}/xtables.lock
if [ -c /dev/kvm ]; then
    # as udev makes it; one that is closed to QEMU's user has libvirt probe QEMU at every call
    mknod -m 660 {work}/kvm c 10 232
    chgrp kvm {work}/kvm
    mount --bind {work}/kvm /dev/kvm
fi
[ -e /run/xtables.lock ] || : > /run/xtables.lock
mount --bind {work}/xtables.lock /run/xtables.lock
ip link set lo up
: > {work}/ready
exec {python} {watch} {work}
"""
# Lives as long as the test that holds the other end of its standard input, however that ends, and
# takes everything in its network with it.
WATCH = """
import os, shutil, signal, sys, time
sys.stdin.buffer.read()
mine = os.stat("/proc/self/ns/net").st_ino
for _ in range(100):
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.stat(f"/proc/{entry}/ns/net").st_ino == mine:
                found.append(int(entry))
        except OSError:
            pass
    found = [pid for pid in found if pid != os.getpid()]
    if not found:
        break
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    time.sleep(0.1)
for path in sys.argv[1:]:
    shutil.rmtree(path, ignore_errors=True)
"""


class Namespace:
    """Processes in the namespaces of one holder process."""

    def __init__(self, holder: subprocess.Popen, kinds: Sequence[str]) -> None:
        self.holder = holder
        self._wait(self._apart, "a namespace")
        self._enter = ["nsenter", "-t", str(holder.pid), *(f"--{kind}" for kind in kinds)]

    def _apart(self) -> bool:
        """Whether the holder has left the machine's own network: before, all would hit that."""
        mine, its = (os.stat(f"/proc/{pid}/ns/net").st_ino for pid in ("self", self.holder.pid))
        return mine != its

    @staticmethod
    def _wait(condition, what: str, timeout: float = START_TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not there after {timeout} s")
            time.sleep(0.05)

    def command(self, command: Sequence[str]) -> list[str]:
        """`command` as it has to be started to run inside, in the current directory."""
        return [*self._enter, f"--wd={os.getcwd()}", *map(str, command)]

    def run(self, command: Sequence[str], timeout: float = RUN_TIMEOUT,
            **more) -> subprocess.CompletedProcess:
        """Run to the end; output is captured as text, `check` raises with it."""
        check = more.pop("check", False)
        done = subprocess.run(self.command(command), timeout=timeout, capture_output=True,
                              text=True, check=False, **more)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                                 f"{done.stdout}{done.stderr}")
        return done

    def popen(self, command: Sequence[str], **more) -> subprocess.Popen:
        """Start a process inside."""
        return subprocess.Popen(self.command(command), **more)

    def pids(self) -> list[int]:
        """Every process in this network namespace, the holder excepted."""
        mine = os.stat(f"/proc/{self.holder.pid}/ns/net").st_ino
        found = []
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if entry.isdigit() and os.stat(f"/proc/{entry}/ns/net").st_ino == mine:
                    found.append(int(entry))
        return [pid for pid in found if pid != self.holder.pid]

    def kill_all(self, number: int = signal.SIGKILL) -> list[int]:
        """Send a signal to every process inside, the holder excepted; who they were."""
        pids = self.pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids

    def end(self) -> None:
        """End every process; the namespaces vanish with the last one."""
        self.kill_all()
        self.holder.stdin.close()
        self.holder.wait(STOP_TIMEOUT)


def cable(one: Namespace, name: str, other: Namespace, other_name: str) -> None:
    """A cable between two machines; what its ends are called there. Both ends are up."""
    ends = [f"a{uuid.uuid4().hex[:8]}", f"b{uuid.uuid4().hex[:8]}"]
    subprocess.run(["ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1]],
                   check=True, timeout=10)
    for end, side, wanted in ((ends[0], one, name), (ends[1], other, other_name)):
        subprocess.run(["ip", "link", "set", end, "netns", str(side.holder.pid)],
                       check=True, timeout=10)
        side.run(["ip", "link", "set", end, "name", wanted], check=True)
        side.run(["ip", "link", "set", wanted, "up"], check=True)


class PretendHost(Namespace):
    """See the module. `workdir` is a folder QEMU may read; `client` is the public network."""

    def __init__(self, name: str = "", libvirt: bool = True, public: bool = True) -> None:
        self.name = name or f"host-{uuid.uuid4().hex[:6]}"
        self.work = Path(tempfile.mkdtemp(prefix="snakestack-host-"))
        self.work.chmod(0o755)
        self.workdir = self.work / "data"
        self.workdir.mkdir(mode=0o755)
        self._libvirt = libvirt
        self._public = public

    def __enter__(self) -> "PretendHost":
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _start(self) -> None:
        (self.work / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        self._prepare_libvirt()
        watch = self.work / "watch.py"
        watch.write_text(WATCH)
        script = SETUP.format(work=self.work, name=self.name, python=sys.executable, watch=watch)
        super().__init__(self._hold(["--mount", "--uts", "--propagation", "private"], script),
                         ("net", "mount", "uts"))
        if self._public:
            self.client = Namespace(self._hold(
                [], f"ip link set lo up; exec {sys.executable} {watch}"), ("net",))
        self._wait(lambda: (self.work / "ready").exists(), "the namespaces")
        if self._public:
            self._wait(lambda: "UP" in self.client.run(["ip", "link", "show", "lo"]).stdout, "lo")
            self._cable()
        if self._libvirt:
            self.start_libvirt()

    @staticmethod
    def _hold(kinds: list[str], script: str) -> subprocess.Popen:
        return subprocess.Popen(["unshare", "--net", *kinds, "sh", "-c", script],
                                stdin=subprocess.PIPE, start_new_session=True)

    def _prepare_libvirt(self) -> None:
        """Private folders of libvirt: the machine's configuration, no networks, no guests."""
        etc = self.work / "etc/libvirt"
        # below qemu are the machine's own guests and networks, of a running stack for one
        shutil.copytree("/etc/libvirt", etc, dirs_exist_ok=True,
                        ignore=lambda folder, names: names if Path(folder).name == "qemu" else ())
        with open(etc / "libvirtd.conf", "a", encoding="utf-8") as conf:
            conf.write(f'\nhost_uuid = "{uuid.uuid4()}"\nauth_unix_rw = "none"\n'
                       'auth_unix_ro = "none"\nunix_sock_group = "root"\n')
        # what QEMU can do takes seconds to find out; it is the same for every pretend host
        if CACHE.is_dir():
            shutil.copytree(CACHE, self.work / "var/cache/libvirt", dirs_exist_ok=True)

    def _cable(self) -> None:
        cable(self, "pub", self.client, "eth0")
        for side, name, address in ((self, "pub", PUBLIC), (self.client, "eth0", CLIENT)):
            side.run(["ip", "address", "add", address, "dev", name], check=True)
        self.run(["ip", "route", "add", "default", "via", CLIENT.split("/")[0]], check=True)

    def start_libvirt(self) -> None:
        """Start virtlogd and libvirtd and wait until they answer."""
        for daemon in ("virtlogd", "libvirtd"):
            self.run([daemon, "-d", "-p", f"/run/libvirt/{daemon}.pid"], check=True)
        self._wait(lambda: self.virsh("version").returncode == 0, "libvirtd")
        capabilities = self.work / "var/cache/libvirt"
        if not CACHE.is_dir() and self.virsh("domcapabilities").returncode == 0:
            partial = CACHE.with_suffix(f".{os.getpid()}")
            shutil.copytree(capabilities, partial)
            with contextlib.suppress(OSError):  # somebody else was first
                partial.rename(CACHE)
            shutil.rmtree(partial, ignore_errors=True)

    def virsh(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess:
        """virsh against this host's libvirtd."""
        return self.run(["virsh", "-q", "-c", "qemu:///system", *arguments], check=check)

    def qemu_pids(self) -> dict[str, int]:
        """Running guests: domain name -> pid of its QEMU."""
        folder = self.work / "run/libvirt/qemu"
        # driver.pid is libvirt's own
        return {path.stem: int(path.read_text()) for path in folder.glob("*.pid")
                if path.stem != "driver" and path.read_text().strip()}

    def close(self) -> None:
        """Destroy guests, end all processes, remove all files."""
        if hasattr(self, "holder"):
            self.end()
        if hasattr(self, "client"):
            self.client.end()
        shutil.rmtree(self.work, ignore_errors=True)
