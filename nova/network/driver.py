# SPDX-License-Identifier: Apache-2.0
"""The contract between the network worker and the host it works on.

A driver is told what ought to be, whole, and brings it about; every method may be called again at
any time.  It asks no database.  Failures are :class:`nova.exception.NovaError`.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass

from oslo_config import cfg
from oslo_utils import importutils

OPTS = [
    cfg.StrOpt("network_driver", default="linux",
               help="What carries networks out: linux (bridges, dnsmasq, iptables; needs root), "
                    "fake (addresses are given out, the host is left alone), or the dotted name "
                    "of a class."),
    cfg.StrOpt("networks_path", default="$state_path/networks",
               help="Where the files of the DHCP servers are kept."),
    cfg.StrOpt("host_prefix", default="nova", max_length=6, regex=r"^[a-z][a-z0-9]*$",
               help="First word of the names of what is made on the host: two clouds on one "
                    "machine need two of them."),
    cfg.StrOpt("public_interface",
               help="The interface floating addresses live on and guests' traffic leaves by. "
                    "Default: the one with the default route, or none."),
    cfg.StrOpt("routing_source_ip",
               help="Source address of guests' traffic to the world. Default: what the public "
                    "interface has."),
    cfg.StrOpt("metadata_host",
               help="Address of the metadata service. Default: this host, by the address of the "
                    "guest's gateway."),
    cfg.StrOpt("dhcp_domain", default="novalocal", regex=r"^[a-z0-9.-]+$",
               help="The DNS domain of guests."),
]
CONF = cfg.CONF
CONF.register_opts(OPTS)


@dataclass(frozen=True)
class HostNetwork:
    """A network as a host sees it.  ``gateway`` is with its prefix length: ``10.0.0.1/24``."""

    network_id: str
    bridge: str
    cidr: str
    gateway: str
    mtu: int = 1500
    bridge_interface: str | None = None
    dns_servers: tuple[str, ...] = ()
    cidr_v6: str | None = None
    gateway_v6: str | None = None

    @property
    def gateway_address(self) -> str:
        """The gateway without its prefix length."""
        return self.gateway.partition("/")[0]


@dataclass(frozen=True)
class HostPort:
    """One guest's interface, for DHCP."""

    mac: str
    address: str
    hostname: str


@dataclass(frozen=True)
class FloatingRoute:
    """A public address and the fixed one it leads to."""

    floating: str
    fixed: str
    bridge: str


@dataclass(frozen=True)
class HostInventory:
    """What is on a host of this cloud's: names and the ids they carry."""

    bridges: dict[str, str]             # bridge: network id
    taps: dict[str, str]                # tap: port id
    dhcp_servers: dict[str, int]        # bridge: process id
    leases: dict[str, set[tuple[str, str]]]     # bridge: (MAC, address)
    floating: set[str]                  # addresses on the public interface
    floating_rules: set[str]            # addresses that are translated
    guest_taps: dict[str, str]          # tap with rules of the compute worker: instance id


class NetworkDriver(abc.ABC):
    """The host under a network worker."""

    @abc.abstractmethod
    def init_host(self) -> None:
        """Find out whether the host can do the work; touches nothing of any guest."""

    @abc.abstractmethod
    def ensure_network(self, network: HostNetwork, ports: Sequence[HostPort]) -> None:
        """Have bridge, gateway and DHCP server of a network, the latter with these guests."""

    @abc.abstractmethod
    def update_ports(self, network: HostNetwork, ports: Sequence[HostPort]) -> None:
        """Tell a network's DHCP server who its guests are; nothing else is looked at."""

    @abc.abstractmethod
    def remove_network(self, bridge: str) -> None:
        """Take a network's DHCP server and bridge away; a bridge that still has ports stays."""

    @abc.abstractmethod
    def apply_rules(self, networks: Sequence[HostNetwork],
                    routes: Sequence[FloatingRoute]) -> None:
        """Make the host's rules be those of just these networks and floating addresses."""

    @abc.abstractmethod
    def bind_floating(self, address: str) -> None:
        """Have a floating address on the public interface and say so to the neighbours."""

    @abc.abstractmethod
    def unbind_floating(self, address: str) -> None:
        """Take a floating address off the public interface and end its connections."""

    @abc.abstractmethod
    def inventory(self) -> HostInventory:
        """Return what is there.  Looks only."""


DRIVERS = {
    "linux": "nova.network.linux.LinuxDriver",
    "fake": "nova.network.fake.FakeDriver",
}


def load_driver() -> NetworkDriver:
    """Return the driver ``network_driver`` names, not yet initialised."""
    return importutils.import_class(DRIVERS.get(CONF.network_driver, CONF.network_driver))()
