# SPDX-License-Identifier: Apache-2.0
"""Weighers say which of the hosts that will do is the best.

Each gives a number per host; the numbers of one weigher are stretched to 0..1 over the hosts in
question, multiplied by the weigher's factor and added up.  Equal hosts are put in an order drawn
from the instance's id, so a choice can be replayed.
"""

import abc
import random
from collections.abc import Iterable, Sequence

from oslo_utils import importutils

from nova.scheduler.host_state import HostState, PlacementRequest


class Weigher(abc.ABC):
    """One opinion about hosts; larger is better, a negative factor turns it round."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    @abc.abstractmethod
    def weight(self, host: HostState, request: PlacementRequest) -> float:
        """Return how good a host is, on any scale."""


WEIGHERS = {
    "FreeMemory": "nova.scheduler.weighers.free.FreeMemory",
    "FreeCores": "nova.scheduler.weighers.free.FreeCores",
    "FreeDisk": "nova.scheduler.weighers.free.FreeDisk",
    "FewestInstances": "nova.scheduler.weighers.free.FewestInstances",
}


def load(names: Iterable[str]) -> list[Weigher]:
    """Return the weighers named, ``Name`` or ``Name=factor``; ValueError for a bad factor."""
    made = []
    for entry in names:
        name, _, factor = entry.partition("=")
        made.append(importutils.import_class(WEIGHERS.get(name, name))(float(factor or 1.0)))
    return made


def order(hosts: Iterable[HostState], request: PlacementRequest,
          weighers: Sequence[Weigher]) -> list[HostState]:
    """Return the hosts, best first."""
    ranked = sorted(hosts, key=lambda host: host.host)
    random.Random(request.instance_id).shuffle(ranked)
    scores = [0.0] * len(ranked)
    for weigher in weighers:
        weights = [weigher.weight(host, request) for host in ranked]
        low, high = min(weights, default=0.0), max(weights, default=0.0)
        if high > low:
            scores = [score + weigher.factor * (weight - low) / (high - low)
                      for score, weight in zip(scores, weights, strict=True)]
    best = sorted(range(len(ranked)), key=lambda index: -scores[index])
    return [ranked[index] for index in best]
