# SPDX-License-Identifier: Apache-2.0
"""What a guest may send and what may reach it.

Each tap has chains of its own: ``i-`` towards the guest, ``o-`` and ``s-`` (its addresses) from
it, ``e-`` for its frames.  Shared chains lead to them by the tap's name, for what is bridged, and
by the guest's address, for what the host routes or sends itself::

    FORWARD, INPUT -> egress  -> o-<tap>   anti-spoofing, egress rules, else DROP; RETURN goes on
    FORWARD        -> bridged -> i-<tap>   ACCEPT by ingress rules, else DROP
    FORWARD, OUTPUT-> routed  -> i-<tap>
    PREROUTING of the bridge  -> e-<tap>   MAC, ARP and what is neither IP nor ARP

The entries in the shared chains carry the instance's id as their comment: that is how
:meth:`InstanceFirewall.list` knows whose tap it is.  A rule that cannot be expressed is left out,
which denies what it was to allow, and never stops another guest's rules.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

from nova.linux.iptables import Iptables
from nova.linux.run import CommandFailed, Runner, set_kernel
from nova.network.model import VIF, FirewallRule

LOG = logging.getLogger(__name__)

Rules = list[str]

_NUMBERS = {"icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "egp": 8, "udp": 17, "dccp": 33,
            "ipv6-encap": 41, "ipv6-route": 43, "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50,
            "ah": 51, "icmpv6": 58, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ospf": 89,
            "vrrp": 112, "pgm": 113, "sctp": 132, "udplite": 136}
# As iptables-save writes them; other numbers stay numbers.
_NAMES = {1: "icmp", 2: "igmp", 6: "tcp", 8: "egp", 17: "udp", 33: "dccp", 46: "rsvp", 47: "gre",
          50: "esp", 51: "ah", 58: "ipv6-icmp", 89: "ospf", 112: "vrrp", 132: "sctp",
          136: "udplite"}
_WITH_PORTS = {6, 17, 33, 132}
_FAMILY = {4: "ipv4", 6: "ipv6"}
_COMMENT = re.compile(r"--comment (\S+)")
_TAP = re.compile(r"--physdev-in (\S+)")
_INVALID = "-m conntrack --ctstate INVALID -j DROP"
_KNOWN = "-m conntrack --ctstate RELATED,ESTABLISHED -j "
# Router solicitation and advertisement, neighbour discovery, multicast listeners (RFC 4890).
_ICMP6_NEEDED = (130, 131, 132, 134, 135, 136)


class InexpressibleRule(ValueError):
    """A security-group rule that no packet filter can be told."""


class InstanceFirewall:
    """The rules of all guests of one worker on this host."""

    def __init__(self, worker: str = "compute", run: Runner | None = None,
                 prefix: str = "nova") -> None:
        self.run = run or Runner()
        self.tables = Iptables(worker, self.run, prefix)
        self._prepared = False

    def _prepare(self) -> None:
        """Have the kernel show bridged packets to the filters; CommandFailed when it cannot."""
        if self._prepared:
            return
        try:
            self._see_bridged()
        except CommandFailed:       # on most kernels it is a module that nobody loads
            self.run("modprobe", "br_netfilter")
            self._see_bridged()
        self._prepared = True

    def _see_bridged(self) -> None:
        for name in ("iptables", "ip6tables"):
            set_kernel(self.run, f"net/bridge/bridge-nf-call-{name}", 1)

    def apply(self, instance_id: str, vifs: Sequence[VIF]) -> None:
        """Make the rules of an instance's taps be these, one step a packet filter; idempotent.

        Taps of the instance that are not among ``vifs`` lose their rules.  May be called before
        the taps are there.  Connections that new rules do not allow are cut.
        """
        self.apply_all({instance_id: vifs})

    def apply_all(self, wanted: Mapping[str, Sequence[VIF]]) -> None:
        """As :meth:`apply` for several instances, in no more steps than for one."""
        self._prepare()
        every = [vif for vifs in wanted.values() for vif in vifs]
        gone = {vif.tap for vif in every}
        narrowed: set[str] = set()
        for version, family in _FAMILY.items():
            with self.tables.edit(family) as chains:
                filters = chains["filter"]
                before = dict(filters)
                for instance_id in wanted:
                    gone |= self._taps_of(filters, instance_id)
                _forget(self.tables, filters, gone)
                self._base(filters)
                for instance_id, vifs in wanted.items():
                    for vif in vifs:
                        self._add(filters, instance_id, vif, version)
                narrowed |= {vif.tap for vif in every if any(
                    set(before.get(name, ())) - set(filters[name])
                    for name in (self._chain("i", vif.tap), self._chain("o", vif.tap)))}
        self._apply_frames(every, gone)
        self._cut_connections([vif for vif in every if vif.tap in narrowed])

    def remove(self, instance_id: str, vifs: Sequence[VIF] = ()) -> None:
        """Take away the rules of an instance, whatever of them there is."""
        taps = {vif.tap for vif in vifs}
        for family in _FAMILY.values():
            taps |= self._taps_of(self.tables.read(family).get("filter", {}), instance_id)
        self.remove_taps(taps)

    def remove_taps(self, taps: set[str]) -> None:
        """Take away the rules of taps by name; those with none are passed over."""
        with self.tables.edit("bridge") as chains:
            _forget(self.tables, chains["nat"], taps)
        # What names the instance goes last: killed in between, it is still known whose it was.
        for family in ("ipv6", "ipv4"):
            with self.tables.edit(family) as chains:
                _forget(self.tables, chains["filter"], taps)

    def list(self) -> dict[str, str]:
        """Return ``{tap: instance id}`` of all rules there are; "" where nothing names one."""
        found: dict[str, str] = {}
        for family in (*_FAMILY.values(), "bridge"):
            for chains in self.tables.read(family).values():
                for name in chains:
                    for kind in "isoe":
                        if name.startswith(self._chain(kind, "tap")):
                            found.setdefault("tap" + name[len(self._chain(kind, "tap")):], "")
                for rule in chains.get(self.tables.chain("egress"), ()):
                    tap, comment = _TAP.search(rule), _COMMENT.search(rule)
                    if tap:
                        found[tap[1]] = comment[1] if comment else ""
        return found

    def clear(self) -> None:
        """Take away everything of this worker, base chains and all."""
        for family in (*_FAMILY.values(), "bridge"):
            self.tables.clear(family)

    # -- one family of the packet filter -------------------------------------------------------

    def _chain(self, kind: str, tap: str) -> str:
        return self.tables.chain(f"{kind}-{tap.removeprefix('tap')}")

    def _taps_of(self, filters: dict[str, Rules], instance_id: str) -> set[str]:
        return {tap[1] for rule in filters.get(self.tables.chain("egress"), ())
                if (tap := _TAP.search(rule)) and f"--comment {instance_id} " in rule + " "}

    def _base(self, filters: dict[str, Rules]) -> None:
        name = self.tables.chain
        for shared in ("egress", "bridged", "routed", "provider"):
            filters.setdefault(name(shared), [])
        filters[name("fallback")] = ["-j DROP"]
        for builtin, leads_to in (("FORWARD", ("egress", "bridged", "routed")),
                                  ("INPUT", ("egress",)), ("OUTPUT", ("routed",))):
            filters[name(builtin)] = [f"-j {name(one)}" for one in leads_to]
            filters[builtin] = [f"-j {name(builtin)}"]

    def _add(self, filters: dict[str, Rules], instance_id: str, vif: VIF,
             version: int) -> None:
        towards, sent = self._chain("i", vif.tap), self._chain("o", vif.tap)
        comment = f"-m comment --comment {instance_id}"
        own = [one.address for one in vif.addresses if one.version == version]
        filters[towards] = self._ingress(vif, version)
        filters[self._chain("s", vif.tap)] = self._sources(own, vif.mac, version)
        filters[sent] = self._egress(vif, version)
        filters[self.tables.chain("egress")].append(
            f"-m physdev --physdev-in {vif.tap} {comment} -j {sent}")
        filters[self.tables.chain("bridged")].append(
            f"-m physdev --physdev-out {vif.tap} --physdev-is-bridged {comment} -j {towards}")
        filters[self.tables.chain("routed")] += [
            f"-d {one}/{ip_address(one).max_prefixlen} -o {vif.bridge} {comment} -j {towards}"
            for one in own]

    def _sources(self, own: Sequence[str], mac: str, version: int) -> Rules:
        allowed = list(own)
        if version == 6 and own:
            allowed.append(str(link_local(mac)))
        rules = [f"-s {one}/{ip_address(one).max_prefixlen} -j RETURN" for one in allowed]
        if version == 6 and own:
            rules += [f"-s ::/128 -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN"
                      for kind in (133, 135, 143)]
        return [*rules, "-j DROP"]

    def _ingress(self, vif: VIF, version: int) -> Rules:
        rules = [_INVALID, f"{_KNOWN}ACCEPT", f"-j {self.tables.chain('provider')}"]
        for server in sorted({one.dhcp_server for one in vif.addresses
                              if one.dhcp_server and one.version == version == 4}):
            rules.append(f"-s {server}/32 -p udp -m udp --sport 67 --dport 68 -j ACCEPT")
        if version == 6 and any(one.version == 6 for one in vif.addresses):
            rules += [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j ACCEPT"
                      for kind in _ICMP6_NEEDED]
        rules += _rendered(vif, "ingress", version, "ACCEPT")
        return [*rules, f"-j {self.tables.chain('fallback')}"]

    def _egress(self, vif: VIF, version: int) -> Rules:
        rules = []
        if version == 4:
            rules.append(f"-s 0.0.0.0/32 -d 255.255.255.255/32 -p udp -m mac --mac-source "
                         f"{vif.mac} -m udp --sport 68 --dport 67 -j RETURN")
        rules += [f"-m mac ! --mac-source {vif.mac} -j DROP", f"-j {self._chain('s', vif.tap)}"]
        if version == 4:
            rules.append("-p udp -m udp --sport 67 --dport 68 -j DROP")
            rules += [f"-d {server}/32 -p udp -m udp --sport 68 --dport 67 -j RETURN"
                      for server in sorted({one.dhcp_server for one in vif.addresses
                                            if one.dhcp_server and one.version == 4})]
        else:
            rules.append("-p udp -m udp --sport 547 --dport 546 -j DROP")
            rules.append("-p ipv6-icmp -m icmp6 --icmpv6-type 134 -j DROP")
            rules += _own_advertisements(vif)
            rules += [f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN"
                      for kind in (133, 135, 143)]
        rules += [_INVALID, f"{_KNOWN}RETURN", f"-j {self.tables.chain('provider')}"]
        rules += _rendered(vif, "egress", version, "RETURN")
        return [*rules, f"-j {self.tables.chain('fallback')}"]

    # -- frames --------------------------------------------------------------------------------

    def _apply_frames(self, vifs: Sequence[VIF], gone: set[str]) -> None:
        name = self.tables.chain("PREROUTING")
        with self.tables.edit("bridge") as chains:
            table = chains["nat"]
            _forget(self.tables, table, gone)
            table["PREROUTING"] = [f"-j {name}"]
            shared = table.setdefault(name, [])
            for vif in vifs:
                table[self._chain("e", vif.tap)] = frame_rules(vif)
                shared.append(f"-i {vif.tap} -j {self._chain('e', vif.tap)}")

    def _cut_connections(self, vifs: Sequence[VIF]) -> None:
        """Make the kernel judge the connections of some interfaces anew."""
        for vif in vifs:
            for one in vif.addresses:
                for side in ("--orig-src", "--reply-src"):
                    try:
                        self.run("conntrack", "-D", "-f", _FAMILY[one.version], side, one.address,
                                 ok=(0, 1))       # 1: there was none
                    except CommandFailed as error:
                        LOG.warning("Old connections of %s live on: %s", one.address, error)


def _forget(tables: Iptables, chains: dict[str, Rules], taps: set[str]) -> None:
    """Take everything of some taps out of a table's chains."""
    own = {tables.chain(f"{kind}-{tap.removeprefix('tap')}") for tap in taps for kind in "isoe"}
    for name in own & set(chains):
        del chains[name]
    for name, rules in chains.items():
        chains[name] = [rule for rule in rules if rule.rpartition(" ")[2] not in own]


def frame_rules(vif: VIF) -> Rules:
    """Return what frames may come out of a tap: its MAC, its ARP, and IP."""
    rules = [f"-s ! {vif.mac} -j DROP", f"-p ARP --arp-mac-src ! {vif.mac} -j DROP"]
    own = [one.address for one in vif.addresses if one.version == 4]
    # 0.0.0.0 asks whether an address is taken before taking it (RFC 5227).
    rules += [f"-p ARP --arp-ip-src {address} -j RETURN" for address in (*own, "0.0.0.0")]
    rules += ["-p ARP -j DROP", "-p IPv4 -j RETURN"]
    if any(one.version == 6 for one in vif.addresses):
        rules.append("-p IPv6 -j RETURN")
    return [*rules, "-j DROP"]


def link_local(mac: str) -> IPv6Address:
    """Return the link-local address that follows from a MAC (RFC 4291)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    tail = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return IPv6Address(int(IPv6Network("fe80::/64").network_address) | int.from_bytes(tail, "big"))


def _own_advertisements(vif: VIF) -> Rules:
    """Return rules that let a guest announce its own IPv6 addresses and no others."""
    rules = []
    own = [one.address for one in vif.addresses if one.version == 6]
    for address in (*own, *([str(link_local(vif.mac))] if own else ())):
        packed = IPv6Address(address).packed
        target = "&&".join(f"0x{0x30 + at:x}=0x{int.from_bytes(packed[at:at + 4], 'big'):x}"
                           for at in range(0, 16, 4))
        rules.append("-p ipv6-icmp -m icmp6 --icmpv6-type 136 -m u32 --u32 "
                     f'"{target}" -j RETURN')
    return [*rules, "-p ipv6-icmp -m icmp6 --icmpv6-type 136 -j DROP"]


def _rendered(vif: VIF, direction: str, version: int, verdict: str) -> Rules:
    rules: dict[str, None] = {}
    for rule in vif.rules:
        if rule.direction != direction or rule.ethertype != f"IPv{version}":
            continue
        try:
            rules[render(rule, verdict)] = None
        except InexpressibleRule as error:
            LOG.error("A rule of port %s is not applied and lets nothing through: %s",
                      vif.port_id, error)
    return list(rules)


def render(rule: FirewallRule, verdict: str) -> str:
    """Return a rule as iptables-save would print it; InexpressibleRule when it makes no sense."""
    parts = []
    version = 4 if rule.ethertype == "IPv4" else 6
    if rule.remote is not None:
        try:
            remote = ip_network(rule.remote, strict=False)
        except ValueError as error:
            raise InexpressibleRule(f"{rule.remote!r} is no network") from error
        if remote.version != version:
            raise InexpressibleRule(f"{rule.remote} is not {rule.ethertype}")
        if remote.prefixlen:
            parts.append(f"{'-s' if rule.direction == 'ingress' else '-d'} {remote}")
    protocol = protocol_number(rule.protocol, version)
    if protocol is not None:
        parts.append(f"-p {_NAMES.get(protocol, protocol)}")
    parts += _ports(rule, protocol)
    return " ".join([*parts, f"-j {verdict}"])


def protocol_number(protocol: str | None, version: int) -> int | None:
    """Return an IP protocol's number, None for any; InexpressibleRule for an unknown one."""
    text = (protocol or "any").strip().lower()
    if text in ("any", "all", "0"):
        return None
    if text.isascii() and text.isdigit() and int(text[:4]) <= 255 and len(text) <= 3:
        number = int(text)
    elif text in _NUMBERS:
        number = _NUMBERS[text]
    else:
        raise InexpressibleRule(f"{protocol!r} is no protocol")
    # ICMP of the rule's own IP version is meant, whichever of its names was used.
    if number in (1, 58):
        return 1 if version == 4 else 58
    return number


def _ports(rule: FirewallRule, protocol: int | None) -> Rules:
    low, high = rule.port_min, rule.port_max
    if low is None and high is None:
        return []
    if protocol in (1, 58):
        flag = "-m icmp --icmp-type" if protocol == 1 else "-m icmp6 --icmpv6-type"
        if low is None or not 0 <= low <= 255 or (high is not None and not 0 <= high <= 255):
            raise InexpressibleRule(f"{low}/{high} is no ICMP type and code")
        return [f"{flag} {low}" + (f"/{high}" if high is not None else "")]
    if protocol not in _WITH_PORTS:
        raise InexpressibleRule(f"protocol {rule.protocol} has no ports")
    low, high = low if low is not None else high, high if high is not None else low
    if low is None or high is None or not 0 <= low <= high <= 65535:
        raise InexpressibleRule(f"{low}:{high} is no range of ports")
    if (low, high) == (0, 65535):
        return []
    span = str(low) if low == high else f"{low}:{high}"
    return [f"-m {_NAMES[protocol]} --dport {span}"]
