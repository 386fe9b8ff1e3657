# SPDX-License-Identifier: Apache-2.0
"""What a hypervisor is told about an instance's network: plain values, no database behind them."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class FirewallRule:
    """One thing let in or out.  ``protocol`` None is any; ports are ICMP type and code for icmp.

    ``remote`` is a CIDR (group references are already expanded to the members' addresses).
    """

    direction: str            # "ingress" or "egress"
    ethertype: str            # "IPv4" or "IPv6"
    protocol: str | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote: str | None = None


@dataclass(frozen=True)
class FixedAddress:
    """An address of a port and what the guest needs to use it."""

    address: str
    prefix_length: int
    version: int
    gateway: str | None = None
    dhcp_server: str | None = None
    floating: tuple[str, ...] = ()


@dataclass(frozen=True)
class VIF:
    """One virtual interface of one instance, ready to be plugged.

    ``tap`` is the name of the host's device, ``rules`` the whole of the security groups' say:
    what is in no rule is dropped.
    """

    port_id: str
    mac: str
    tap: str
    bridge: str
    network_id: str
    network_name: str
    mtu: int = 1500
    bridge_interface: str | None = None
    vlan: int | None = None
    addresses: tuple[FixedAddress, ...] = ()
    dns_servers: tuple[str, ...] = ()
    rules: tuple[FirewallRule, ...] = field(default=())

    def to_wire(self) -> dict[str, Any]:
        """Return JSON types only."""
        return asdict(self)

    @classmethod
    def from_wire(cls, values: dict[str, Any]) -> "VIF":
        """Rebuild what :meth:`to_wire` gave."""
        return cls(**{
            **values,
            "addresses": tuple(
                FixedAddress(**{**a, "floating": tuple(a["floating"])})
                for a in values["addresses"]),
            "dns_servers": tuple(values["dns_servers"]),
            "rules": tuple(FirewallRule(**r) for r in values["rules"]),
        })


def tap_name(port_id: str) -> str:
    """Return the host device's name for a port: within the kernel's 15 characters."""
    return "tap" + port_id[:11]
