# SPDX-License-Identifier: Apache-2.0
"""The proxy whose configuration prefers some nodes to others, or asks several at once."""

import random

from swift.proxy.controllers.obj import ObjectController
from swift.proxy.nodes import OrderedNodes, RoutedNodes
from swift.proxy.race import RacingEcGetter, RacingGetter
from swift.proxy.routes import Timings
from swift.proxy.server import Application


class RoutedObjects(ObjectController):
    """Objects that may be on local handoffs for a while."""

    def _update_place(self, info):
        index, ring, part, nodes = self._place(info)
        return index, ring, part, self.app.route_of(ring).with_handoffs(ring, part, nodes)


class RoutedApplication(Application):
    """An `Application` that goes by ``routes``."""

    getter, ec_getter = RacingGetter, RacingEcGetter
    object_controller = RoutedObjects

    def __init__(self, conf, routes, **more):
        self.routes = routes
        self.timings = Timings(routes.timing_expiry)
        self._route_of = {}
        super().__init__(conf, **more)
        for route in routes.all():
            if route.distance and route.sorting != 'affinity':
                self.logger.warning('read_affinity changes nothing: sorting_method is %s',
                                    route.sorting)

    def object_ring(self, index):
        ring = super().object_ring(index)
        self._route_of.setdefault(ring, self.routes.of_policy(index))
        return ring

    def route_of(self, ring):
        """The Route of what is in a ring."""
        return self._route_of.get(ring, self.routes.default)

    def _by_preference(self, route, nodes):
        """Sort nodes in place; those that are as good as each other stay as they are."""
        if route.sorting == 'timing':
            nodes.sort(key=self.timings.of)
        elif route.sorting == 'affinity' and route.distance is not None:
            nodes.sort(key=route.distance)
        return nodes

    def node_iter(self, ring, part, primaries, shuffle=False):
        if shuffle:
            return self.fragment_iter(ring, part, random.sample(primaries, len(primaries)))
        return self._routed(ring, part, primaries, self.route_of(ring))

    def fragment_iter(self, ring, part, primaries):
        """The nodes of a partition to read from, the given order being the best of equals."""
        route = self.route_of(ring)
        return self._routed(ring, part, self._by_preference(route, list(primaries)), route)

    def _routed(self, ring, part, first, route):
        return RoutedNodes(self.limiter, ring, part, first,
                           max(self.request_node_count(ring), len(first)), route,
                           self.on_handoff(ring))

    def write_iter(self, ring, part, primaries):
        """The nodes for a new object."""
        route = self.route_of(ring)
        if route.is_local is None:
            return self._routed(ring, part, primaries, route)
        return OrderedNodes(self.limiter, route.local_first(ring, part, primaries),
                            self.request_node_count(ring))
