# SPDX-License-Identifier: Apache-2.0
"""Filters, then weighers, both as configured."""

from collections.abc import Iterable

from oslo_config import cfg

from nova.scheduler import filters, weighers
from nova.scheduler.drivers import SchedulerDriver, no_valid_host
from nova.scheduler.host_state import HostState, PlacementRequest

OPTIONS = [
    cfg.ListOpt("filters", default=list(filters.FILTERS),
                help="Filters of the host_aware driver, in order: known names or dotted classes."),
    cfg.ListOpt("weighers", default=["FreeMemory", "FreeCores=0.5"],
                help="Weighers of the host_aware driver as Name or Name=factor; a negative factor "
                     "turns an opinion round (FreeMemory=-1 packs instances together)."),
]
CONF = cfg.CONF
CONF.register_opts(OPTIONS, "scheduler")


class HostAware(SchedulerDriver):
    """Of the hosts no filter refuses, the one the weighers like best."""

    def __init__(self) -> None:
        self.filters = filters.load(CONF.scheduler.filters)
        self.weighers = weighers.load(CONF.scheduler.weighers)

    def select(self, hosts: Iterable[HostState], request: PlacementRequest) -> list[HostState]:
        shown = list(hosts)
        left, refusals = filters.run(shown, request, self.filters)
        if not left:
            raise no_valid_host(len(shown), refusals)
        return weighers.order(left, request, self.weighers)
