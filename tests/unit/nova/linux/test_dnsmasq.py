# SPDX-License-Identifier: Apache-2.0
"""The files dnsmasq is given, and when a pid file is believed."""

import os
import subprocess
import sys
import time

import pytest

from nova.linux import dnsmasq
from nova.linux.dnsmasq import DhcpHost, DhcpNetwork, Dnsmasq, render_hosts, write
from nova.linux.run import CommandFailed, Runner

NETWORK = DhcpNetwork("net", "br100", "10.0.0.1", "10.0.0.0/24", "10.0.0.1", 120)


@pytest.mark.parametrize(("name", "label"), [
    ("Web-1", "web-1"), ("", "host-10-0-0-2"), ("ü\n,#", "host-10-0-0-2"), ("-a_b.", "a-b"),
    ("x\ndhcp-option=3,6.6.6.6", "x-dhcp-option-3-6-6-6-6"), ("a" * 80, "a" * 63),
    ("a,10.0.0.9\tb", "a-10-0-0-9-b"), ("# comment", "comment")])
def test_security_n17_hostname_is_one_label_of_dns(name, label):
    """N17: nothing a guest is called gets into dnsmasq's files as it is."""
    text = render_hosts([DhcpHost("fa:16:3e:00:00:01", "10.0.0.2", name)], "novalocal")
    assert text == f"fa:16:3e:00:00:01,10.0.0.2,{label}.novalocal\n"


def test_file_is_replaced_whole_and_only_when_it_differs(tmp_path):
    path = tmp_path / "hosts"
    assert write(path, "one\n")
    inode = path.stat().st_ino
    assert not write(path, "one\n")
    assert write(path, "two\n")
    assert path.stat().st_ino != inode
    path.chmod(0o600)
    assert write(path, "two\n"), "one that cannot be read by dnsmasq is no good"
    path.write_bytes(b"\xff")
    assert write(path, "two\n")
    assert [one.name for one in tmp_path.iterdir()] == ["hosts"]


class FakeRun:
    def __init__(self):
        self.commands = []

    def __call__(self, *command, **more):
        self.commands.append(command)
        return ""


def make(tmp_path):
    return Dnsmasq(tmp_path, "br100", FakeRun(), ("/bin/lease tool", "--config-file", "a b"))


def test_configuration(tmp_path):
    server = make(tmp_path)
    assert server.ensure(NETWORK, [])
    conf = server.conf.read_text().splitlines()
    for line in ("interface=br100", "except-interface=lo", "listen-address=10.0.0.1",
                 "dhcp-range=10.0.0.0,static,255.255.255.0,120s", "domain=novalocal",
                 "dhcp-option=option:router,10.0.0.1", f"dhcp-hostsfile={server.hosts}",
                 f"dhcp-script={server.hook}"):
        assert line in conf
    assert not any(line.startswith(("user=", "enable-ra")) for line in conf)
    hook = server.hook.read_text()
    assert "NETWORK_ID=net" in hook and "exec '/bin/lease tool' --config-file 'a b' \"$@\"" in hook
    assert server.run.commands == [("dnsmasq", f"--conf-file={server.conf}")]


def test_router_advertisements_where_there_is_ipv6(tmp_path):
    server = make(tmp_path)
    server.ensure(DhcpNetwork(**{**vars(NETWORK), "cidr_v6": "fd00::/64",
                                 "dns_servers": ("9.9.9.9", "1.1.1.1")}), [])
    conf = server.conf.read_text()
    assert "enable-ra\ndhcp-range=fd00::,ra-only,64\n" in conf
    assert "dhcp-option=option:dns-server,9.9.9.9,1.1.1.1\n" in conf


def test_lease_hook_starts_no_python_for_what_says_nothing_new(tmp_path):
    told = tmp_path / "told"
    tool = tmp_path / "tool"
    tool.write_text(f'#!/bin/sh\necho "$NETWORK_ID $*" >> {told}\n')
    tool.chmod(0o755)
    server = Dnsmasq(tmp_path, "br100", FakeRun(), (str(tool),))
    server.ensure(NETWORK, [])
    for event in ("old", "add", "del"):
        subprocess.run([server.hook, event, "fa:16:3e:00:00:01", "10.0.0.2"], check=True,
                       timeout=10)
    assert told.read_text().splitlines() == ["net add fa:16:3e:00:00:01 10.0.0.2",
                                             "net del fa:16:3e:00:00:01 10.0.0.2"]


def test_pid_file_is_believed_only_of_our_own_living_process(tmp_path):
    server = make(tmp_path)
    assert server.pid() is None
    server.pid_file.write_text("nonsense")
    assert server.pid() is None
    server.pid_file.write_text(str(os.getpid()))
    assert server.pid() is None, "the number is another process's by now"
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)",
                                f"--conf-file={server.conf}"])
    try:
        server.pid_file.write_text(str(process.pid))
        give_up_at = time.monotonic() + 10
        while server.pid() is None and time.monotonic() < give_up_at:
            time.sleep(0.01)
        assert server.pid() == process.pid
        process.kill()
        while server.pid() is not None and time.monotonic() < give_up_at:
            time.sleep(0.01)
        assert server.pid() is None, "a zombie is dead"
    finally:
        process.wait(10)


def test_leases_of_the_file(tmp_path):
    server = make(tmp_path)
    assert server.leases() == []
    later = int(time.time()) + 100
    server.lease_file.write_text(
        f"{later} fa:16:3e:00:00:01 10.0.0.2 web *\n{later - 200} fa:16:3e:00:00:02 10.0.0.3 * *\n"
        "duid 00:01\nnonsense\n")
    assert [(lease.mac, lease.address) for lease in server.leases()] == [
        ("fa:16:3e:00:00:01", "10.0.0.2")]


@pytest.mark.parametrize(("said", "good"), [
    ("Dnsmasq version 2.90  Copyright", True), ("Dnsmasq version 2.78", True),
    ("Dnsmasq version 2.77", False), ("what?", False)])
def test_security_n18_old_dnsmasq_is_refused(said, good):
    """N18: one with known overflows is not let near guests."""
    def run(*command):
        return said + "\n"

    if good:
        dnsmasq.check_version(run)
    else:
        with pytest.raises(CommandFailed, match="too old"):
            dnsmasq.check_version(run)


def test_commands_have_a_time_limit_and_leave_nothing_running():
    run = Runner()
    assert run("echo", "a b") == "a b\n"
    assert run("cat", stdin="x") == "x"
    with pytest.raises(CommandFailed) as failed:
        run("sh", "-c", "echo sorry >&2; exit 3")
    assert (failed.value.exit_code, failed.value.stderr) == (3, "sorry\n")
    assert run("sh", "-c", "exit 3", ok=(0, 3)) == ""
    with pytest.raises(CommandFailed, match="not done in 1 s"):
        run("sleep", "3600", timeout=1)
    with pytest.raises(CommandFailed):
        run("no-such-command-anywhere")
