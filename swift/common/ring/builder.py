# SPDX-License-Identifier: Apache-2.0
"""The ring builder: the operator's working copy of a ring, kept in a ``.builder`` file.

A builder file is a pickled dictionary of plain values and arrays, the same as Swift's. It is read
with an unpickler that knows arrays and nothing else, so that a forged file is refused instead of
run.
"""

import array
import io
import math
import pickle
import time
import uuid
from collections import Counter

from swift.common.ring.format import NONE_DEV, TYPE_CODE, RingData, replace_file
from swift.common.ring.placement import Tree, dispersion, rebalance

MAX_BALANCE = 999.99
FIELDS = ('part_power', 'next_part_power', 'replicas', 'min_part_hours', 'parts', 'devs',
          'devs_changed', 'version', 'overload', '_replica2part2dev', '_last_part_moves_epoch',
          '_last_part_moves', '_last_part_gather_start', '_dispersion_graph', 'dispersion',
          '_remove_devs', 'dev_id_bytes', 'id')


class RingBuilderError(Exception):
    """Something the operator asked for cannot be; the message says what and why."""


class RingValidationError(RingBuilderError):
    """The builder's state is not that of a good ring."""


class EmptyRingError(RingValidationError):
    """No device has any weight."""


class DuplicateDeviceError(RingBuilderError):
    """A device with this id is already there."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) == ('array', 'array'):
            return array.array
        if (module, name) == ('array', '_array_reconstructor'):
            return array._array_reconstructor      # type: ignore[attr-defined]  # what Python 3 pickles arrays with
        if (module, name) in (('_codecs', 'encode'),):
            return _encode
        raise RingBuilderError(f'builder file refers to {module}.{name}; it is not a builder '
                               'file, or a damaged one')


def _encode(text, encoding):
    """What protocol 2 makes bytes with."""
    if encoding != 'latin1':
        raise RingBuilderError('builder file holds text of an unknown encoding')
    return text.encode('latin1')


def _doubled(row):
    """Each entry twice."""
    return array.array(row.typecode, (value for value in row for _ in (0, 1)))


class RingBuilder:
    """Devices, weights and the assignment of partitions, with the operations on them."""

    def __init__(self, part_power, replicas, min_part_hours):
        if not 0 <= part_power <= 32:
            raise ValueError(f'part_power must be at least 0 and at most 32 (was {part_power})')
        if replicas < 1:
            raise ValueError(f'replicas must be at least 1 (was {replicas:.6f})')
        if min_part_hours < 0:
            raise ValueError(f'min_part_hours must be non-negative (was {min_part_hours})')
        self.part_power = part_power
        self.next_part_power = None
        self.replicas = float(replicas)
        self.min_part_hours = min_part_hours
        self.parts = 1 << part_power
        self.devs = []
        self.devs_changed = False
        self.version = 0
        self.overload = 0.0
        self.dispersion = 0.0
        self.dev_id_bytes = 2
        self.id = None
        self._replica2part2dev = None
        self._last_part_moves_epoch = 0
        self._last_part_moves = array.array('B', bytes(self.parts))
        self._last_part_gather_start = 0
        self._dispersion_graph = {}
        self._remove_devs = []

    # -- files ---------------------------------------------------------------
    @classmethod
    def load(cls, path):
        """Read a builder file; raises FileNotFoundError, PermissionError, RingBuilderError."""
        with open(path, 'rb') as f:
            raw = f.read()
        try:
            state = _PlainUnpickler(io.BytesIO(raw), encoding='latin1').load()
            if not isinstance(state, dict) or 'devs' not in state:
                raise RingBuilderError(f'{path} is not a ring builder file')
            return cls.from_dict(state)
        except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError,
                TypeError, ValueError) as e:
            raise RingBuilderError(f'{path} is not a ring builder file: {e!r}') from e

    @classmethod
    def from_dict(cls, state):
        """A builder from the dictionary a builder file holds, also one of an older release."""
        b = cls(state['part_power'], state['replicas'], state['min_part_hours'])
        for name in FIELDS:
            if name in state:
                setattr(b, name, state[name])
        if b._replica2part2dev:
            b._replica2part2dev = [array.array(TYPE_CODE[b.dev_id_bytes], row)
                                   for row in b._replica2part2dev]
        b._last_part_moves = array.array('B', b._last_part_moves or bytes(b.parts))
        for dev in b.devs:
            if dev is not None:
                dev.setdefault('region', 1)
                dev.setdefault('meta', '')
                dev.setdefault('replication_ip', dev['ip'])
                dev.setdefault('replication_port', dev['port'])
        return b

    def to_dict(self):
        """The state as plain values, for the builder file."""
        return {name: getattr(self, name) for name in FIELDS}

    def save(self, path):
        """Write the builder file atomically; it gets an id the first time."""
        if self.id is None:
            self.id = uuid.uuid4().hex
        replace_file(path, pickle.dumps(self.to_dict(), protocol=2))

    def get_ring(self):
        """The RingData that readers of the ring need."""
        devs = [None if d is None else dict(d) for d in self.devs]
        for dev in devs:
            if dev is not None:
                dev.pop('parts', None)
                dev.pop('parts_wanted', None)
        table = [array.array(r.typecode, r) for r in self._replica2part2dev or ()]
        return RingData(table, devs, 32 - self.part_power, version=self.version,
                        next_part_power=self.next_part_power, dev_id_bytes=self.dev_id_bytes)

    # -- devices -------------------------------------------------------------
    @property
    def none(self):
        return NONE_DEV[self.dev_id_bytes]

    @property
    def ever_rebalanced(self):
        return self._replica2part2dev is not None

    def live_devs(self):
        """Devices that are there and not about to be removed."""
        gone = {d['id'] for d in self._remove_devs}
        return [d for d in self.devs if d is not None and d['id'] not in gone]

    def all_devs(self):
        """Devices that are there, also those to be removed at the next rebalance."""
        return [d for d in self.devs if d is not None]

    def add_dev(self, dev):
        """Add a device; returns its id. ``dev`` is as in a ring, ``id`` is optional."""
        taken = {d['id'] for d in self.devs if d is not None}
        if dev.get('id') is None:
            gone = {d['id'] for d in self._remove_devs}
            # Ids of long removed devices are used again, lowest first.
            dev['id'] = next((i for i, d in enumerate(self.devs)
                              if d is None and i not in gone), len(self.devs))
        if dev['id'] in taken:
            raise DuplicateDeviceError(f"Duplicate device id: {dev['id']}")
        if dev['id'] >= 0xffff and self.dev_id_bytes == 2:
            self._widen_ids()
        for key in ('region', 'zone', 'ip', 'port', 'device', 'weight'):
            if dev.get(key) is None:
                raise ValueError(f"{key} is missing for device {dev['id']}")
        if not (dev['weight'] >= 0 and math.isfinite(dev['weight'])):
            raise ValueError(f"weight must be a non-negative number (was {dev['weight']})")
        self.devs.extend([None] * (dev['id'] + 1 - len(self.devs)))
        dev.setdefault('meta', '')
        dev.setdefault('replication_ip', dev['ip'])
        dev.setdefault('replication_port', dev['port'])
        dev['weight'] = float(dev['weight'])
        dev['parts'] = 0
        self.devs[dev['id']] = dev
        self._touched()
        return dev['id']

    def _widen_ids(self):
        self.dev_id_bytes = 4
        if self._replica2part2dev:
            self._replica2part2dev = [
                array.array('I', [0xffffffff if i == 0xffff else i for i in row])
                for row in self._replica2part2dev]

    def _touched(self):
        self.devs_changed = True
        self.version += 1

    def _dev(self, dev_id):
        try:
            dev = self.devs[dev_id] if dev_id >= 0 else None
        except IndexError:
            dev = None
        if dev is None:
            raise RingBuilderError(f'There is no device with id {dev_id}')
        return dev

    def set_dev_weight(self, dev_id, weight):
        """Change a device's weight; what it holds changes at the next rebalance."""
        if any(d['id'] == dev_id for d in self._remove_devs):
            raise ValueError(f'Can not set weight of dev_id {dev_id} because it is marked '
                             'for removal')
        if not (weight >= 0 and math.isfinite(weight)):
            raise ValueError(f'weight must be a non-negative number (was {weight})')
        self._dev(dev_id)['weight'] = float(weight)
        self._touched()

    def set_dev_place(self, dev_id, key, value):
        """Move a device to another ``region`` or ``zone``."""
        self._dev(dev_id)[key] = value
        self._touched()

    def remove_dev(self, dev_id):
        """Mark a device for removal at the next rebalance; it may be marked already."""
        dev = self._dev(dev_id)
        dev['weight'] = 0      # and no float: rings of either of the two stay alike byte by byte
        if not any(d['id'] == dev_id for d in self._remove_devs):
            self._remove_devs.append(dev)
        self._touched()

    def set_replicas(self, replicas):
        """Change the replica count; takes effect at the next rebalance."""
        if not 1 <= replicas < math.inf:
            raise ValueError(f'replicas must be at least 1 (was {replicas:.6f})')
        self.replicas = float(replicas)
        self.devs_changed = True

    def set_overload(self, overload):
        """How much more than its weight's share a device may take for dispersion (0.1: 10 %)."""
        if not (overload >= 0 and math.isfinite(overload)):
            raise ValueError('overload must be a non-negative number')
        self.overload = overload

    # -- time ----------------------------------------------------------------
    @property
    def min_part_seconds_left(self):
        """Seconds until partitions moved by the last rebalance may move again."""
        passed = int(time.time() - self._last_part_moves_epoch)
        return max(0, self.min_part_hours * 3600 - passed)

    def pretend_min_part_hours_passed(self):
        """Let every partition be movable at the next rebalance."""
        self._last_part_moves = array.array('B', b'\xff' * self.parts)
        self._last_part_moves_epoch = 0

    def age_moves(self):
        """Count the hours that have passed since partitions moved."""
        hours = int(time.time() - self._last_part_moves_epoch) // 3600
        if hours > 0:
            older = bytes(min(255, age + hours) for age in range(256))
            self._last_part_moves = array.array(
                'B', bytes(self._last_part_moves).translate(older))
            self._last_part_moves_epoch = int(time.time())

    # -- partition power -----------------------------------------------------
    def prepare_increase_partition_power(self):
        """First of three steps: writes go to the places to come as well; whether it was time."""
        if self.next_part_power:
            return False
        self.next_part_power = self.part_power + 1
        self.version += 1
        return True

    def increase_partition_power(self):
        """Second step: each partition becomes two, on the same devices; whether it was time.

        Partition p becomes 2p and 2p+1, so every object stays on the devices it is on.
        """
        if self.next_part_power != self.part_power + 1:
            return False
        self._replica2part2dev = [_doubled(row) for row in self._replica2part2dev or ()] or None
        self._last_part_moves = _doubled(self._last_part_moves)
        for dev in self.devs:
            if dev is not None:
                dev['parts'] *= 2
        self.part_power = self.next_part_power
        self.parts *= 2
        self.version += 1
        return True

    def cancel_increase_partition_power(self):
        """Instead of the second step: back, as soon as links are cleaned up; whether it was time.
        """
        if self.next_part_power != self.part_power + 1:
            return False
        self.next_part_power = self.part_power
        self.version += 1
        return True

    def finish_increase_partition_power(self):
        """Last step, once no node has anything in the places of before; whether it was time."""
        if self.next_part_power != self.part_power:
            return False
        self.next_part_power = None
        self.version += 1
        return True

    # -- placement -----------------------------------------------------------
    def may_move(self, part):
        """Whether a partition's last move is min_part_hours ago."""
        return not self.ever_rebalanced or self._last_part_moves[part] >= self.min_part_hours

    def rebalance(self, seed=None, may_move=None):
        """Assign and move partitions. Returns ``(parts changed, balance, devices removed)``.

        A partition moves at most one replica, and only when its last move is min_part_hours ago
        (or when ``may_move(partition)`` says so); what sat on removed devices moves in any case. A
        ``seed`` makes the outcome repeatable.
        """
        devs = self.live_devs()
        weighted = sum(d['weight'] > 0 for d in devs)
        if not weighted:
            raise EmptyRingError('There are no devices in this ring, or all devices have been '
                                 'deleted')
        if self.replicas > weighted:
            raise RingValidationError(f'Replica count of {self.replicas:g} requires more '
                                      f'than {weighted} devices')
        first = self._replica2part2dev is None
        table = self._replica2part2dev or []
        self.age_moves()
        if first:
            self._last_part_moves_epoch = int(time.time())
        self._shape(table)
        removed = len(self._remove_devs)
        last = self._last_part_moves
        count, parts, _ = rebalance(
            table, devs, self.replicas, overload=self.overload, none=self.none,
            movable=may_move or (lambda p: last[p] >= self.min_part_hours),
            seed=str(seed) if seed is not None else None)
        for part in parts:
            last[part] = 0
        self._replica2part2dev = table
        for dev in self._remove_devs:
            self.devs[dev['id']] = None
        self._remove_devs = []
        while self.devs and self.devs[-1] is None:
            self.devs.pop()
        self._count_parts()
        self.devs_changed = False
        self.version += 1
        self.update_dispersion()
        return count, self.get_balance(), removed

    def _shape(self, table):
        """Make the table have the rows the replica count asks for."""
        sizes = [self.parts] * int(self.replicas)
        rest = self.replicas - int(self.replicas)
        if rest and int(self.parts * rest):
            sizes.append(int(self.parts * rest))
        del table[len(sizes):]
        for i, size in enumerate(sizes):
            if i == len(table):
                table.append(array.array(TYPE_CODE[self.dev_id_bytes]))
            row = table[i]
            del row[size:]
            row.extend([self.none] * (size - len(row)))

    def _count_parts(self):
        held: Counter = Counter()
        for row in self._replica2part2dev or ():
            held.update(row)
        for dev in self.devs:
            if dev is not None:
                dev['parts'] = held[dev['id']]

    def update_dispersion(self):
        """Recount the dispersion; the table by tier is returned."""
        self.dispersion, graph = dispersion(self._replica2part2dev, self.all_devs(),
                                            self.replicas, self.none)
        return graph

    def balance_of(self, dev, part_weight=None):
        """Deviation of a device from its share by weight, in per cent."""
        if part_weight is None:
            part_weight = self._replicas_per_weight()
        wanted = dev['weight'] * part_weight
        if not wanted:
            return MAX_BALANCE if dev['parts'] else 0.0
        return 100.0 * dev['parts'] / wanted - 100.0

    def _replicas_per_weight(self):
        total = sum(d['weight'] for d in self.live_devs())
        return self.parts * self.replicas / total if total else 0.0

    def get_balance(self):
        """The worst deviation of any device, in per cent."""
        per_weight = self._replicas_per_weight()
        return max((abs(self.balance_of(d, per_weight)) for d in self.all_devs()), default=0.0)

    def get_required_overload(self):
        """The overload with which the ring could be as dispersed as its devices permit."""
        devs = [d for d in self.live_devs() if d['weight'] > 0]
        return Tree(devs, self.replicas).required_overload if devs else 0.0

    def parts_on(self, dev_ids):
        """``[(partition, how many replicas)]`` on the devices, most first."""
        wanted = set(dev_ids)
        counts: dict[int, int] = {}
        for row in self._replica2part2dev or ():
            for part, dev_id in enumerate(row):
                if dev_id in wanted:
                    counts[part] = counts.get(part, 0) + 1
        return sorted(counts.items(), key=lambda pc: (-pc[1], pc[0]))

    def validate(self):
        """Raise RingValidationError if the builder is not in a state to make a good ring."""
        if not self.ever_rebalanced:
            raise RingValidationError('The ring was never rebalanced')
        known = {d['id'] for d in self.devs if d is not None}
        table = self._replica2part2dev or []
        held: Counter = Counter()
        for replica, row in enumerate(table):
            here = Counter(row)
            if not known.issuperset(here):
                part = next(part for part, dev_id in enumerate(row) if dev_id not in known)
                raise RingValidationError(f'Partition {part}, replica {replica} was not '
                                          'allocated to a device.')
            held.update(here)
        for dev in self.devs:
            if dev is not None and held[dev['id']] != dev['parts']:
                raise RingValidationError(f"Device {dev['id']} holds {held[dev['id']]} "
                                          f"replicas but {dev['parts']} are booked")
        if any(d is not None and not isinstance(d['port'], int) for d in self.devs):
            raise RingValidationError('A device has a port that is not a number')
