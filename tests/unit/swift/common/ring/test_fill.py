# SPDX-License-Identifier: Apache-2.0
"""The first assignment: exact shares, replicas apart, neighbours mixed."""
from collections import Counter

import pytest

from swift.common.ring import RingBuilder


def built(devices, replicas=3, power=10, seed="s", overload=0.0):
    builder = RingBuilder(power, replicas, 1)
    for number, (region, zone, host, weight) in enumerate(devices):
        builder.add_dev(dict(region=region, zone=zone, ip=f"10.{region}.{zone}.{host}", port=6200,
                             device=f"sd{number}", weight=weight))
    builder.set_overload(overload)
    builder.rebalance(seed=seed)
    builder.validate()
    return builder


@pytest.mark.parametrize("replicas", [1, 2, 2.5, 3, 4.25])
@pytest.mark.parametrize("devices", [
    [(1, zone, host, 100) for zone in range(5) for host in range(3)],
    [(1, 1, 1, 10), (1, 1, 2, 20), (1, 2, 1, 30), (2, 1, 1, 40), (2, 2, 2, 17)],
    [(region, 1, host, 1 + host) for region in (1, 2) for host in range(6)],
], ids=["zones", "weights", "regions"])
def test_every_device_gets_its_share_and_no_partition_twice(devices, replicas):
    builder = built(devices, replicas)
    table = builder._replica2part2dev
    for part in range(builder.parts):
        held = [row[part] for row in table if part < len(row)]
        assert len(set(held)) == len(held)
    first = built(devices, replicas)
    assert first._replica2part2dev == table          # a seed decides everything


def test_equal_devices_are_equal_and_dispersed():
    builder = built([(1, zone, host, 100) for zone in range(4) for host in range(4)])
    assert {dev["parts"] for dev in builder.devs} == {192}
    assert builder.dispersion == 0


def test_every_pair_of_zones_shares_partitions():
    """A lost device is healed by all, not by the few that would always stand beside it."""
    builder = built([(1, zone, 1, 100) for zone in range(8)], power=12)
    table, pairs = builder._replica2part2dev, Counter()
    for part in range(builder.parts):
        held = sorted(row[part] for row in table)
        pairs.update((a, b) for n, a in enumerate(held) for b in held[n + 1:])
    assert len(pairs) == 28
    assert max(pairs.values()) < 3 * min(pairs.values())


def test_replica_numbers_do_not_follow_the_tree():
    builder = built([(1, zone, 1, 100) for zone in range(6)], power=12)
    for row in builder._replica2part2dev:
        counts = Counter(row)
        assert max(counts.values()) < 2 * min(counts.values())
