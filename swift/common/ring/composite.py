# SPDX-License-Identifier: Apache-2.0
"""Composite rings: one ring whose replicas are those of several builders, one after the other.

With a builder for each region every partition has exactly the replicas there that the builder
says, whatever happens in the others. What a composite is made of is kept in a JSON file of
OpenStack Swift's form; the order of its components is the order of replicas, so it must not change.
"""

import array
import json
import os
import random
from collections import Counter

from swift.common.ring.builder import RingBuilder, RingBuilderError
from swift.common.ring.format import NONE_DEV, TYPE_CODE, RingData, replace_file

SERIALIZATION = 1


class CompositeError(RingBuilderError):
    """Builders that do not fit together, or are not those the composite was made of."""


def compose(builders):
    """The RingData of builders in that order; CompositeError when they do not fit together."""
    _check_fit(builders)
    width = 4 if sum(len(b.devs) for b in builders) > NONE_DEV[2] else 2
    table: list[array.array] = []
    devs: list[dict | None] = []
    for builder in builders:
        offset, none = len(devs), builder.none
        for row in builder._replica2part2dev:
            table.append(array.array(TYPE_CODE[width], (
                NONE_DEV[width] if dev_id == none else dev_id + offset for dev_id in row)))
        devs += [None if dev is None else dict(dev, id=dev['id'] + offset)
                 for dev in builder.get_ring().devs]
    return RingData(table, devs, 32 - builders[0].part_power, dev_id_bytes=width)


def _check_fit(builders):
    problems = []
    if len(builders) < 2:
        problems.append('two or more builders are needed')
    if len({b.part_power for b in builders}) > 1:
        problems.append('part powers differ: ' + ', '.join(str(b.part_power) for b in builders))
    for number, builder in enumerate(builders):
        if builder.replicas != int(builder.replicas):
            problems.append(f'builder {number} has {builder.replicas:g} replicas: a whole number '
                            'is needed')
        if builder.devs_changed or not builder.ever_rebalanced:
            problems.append(f'builder {number} needs a rebalance')
    regions = Counter(region for b in builders
                      for region in {dev['region'] for dev in b.live_devs()})
    problems += [f'region {region} is in {count} builders' for region, count in regions.items()
                 if count > 1]
    places = Counter((dev['ip'], dev['port'], dev['device']) for b in builders
                     for dev in b.devs if dev)
    problems += [f'device {ip}:{port}/{device} is there twice'
                 for (ip, port, device), count in places.items() if count > 1]
    if problems:
        raise CompositeError('; '.join(problems))


class Composite:
    """What a composite ring is made of, and was made of when it was last composed."""

    def __init__(self):
        self.version = 0
        self.components = []
        self.files = []

    @classmethod
    def load(cls, path):
        """Read a composite file; CompositeError when it is none, OSError when it is not there."""
        with open(path, encoding='utf-8') as source:
            try:
                known = json.load(source)
                made = cls()
                made.components = [{'id': str(each['id']), 'version': int(each['version']),
                                    'replicas': each['replicas']} for each in known['components']]
                made.files = [str(known['component_builder_files'][each['id']])
                              for each in made.components]
                made.version = int(known['version'])
            except (ValueError, TypeError, KeyError) as e:
                raise CompositeError(f'{path} is no composite builder file') from e
        return made

    def to_dict(self):
        """Its state as plain values."""
        return {'version': self.version, 'components': self.components,
                'component_builder_files': {each['id']: path for each, path in
                                            zip(self.components, self.files, strict=True)}}

    def save(self, path):
        """Write the composite file, whole or not at all."""
        state = {**self.to_dict(), 'saved_path': os.path.abspath(path),
                 'serialization_version': SERIALIZATION}
        replace_file(path, json.dumps(state).encode())

    def builders(self, files=None):
        """The builders of ``files``, by default those of the last time; they all have ids."""
        found = [RingBuilder.load(path) for path in files or self.files]
        without = [path for path, b in zip(files or self.files, found, strict=True) if not b.id]
        if without:
            raise CompositeError(f'{", ".join(without)}: no id yet; rebalance it with --force')
        if len({b.id for b in found}) < len(found):
            raise CompositeError('a builder is given twice')
        return found

    def compose(self, files=None, force=False):
        """The RingData of the builders, which are remembered.

        Without ``force`` they have to be those of the last time, in the same order, none older and
        one newer at least: CompositeError otherwise.
        """
        builders = self.builders(files)
        components = [{'id': b.id, 'version': b.version, 'replicas': b.replicas}
                      for b in builders]
        if self.components and not force:
            self._check_same(components)
        ring = compose(builders)
        self.components = components
        self.files = [os.path.abspath(path) for path in files or self.files]
        self.version += 1
        return ring

    def _check_same(self, components):
        if len(components) != len(self.components):
            raise CompositeError(f'{len(components)} builders instead of {len(self.components)}')
        for number, (old, new) in enumerate(zip(self.components, components, strict=True)):
            for key in ('id', 'replicas'):
                if old[key] != new[key]:
                    raise CompositeError(f'builder {number} has another {key}: {new[key]} instead '
                                         f'of {old[key]}')
            if new['version'] < old['version']:
                raise CompositeError(f"builder {number} is older: version {new['version']}, was "
                                     f"{old['version']}")
        if self.components == components:
            raise CompositeError('no builder has changed since the ring was composed')

    def rebalance(self, seed=None):
        """Rebalance all components so that of a partition a replica moves in one of them only.

        Returns ``[(file, parts changed, balance)]``; builders are saved, the ring is not composed.
        """
        builders = self.builders()
        for builder in builders:
            builder.age_moves()
        results = {}
        order = list(zip(self.files, builders, strict=True))
        random.Random(seed).shuffle(order)
        for path, builder in order:
            changed, balance, _ = builder.rebalance(
                seed, may_move=lambda part: all(b.may_move(part) for b in builders))
            builder.validate()
            results[path] = (path, changed, balance)
        for path, builder in order:
            builder.save(path)
        return [results[path] for path in self.files]
