# SPDX-License-Identifier: Apache-2.0
"""Which device gets which replica of which partition.

The cluster is a tree: regions, zones, servers (addresses), devices. For every node of the tree a
*target* is computed: how many replicas of each partition it should hold, as a real number. By
weight alone it is the node's share of the cluster; by dispersion alone the replicas of a node are
spread evenly over its children. The overload factor says how far the first may be bent towards
the second. A node never takes more than ``ceil(target)`` replicas of one partition, and a device
is due ``target * partitions`` of them in all. Assignment walks from the root to a device, at each
node to the child that still lacks most and has room for this partition.
"""

import array
import heapq
import math
import random
from bisect import bisect_left
from collections import Counter
from itertools import chain, compress, count, zip_longest

from swift.common.ring.fill import fill

EPSILON = 1e-9
MENDING_PASSES = 4       # one was enough in all that was seen; this bounds it


class Node:
    """A region, zone, server or device in the tree (or the root, the cluster)."""

    __slots__ = ('key', 'parent', 'children', 'dev', 'weight', 'size', 'weighted', 'dispersed',
                 'target', 'limit', 'spread_limit', 'wanted', 'heap', 'live')

    def __init__(self, key, parent):
        self.key = key
        self.parent = parent
        self.children = {}
        self.dev = None
        self.weight = 0.0      # sum of the devices'
        self.size = 0          # devices with weight below
        self.weighted = self.dispersed = self.target = 0.0
        self.limit = self.spread_limit = 0
        self.wanted = 0        # replicas still to come (negative: too many)
        self.heap = None
        self.live = None

    def fill(self, rng):
        """Order the children, most wanted first, ties at random."""
        self.live = [c for c in self.children.values() if c.size]
        self.heap = [(-c.wanted, rng.random(), c) for c in self.live]
        heapq.heapify(self.heap)
        for child in self.live:
            if child.dev is None:
                child.fill(rng)


class Tree:
    """The cluster's devices with their targets for ``replicas`` replicas."""

    def __init__(self, devs, replicas, overload=0.0):
        self.root = Node((), None)
        self.paths = {}
        for dev in devs:
            self._add(dev)
        self.replicas = replicas
        if self.root.size:
            self._weigh()
            self.root.dispersed = replicas
            _disperse(self.root)
            self.required_overload = self._required(self.root)
            share = 0.0
            if self.required_overload > 0:
                share = min(1.0, overload / self.required_overload)
            self._settle(self.root, share)

    def _add(self, dev):
        at, path = self.root, []
        key = (dev['region'], dev['zone'], dev['ip'], dev['id'])
        for depth in range(1, 5):
            child = at.children.get(key[:depth])
            if child is None:
                child = at.children[key[:depth]] = Node(key[:depth], at)
            path.append(child)
            at = child
        at.dev = dev
        for node in (self.root, *path):
            node.weight += dev['weight']
            node.size += dev['weight'] > 0
        self.paths[dev['id']] = path

    def _weigh(self):
        """Share of replicas by weight; no device can hold more than one of each partition."""
        left, open_devs = self.replicas, [p[-1] for p in self.paths.values() if p[-1].weight > 0]
        while open_devs:
            total = sum(n.weight for n in open_devs)
            full = [n for n in open_devs if n.weight * left / total > 1 + EPSILON]
            if not full:
                for n in open_devs:
                    n.weighted = n.weight * left / total
                break
            for n in full:
                n.weighted = 1.0
            left -= len(full)
            done = set(full)
            open_devs = [n for n in open_devs if n not in done]
        _sum_up(self.root)

    def _required(self, node):
        need = 0.0
        if node.weighted > 0:
            need = max(0.0, node.dispersed / node.weighted - 1)
        return max([need, *(self._required(c) for c in node.children.values())])

    def _settle(self, node, share):
        node.target = node.weighted + (node.dispersed - node.weighted) * share
        # A node without weight has room for nothing, any other for at least one replica.
        node.limit = max(1, math.ceil(node.target - 1e-6)) if node.size else 0
        node.spread_limit = max(1, math.ceil(node.dispersed - 1e-6)) if node.size else 0
        for child in node.children.values():
            self._settle(child, share)

    def set_wanted(self, total, held):
        """Give each device a whole number of replicas, ``total`` in all; ``held`` it has now.

        Largest remainders get the odd ones; of equal remainders those keep theirs who hold more,
        so that a balanced ring stays as it is.
        """
        for node in (self.root, *chain.from_iterable(self.paths.values())):
            node.wanted = 0
        leaves = [p[-1] for p in self.paths.values()]
        exact = sum(n.target for n in leaves) or 1.0
        due = {n: n.target * total / exact for n in leaves}
        whole = {n: math.floor(d + 1e-7) for n, d in due.items()}
        odd = total - sum(whole.values())
        by_rest = sorted((n for n in leaves if n.size), reverse=True, key=lambda n: (
            round(due[n] - whole[n], 7), held.get(n.dev['id'], 0) > whole[n], -n.dev['id']))
        for n in by_rest[:max(0, odd)]:
            whole[n] += 1
        for n in leaves:
            missing = whole[n] - held.get(n.dev['id'], 0)
            at = n
            while at is not None:
                at.wanted += missing
                at = at.parent


def _sum_up(node):
    if node.dev is None:
        node.weighted = sum(_sum_up(c) for c in node.children.values())
    return node.weighted


def _disperse(node):
    """Spread a node's replicas over its children evenly; what is left over goes by weight."""
    live = [c for c in node.children.values() if c.size]
    left, open_nodes = node.dispersed, live
    while open_nodes:
        each = math.floor(left / len(open_nodes) + EPSILON)
        small = [c for c in open_nodes if c.size <= each]
        if not small:
            break
        for c in small:
            c.dispersed = float(c.size)
        left -= sum(c.size for c in small)
        open_nodes = [c for c in open_nodes if c.size > each]
    else:
        each = 0
    rest = left - each * len(open_nodes)
    takers, extra = list(open_nodes), dict.fromkeys(open_nodes, 0.0)
    while takers and rest > EPSILON:
        total = sum(c.weighted for c in takers)
        full = [c for c in takers if c.weighted * rest / total > 1 + EPSILON]
        if not full:
            for c in takers:
                extra[c] = c.weighted * rest / total
            break
        for c in full:
            extra[c] = 1.0
            takers.remove(c)
        rest -= len(full)
    for c in open_nodes:
        c.dispersed = each + extra[c]
    for c in live:
        if c.dev is None:
            _disperse(c)


class Rebalance:
    """One pass over a table: gather what has to move, then place it.

    ``table`` is changed in place. ``movable(part)`` says whether min_part_hours allows a
    partition to move; partitions on devices that are gone move regardless.
    """

    def __init__(self, table, tree, none, movable, rng):
        self.table, self.tree, self.none = table, tree, none
        self.movable, self.rng = movable, rng
        self.gathered = {}       # part -> [replica, ...]
        self._old = {}           # (part, replica) -> the device it was on, of what is gathered

    def run(self):
        """Returns ``(replicas placed, parts moved or placed)``."""
        if all(row.count(self.none) == len(row) for row in self.table):
            return self._first()
        self._pass()
        changed = [p for (p, r), old in self._old.items() if self.table[r][p] != old]
        return len(changed), set(changed)

    def _pass(self):
        """Gather what is homeless, too close or too much on its device, and place it."""
        self._gather_homeless()
        held: Counter = Counter()
        for row in self.table:
            held.update(row)
        held.pop(self.none, None)
        self.tree.set_wanted(sum(map(len, self.table)), held)
        self._gather_crowded()
        self._gather_overweight()
        self._place()

    def _first(self):
        """Nothing is placed yet: fill the table, then mend what whole numbers made too close.

        A partition can be too close where every device that lacks one already has it: then others
        have to make room, which is what a pass does.
        """
        total = sum(map(len, self.table))
        self.tree.set_wanted(total, {})
        fill(self.tree, self.table, self.none, self.rng)
        self.movable = lambda part: True
        self._gather_crowded()
        self._place()
        for _ in range(MENDING_PASSES):
            if not self.gathered or not self._too_close():
                break
            self._pass()
        return total, range(len(self.table[0]))

    def _too_close(self):
        return crowding(self.table, self.tree, lambda node: node.limit)[0]

    def _take(self, part, replica):
        dev_id = self.table[replica][part]
        self._old[part, replica] = dev_id
        self.gathered.setdefault(part, []).append(replica)
        self.table[replica][part] = self.none
        for node in self.tree.paths.get(dev_id, ()):
            node.wanted += 1

    def _gather_homeless(self):
        """Slots of removed devices and slots never filled; nothing else is gathered yet."""
        self._old, self.gathered = {}, {}
        paths, none = self.tree.paths, self.none
        known = set(paths)
        for replica, row in enumerate(self.table):
            if known.issuperset(set(row)):
                continue
            for part, dev_id in enumerate(row):
                if dev_id not in known:
                    self.gathered.setdefault(part, []).append(replica)
                    self._old[part, replica] = none
                    row[part] = none

    def _holders(self, part):
        return [(r, row[part]) for r, row in enumerate(self.table)
                if part < len(row) and row[part] != self.none]

    def _free_to_move(self, part):
        return part not in self.gathered and self.movable(part)

    def _gather_crowded(self):
        """One replica of each partition that sits too close to another one."""
        paths = self.tree.paths
        if len(self.gathered) == len(self.table[0]):
            return
        for part in sorted(self._too_close()):
            if not self._free_to_move(part):
                continue
            holders = self._holders(part)
            seen: Counter = Counter()
            for _, dev_id in holders:
                seen.update(paths[dev_id])
            best = None
            for replica, dev_id in holders:
                path = paths[dev_id]
                if any(seen[n] > n.limit for n in path):
                    rank = (path[-1].wanted, self.rng.random())
                    if best is None or rank < best[0]:
                        best = (rank, replica)
            if best is not None:
                self._take(part, best[1])

    def _gather_overweight(self):
        """Replicas of devices that hold too many, preferably where the move can succeed."""
        leaves = {i: p[-1] for i, p in self.tree.paths.items()}
        heavy = {i for i, n in leaves.items() if n.wanted < 0}
        if not heavy:
            return
        start = self.rng.randrange(len(self.table[0]))
        for forced in (False, True):
            taken = 0
            for part in self._parts_of(heavy, start):
                if not self._free_to_move(part):
                    continue
                holders = self._holders(part)
                mine = [h for h in holders if h[1] in heavy]
                self.rng.shuffle(mine)
                for replica, dev_id in mine:
                    if forced or self._can_go(dev_id, holders):
                        self._take(part, replica)
                        taken += 1
                        if leaves[dev_id].wanted >= 0:
                            heavy.discard(dev_id)
                        break
                if not heavy:
                    return
            if taken:           # what is left is worth a try next time, but for weight 0
                heavy = {i for i in heavy if not leaves[i].size}
            if not heavy:
                return

    def _parts_of(self, dev_ids, start):
        """Partitions with a replica on one of the devices, from ``start`` on and round."""
        parts: set[int] = set()
        for row in self.table:
            if not dev_ids.isdisjoint(row):
                parts.update(compress(count(), map(dev_ids.__contains__, row)))
        ordered = sorted(parts)
        at = bisect_left(ordered, start)
        return ordered[at:] + ordered[:at]

    def _can_go(self, dev_id, holders):
        """Is there a device that lacks replicas and may take this one?"""
        paths = self.tree.paths
        used: dict[Node, int] = {}
        for _, other in holders:
            if other != dev_id:
                for node in paths[other]:
                    used[node] = used.get(node, 0) + 1
        own = paths[dev_id]      # these lack one more once this replica is taken
        stack = [self.tree.root]
        while stack:
            node = stack.pop()
            for child in node.children.values():
                if child.wanted + (child in own) > 0 and used.get(child, 0) < child.limit:
                    if child.dev is not None:
                        if child is not own[-1]:
                            return True
                        continue
                    stack.append(child)
        return False

    def _place(self):
        rng, paths, table = self.rng, self.tree.paths, self.table
        root = self.tree.root
        if not root.size:
            return
        root.fill(rng)
        order = list(self.gathered)
        rng.shuffle(order)
        for part in order:
            used: dict[Node, int] = {}
            for _, dev_id in self._holders(part):
                for node in paths[dev_id]:
                    used[node] = used.get(node, 0) + 1
            for replica in self.gathered[part]:
                node = root
                while node.dev is None:
                    node = self._descend(node, used)
                    used[node] = used.get(node, 0) + 1
                table[replica][part] = node.dev['id']

    def _descend(self, node, used):
        """The child that lacks most and has room; its place in the order is renewed."""
        heap, aside = node.heap, []
        entry = heapq.heappop(heap)
        child = entry[2]
        if used.get(child, 0) >= child.limit:
            aside.append(entry)
            while heap:
                entry = heapq.heappop(heap)
                child = entry[2]
                if used.get(child, 0) < child.limit:
                    break
                aside.append(entry)
            else:           # no room anywhere: the child least over its limit
                entry = min(aside, key=lambda e: (used.get(e[2], 0) - e[2].limit, e[:2]))
                aside.remove(entry)
                child = entry[2]
        child.wanted -= 1
        heapq.heappush(heap, (-child.wanted, self.rng.random(), child))
        for other in aside:
            heapq.heappush(heap, other)
        return child


def rebalance(table, devs, replicas, *, overload, none, movable, seed):
    """Place and move replicas in ``table``; returns ``(replicas changed, parts changed, tree)``.

    The same arguments and ``seed`` give the same table.
    """
    tree = Tree(devs, replicas, overload)
    job = Rebalance(table, tree, none, movable, random.Random(seed))
    changed, parts = job.run()
    return changed, parts, tree


def crowding(table, tree, limit):
    """Which partitions have more replicas in a tier than ``limit(node)`` of it, and the counts.

    Returns ``(partition -> by how many at worst, node -> {n: partitions with n replicas there})``.
    What stands apart in a tier does so in those below: only the others are looked at further down.
    """
    excess: dict[int, int] = {}
    counts: dict[Node, dict[int, int]] = {}
    once = _replicas_below(table, tree)
    parts, columns = list(range(len(table[0]))), table
    for depth in range(4):
        at = {dev_id: path[depth] for dev_id, path in tree.paths.items()}
        together = _together(columns, at)
        bad: dict[tuple, int] = {}
        for nodes, times in together.items():
            for node, n in Counter(nodes).items():
                if node is None:
                    continue
                by_n = counts.setdefault(node, {})
                by_n[n] = by_n.get(n, 0) + times
                once[node] -= n * times
                if n > limit(node):
                    bad[nodes] = bad.get(nodes, 0) + n - limit(node)
        if bad:
            for part, nodes in zip(parts, _tuples(columns, at), strict=True):
                if nodes in bad:
                    excess[part] = max(excess.get(part, 0), bad[nodes])
        if sum(together.values()) < len(parts):
            close = [nodes in together for nodes in _tuples(columns, at)]
            parts, columns = list(compress(parts, close)), [
                array.array(c.typecode, compress(c, close)) for c in columns]
    for node, times in once.items():
        if times:
            by_n = counts.setdefault(node, {})
            by_n[1] = by_n.get(1, 0) + times
    return excess, counts


def _replicas_below(table, tree):
    """Node -> how many replicas it holds."""
    held: Counter = Counter()
    for row in table:
        held.update(row)
    below: Counter = Counter()
    for dev_id, path in tree.paths.items():
        for node in path:
            below[node] += held[dev_id]
    return below


def _tuples(columns, at):
    """Of each partition the nodes of its replicas, None where there is none."""
    return zip_longest(*(map(at.get, column) for column in columns))


def _together(columns, at):
    """Those tuples of nodes that have one twice, and of how many partitions they are."""
    width, nodes = len(columns), len(set(at.values()))
    if nodes ** width > len(columns[0]):       # nearly each would be another key
        return Counter(t for t in _tuples(columns, at) if len(set(t)) != width)
    return Counter({t: n for t, n in Counter(_tuples(columns, at)).items()
                    if len(set(t)) != width})


def _on_weightless(table, tree):
    """Partition -> how many replicas are in a tier too much, where one is on a device without
    weight: there even a single one is one too many."""
    weightless = {dev_id for dev_id, path in tree.paths.items() if not path[-1].size}
    excess = {}
    for part in {part for row in table if not weightless.isdisjoint(row)
                 for part in compress(count(), map(weightless.__contains__, row))}:
        paths = [tree.paths[row[part]] for row in table
                 if part < len(row) and row[part] in tree.paths]
        excess[part] = max(
            sum(max(0, n - node.spread_limit)
                for node, n in Counter(path[depth] for path in paths).items())
            for depth in range(4))
    return excess


def dispersion(table, devs, replicas, none):
    """Per cent of replicas that sit closer together than they could, and a table by tier.

    The second value maps a tier key to ``(partitions at risk, parts, most allowed, counts)``
    where ``counts[n]`` is the number of partitions with n replicas in the tier.
    """
    tree = Tree([d for d in devs if d is not None], replicas)
    if not table or not tree.root.size:
        return 0.0, {}
    parts = len(table[0])
    excess, counts = crowding(table, tree, lambda node: node.spread_limit)
    excess |= _on_weightless(table, tree)
    worse = sum(excess.values())
    graph = {}
    for node, by_n in counts.items():
        top = node.spread_limit
        bad = sum(c for n, c in by_n.items() if n > top)
        row = [parts - sum(by_n.values())] + [by_n.get(n, 0) for n in range(1, len(table) + 1)]
        graph[node.key] = (bad, sum(n * c for n, c in by_n.items()), top, row)
    return 100.0 * worse / sum(map(len, table)), graph
