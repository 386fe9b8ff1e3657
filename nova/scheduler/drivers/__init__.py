# SPDX-License-Identifier: Apache-2.0
"""Ways to choose: a snapshot goes in, hosts come out, best first."""

import abc
from collections.abc import Iterable, Sequence

from oslo_utils import importutils

from nova.exception import NoValidHost
from nova.scheduler.filters import FilterRefusal
from nova.scheduler.host_state import HostState, PlacementRequest


class SchedulerDriver(abc.ABC):
    """Chooses from a snapshot it is given, and touches nothing."""

    @abc.abstractmethod
    def select(self, hosts: Iterable[HostState], request: PlacementRequest) -> list[HostState]:
        """Return the hosts that will do, best first; NoValidHost says why there are none."""


DRIVERS = {
    "chance": "nova.scheduler.drivers.chance.Chance",
    "host_aware": "nova.scheduler.drivers.host_aware.HostAware",
}


def load(name: str) -> SchedulerDriver:
    """Return the driver named; a dotted name is a class of somebody else's."""
    return importutils.import_class(DRIVERS.get(name, name))()


def no_valid_host(shown: int, refusals: Sequence[FilterRefusal],
                  kind: str = "compute") -> NoValidHost:
    """Make the error that says which filter refused how many hosts.

    Its sentence is for the user and names no host; ``details["operator"]`` does.
    """
    if not shown:
        return NoValidHost(reason=f"There are no {kind} hosts.", refusals={}, operator="")
    counts = ", ".join(f"{one.filter} {one.refused}" for one in refusals)
    return NoValidHost(
        reason=f"Of {shown} hosts these filters refused: {counts}.",
        refusals={one.filter: one.refused for one in refusals},
        operator="; ".join(str(one) for one in refusals))
