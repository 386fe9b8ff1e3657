# SPDX-License-Identifier: Apache-2.0
"""The pretend host is a host of its own, reached by its client, and leaves nothing behind."""
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

SUPPORT = Path(__file__).resolve().parents[2] / "support"


def machine_links() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def test_is_a_host_of_its_own(pretend_host):
    host = pretend_host
    assert host.run(["hostname"]).stdout.strip() == host.name
    assert "pub" in host.run(["ls", "/sys/class/net"]).stdout.split()
    assert "pub" not in machine_links()
    host.run(["iptables", "-N", "nova-test"], check=True)
    assert "nova-test" not in subprocess.run(["iptables", "-S"], capture_output=True, text=True,
                                             timeout=20, check=False).stdout
    host.client.run(["busybox", "ping", "-c", "1", "-W", "5", "172.24.4.2"], check=True)


def test_libvirt_is_its_own(pretend_host):
    # QEMU is known, no domain and no network came along
    assert "hypervisor" in pretend_host.virsh("version", check=True).stdout
    assert pretend_host.virsh("list", "--all", "--name", check=True).stdout.strip() == ""
    assert pretend_host.virsh("net-list", "--all", "--name", check=True).stdout.strip() == ""


def test_goes_with_the_process_that_made_it(tmp_path):
    script = ("import sys, time; sys.path.insert(0, sys.argv[1]); "
              "from pretend_host import PretendHost; host = PretendHost(); host.__enter__(); "
              "print(host.work, *host.pids(), flush=True); time.sleep(600)")
    process = subprocess.Popen([sys.executable, "-c", script, str(SUPPORT)], text=True,
                               stdout=subprocess.PIPE)
    work, *pids = process.stdout.readline().split()
    process.kill()
    process.wait(10)
    process.stdout.close()
    assert len(pids) >= 2
    deadline = time.monotonic() + 15
    while os.path.exists(work):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not any(alive(int(pid)) for pid in pids)


def alive(pid: int) -> bool:
    """Who adopts orphans may reap them late: a zombie is dead."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"


def test_leaves_nothing_behind():
    from pretend_host import PretendHost

    before = machine_links()
    with PretendHost() as host:
        inside = host.pids()
        assert len(inside) >= 2  # virtlogd and libvirtd
    assert not host.work.exists()
    assert machine_links() <= before
    assert not any(alive(pid) for pid in inside)
