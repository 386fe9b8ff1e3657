# SPDX-License-Identifier: Apache-2.0
"""Hosts that have not enough left."""

from nova.scheduler.filters import Filter
from nova.scheduler.host_state import HostState, PlacementRequest


def _short(what: str, asked: int, free: int) -> str | None:
    return None if asked <= free else f"{asked} {what} asked, {max(0, free)} free"


class Ram(Filter):
    """Not enough memory."""

    def refuse(self, host: HostState, request: PlacementRequest) -> str | None:
        return _short("MiB of memory", request.memory_mb, host.free_memory_mb)


class Core(Filter):
    """Not enough processors."""

    def refuse(self, host: HostState, request: PlacementRequest) -> str | None:
        return _short("vcpus", request.vcpus, host.free_vcpus)


class Disk(Filter):
    """Not enough disk."""

    def refuse(self, host: HostState, request: PlacementRequest) -> str | None:
        return _short("GiB of disk", request.disk_gb, host.free_disk_gb)
