# SPDX-License-Identifier: Apache-2.0
"""What of the network is on a host without a row, and what has a row and is not there."""

from nova.db import floating_ips, networks, ports
from nova.network.driver import HostInventory, NetworkDriver, load_driver

Problem = tuple[str, str, str]


def audit(host: str, driver: NetworkDriver | None = None) -> list[Problem]:
    """Return (kind, id, problem) of everything that does not fit on this host.  Looks only.

    Kinds: ``bridge``, ``tap``, ``dnsmasq``, ``lease``, ``guest-rules``, ``floating-ip``,
    ``floating-ip-rule``, ``port``.
    """
    there = (driver or load_driver()).inventory()
    return [*_networks(host, there), *_taps(there), *_leases(host, there),
            *_floating(host, there), *rows()]


def _networks(host: str, there: HostInventory) -> list[Problem]:
    own = {str(row.bridge): row for row in networks.find(host=host, external=False)}
    known = {row.id for row in networks.find()}
    found: list[Problem] = []
    for bridge, owner in there.bridges.items():
        if owner not in known:
            found.append(("bridge", bridge, f"is of network {owner}, which is gone"))
    for bridge, row in own.items():
        if bridge not in there.bridges:
            found.append(("bridge", bridge, f"of network {row.id} is not there"))
        if bridge not in there.dhcp_servers:
            found.append(("dnsmasq", bridge, f"of network {row.id} is not running"))
    for bridge in sorted(there.dhcp_servers.keys() - own.keys()):
        found.append(("dnsmasq", bridge, "runs and serves no network"))
    return found


def _taps(there: HostInventory) -> list[Problem]:
    rows = {view.port.id: view.port for view in ports.find()}
    devices = {port.device_id for port in rows.values()}
    found = [("tap", tap, f"is of port {owner}, which is gone")
             for tap, owner in there.taps.items() if owner not in rows]
    found += [("guest-rules", tap, f"are of instance {instance or '?'}, which has no port")
              for tap, instance in there.guest_taps.items() if instance not in devices]
    return found


def _leases(host: str, there: HostInventory) -> list[Problem]:
    found: list[Problem] = []
    for row in networks.find(host=host, external=False):
        if str(row.bridge) not in there.leases:
            continue
        served, known = there.leases[str(row.bridge)], set(networks.leases(row.id))
        held = set(networks.holders(row.id))
        found += [("lease", address, f"of {mac} is in no row") for mac, address in served - known
                  if (mac, address) in held]
        found += [("lease", address, f"of {mac} is in a row, and dnsmasq has none")
                  for mac, address in known - served]
    return found


def _floating(host: str, there: HostInventory) -> list[Problem]:
    routes = floating_ips.routes(host=host)
    wanted = {route.address for route in routes
              if route.fixed and route.network_host == host and route.host == host}
    found = [("floating-ip", address, "is on this host and leads nowhere by its row")
             for address in sorted(there.floating - wanted)]
    found += [("floating-ip", address, "is not on this host")
              for address in sorted(wanted - there.floating)]
    found += [("floating-ip-rule", address, "has no rule")
              for address in sorted(wanted - there.floating_rules)]
    found += [("floating-ip-rule", address, "has a rule and leads nowhere by its row")
              for address in sorted(there.floating_rules - wanted)]
    found += [("floating-ip", route.address, f"is to be on {route.network_host} and is nowhere")
              for route in routes if route.fixed and route.host is None]
    return found


def rows() -> list[Problem]:
    """Return what does not fit in the rows alone: nothing of a host is looked at."""
    return [("port", port, f"is of instance {device}, which is gone")
            for device, port in ports.orphans()] + [
        ("port", port, f"is of instance {device}, which no host would build")
        for device, port in ports.stranded()]
