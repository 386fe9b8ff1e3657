# SPDX-License-Identifier: Apache-2.0
"""Bridges and taps.  Every device of ours carries ``<prefix>:<kind>:<id>`` as its alias."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nova.linux.run import CommandFailed, Runner, set_kernel


@dataclass(frozen=True)
class Link:
    """A network device.  ``kind`` and ``owner`` come from the alias and are "" for a stranger's."""

    name: str
    type: str
    kind: str = ""
    owner: str = ""
    bridge: str = ""
    up: bool = False
    mac: str = ""
    mtu: int = 0
    hairpin: bool = False


class Bridges:
    """The bridges and taps of one cloud on this host."""

    def __init__(self, run: Runner, prefix: str = "nova") -> None:
        self.run = run
        self.prefix = prefix

    def links(self) -> dict[str, Link]:
        """Return every device of the host by name."""
        return {raw["ifname"]: self._link(raw)
                for raw in _json(self.run("ip", "-j", "-d", "link", "show"))}

    def _link(self, raw: dict[str, Any]) -> Link:
        prefix, _, rest = raw.get("ifalias", "").partition(":")
        kind, _, owner = rest.partition(":") if prefix == self.prefix else ("", "", "")
        info = raw.get("linkinfo", {})
        return Link(raw["ifname"], info.get("info_kind", ""), kind, owner,
                    raw.get("master", ""), "UP" in raw.get("flags", ()), raw.get("address", ""),
                    raw.get("mtu", 0), bool(info.get("info_slave_data", {}).get("hairpin")))

    def link(self, name: str) -> Link | None:
        """Return one device, None when there is no such."""
        try:
            found = _json(self.run("ip", "-j", "-d", "link", "show", "dev", name))
        except CommandFailed as error:
            if error.exit_code == 1:
                return None
            raise
        return self._link(found[0]) if found else None

    def ensure_bridge(self, name: str, network_id: str, *, mtu: int = 1500,
                      interface: str | None = None, addresses: Sequence[str] = (),
                      ipv6: bool = False) -> None:
        """Have a bridge, up, with the addresses (``10.0.0.1/24``) on it; idempotent.

        With ``interface`` that device becomes a port of it, and the device's own addresses and
        routes move to the bridge in one go.  No address is ever taken off a bridge here.  A bridge
        made without ``ipv6`` gets no IPv6 address of the kernel's, so the host is not to be
        reached by one; to a bridge that has IPv6 nothing is done.
        """
        link = self.link(name)
        if link is None:
            self._try_add("link", "add", "name", name, "address", _mac_of(network_id),
                          "type", "bridge", "forward_delay", "0", "stp_state", "0")
        elif link.type != "bridge":
            raise CommandFailed(f"Device {name} is there and is no bridge.")
        if link is None or ipv6:
            self._set_ipv6(name, ipv6)
        if link is None or not (link.up and link.owner == network_id and link.mtu == mtu):
            self.run("ip", "link", "set", "dev", name, "mtu", str(mtu), "up")
            self.run("ip", "link", "set", "dev", name, "alias",
                     f"{self.prefix}:network:{network_id}")
        for address in addresses:
            self.ensure_address(name, address)
        if interface:
            self._enslave(interface, name)

    def ensure_tap(self, tap: str, bridge: str, mac: str, port_id: str, *,
                   owner: str | int | None = None, mtu: int = 1500) -> None:
        """Have a tap for a guest's ``mac``, a port of the bridge and up; idempotent.

        ``owner`` is the user, by name or number, whose QEMU may open it.  Rules go first: what
        restricts a port is known by the tap's name and is in force before the tap is there.
        """
        link = self.link(tap)
        if link is None:
            user = ("user", str(owner)) if owner is not None else ()
            self._try_add("tuntap", "add", "dev", tap, "mode", "tap", *user)
        self._set_ipv6(tap, False)
        if link is None or link.owner != port_id or link.mtu != mtu:
            # The host's side must not have the guest's MAC, nor a low one the bridge would take.
            self.run("ip", "link", "set", "dev", tap, "address", "fe" + mac[2:], "mtu", str(mtu))
            self.run("ip", "link", "set", "dev", tap, "alias", f"{self.prefix}:port:{port_id}")
        if link is None or link.bridge != bridge or not link.up:
            self.run("ip", "link", "set", "dev", tap, "master", bridge, "up")

    def _try_add(self, *command: str) -> None:
        """Add a device, or find that another worker was just first."""
        try:
            self.run("ip", *command)
        except CommandFailed as error:
            if "File exists" not in error.stderr and "busy" not in error.stderr:
                raise

    def _set_ipv6(self, device: str, enabled: bool) -> None:
        # A kernel without IPv6 has no such setting, which is as good.
        for name, value in (("disable_ipv6", 0 if enabled else 1), ("accept_ra", 0)):
            set_kernel(self.run, f"net/ipv6/conf/{device}/{name}", value, may_be_missing=True)

    def ensure_address(self, device: str, address: str) -> bool:
        """Put an address (with prefix length) on a device; False when it is there already."""
        if address in self.addresses(device):
            return False
        broadcast = () if ":" in address or address.endswith("/32") else ("brd", "+")
        quiet = ("nodad",) if ":" in address else ()
        self.run("ip", "addr", "replace", address, *broadcast, "dev", device, *quiet)
        return True

    def remove_address(self, device: str, address: str) -> bool:
        """Take an address off a device; False when it was not there."""
        if address not in self.addresses(device):
            return False
        self.run("ip", "addr", "del", address, "dev", device)
        return True

    def addresses(self, device: str) -> list[str]:
        """Return a device's global addresses with their prefix lengths, [] for no such device."""
        try:
            found = _json(self.run("ip", "-j", "addr", "show", "dev", device))
        except CommandFailed as error:
            if error.exit_code == 1:
                return []
            raise
        return [f"{info['local']}/{info['prefixlen']}" for raw in found
                for info in raw.get("addr_info", ()) if info.get("scope") == "global"]

    def _enslave(self, interface: str, bridge: str) -> None:
        """Make a device a port of the bridge; what the host had there, it has on the bridge."""
        link = self.link(interface)
        if link is None:
            raise CommandFailed(f"There is no interface {interface} to put into {bridge}.")
        if link.bridge == bridge and link.up and not self.addresses(interface):
            return
        addresses = self.addresses(interface)
        routes = [route for route in
                  _json(self.run("ip", "-j", "route", "show", "dev", interface))
                  if "gateway" in route]
        batch = [f"link set dev {interface} master {bridge} up"]
        batch += [line for address in addresses
                  for line in (f"addr del {address} dev {interface}",
                               f"addr replace {address} dev {bridge}")]
        batch += [f"route replace {route['dst']} via {route['gateway']} dev {bridge}"
                  for route in routes]
        # The bridge answers for the device now, so it has its MAC.
        batch.append(f"link set dev {bridge} address {link.mac}")
        self.run("ip", "-batch", "-", stdin="\n".join(batch) + "\n")

    def remove(self, device: str) -> bool:
        """Delete a device of ours; False when there is none or it is a stranger's."""
        link = self.link(device)
        if link is None or not link.kind:
            return False
        try:
            self.run("ip", "link", "del", "dev", device)
        except CommandFailed as error:
            if "Cannot find device" not in error.stderr:
                raise
        return True


def _json(text: str) -> Any:
    # Asked for one of several, ip leaves empty objects in the places of the others.
    return [one for one in json.loads(text or "[]") if one]


def _mac_of(network_id: str) -> str:
    """Return a bridge's own MAC: without one it would change with every tap that comes or goes."""
    digest = hashlib.sha256(network_id.encode()).hexdigest()
    return ":".join(["02", *(digest[n:n + 2] for n in range(0, 10, 2))])
