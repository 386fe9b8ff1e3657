# SPDX-License-Identifier: Apache-2.0
"""The first assignment of a ring, all at once: no search, every device gets exactly its share.

The replicas of all partitions are laid out as a line: each partition once, then each again, and so
on. A stretch of it of at most as many replicas as there are partitions holds none twice, so a
region, zone or server that gets one stretch holds each partition as seldom as can be; what it got
is laid out anew for its own children. Neighbours on the line would always be the same, so it is cut
into blocks, in each of which the children stand in another order.
"""

import heapq

BLOCKS = 64


def fill(tree, table, none, rng):
    """Give every slot of an empty ``table`` to a device of ``tree`` that wants it."""
    order = list(range(len(table[0])))
    rng.shuffle(order)
    short = len(table[-1])
    if short < len(order):
        order.sort(key=lambda part: part >= short)     # partitions with more replicas first
    layers = [order] * (len(table) - 1) + [order[:short]]
    taken = bytearray(len(order)) if len(table) < 256 else [0] * len(order)
    rows = len(table)

    def settle(dev_id, parts):
        for part in parts:
            n = taken[part]
            taken[part] = n + 1
            # Which of its replicas a partition has here must not depend on the tree's order.
            count = rows if part < short else rows - 1
            table[(n + part) % count][part] = dev_id

    def split(node, layers):
        if node.dev is not None:
            for layer in layers:
                settle(node.dev['id'], layer)
        else:
            for child, mine in _deal(node, layers, rng):
                split(child, mine)

    split(tree.root, layers)
    for path in tree.paths.values():
        for node in path:
            node.wanted = 0
    tree.root.wanted = 0


def _deal(node, layers, rng):
    """``[(child, layers)]``: what each child of a node gets of the node's replicas."""
    live = [c for c in node.children.values() if c.wanted > 0]
    if len(live) == 1:
        return [(live[0], layers)]
    got: dict = {child: [] for child in live}
    left = {child: child.wanted for child in live}
    size = len(layers[0])
    blocks = min(BLOCKS, size) if len(layers) > 1 else 1
    for number in range(blocks):
        # Every so manieth, so that all blocks have the same share of partitions with more replicas.
        line = [part for layer in layers for part in layer[number::blocks]]
        rng.shuffle(live)
        at = 0
        for child, quota in _quotas(left, len(line), live):
            got[child] += line[at:at + quota]
            left[child] -= quota
            at += quota
    return [(child, _layers(parts, rng) if len(layers) > 1 else [parts])
            for child, parts in got.items()]


def _quotas(left, size, live):
    """``size`` replicas of those still to come, in proportion, as whole numbers."""
    total = sum(left.values())
    exact = [(child, left[child] * size / total) for child in live]
    whole = {child: int(share) for child, share in exact}
    odd = size - sum(whole.values())
    for child, _ in heapq.nlargest(odd, exact, key=lambda pair: pair[1] - whole[pair[0]]):
        whole[child] += 1
    return whole.items()


def _layers(parts, rng):
    """A list of partitions as layers without repetition, those that occur most often first."""
    times: dict[int, int] = {}
    if len(set(parts)) == len(parts):
        rng.shuffle(parts)
        return [parts]
    for part in parts:
        times[part] = times.get(part, 0) + 1
    order = list(times)
    rng.shuffle(order)
    order.sort(key=times.__getitem__, reverse=True)
    layers: list[list] = []
    for depth in range(times[order[0]]):
        layer = order if depth == 0 else [p for p in layers[-1] if times[p] > depth]
        layers.append(layer)
    return layers
