# SPDX-License-Identifier: Apache-2.0
"""Hosts with more left are better: instances spread out.  A negative factor packs them."""

from nova.scheduler.host_state import HostState, PlacementRequest
from nova.scheduler.weighers import Weigher


class FreeMemory(Weigher):
    """MiB of memory left."""

    def weight(self, host: HostState, request: PlacementRequest) -> float:
        return host.free_memory_mb


class FreeCores(Weigher):
    """Virtual processors left."""

    def weight(self, host: HostState, request: PlacementRequest) -> float:
        return host.free_vcpus


class FreeDisk(Weigher):
    """GiB of disk left."""

    def weight(self, host: HostState, request: PlacementRequest) -> float:
        return host.free_disk_gb


class FewestInstances(Weigher):
    """As few instances as possible."""

    def weight(self, host: HostState, request: PlacementRequest) -> float:
        return -host.instances
