# SPDX-License-Identifier: Apache-2.0
"""A host drawn by lot from those that are up and allowed; whether it has room, the claim says."""

import random
from collections.abc import Iterable

from nova.scheduler import filters
from nova.scheduler.drivers import SchedulerDriver, no_valid_host
from nova.scheduler.host_state import HostState, PlacementRequest


class Chance(SchedulerDriver):
    """Looks at no numbers."""

    def __init__(self) -> None:
        self.filters = filters.load([
            "ComputeUp", "AvailabilityZone", "ForcedHost", "RetryRefused", "SameHost",
            "DifferentHost"])

    def select(self, hosts: Iterable[HostState], request: PlacementRequest) -> list[HostState]:
        shown = sorted(hosts, key=lambda host: host.host)
        left, refusals = filters.run(shown, request, self.filters)
        if not left:
            raise no_valid_host(len(shown), refusals)
        # The draw is the instance's own: told twice of it, the scheduler draws the same.
        random.Random(request.instance_id).shuffle(left)
        return left
