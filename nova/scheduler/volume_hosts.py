# SPDX-License-Identifier: Apache-2.0
"""Which volume hosts will do for a volume, and why the others will not.

Plain values; nothing here looks anything up.
"""

import abc
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nova.scheduler import filters
from nova.scheduler.drivers import no_valid_host


@dataclass
class VolumeHostState:
    """One volume host: GiB that may be placed on it in all, and that are placed on it."""

    host: str
    up: bool = True
    disabled: bool = False
    availability_zone: str = "nova"
    driver: str = ""
    backend_name: str = ""
    limit_gb: int = 0
    used_gb: int = 0


@dataclass(frozen=True)
class VolumePlacement:
    """What a volume asks of a host.

    ``source_host`` has what the volume is a copy of: "" is a source that is on no host any more,
    None a volume that is no copy.
    """

    volume_id: str
    size_gb: int
    availability_zone: str | None = None
    source_host: str | None = None
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    refused_hosts: frozenset[str] = frozenset()


class VolumeFilter(abc.ABC):
    """One reason why a host may not do."""

    @property
    def name(self) -> str:
        """The name refusals are counted under."""
        return type(self).__name__

    @abc.abstractmethod
    def refuse(self, host: VolumeHostState, request: VolumePlacement) -> str | None:
        """Return why the host will not do, as a clause; None when it will."""


class VolumeUp(VolumeFilter):
    """Its worker is down or disabled."""

    def refuse(self, host: VolumeHostState, request: VolumePlacement) -> str | None:
        if host.disabled:
            return "its service is disabled"
        return None if host.up else "its service is down"


class VolumeZone(VolumeFilter):
    """It is in another availability zone."""

    def refuse(self, host: VolumeHostState, request: VolumePlacement) -> str | None:
        if request.availability_zone in (None, host.availability_zone):
            return None
        return f"it is in zone {host.availability_zone}"


class VolumeSource(VolumeFilter):
    """What is to be copied is on another host."""

    def refuse(self, host: VolumeHostState, request: VolumePlacement) -> str | None:
        if request.source_host in (None, host.host):
            return None
        return "what is to be copied is not there"


class VolumeTypeSpecs(VolumeFilter):
    """It is not what the volume's type wants."""

    def refuse(self, host: VolumeHostState, request: VolumePlacement) -> str | None:
        has = {"volume_backend_name": host.backend_name, "storage_protocol": host.driver}
        for name, wanted in sorted(request.extra_specs.items()):
            if name not in has:
                return f"no host knows {name}"
            if has[name] != wanted:
                return f"its {name} is {has[name]}"
        return None


class VolumeRetry(VolumeFilter):
    """It has tried before and could not make this volume."""

    def refuse(self, host: VolumeHostState, request: VolumePlacement) -> str | None:
        return "it could not make it" if host.host in request.refused_hosts else None


class VolumeCapacity(VolumeFilter):
    """It has not enough room."""

    def refuse(self, host: VolumeHostState, request: VolumePlacement) -> str | None:
        free = host.limit_gb - host.used_gb
        if request.size_gb <= free:
            return None
        return f"{request.size_gb} GiB asked, {max(0, free)} free"


FILTERS = (VolumeUp(), VolumeZone(), VolumeSource(), VolumeTypeSpecs(), VolumeRetry(),
           VolumeCapacity())


def select(hosts: Iterable[VolumeHostState], request: VolumePlacement) -> list[VolumeHostState]:
    """Return the hosts that will do, the one with the most room first.

    NoValidHost says which filter refused how many.  Equal ones are in an order drawn from the
    volume's id.
    """
    shown = list(hosts)
    left, refusals = filters.run(shown, request, FILTERS)
    if not left:
        raise no_valid_host(len(shown), refusals, "volume")
    left.sort(key=lambda host: host.host)
    random.Random(request.volume_id).shuffle(left)
    return sorted(left, key=lambda host: host.used_gb - host.limit_gb)
