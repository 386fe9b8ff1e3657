# SPDX-License-Identifier: Apache-2.0
"""Hosts that are the wrong ones, however much they have left."""

from nova.scheduler.filters import Filter
from nova.scheduler.host_state import HostState, PlacementRequest


class ComputeUp(Filter):
    """The compute worker is down or switched off."""

    def refuse(self, host: HostState, request: PlacementRequest) -> str | None:
        if host.disabled:
            return "compute service is disabled"
        return None if host.up else "compute service is down"


class AvailabilityZone(Filter):
    """The host is in another zone than the one asked for."""

    def refuse(self, host: HostState, request: PlacementRequest) -> str | None:
        asked = request.availability_zone
        if not asked or asked == host.availability_zone:
            return None
        return f"is in zone {host.availability_zone}, not {asked}"


class ForcedHost(Filter):
    """An administrator named another host."""

    def refuse(self, host: HostState, request: PlacementRequest) -> str | None:
        if not request.forced_host or request.forced_host == host.host:
            return None
        return f"is not {request.forced_host}"


class RetryRefused(Filter):
    """The host was tried for this very instance and refused."""

    def refuse(self, host: HostState, request: PlacementRequest) -> str | None:
        return "refused before" if host.host in request.refused_hosts else None


class SameHost(Filter):
    """Not a host of the instances this one is to be with."""

    def refuse(self, host: HostState, request: PlacementRequest) -> str | None:
        if request.same_host is None or host.host in request.same_host:
            return None
        return "has none of the instances to be with"


class DifferentHost(Filter):
    """A host of one of the instances this one is not to be with."""

    def refuse(self, host: HostState, request: PlacementRequest) -> str | None:
        if request.different_host is None or host.host not in request.different_host:
            return None
        return "has an instance not to be with"


class ImageProperties(Filter):
    """The image is for another architecture or hypervisor."""

    def refuse(self, host: HostState, request: PlacementRequest) -> str | None:
        properties = request.image_properties
        arch = properties.get("architecture") or properties.get("hw_architecture")
        if arch and host.cpu_arch and _same_arch(str(arch)) != _same_arch(host.cpu_arch):
            return f"is {host.cpu_arch}, the image {arch}"
        kind = properties.get("hypervisor_type") or properties.get("img_hv_type")
        if kind and _same_hypervisor(str(kind)) != _same_hypervisor(host.hypervisor_type):
            return f"is {host.hypervisor_type}, the image for {kind}"
        return None


def _same_arch(name: str) -> str:
    return {"amd64": "x86_64", "i386": "i686", "arm64": "aarch64"}.get(name.lower(), name.lower())


def _same_hypervisor(name: str) -> str:
    return {"kvm": "qemu"}.get(name.lower(), name.lower())
