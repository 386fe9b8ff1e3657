# SPDX-License-Identifier: Apache-2.0
"""From a security-group rule to the packet filter's words."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova.linux.firewall import (
    InexpressibleRule,
    InstanceFirewall,
    frame_rules,
    link_local,
    render,
)
from nova.linux.run import CommandFailed
from nova.network.model import VIF, FirewallRule, FixedAddress


@pytest.mark.parametrize(("rule", "text"), [
    (FirewallRule("ingress", "IPv4"), "-j ACCEPT"),
    (FirewallRule("ingress", "IPv4", "tcp", 22, 22, "10.0.0.0/8"),
     "-s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j ACCEPT"),
    (FirewallRule("egress", "IPv4", "UDP", 1, 99, "192.0.2.7"),
     "-d 192.0.2.7/32 -p udp -m udp --dport 1:99 -j ACCEPT"),
    (FirewallRule("ingress", "IPv4", "icmp", 8, 0), "-p icmp -m icmp --icmp-type 8/0 -j ACCEPT"),
    (FirewallRule("ingress", "IPv4", "icmp", 0), "-p icmp -m icmp --icmp-type 0 -j ACCEPT"),
    (FirewallRule("ingress", "IPv6", "icmp"), "-p ipv6-icmp -j ACCEPT"),
    (FirewallRule("ingress", "IPv6", "58", 128),
     "-p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT"),
    (FirewallRule("ingress", "IPv4", "6", 22, 22), "-p tcp -m tcp --dport 22 -j ACCEPT"),
    (FirewallRule("ingress", "IPv4", "any", None, None, "0.0.0.0/0"), "-j ACCEPT"),
    (FirewallRule("ingress", "IPv4", "tcp", 0, 65535), "-p tcp -j ACCEPT"),
    (FirewallRule("ingress", "IPv4", "112"), "-p vrrp -j ACCEPT"),
    (FirewallRule("ingress", "IPv6", "tcp", 80, 80, "2001:DB8::/32"),
     "-s 2001:db8::/32 -p tcp -m tcp --dport 80 -j ACCEPT"),
])
def test_rule_in_the_filters_words(rule, text):
    assert render(rule, "ACCEPT") == text


@pytest.mark.parametrize("rule", [
    FirewallRule("ingress", "IPv4", "tcp", 22, 21), FirewallRule("ingress", "IPv4", "tcp", -1, 5),
    FirewallRule("ingress", "IPv4", "tcp", 1, 65536), FirewallRule("ingress", "IPv4", None, 1, 2),
    FirewallRule("ingress", "IPv4", "esp", 1, 2), FirewallRule("ingress", "IPv4", "icmp", 300),
    FirewallRule("ingress", "IPv4", "icmp", None, 3), FirewallRule("ingress", "IPv4", "wat"),
    FirewallRule("ingress", "IPv4", "tcp; rm"), FirewallRule("ingress", "IPv4", "256"),
    FirewallRule("ingress", "IPv4", "tcp", 1, 2, "fd00::/8"),
    FirewallRule("ingress", "IPv4", "tcp", 1, 2, "0.0.0.0/0 -j ACCEPT"),
    FirewallRule("ingress", "IPv4", "tcp", 1, 2, ""),
])
def test_security_n7_rule_that_makes_no_sense_has_no_words(rule):
    """N5, N7, N9: it is not widened into one that does."""
    with pytest.raises(InexpressibleRule):
        render(rule, "ACCEPT")


rules = st.builds(
    FirewallRule, st.sampled_from(["ingress", "egress"]), st.sampled_from(["IPv4", "IPv6"]),
    st.one_of(st.none(), st.sampled_from(["tcp", "UDP", "icmp", "icmpv6", "sctp", "dccp", "esp",
                                          "any", "6", "58", "1", "132", "igmp", "udplite"]),
              st.integers(0, 255).map(str)),
    st.one_of(st.none(), st.integers(-1, 65536)), st.one_of(st.none(), st.integers(-1, 65536)),
    st.one_of(st.none(), st.sampled_from([
        "10.0.0.0/8", "10.0.0.1", "0.0.0.0/0", "::/0", "fd00::1", "fd00::/8", "1.2.3.4/31"])))


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(st.lists(rules, max_size=30))
def test_security_n8_whatever_is_rendered_the_kernels_tool_takes(made):
    """N5, N8: random sets of rules, overlapping ones too, always make a table that loads."""
    for family, ethertype in (("iptables", "IPv4"), ("ip6tables", "IPv6")):
        lines = []
        for rule in made:
            if rule.ethertype == ethertype:
                try:
                    lines.append(f"-A nova-test {render(rule, 'ACCEPT')}")
                except InexpressibleRule:
                    continue
        text = "\n".join(["*filter", ":nova-test - [0:0]", *lines, "COMMIT", ""])
        done = subprocess.run([f"{family}-restore", "--noflush", "--test"], input=text,
                              capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, (done.stderr, lines)


def test_frames_of_a_tap():
    vif = VIF("p", "fa:16:3e:00:00:01", "tapp", "br", "n", "n", addresses=(
        FixedAddress("10.0.0.2", 24, 4),))
    assert frame_rules(vif) == [
        "-s ! fa:16:3e:00:00:01 -j DROP", "-p ARP --arp-mac-src ! fa:16:3e:00:00:01 -j DROP",
        "-p ARP --arp-ip-src 10.0.0.2 -j RETURN", "-p ARP --arp-ip-src 0.0.0.0 -j RETURN",
        "-p ARP -j DROP", "-p IPv4 -j RETURN", "-j DROP"]


def test_link_local_address_of_a_mac():
    assert str(link_local("fa:16:3e:12:34:56")) == "fe80::f816:3eff:fe12:3456"


def test_module_is_loaded_where_bridged_packets_are_not_seen(monkeypatch, tmp_path):
    """Without it the rules would be there and filter nothing."""
    monkeypatch.setattr("nova.linux.iptables.LOCK_PATH", str(tmp_path))
    commands, loaded = [], []

    def run(*command, stdin=None, **more):
        commands.append(command)
        if command == ("modprobe", "br_netfilter"):
            loaded.append(True)
        elif command[0] == "tee" and not loaded:
            raise CommandFailed("no such file", 1, "No such file")
        return ""

    InstanceFirewall(run=run).apply("instance", [])
    assert ("tee", "/proc/sys/net/bridge/bridge-nf-call-iptables") in commands
    assert ("tee", "/proc/sys/net/bridge/bridge-nf-call-ip6tables") in commands
    assert commands.count(("modprobe", "br_netfilter")) == 1

    def never(*command, **more):
        if command[0] in ("tee", "modprobe"):
            raise CommandFailed("no", 1, "No such file")
        return ""

    with pytest.raises(CommandFailed):
        InstanceFirewall(run=never).apply("instance", [])
