# SPDX-License-Identifier: Apache-2.0
"""Where things live: partitions, primaries and handoffs from a ring file.

A lookup is one struct unpack of the hash, one shift and one list index per replica. The file is
looked at again (by its modification time) at most every ``reload_time`` seconds; no signal and
no message is needed for a new ring to take effect.
"""

import hashlib
import itertools
import os
import struct
import time

from swift.common.ring.format import NONE_DEV, RingData
from swift.common.storage import hash_bytes

_UNPACK = struct.Struct('>I').unpack_from


class Ring:
    """A ring file, kept fresh.

    ``serialized_path`` is the file, or its folder when ``ring_name`` (``account``, ``object-1``)
    is given. The node dictionaries handed out are shared: callers must not change them.
    """

    def __init__(self, serialized_path, reload_time=15, ring_name=None):
        if ring_name:
            serialized_path = os.path.join(serialized_path, ring_name + '.ring.gz')
        self.serialized_path = serialized_path
        self.reload_time = reload_time
        self._next_check = 0.0
        self._mtime = None
        self._load()

    def _load(self):
        self._next_check = time.time() + self.reload_time
        stat = os.stat(self.serialized_path)
        mtime = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if mtime == self._mtime:
            return
        data = RingData.load(self.serialized_path)
        self._devs = data.devs
        self._table = data.table
        self._part_shift = data.part_shift
        self._none = NONE_DEV[data.dev_id_bytes]
        self.version = data.version
        self.next_part_power = data.next_part_power
        # One dictionary for each (replica, device), so that a lookup copies nothing.
        self._rows = [
            (row, [None if d is None else dict(d, index=i) for d in data.devs])
            for i, row in enumerate(data.table)]
        self._full = bool(data.table) and len(data.table[-1]) == len(data.table[0]) and not any(
            self._none in row for row in data.table)
        with_parts = set()
        for row in data.table:
            with_parts.update(row)
        with_parts.discard(self._none)
        used = [d for d in data.devs if d and d['id'] in with_parts]
        self._num_regions = len({d['region'] for d in used})
        self._num_zones = len({(d['region'], d['zone']) for d in used})
        self._num_ips = len({(d['region'], d['zone'], d['ip']) for d in used})
        self._num_devs = len(used)
        self._mtime = mtime

    def _fresh(self):
        if time.time() > self._next_check:
            self._load()

    def has_changed(self):
        """True when the file on disk is not the one loaded."""
        stat = os.stat(self.serialized_path)
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino) != self._mtime

    @property
    def devs(self):
        """Devices by id, None for holes."""
        self._fresh()
        return self._devs

    @property
    def part_power(self):
        return 32 - self._part_shift

    @property
    def partition_count(self):
        return len(self._table[0]) if self._table else 0

    @property
    def replica_count(self):
        """Replicas as a float."""
        if not self._table:
            return 0
        return len(self._table) - 1 + len(self._table[-1]) / len(self._table[0])

    def get_part(self, account, container=None, obj=None):
        """The partition of an account, container or object (names as on the wire)."""
        key = hash_bytes(account, container, obj)
        if time.time() > self._next_check:
            self._load()
        return _UNPACK(key)[0] >> self._part_shift

    def get_part_nodes(self, part):
        """The primaries of a partition: device dictionaries with ``index``, the replica number."""
        if time.time() > self._next_check:
            self._load()
        if self._full:
            nodes = [devs[row[part]] for row, devs in self._rows]
            if len(nodes) == 3:
                a, b, c = nodes
                if a['id'] != b['id'] and b['id'] != c['id'] and a['id'] != c['id']:
                    return nodes
        else:
            nodes = [devs[row[part]] for row, devs in self._rows
                     if part < len(row) and row[part] != self._none]
        seen, out = set(), []
        for node in nodes:
            if node['id'] not in seen:
                seen.add(node['id'])
                out.append(node)
        if len(out) != len(nodes):   # a device twice: number what is left without gaps
            out = [dict(n, index=i) for i, n in enumerate(out)]
        return out

    def get_nodes(self, account, container=None, obj=None):
        """``(partition, primaries)`` of a name."""
        part = self.get_part(account, container, obj)
        return part, self.get_part_nodes(part)

    def get_more_nodes(self, part):
        """Handoffs for a partition, best first, each device once.

        First devices in regions without a primary, then in unused zones, on unused hosts, and at
        last every other device that holds partitions. The order is a function of the ring only,
        and the same as Swift's, so that all members of a mixed cluster look in the same places.
        """
        self._fresh()
        primaries = self.get_part_nodes(part)
        table, devs, none = self._table, self._devs, self._none
        parts = len(table[0])
        digest = hashlib.md5(str(part).encode('ascii'), usedforsecurity=False).digest()
        start = _UNPACK(digest)[0] >> self._part_shift
        step = parts // 65536 or 1
        used = {n['id'] for n in primaries}
        number = itertools.count()
        levels = (
            (lambda d: d['region'], self._num_regions),
            (lambda d: (d['region'], d['zone']), self._num_zones),
            (lambda d: (d['region'], d['zone'], d['ip']), self._num_ips),
            (lambda d: d['id'], self._num_devs))
        # Devices met on one level count as used on the finer ones.
        chosen = list(primaries)
        for key, total in levels:
            taken = {key(n) for n in chosen}
            if len(taken) >= total:
                continue
            order = itertools.chain(range(start, parts, step),
                                    range(step - ((parts - start) % step), start, step))
            for p in order:
                if len(taken) >= total:
                    break
                for row in table:
                    if p >= len(row) or row[p] == none:
                        continue
                    dev = devs[row[p]]
                    if dev is None or dev['id'] in used:
                        continue
                    mark = key(dev)
                    if mark in taken:
                        continue
                    yield dict(dev, handoff_index=next(number))
                    used.add(dev['id'])
                    taken.add(mark)
                    chosen.append(dev)
