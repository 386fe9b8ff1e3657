# SPDX-License-Identifier: Apache-2.0
"""A network driver for hosts without guests: it remembers what it was told and does nothing."""

from collections.abc import Sequence

from nova.network.driver import (
    FloatingRoute,
    HostInventory,
    HostNetwork,
    HostPort,
    NetworkDriver,
)


class FakeDriver(NetworkDriver):
    """Keeps what a host would have, so that an audit finds what it expects."""

    def __init__(self) -> None:
        self.networks: dict[str, HostNetwork] = {}
        self.ports: dict[str, list[HostPort]] = {}
        self.routes: list[FloatingRoute] = []
        self.floating: set[str] = set()

    def init_host(self) -> None:
        """Nothing to find out."""

    def ensure_network(self, network: HostNetwork, ports: Sequence[HostPort]) -> None:
        """Remember a network."""
        self.networks[network.bridge] = network
        self.ports[network.bridge] = list(ports)

    def update_ports(self, network: HostNetwork, ports: Sequence[HostPort]) -> None:
        """Remember a network's guests."""
        self.ports[network.bridge] = list(ports)

    def remove_network(self, bridge: str) -> None:
        """Forget a network."""
        self.networks.pop(bridge, None)
        self.ports.pop(bridge, None)

    def apply_rules(self, networks: Sequence[HostNetwork],
                    routes: Sequence[FloatingRoute]) -> None:
        """Remember where floating addresses lead."""
        self.routes = list(routes)

    def bind_floating(self, address: str) -> None:
        """Remember an address."""
        self.floating.add(address)

    def unbind_floating(self, address: str) -> None:
        """Forget an address."""
        self.floating.discard(address)

    def inventory(self) -> HostInventory:
        """Return what would be there."""
        return HostInventory(
            bridges={bridge: network.network_id for bridge, network in self.networks.items()},
            taps={}, dhcp_servers=dict.fromkeys(self.networks, 0), leases={},
            floating=set(self.floating),
            floating_rules={route.floating for route in self.routes}, guest_taps={})
