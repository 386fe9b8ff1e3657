# SPDX-License-Identifier: Apache-2.0
"""The pretend host is a host of its own, reached by its client, and leaves nothing behind."""
import os
import subprocess

import psutil


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


def test_leaves_nothing_behind():
    from pretend_host import PretendHost

    before = machine_links()
    with PretendHost() as host:
        inside = host.pids()
        assert len(inside) >= 2  # virtlogd and libvirtd
    assert not host.work.exists()
    assert machine_links() <= before
    for pid in inside:
        # who adopts orphans may reap them late: a zombie is dead
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
