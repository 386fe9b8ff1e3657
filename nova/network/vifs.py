# SPDX-License-Identifier: Apache-2.0
"""From the rows of an instance's ports to what a hypervisor is told about them."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

import netaddr

from nova.db import ports, security_groups
from nova.db.models import Network, SecurityGroupRule
from nova.db.ports import PortView
from nova.network.model import VIF, FirewallRule, FixedAddress, tap_name


def of_instances(instance_ids: Sequence[str]) -> dict[str, list[VIF]]:
    """Return the interfaces of several instances, each with its rules expanded.

    A fixed number of queries however many instances and groups there are.
    """
    views = ports.find(device_ids=instance_ids)
    rules = expand_rules({group for view in views for group in view.group_ids})
    found: dict[str, list[VIF]] = {instance_id: [] for instance_id in instance_ids}
    for view in views:
        found[str(view.port.device_id)].append(build(view, rules))
    return found


def build(view: PortView, rules: dict[str, tuple[FirewallRule, ...]]) -> VIF:
    """Return the interface of one port; ``rules`` are by group, as :func:`expand_rules` gives."""
    port, network = view.port, view.network
    own: dict[FirewallRule, None] = {}      # keeps the order, drops what two groups both say
    for group_id in view.group_ids:
        own.update(dict.fromkeys(rules.get(group_id, ())))
    floating = tuple(public.address for public in view.floating)
    return VIF(
        port_id=port.id, mac=port.mac, tap=tap_name(port.id), bridge=network.bridge or "",
        network_id=network.id, network_name=network.name, mtu=network.mtu,
        bridge_interface=network.bridge_interface, vlan=network.vlan,
        addresses=tuple(_address(network, fixed.address, floating) for fixed in view.addresses),
        dns_servers=tuple(network.dns_servers or (network.dhcp_server or network.gateway,)),
        rules=tuple(own))


def _address(network: Network, address: str, floating: tuple[str, ...]) -> FixedAddress:
    if ip_address(address).version == 4:
        return FixedAddress(
            address=address, prefix_length=ip_network(network.cidr).prefixlen, version=4,
            gateway=network.gateway, dhcp_server=network.dhcp_server or network.gateway,
            floating=floating)
    return FixedAddress(address=address, prefix_length=ip_network(str(network.cidr_v6)).prefixlen,
                        version=6, gateway=network.gateway_v6)


def address_v6(network: Network, mac: str) -> str | None:
    """Return the address a guest gives itself from a network's prefix and its MAC (RFC 4291)."""
    if not network.cidr_v6:
        return None
    prefix = ip_network(network.cidr_v6)
    return str(netaddr.EUI(mac).ipv6(int(prefix.network_address)))


def expand_rules(group_ids: Iterable[str]) -> dict[str, tuple[FirewallRule, ...]]:
    """Return each group's rules with references to groups replaced by their members' addresses.

    A rule about a group without members lets nothing through: it is left out, never widened.
    """
    by_group = security_groups.rules_of(sorted(group_ids))
    referred = {rule.remote_group_id for rules in by_group.values() for rule in rules
                if rule.remote_group_id}
    members = security_groups.member_addresses(sorted(referred)) if referred else {}
    cidrs = {group: _cidrs(addresses) for group, addresses in members.items()}
    return {group: tuple(one for rule in rules for one in _expand(rule, cidrs))
            for group, rules in by_group.items()}


def _cidrs(addresses: Iterable[str]) -> dict[int, list[str]]:
    """Sort addresses by IP version, neighbours joined where a shorter list says just the same."""
    found: dict[int, list[str]] = {4: [], 6: []}
    for cidr in netaddr.cidr_merge(list(addresses)):
        found[cidr.version].append(str(cidr))
    return found


def _expand(rule: SecurityGroupRule, members: dict[str, dict[int, list[str]]],
            ) -> Iterable[FirewallRule]:
    remotes: Sequence[str | None] = [rule.remote_cidr]
    if rule.remote_group_id:
        version = 4 if rule.ethertype == "IPv4" else 6
        remotes = members.get(rule.remote_group_id, {}).get(version, [])
    for remote in remotes:
        yield FirewallRule(direction=rule.direction, ethertype=rule.ethertype,
                           protocol=rule.protocol, port_min=rule.port_min,
                           port_max=rule.port_max, remote=remote)
