# SPDX-License-Identifier: Apache-2.0
"""Which nodes to ask, in which order, and which to leave alone for a while."""

import random
import time


class ErrorLimiter:
    """Counts errors of storage nodes; a node with too many is skipped for some time.

    More than ``limit`` errors, none of them longer than ``interval`` seconds before the next,
    shut a node out until ``interval`` seconds after the last one.
    """

    def __init__(self, interval=60.0, limit=10, clock=time.time):
        self.interval = interval
        self.limit = limit
        self.clock = clock
        self.stats = {}

    @staticmethod
    def key(node):
        return node['ip'], node['port'], node['device']

    def is_limited(self, node):
        """Whether the node is shut out now."""
        if not self.stats:
            return False
        key = self.key(node)
        entry = self.stats.get(key)
        if entry is None:
            return False
        if self.clock() - entry[1] > self.interval:
            del self.stats[key]
            return False
        return entry[0] > self.limit

    def shut_out(self, node):
        """Skip the node from now on (its disk is gone, say)."""
        self.stats[self.key(node)] = [self.limit + 1, self.clock()]

    def count(self, node):
        """One more error; True when it was the one that shuts the node out."""
        now = self.clock()
        entry = self.stats.get(self.key(node))
        if entry is None or now - entry[1] > self.interval:
            entry = self.stats[self.key(node)] = [0, now]
        entry[0] += 1
        entry[1] = now
        return entry[0] == self.limit + 1


class MeasuredLimiter(ErrorLimiter):
    """One that tells statsd, by OpenStack Swift's names."""

    def __init__(self, statsd, interval, limit):
        super().__init__(interval, limit)
        self.statsd = statsd

    def is_limited(self, node):
        limited = super().is_limited(node)
        if limited:
            self.statsd.count('error_limiter.is_limited', 1)
        return limited

    def shut_out(self, node):
        super().shut_out(node)
        self.statsd.count('error_limiter.forced_limit', 1)

    def count(self, node):
        limited = super().count(node)
        if limited:
            self.statsd.count('error_limiter.incremented_limit', 1)
        return limited


class NodeIter:
    """Primaries, then handoffs, without those that are shut out; each node once.

    At most ``total`` nodes are given. Iterating never raises; it ends.
    """

    def __init__(self, limiter, ring, part, primaries, total, on_handoff=None, shuffle=False):
        self.limiter = limiter
        self.ring, self.part = ring, part
        self.primaries = list(primaries)
        if shuffle:
            random.shuffle(self.primaries)
        self.left = total
        self.on_handoff = on_handoff
        self._generator = None
        self._at = 0

    def __iter__(self):
        return self

    def __next__(self):
        while self._at < len(self.primaries):
            node = self.primaries[self._at]
            self._at += 1
            if self.left > 0 and not self.limiter.is_limited(node):
                self.left -= 1
                return node
        if self.left <= 0:
            raise StopIteration
        if self._generator is None:
            self._generator = self.ring.get_more_nodes(self.part)
        for node in self._generator:
            if not self.limiter.is_limited(node):
                self.left -= 1
                if self.on_handoff is not None:
                    self.on_handoff(node)
                return node
        raise StopIteration


class RoutedNodes(NodeIter):
    """The same with a `Route`, and ``most``, how many of them may be asked side by side.

    ``first`` are primaries, and maybe handoffs that are not given once more.
    """

    def __init__(self, limiter, ring, part, first, total, route, on_handoff=None):
        super().__init__(limiter, ring, part, first, total, on_handoff)
        self.route, self.most = route, len(first)
        given = {node['id'] for node in first}
        self._generator = (node for node in ring.get_more_nodes(part) if node['id'] not in given)

    @property
    def primaries_left(self):
        """Whether there is one more before the handoffs."""
        return self._at < len(self.primaries)


class OrderedNodes(NodeIter):
    """Nodes in an order of somebody else, without those that are shut out."""

    def __init__(self, limiter, nodes, total):
        super().__init__(limiter, None, None, (), total)
        self._generator = iter(nodes)
