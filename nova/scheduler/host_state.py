# SPDX-License-Identifier: Apache-2.0
"""What the scheduler knows when it chooses: hosts as a snapshot shows them, and what is asked.

Plain values; nothing here looks anything up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PlacementRequest:
    """What an instance asks of a host.  Sizes: MiB of memory, GiB of disk."""

    instance_id: str
    project_id: str
    vcpus: int
    memory_mb: int
    disk_gb: int
    availability_zone: str | None = None
    forced_host: str | None = None
    image_properties: Mapping[str, Any] = field(default_factory=dict)
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    refused_hosts: frozenset[str] = frozenset()
    # None: not asked for; an empty set: asked for, and no host satisfies it.
    same_host: frozenset[str] | None = None
    different_host: frozenset[str] | None = None


@dataclass
class HostState:
    """One host: what may be placed on it in all and what is placed on it.

    The limits are after reserves and overcommit, so ``free`` is exactly what a claim will find
    if nobody else claims first.
    """

    host: str
    up: bool = True
    disabled: bool = False
    availability_zone: str = "nova"
    hypervisor_type: str = ""
    hypervisor_version: int = 0
    cpu_arch: str | None = None
    vcpus_limit: int = 0
    memory_mb_limit: int = 0
    disk_gb_limit: int = 0
    vcpus_used: int = 0
    memory_mb_used: int = 0
    disk_gb_used: int = 0
    instances: int = 0

    @property
    def free_vcpus(self) -> int:
        """Virtual processors that may still be placed."""
        return self.vcpus_limit - self.vcpus_used

    @property
    def free_memory_mb(self) -> int:
        """MiB that may still be placed."""
        return self.memory_mb_limit - self.memory_mb_used

    @property
    def free_disk_gb(self) -> int:
        """GiB that may still be placed."""
        return self.disk_gb_limit - self.disk_gb_used

    def consume(self, request: PlacementRequest) -> None:
        """Note a claim that succeeded, so that the next choice from this snapshot sees it."""
        self.vcpus_used += request.vcpus
        self.memory_mb_used += request.memory_mb
        self.disk_gb_used += request.disk_gb
        self.instances += 1
