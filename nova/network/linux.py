# SPDX-License-Identifier: Apache-2.0
"""FlatDHCP on Linux: a bridge and a dnsmasq a network, NAT to the world and from it.

The worker's rules are rendered as a whole from what it is told and loaded in one step; what is
the same already is not loaded at all.
"""

import functools
import json
import logging
import sys
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

from oslo_config import cfg

from nova.db.networks import LEASE_SECONDS
from nova.linux import dnsmasq
from nova.linux.bridge import Bridges
from nova.linux.dnsmasq import DhcpHost, DhcpNetwork, Dnsmasq
from nova.linux.firewall import InstanceFirewall
from nova.linux.iptables import Chains, Iptables
from nova.linux.run import CommandFailed, Runner, set_kernel
from nova.network.driver import (
    FloatingRoute,
    HostInventory,
    HostNetwork,
    HostPort,
    NetworkDriver,
)
from nova.network.wire import FROM_GUEST, Wire

LOG = logging.getLogger(__name__)
CONF = cfg.CONF
CONF.import_opt("metadata_port", "nova.wsgi", group="api")

METADATA = "169.254.169.254"
_TCP, _UDP = "-p tcp -m tcp --dport", "-p udp -m udp --dport"


class LinuxDriver(NetworkDriver):
    """Bridges, dnsmasq and iptables of this host.

    ``run`` runs commands: another one than the default carries everything into another network
    namespace.  ``lease_script`` is what a dnsmasq tells of its leases.
    """

    def __init__(self, run: Runner | None = None, directory: str | None = None,
                 lease_script: Sequence[str] | None = None) -> None:
        self.run = run or Runner()
        self.prefix = CONF.host_prefix
        self.directory = Path(directory or CONF.networks_path)
        self.lease_script = tuple(lease_script if lease_script is not None else (
            sys.executable, "-m", "nova.cmd.dhcpbridge",
            *(word for path in CONF.config_file or () for word in ("--config-file", path))))
        self.bridges = Bridges(self.run, self.prefix)
        self.tables = Iptables("network", self.run, self.prefix)
        self.wire = Wire(self.run, self.tables, self.bridges)

    @functools.cached_property
    def _public(self) -> str | None:
        return CONF.public_interface or self._default_interface()

    def init_host(self) -> None:
        """Check dnsmasq and the public interface, let the host route."""
        dnsmasq.check_version(self.run)
        set_kernel(self.run, "net/ipv4/ip_forward", 1)
        if self._public and self.bridges.link(self._public) is None:
            raise CommandFailed(f"public_interface: there is no {self._public} on this host.")
        LOG.info("Floating addresses live on %s", self._public or "the loopback interface only")

    def _default_interface(self) -> str | None:
        routes = json.loads(self.run("ip", "-j", "route", "show", "default") or "[]")
        return next((route["dev"] for route in routes if "dev" in route), None)

    # -- networks ------------------------------------------------------------------------------

    def ensure_network(self, network: HostNetwork, ports: Sequence[HostPort]) -> None:
        """Have bridge, gateway and DHCP server of a network."""
        if network.gateway not in self.bridges.addresses(network.bridge):
            self._refuse_route_clash(network)
        addresses = [network.gateway, *([network.gateway_v6] if network.gateway_v6 else [])]
        if network.cidr_v6:
            set_kernel(self.run, "net/ipv6/conf/all/forwarding", 1)
        self.bridges.ensure_bridge(
            network.bridge, network.network_id, mtu=network.mtu,
            interface=network.bridge_interface, addresses=addresses, ipv6=bool(network.cidr_v6))
        self.update_ports(network, ports)

    def _refuse_route_clash(self, network: HostNetwork) -> None:
        """Keep a network from taking over addresses the host already reaches another way."""
        own = {network.bridge, network.bridge_interface}
        for route in json.loads(self.run("ip", "-j", "-4", "route", "show") or "[]"):
            if route.get("dst", "default") == "default" or route.get("dev") in own:
                continue
            if ip_network(route["dst"], strict=False).overlaps(ip_network(network.cidr)):
                raise CommandFailed(
                    f"Network {network.network_id} cannot be served: {network.cidr} overlaps "
                    f"with {route['dst']}, which this host reaches by {route.get('dev')}.")

    def update_ports(self, network: HostNetwork, ports: Sequence[HostPort]) -> None:
        """Tell a network's DHCP server who its guests are."""
        self._dnsmasq(network.bridge).ensure(
            DhcpNetwork(
                network_id=network.network_id, bridge=network.bridge,
                listen=network.gateway_address, cidr=network.cidr,
                gateway=network.gateway_address, lease_seconds=LEASE_SECONDS,
                dns_servers=network.dns_servers, domain=CONF.dhcp_domain, mtu=network.mtu,
                cidr_v6=network.cidr_v6),
            [DhcpHost(port.mac, port.address, port.hostname) for port in ports])

    def _dnsmasq(self, bridge: str) -> Dnsmasq:
        return Dnsmasq(self.directory, bridge, self.run, self.lease_script, self.prefix)

    def remove_network(self, bridge: str) -> None:
        """Take a network's DHCP server and bridge away."""
        self._dnsmasq(bridge).remove()
        # A bridge with somebody's interface in it carries that one's addresses: it stays.
        if any(link.bridge == bridge for link in self.bridges.links().values()):
            LOG.warning("Bridge %s still has ports and stays", bridge)
        else:
            self.bridges.remove(bridge)

    # -- rules ---------------------------------------------------------------------------------

    def apply_rules(self, networks: Sequence[HostNetwork],
                    routes: Sequence[FloatingRoute]) -> None:
        """Make the worker's chains say just this; what led elsewhere before is cut off."""
        self.wire.apply({one.bridge_interface for one in networks if one.bridge_interface})
        with self.tables.edit("ipv4") as chains:
            before = self._translated(chains.get("nat", {}))
            for table in chains.values():
                table.clear()
            self._filter(chains, networks, "-p icmp -m icmp --icmp-type 8", dns=True)
            self._nat(chains, networks, routes)
        with self.tables.edit("ipv6") as chains:
            for table in chains.values():
                table.clear()
            self._filter(chains, [one for one in networks if one.cidr_v6], "-p ipv6-icmp",
                         dns=False)
        now = {route.floating: route.fixed for route in routes}
        for floating, fixed in before.items():
            if now.get(floating) != fixed:
                self._cut_connections(floating)

    def _filter(self, chains: Chains, networks: Sequence[HostNetwork], ping: str,
                dns: bool) -> None:
        """Let guests reach DHCP, DNS and metadata on the host and, by way of it, the world."""
        name = self.tables.chain
        inside: list[str] = []
        forward: list[str] = []
        between = ["-m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j RETURN"]
        for network in networks:
            by = f"-i {network.bridge}"
            inside.append(f"{by} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
            if dns:
                inside += [f"{by} {_UDP} 67 -j ACCEPT"]
                inside += [f"-d {network.gateway_address}/32 {by} {proto} 53 -j ACCEPT"
                           for proto in (_UDP, _TCP)]
                # Only what asked for the metadata address: not who asks the port by itself.
                inside.append(f"{by} {_TCP} {CONF.api.metadata_port} "
                              "-m conntrack --ctstate DNAT -j ACCEPT")
            inside.append(f"{by} {ping} -j ACCEPT")
            # The machine's own network, if the bridge is in it, is no guest; guests on other
            # hosts, who come the same way, are.
            only = f" -m mark --mark {FROM_GUEST}/{FROM_GUEST}" \
                if network.bridge_interface else ""
            inside.append(f"{by}{only} -j DROP")
            forward += [f"{by} -j ACCEPT", f"-o {network.bridge} -j ACCEPT"]
            between += [f"{by} -o {network.bridge} -j RETURN", f"{by} -j {name('isolated')}"]
        filters, mangle = chains["filter"], chains["mangle"]
        filters[name("INPUT")] = inside
        filters[name("FORWARD")] = forward
        for builtin in ("INPUT", "FORWARD"):
            filters[builtin] = [f"-j {name(builtin)}"]
        # From one network to another there is no way but a floating address.  Said in mangle,
        # which comes first: what a security group lets in has been let in for good.
        mangle[name("FORWARD")] = between
        mangle[name("isolated")] = [f"-o {network.bridge} -j DROP" for network in networks]
        if self._public:
            # Nor into a network the machine has besides, where its database may be.
            mangle[name("isolated")].append(f"! -o {self._public} -j DROP")
        mangle["FORWARD"] = [f"-j {name('FORWARD')}"]

    def _nat(self, chains: Chains, networks: Sequence[HostNetwork],
             routes: Sequence[FloatingRoute]) -> None:
        name, nat = self.tables.chain, chains["nat"]
        way_out = f"-o {self._public} " if self._public else ""
        towards, outwards, world = [], [], []
        for network in networks:
            host = CONF.metadata_host or network.gateway_address
            towards.append(f"-d {METADATA}/32 -i {network.bridge} {_TCP} 80 -j DNAT "
                           f"--to-destination {host}:{CONF.api.metadata_port}")
            if CONF.metadata_host:      # it knows guests by their own addresses only
                outwards.append(f"-s {network.cidr} -d {host}/32 {_TCP} {CONF.api.metadata_port} "
                                "-j ACCEPT")
            # A neighbour reached by its floating address has to answer by way of the host.
            world.append(f"-s {network.cidr} -o {network.bridge} -m conntrack --ctstate DNAT "
                         "-j MASQUERADE")
            source = f"SNAT --to-source {CONF.routing_source_ip}" if CONF.routing_source_ip \
                else "MASQUERADE"
            world.append(f"-s {network.cidr} ! -d {network.cidr} {way_out}-j {source}")
        floating = [f"-d {route.floating}/32 -j DNAT --to-destination {route.fixed}"
                    for route in routes]
        for route in routes:
            outwards += [f"-s {route.fixed}/32 {way_out}-j SNAT --to-source {route.floating}",
                         f"-s {route.fixed}/32 -m conntrack --ctstate DNAT -j SNAT --to-source "
                         f"{route.floating}"] if way_out else [
                         f"-s {route.fixed}/32 ! -d {self._cidr_of(networks, route)} "
                         f"-j SNAT --to-source {route.floating}"]
        nat[name("PREROUTING")] = towards + floating
        nat[name("OUTPUT")] = floating
        nat[name("POSTROUTING")] = outwards + world
        for builtin in ("PREROUTING", "OUTPUT", "POSTROUTING"):
            nat[builtin] = [f"-j {name(builtin)}"]

    @staticmethod
    def _cidr_of(networks: Sequence[HostNetwork], route: FloatingRoute) -> str:
        return next((one.cidr for one in networks if one.bridge == route.bridge),
                    f"{route.fixed}/32")

    # -- floating addresses --------------------------------------------------------------------

    def _label(self, device: str) -> tuple[str, ...]:
        label = f"{device}:{self.prefix}"
        return ("label", label) if len(label) <= 15 else ()

    def bind_floating(self, address: str) -> None:
        """Put an address on the public interface, labelled as ours, and announce it."""
        device = self._public or "lo"
        if f"{address}/32" in self.bridges.addresses(device):
            return
        self.run("ip", "addr", "replace", f"{address}/32", "dev", device, *self._label(device))
        if self._public:
            try:
                # Neighbours that had it from another host have to learn where it is now.
                self.run("arping", "-q", "-A", "-c", "1", "-I", device, address)
            except CommandFailed as error:
                LOG.warning("Floating IP %s could not be announced: %s", address, error)

    def unbind_floating(self, address: str) -> None:
        """Take an address off the public interface and end what went over it."""
        self.bridges.remove_address(self._public or "lo", f"{address}/32")
        self._cut_connections(address)

    def _cut_connections(self, address: str) -> None:
        for side in ("--orig-dst", "--reply-dst"):
            try:
                self.run("conntrack", "-D", side, address, ok=(0, 1))   # 1: there was none
            except CommandFailed as error:
                LOG.warning("Connections over floating IP %s live on: %s", address, error)

    def _bound(self) -> set[str]:
        device = self._public or "lo"
        label = self._label(device)
        found = json.loads(self.run("ip", "-j", "-4", "addr", "show", "dev", device) or "[]")
        return {info["local"] for raw in found for info in raw.get("addr_info", ())
                if info.get("prefixlen") == 32
                and (not label or info.get("label") == label[1])}

    def _translated(self, nat: dict[str, list[str]]) -> dict[str, str]:
        """Return ``{floating address: fixed address}`` of the rules there are."""
        found = {}
        for rule in nat.get(self.tables.chain("PREROUTING"), ()):
            words = rule.split()
            if words[0] == "-d" and words[1] != f"{METADATA}/32":
                found[words[1].removesuffix("/32")] = words[-1]
        return found

    # -- looking -------------------------------------------------------------------------------

    def inventory(self) -> HostInventory:
        """Return what of ours is on this host."""
        links = self.bridges.links().values()
        servers = dnsmasq.running(self.directory, self.run, self.prefix)
        return HostInventory(
            bridges={link.name: link.owner for link in links if link.kind == "network"},
            taps={link.name: link.owner for link in links if link.kind == "port"},
            dhcp_servers=servers,
            leases={bridge: {(lease.mac, lease.address)
                             for lease in self._dnsmasq(bridge).leases()} for bridge in servers},
            floating=self._bound(),
            floating_rules=set(self._translated(self.tables.read("ipv4").get("nat", {}))),
            guest_taps=InstanceFirewall("compute", self.run, self.prefix).list())
