# SPDX-License-Identifier: Apache-2.0
"""Packets of guests through real bridges and filters: what passes, what does not."""

import dataclasses
import sys
import time

import pytest

from nova.linux.bridge import Bridges
from nova.linux.firewall import InstanceFirewall
from nova.network.model import VIF, FirewallRule, FixedAddress, tap_name

OUT = (FirewallRule("egress", "IPv4"), FirewallRule("egress", "IPv6"))
SSH = FirewallRule("ingress", "IPv4", "tcp", 22, 22)
PING = FirewallRule("ingress", "IPv4", "icmp")
PING6 = FirewallRule("ingress", "IPv6", "icmp")
BRIDGE = "br100"


def make_vif(number, *rules, bridge=BRIDGE, subnet="10.0.0"):
    port_id = f"{number:08x}-0000-4000-8000-000000000000"
    mac = f"fa:16:3e:00:00:{number:02x}"
    return VIF(
        port_id=port_id, mac=mac, tap=tap_name(port_id), bridge=bridge, network_id="net",
        network_name="private", rules=(*OUT, *rules), addresses=(
            FixedAddress(f"{subnet}.{number}", 24, 4, f"{subnet}.1", f"{subnet}.1"),
            FixedAddress(f"fd00::{number:x}", 64, 6)))


def instance(number):
    return f"{number:08d}-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


def make_guest(namespaces, host, vif):
    """A namespace for a guest whose cable ends in the bridge, under the tap's name."""
    guest = namespaces()
    guest("ip", "link", "add", "eth0", "address", vif.mac, "type", "veth",
          "peer", "name", vif.tap, "netns", host.name)
    guest("ip", "link", "set", "eth0", "up")
    for address in vif.addresses:
        more = ["nodad"] if address.version == 6 else []
        guest("ip", "addr", "add", f"{address.address}/{address.prefix_length}", "dev", "eth0",
              *more)
    guest("ip", "route", "add", "default", "via", vif.addresses[0].gateway)
    host("ip", "link", "set", vif.tap, "master", vif.bridge, "up")
    return guest


class Cloud:
    def __init__(self, namespaces):
        self.namespaces = namespaces
        self.host = namespaces()
        self.bridges = Bridges(self.host.runner)
        self.firewall = InstanceFirewall(run=self.host.runner)
        self.bridges.ensure_bridge(BRIDGE, "net", addresses=["10.0.0.1/24"])
        self.host("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def boot(self, number, *rules, **more):
        vif = make_vif(number, *rules, **more)
        self.firewall.apply(instance(number), [vif])
        return vif, make_guest(self.namespaces, self.host, vif)


@pytest.fixture
def cloud(namespaces):
    return Cloud(namespaces)


def test_group_opens_and_closes_a_port_live(cloud):
    """N3: a changed rule is in force at once, also for connections that stand."""
    _, one = cloud.boot(2)
    vif, two = cloud.boot(3)
    two.serve(22)
    assert one.is_kept_from("10.0.0.3", 22)
    assert one.is_kept_from("10.0.0.3")
    cloud.firewall.apply(instance(3), [dataclasses.replace(vif, rules=(*OUT, SSH, PING))])
    assert one.reaches("10.0.0.3", 22)
    assert one.reaches("10.0.0.3")
    assert cloud.host.reaches("10.0.0.3", 22), "from the host itself"
    cloud.firewall.apply(instance(3), [vif])
    assert one.is_kept_from("10.0.0.3", 22)
    assert cloud.host.is_kept_from("10.0.0.3", 22)
    assert two.reaches("10.0.0.1"), "answers to what the guest begins come through"


def test_standing_connection_is_cut(cloud):
    vif, guest = cloud.boot(2, SSH, PING)
    listener = guest.popen("nc", "-l", "-p", "22", stdout=-1, stdin=-1)
    time.sleep(0.2)
    client = cloud.host.popen("nc", "10.0.0.2", "22", stdin=-1, stdout=-1)
    client.stdin.write(b"first\n")
    client.stdin.flush()
    assert listener.stdout.readline() == b"first\n"
    cloud.firewall.apply(instance(2), [dataclasses.replace(vif, rules=OUT)])
    client.stdin.write(b"second\n")
    client.stdin.flush()
    time.sleep(0.5)
    listener.kill()
    assert b"second" not in listener.stdout.read()


def test_routed_traffic_is_filtered_too(cloud):
    vif, guest = cloud.boot(2)
    world = cloud.namespaces()
    cloud.host.cable("pub", world, "eth0")
    cloud.host("ip", "addr", "add", "172.24.4.1/24", "dev", "pub")
    world("ip", "addr", "add", "172.24.4.9/24", "dev", "eth0")
    world("ip", "route", "add", "default", "via", "172.24.4.1")
    guest.serve(22)
    world.serve(80)
    assert guest.reaches("172.24.4.9", 80)
    assert world.is_kept_from("10.0.0.2", 22)
    cloud.firewall.apply(instance(2), [dataclasses.replace(vif, rules=(*OUT, SSH))])
    assert world.reaches("10.0.0.2", 22)
    cloud.firewall.apply(instance(2), [dataclasses.replace(vif, rules=(SSH,))])
    assert guest.is_kept_from("172.24.4.9", 80), "no egress rule, nothing goes out"
    assert world.reaches("10.0.0.2", 22)


def test_security_n10_foreign_ip_mac_and_arp_do_not_leave_the_tap(cloud):
    """N10, N12, N13: foreign source IP, MAC and ARP sender are dropped."""
    _, one = cloud.boot(2)
    _, two = cloud.boot(3, SSH, PING)
    two.serve(22)
    assert one.reaches("10.0.0.3", 22)
    one("ip", "addr", "add", "10.0.0.77/24", "dev", "eth0")
    assert one.hears_nothing_from("10.0.0.3", source="10.0.0.77")
    assert one.hears_nothing_from("10.0.0.1", source="10.0.0.77")
    two("ip", "neigh", "flush", "all")
    one("arping", "-U", "-c1", "-I", "eth0", "10.0.0.77", check=False)
    assert one("arping", "-c1", "-w1", "-I", "eth0", "-s", "10.0.0.77", "10.0.0.3",
               check=False).returncode
    assert "10.0.0.77" not in two("ip", "neigh").stdout
    assert one("arping", "-c1", "-w1", "-I", "eth0", "-s", "10.0.0.2", "10.0.0.3").returncode == 0
    one("ip", "addr", "del", "10.0.0.77/24", "dev", "eth0")
    one("ip", "link", "set", "eth0", "address", "fa:16:3e:99:99:99")
    assert one.is_kept_from("10.0.0.3", 22)
    assert one.is_kept_from("10.0.0.1")
    assert one.is_kept_from("fd00::3")


def test_security_n10_guest_is_no_dhcp_server(cloud):
    """N10: answers of a DHCP server do not come out of a tap."""
    _, one = cloud.boot(2)
    _, two = cloud.boot(3, FirewallRule("ingress", "IPv4", "udp"))
    ear = two.popen("nc", "-l", "-u", "-p", "68", stdout=-1, stdin=-1)
    other = two.popen("nc", "-l", "-u", "-p", "6868", stdout=-1, stdin=-1)
    time.sleep(0.3)
    for port, source in (("68", "67"), ("6868", "67")):
        one("sh", "-c", f"echo offer | nc -u -q1 -w1 -p {source} 10.0.0.3 {port}", check=False)
    for process in (ear, other):
        process.kill()
    assert (ear.stdout.read(), other.stdout.read()) == (b"", b"offer\n")


def test_security_n11_ipv6(cloud):
    """N10, N11: router advertisements and neighbour advertisements of others are dropped."""
    _, one = cloud.boot(2)
    vif, two = cloud.boot(3)
    assert one.is_kept_from("fd00::3")
    cloud.firewall.apply(instance(3), [dataclasses.replace(vif, rules=(*OUT, PING6))])
    assert one.reaches("fd00::3")
    one("ip", "addr", "add", "fd00::77/64", "dev", "eth0", "nodad")
    assert one.hears_nothing_from("fd00::3", source="fd00::77")
    # An advertisement for somebody else's address, from the guest's own: two must not learn it.
    assert "fd00::3" in one("ip", "neigh").stdout
    two("ip", "addr", "add", "fd00::88/64", "dev", "eth0", "nodad")
    assert one.is_kept_from("fd00::88"), "two may not answer for an address it was not given"


def test_nothing_is_written_twice(cloud):
    """What is loaded is what iptables-save prints: the second time there is nothing to do."""
    calls = []
    real = cloud.firewall.run

    def run(*command, **more):
        calls.append((command[0], more.get("stdin")))
        return real(*command, **more)

    rules = (SSH, PING, PING6, FirewallRule("ingress", "IPv4", "tcp", 1, 1024, "10.0.0.7/24"),
             FirewallRule("ingress", "IPv4", "112"), FirewallRule("ingress", "IPv4", "gre"),
             FirewallRule("ingress", "IPv4", "icmp", 8, 0, "0.0.0.0/0"),
             FirewallRule("ingress", "IPv4", "icmp", 3), FirewallRule("egress", "IPv4", "sctp", 5),
             FirewallRule("ingress", "IPv6", "icmpv6", 128, 0, "2001:DB8::1/32"),
             FirewallRule("ingress", "IPv6", "udp", 53, 53, "::/0"),
             FirewallRule("egress", "IPv4", "udplite", None, None, "1.2.3.4/32"),
             FirewallRule("ingress", "IPv4", "200"), FirewallRule("ingress", "IPv4", "igmp"))
    vif = make_vif(2, *rules)
    cloud.firewall.tables.run = run
    cloud.firewall.apply(instance(2), [vif])
    assert "iptables-restore" in {name for name, _ in calls}
    calls.clear()
    cloud.firewall.apply(instance(2), [vif])
    assert [call for call in calls if "restore" in call[0]] == []


def test_instances_are_known_by_their_rules(cloud):
    before = cloud.host("iptables-save").stdout
    cloud.host("iptables", "-A", "FORWARD", "-s", "192.0.2.1", "-j", "DROP")
    vifs = [make_vif(number) for number in (2, 3)]
    for number, vif in zip((2, 3), vifs, strict=True):
        cloud.firewall.apply(instance(number), [vif])
    again = InstanceFirewall(run=cloud.host.runner)
    # An interface less: its rules go, in every filter.
    again.apply_all({instance(2): [vifs[0], make_vif(9)], instance(3): [vifs[1]]})
    assert len(again.list()) == 3
    again.apply(instance(2), [vifs[0]])
    assert make_vif(9).tap not in cloud.host("ebtables-nft-save").stdout
    assert again.list() == {vifs[0].tap: instance(2), vifs[1].tap: instance(3)}
    again.remove(instance(2))
    assert again.list() == {vifs[1].tap: instance(3)}
    assert vifs[0].tap not in cloud.host("ebtables-nft-save").stdout \
        + cloud.host("ip6tables-save").stdout + cloud.host("iptables-save").stdout
    again.clear()
    assert again.list() == {}
    assert "192.0.2.1" in cloud.host("iptables-save").stdout, "somebody else's rule"
    assert "nova-" not in before + cloud.host("iptables-save").stdout


def test_security_n4_flushed_rules_come_back(cloud):
    """N4: rules that somebody flushed are there again after the next apply."""
    vif, guest = cloud.boot(2)
    guest.serve(22)
    cloud.host("iptables", "-F")
    cloud.host("iptables", "-X")
    assert cloud.host.reaches("10.0.0.2", 22)
    cloud.firewall.apply(instance(2), [vif])
    assert cloud.host.is_kept_from("10.0.0.2", 22)


def test_security_n5_bad_rule_harms_nobody_else(cloud):
    """N5, N6, N7, N9: what cannot be expressed is denied, and the rest is loaded."""
    bad = (FirewallRule("ingress", "IPv4", "tcp", 80, 80, "10.0.0.0/33"),
           FirewallRule("ingress", "IPv4", "vrrp", 80, 80),
           FirewallRule("ingress", "IPv4", None, 80, 80),
           FirewallRule("ingress", "IPv4", "tcp", 80, 80, "0.0.0.0/0 -j ACCEPT"),
           FirewallRule("ingress", "IPv4", "tcp\n-j ACCEPT"),
           FirewallRule("ingress", "IPv4", "tcp", 80, 80, "fd00::/8"),
           FirewallRule("ingress", "IPv4", "tcp", 90000, 90001))
    _, guest = cloud.boot(2, *bad, SSH)
    guest.serve(22)
    guest.serve(80)
    assert cloud.host.reaches("10.0.0.2", 22)
    assert cloud.host.is_kept_from("10.0.0.2", 80)


def test_guest_first_however_workers_come(cloud):
    """A worker that lets packets pass never comes before what restricts guests."""
    from nova.linux.iptables import Iptables

    network = Iptables("network", cloud.host.runner)

    def accept_all():
        with network.edit("ipv4") as chains:
            chains["filter"][network.chain("FORWARD")] = ["-i br100 -j ACCEPT"]
            chains["filter"]["FORWARD"] = [f"-j {network.chain('FORWARD')}"]

    accept_all()
    cloud.firewall.apply(instance(2), [make_vif(2)])
    accept_all()
    cloud.host("iptables", "-I", "FORWARD", "-j", "nova-network-FORWARD")
    accept_all()
    lines = [line for line in cloud.host("iptables-save").stdout.splitlines()
             if line.startswith("-A FORWARD")]
    assert lines == ["-A FORWARD -j nova-compute-FORWARD", "-A FORWARD -j nova-network-FORWARD"]


def test_two_clouds_in_one_kernel_do_not_touch_each_other(cloud):
    other = InstanceFirewall(run=cloud.host.runner, prefix="cloud2")
    cloud.firewall.apply(instance(2), [make_vif(2)])
    other.apply(instance(3), [make_vif(3, bridge="br200", subnet="10.1.0")])
    assert len(cloud.firewall.list()) == len(other.list()) == 1
    other.clear()
    assert len(cloud.firewall.list()) == 1


def test_rules_change_in_one_step(cloud):
    """While rules are loaded over and over, what is open stays open and the rest closed."""
    vif, guest = cloud.boot(2, SSH)
    guest.serve(22)
    guest.serve(80)
    prober = cloud.host.popen(sys.executable, "-S", "-c", PROBE, stdout=-1, text=True)
    assert prober.stdout.readline() == "ready\n"
    for number in range(8):
        more = (FirewallRule("ingress", "IPv4", "udp", 1000 + number, 1000 + number),)
        cloud.firewall.apply(instance(2), [dataclasses.replace(vif, rules=(*more, *OUT, SSH))])
    prober.terminate()
    seen = prober.stdout.read().split()
    assert seen.count("open") > 8 and set(seen) == {"open"}, seen


PROBE = """
import socket
print("ready", flush=True)
while True:
    for port, good in ((22, True), (80, False)):
        s = socket.socket()
        s.settimeout(5 if good else 0.05)
        try:
            s.connect(("10.0.0.2", port))
            print("open" if good else "LEAK", flush=True)
        except OSError:
            if good:
                print("CUT", flush=True)
        s.close()
"""
