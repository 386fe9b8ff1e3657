# SPDX-License-Identifier: Apache-2.0
"""Which nodes a request prefers and how many are asked at once, as the configuration has it.

One `Route` is for accounts, containers and all objects; sections [proxy-server:policy:INDEX] make
others of it for the objects of a storage policy.
"""
from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from swift.common.conf import (
    config_float,
    config_int,
    config_list,
    config_node_count,
    config_true,
    read_sections,
)
from swift.common.exceptions import ConfigError
from swift.common.storage_policy import StoragePolicies

Node = dict[str, Any]
METHODS = ('shuffle', 'timing', 'affinity')
SECTION = 'proxy-server:policy:'
# What a policy's section may say; timing_expiry is for all, nodes being the same for all policies.
OF_POLICY = ('sorting_method', 'read_affinity', 'write_affinity', 'write_affinity_node_count',
             'write_affinity_handoff_delete_count', 'concurrent_gets', 'concurrency_timeout',
             'concurrent_ec_extra_requests')
TIMING_EXPIRY = 300.0
_PLACE = re.compile(r'r(\d+)(?:z(\d+))?\Z', re.ASCII)
_FARTHEST = float('inf')


def _place(text: str, option: str, value: str) -> tuple[int, int | None]:
    match = _PLACE.match(text)
    if match is None:
        raise ConfigError(f'{option}: {value!r} has {text!r}, which is neither r<region> nor '
                          'r<region>z<zone>')
    region, zone = match.groups()
    return int(region), None if zone is None else int(zone)


def parse_read_affinity(value: str) -> Callable[[Node], float] | None:
    """How far off a node is by a list such as ``r1=100, r1z2=50``; None when it is empty.

    Of several entries about a node the least number counts; nodes of none are farthest.
    """
    priorities: dict[tuple[int, int | None], int] = {}
    for item in config_list(value):
        text, equals, number = (part.strip() for part in item.partition('='))
        place = _place(text, 'read_affinity', value)
        if not equals or not (number.isascii() and number.isdigit()):
            raise ConfigError(f'read_affinity: {value!r} gives {text} no number, as {text}=100 '
                              'does')
        priorities[place] = min(int(number), priorities.get(place, int(number)))
    if not priorities:
        return None

    def distance(node: Node) -> float:
        region = node['region']
        return min(priorities.get((region, None), _FARTHEST),
                   priorities.get((region, node['zone']), _FARTHEST))
    return distance


def parse_write_affinity(value: str) -> Callable[[Node], bool] | None:
    """Whether a node is local by a list such as ``r1, r2z3``; None when it is empty."""
    places = {_place(item, 'write_affinity', value) for item in config_list(value)}
    if not places:
        return None
    return lambda node: (node['region'], None) in places or \
        (node['region'], node['zone']) in places


def _handoffs(conf: dict[str, str]) -> int | None:
    name = 'write_affinity_handoff_delete_count'
    if conf.get(name, 'auto').strip().lower() == 'auto':
        return None
    try:
        return config_int(conf, name, 0)
    except ConfigError as exc:
        raise ConfigError(f'{exc}; or it is auto') from None


@dataclass(frozen=True)
class Route:
    """The preferences of one policy's objects, or of accounts and containers.

    ``distance`` and ``is_local`` judge a node, None where there is no affinity; ``handoffs`` are
    the local handoffs that updates go to as well, None for as many as there are primaries far off.
    """

    sorting: str
    distance: Callable[[Node], float] | None
    is_local: Callable[[Node], bool] | None
    local_count: Callable[[float], int]
    handoffs: int | None
    concurrent: bool
    stagger: float
    extra: int

    @classmethod
    def of(cls, conf: dict[str, str]) -> Route:
        """From options; ConfigError naming the one that cannot be."""
        sorting = conf.get('sorting_method', 'shuffle').strip().lower()
        if sorting not in METHODS:
            raise ConfigError(f'sorting_method: {sorting!r} is none of {", ".join(METHODS)}')
        return cls(sorting, parse_read_affinity(conf.get('read_affinity', '')),
                   parse_write_affinity(conf.get('write_affinity', '')),
                   config_node_count(conf, 'write_affinity_node_count'), _handoffs(conf),
                   config_true(conf.get('concurrent_gets', 'off')),
                   config_float(conf, 'concurrency_timeout',
                                config_float(conf, 'conn_timeout', 0.5)),
                   config_int(conf, 'concurrent_ec_extra_requests', 0))

    @property
    def is_plain(self) -> bool:
        """Whether nodes are taken as they come, one after the other."""
        return not (self.concurrent or self.is_local or self.sorting == 'timing' or
                    self.sorting == 'affinity' and self.distance)

    def local_first(self, ring: Any, part: int, primaries: list[Node]) -> Iterator[Node]:
        """The nodes for a new object: local ones up to a number, then all others as always."""
        assert self.is_local is not None
        most, given = self.local_count(len(primaries)), set()
        if most:
            for node in itertools.chain(primaries, ring.get_more_nodes(part)):
                if self.is_local(node):
                    given.add(node['id'])
                    yield node
                    if len(given) >= most:
                        break
        for node in itertools.chain(primaries, ring.get_more_nodes(part)):
            if node['id'] not in given:
                yield node

    def with_handoffs(self, ring: Any, part: int, primaries: list[Node]) -> list[Node]:
        """The nodes that may have an object: the primaries, and the local handoffs that stood in
        for those far off until a replicator moves what they have."""
        is_local = self.is_local
        if is_local is None:
            return primaries
        count = self.handoffs
        if count is None:
            count = sum(not is_local(node) for node in primaries)
        return [*primaries, *itertools.islice(
            filter(is_local, ring.get_more_nodes(part) if count else ()), count)]


class Routes:
    """The Route of all, ``default``, and those of policies. ConfigError when one cannot be."""

    def __init__(self, conf: dict[str, str], policies: StoragePolicies) -> None:
        self.timing_expiry = config_float(conf, 'timing_expiry', TIMING_EXPIRY)
        self.default = Route.of(conf)
        self._of_policy: dict[int, Route] = {}
        sections = read_sections(conf['__file__']) if conf.get('__file__') else {}
        for name, options in sections.items():
            if not name.startswith(SECTION):
                continue
            index = name[len(SECTION):]
            if not index.isdigit() or policies.by_index(index) is None:
                raise ConfigError(f'[{name}]: there is no storage policy {index!r}')
            try:
                self._of_policy[int(index)] = Route.of({**conf, **{
                    option: options[option] for option in OF_POLICY if option in options}})
            except ConfigError as exc:
                raise ConfigError(f'[{name}] {exc}') from None

    @property
    def are_plain(self) -> bool:
        """Whether nothing is asked for that a proxy would not do anyhow."""
        return all(route.is_plain for route in self.all())

    def all(self) -> list[Route]:
        """Each that there is."""
        return [self.default, *self._of_policy.values()]

    def of_policy(self, index: int) -> Route:
        """Of the objects of a policy."""
        return self._of_policy.get(index, self.default)


class Timings:
    """How long nodes took for their last answer, remembered for ``expiry`` seconds."""

    def __init__(self, expiry: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.expiry, self.clock = expiry, clock
        self._known: dict[tuple[str, int], tuple[float, float]] = {}

    def note(self, node: Node, seconds: float) -> None:
        """One answer of a node's server, or how long it was waited for in vain."""
        # To the millisecond: nodes that are as good as each other share the load.
        self._known[node['ip'], node['port']] = round(seconds, 3), self.clock() + self.expiry

    def of(self, node: Node) -> float:
        """Seconds; -1 of a node that has to be asked to know."""
        seconds, until = self._known.get((node['ip'], node['port']), (-1.0, 0.0))
        return seconds if until > self.clock() else -1.0
