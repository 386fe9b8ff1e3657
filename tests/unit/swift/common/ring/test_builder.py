# SPDX-License-Identifier: Apache-2.0
"""Placement: weights, dispersion, min_part_hours, determinism, builder files."""

import pickle
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from swift.common.ring.builder import (
    EmptyRingError,
    RingBuilder,
    RingBuilderError,
    RingValidationError,
)


def builder_of(weights, power=8, replicas=3, hours=1):
    """``weights[region][zone][server]`` lists device weights."""
    b = RingBuilder(power, replicas, hours)
    for r, zones in enumerate(weights):
        for z, servers in enumerate(zones):
            for s, devs in enumerate(servers):
                for d, w in enumerate(devs):
                    b.add_dev(dict(region=r, zone=z, ip=f'10.{r}.{z}.{s}', port=6200,
                                   device=f'sd{d}', weight=w))
    return b


def held(b, key):
    """For each partition, how many replicas sit in each tier."""
    out = []
    for part in range(b.parts):
        out.append(Counter(key(b.devs[row[part]]) for row in b._replica2part2dev
                           if part < len(row)))
    return out


def test_equal_zones_get_one_replica_each_and_equal_shares():
    b = builder_of([[[[100, 100]]] * 3])
    b.rebalance(seed='a')
    b.validate()
    assert b.get_balance() < 1
    assert all(set(c.values()) == {1} for c in held(b, lambda d: d['zone']))


def test_weights_are_respected():
    b = builder_of([[[[100, 200, 300]], [[100, 200, 300]], [[100, 200, 300]], [[600]]]], power=10)
    b.rebalance(seed='a')
    assert b.get_balance() < 1


def test_two_regions_three_replicas_leave_no_region_empty():
    b = builder_of([[[[100]] * 2] * 2] * 2)
    b.rebalance(seed='a')
    for c in held(b, lambda d: d['region']):
        assert set(c) == {0, 1}


def test_never_two_replicas_on_one_device():
    b = builder_of([[[[1, 1, 1000]]]], power=8)
    b.rebalance(seed='a')
    assert all(max(c.values()) == 1 for c in held(b, lambda d: d['id']))


def test_overload_trades_balance_for_dispersion():
    weights = [[[[50, 50]], [[50, 50]], [[75, 75]]]]
    tight = builder_of(weights, power=10)
    tight.rebalance(seed='a')
    assert tight.dispersion > 0
    loose = builder_of(weights, power=10)
    loose.set_overload(tight.get_required_overload() + 0.001)
    loose.rebalance(seed='a')
    assert loose.dispersion == 0


def test_min_part_hours_keeps_partitions_until_passed():
    b = builder_of([[[[100]]] * 4])
    b.rebalance(seed='a')
    before = [list(r) for r in b._replica2part2dev]
    b.set_dev_weight(0, 0)
    b.rebalance(seed='b')
    assert [list(r) for r in b._replica2part2dev] == before
    b.pretend_min_part_hours_passed()
    b.rebalance(seed='b')
    assert b.devs[0]['parts'] == 0


def test_one_replica_of_a_partition_moves_at_a_time():
    b = builder_of([[[[100]]] * 6])
    b.rebalance(seed='a')
    before = [list(r) for r in b._replica2part2dev]
    for dev_id in (0, 1, 2):
        b.set_dev_weight(dev_id, 0)
    b.pretend_min_part_hours_passed()
    b.rebalance(seed='b')
    moved = Counter(p for old, new in zip(before, b._replica2part2dev, strict=True)
                    for p in range(b.parts) if old[p] != new[p])
    assert moved and max(moved.values()) == 1


def test_removed_device_is_emptied_at_once():
    b = builder_of([[[[100]]] * 4])
    b.rebalance(seed='a')
    b.remove_dev(2)
    assert b.rebalance(seed='b')[2] == 1
    assert b.devs[2] is None
    b.validate()


def test_same_seed_same_ring_and_little_moves_afterwards():
    rings = []
    for _ in range(2):
        b = builder_of([[[[100, 100]]] * 5])
        b.rebalance(seed='x')
        b.add_dev(dict(region=0, zone=0, ip='10.0.0.9', port=6200, device='new', weight=100))
        b.pretend_min_part_hours_passed()
        moved = b.rebalance(seed='y')[0]
        assert moved <= 1.2 * b.devs[10]['parts']
        rings.append(b.get_ring().table)
    assert rings[0] == rings[1]
    b.pretend_min_part_hours_passed()
    assert b.rebalance(seed='z')[0] == 0


def test_fractional_replicas():
    b = builder_of([[[[100]]] * 4], replicas=2.5)
    b.rebalance(seed='a')
    assert [len(r) for r in b._replica2part2dev] == [256, 256, 128]
    b.set_replicas(2)
    b.pretend_min_part_hours_passed()
    b.rebalance(seed='a')
    assert [len(r) for r in b._replica2part2dev] == [256, 256]
    b.validate()


def test_refusals():
    with pytest.raises(EmptyRingError):
        RingBuilder(4, 1, 1).rebalance()
    with pytest.raises(RingValidationError):
        builder_of([[[[1, 1]]]]).rebalance()
    with pytest.raises(RingValidationError):
        RingBuilder(4, 1, 1).validate()
    for args in ((33, 1, 1), (4, 0.5, 1), (4, 1, -1)):
        with pytest.raises(ValueError, match='at |non-negative'):
            RingBuilder(*args)


def test_builder_file_round_trip(tmp_path):
    b = builder_of([[[[100]]] * 4])
    b.rebalance(seed='a')
    b.save(str(tmp_path / 'x.builder'))
    again = RingBuilder.load(str(tmp_path / 'x.builder'))
    assert again.to_dict() == b.to_dict()


def test_security_builder_file_runs_nothing(tmp_path):
    """S2: a pickle that names code is refused, not executed."""
    canary = tmp_path / 'canary'

    class Evil:
        def __reduce__(self):
            return (open, (str(canary), 'w'))

    path = tmp_path / 'x.builder'
    path.write_bytes(pickle.dumps({'devs': Evil()}, protocol=2))
    with pytest.raises(RingBuilderError):
        RingBuilder.load(str(path))
    assert not canary.exists()


@settings(max_examples=30, deadline=None)
@example([[1], [2, 2]], 2.5, 0)        # no device that lacked replicas could take the last ones
@given(st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=3), min_size=1, max_size=5),
       st.sampled_from([1, 2, 2.5, 3]), st.integers(0, 99))
def test_any_cluster_gives_a_valid_ring(zones, replicas, seed):
    b = builder_of([[[z] for z in zones]], power=5, replicas=replicas, hours=0)
    if sum(w > 0 for z in zones for w in z) < replicas:
        with pytest.raises(RingValidationError):
            b.rebalance(seed=str(seed))
        return
    for _ in range(2):
        b.rebalance(seed=str(seed))
        b.validate()
        assert all(max(c.values()) == 1 for c in held(b, lambda d: d['id']))
        assert all(d['parts'] == 0 for d in b.devs if d['weight'] == 0)


@pytest.mark.parametrize('seed', range(6))
def test_bug_a_device_of_weight_0_keeps_nothing(seed):
    """Its last partition used to stay, when no place was left that dispersed as well."""
    b = RingBuilder(9, 3, 1)
    for n in range(40):
        b.add_dev({'region': 1, 'zone': n % 5, 'ip': f'10.0.{n % 5}.{n // 5 % 2}', 'port': 6200,
                   'device': f'd{n}', 'weight': 100})
    b.rebalance(seed=seed)
    b.set_dev_weight(0, 0)
    b.add_dev({'region': 1, 'zone': 0, 'ip': '10.0.0.9', 'port': 6200, 'device': 'new',
               'weight': 100})
    b.pretend_min_part_hours_passed()
    b.rebalance(seed=seed)
    assert b.devs[0]['parts'] == 0 and b.get_balance() < 10
    b.validate()
