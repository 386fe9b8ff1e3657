# SPDX-License-Identifier: Apache-2.0
"""Filters say which hosts will not do, and why.

    left, refusals = run(hosts, request, load(["ComputeUp", "Ram"]))

A filter sees a host and a request, nothing else.
"""

import abc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from oslo_utils import importutils

from nova.scheduler.host_state import HostState, PlacementRequest


class _Named(Protocol):
    host: str


H = TypeVar("H", bound=_Named)


class Filter(abc.ABC):
    """One reason why a host may not do."""

    @abc.abstractmethod
    def refuse(self, host: HostState, request: PlacementRequest) -> str | None:
        """Return why the host will not do, as a clause; None when it will."""

    @property
    def name(self) -> str:
        """The name refusals are counted under."""
        return type(self).__name__


@dataclass(frozen=True)
class FilterRefusal:
    """How many hosts one filter refused, of how many it was shown.

    ``example`` names one of them and the reason: the operator's to read, not the user's.
    """

    filter: str
    refused: int
    shown: int
    example: str

    def __str__(self) -> str:
        return f"{self.filter} refused {self.refused} of {self.shown} ({self.example})"


FILTERS = {
    "ComputeUp": "nova.scheduler.filters.placement.ComputeUp",
    "AvailabilityZone": "nova.scheduler.filters.placement.AvailabilityZone",
    "ForcedHost": "nova.scheduler.filters.placement.ForcedHost",
    "RetryRefused": "nova.scheduler.filters.placement.RetryRefused",
    "SameHost": "nova.scheduler.filters.placement.SameHost",
    "DifferentHost": "nova.scheduler.filters.placement.DifferentHost",
    "ImageProperties": "nova.scheduler.filters.placement.ImageProperties",
    "Ram": "nova.scheduler.filters.capacity.Ram",
    "Core": "nova.scheduler.filters.capacity.Core",
    "Disk": "nova.scheduler.filters.capacity.Disk",
}


def load(names: Iterable[str]) -> list[Filter]:
    """Return the filters named, in order; a dotted name is a class of somebody else's."""
    return [importutils.import_class(FILTERS.get(name, name))() for name in names]


def run(hosts: Iterable[H], request: Any,
        filters: Sequence[Any]) -> tuple[list[H], list[FilterRefusal]]:
    """Return the hosts that pass every filter and, per filter that refused any, how many.

    Hosts, request and filters are compute's or those of :mod:`nova.scheduler.volume_hosts`.
    """
    left = list(hosts)
    refusals = []
    for one in filters:
        if not left:
            break
        passed, example = [], ""
        for host in left:
            reason = one.refuse(host, request)
            if reason is None:
                passed.append(host)
            else:
                example = example or f"{host.host}: {reason}"
        if len(passed) < len(left):
            refusals.append(FilterRefusal(one.name, len(left) - len(passed), len(left), example))
        left = passed
    return left, refusals
