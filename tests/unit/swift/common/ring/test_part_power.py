# SPDX-License-Identifier: Apache-2.0
"""The steps of a partition power increase, as a builder takes them."""
import pytest

from swift.common.ring import RingBuilder, RingData
from swift.operations import part_power


@pytest.fixture
def builder():
    made = RingBuilder(4, 2.5, 1)
    for n in range(4):
        made.add_dev({"region": 1, "zone": n, "ip": "10.0.0.1", "port": 6200, "device": f"d{n}",
                      "weight": 1 + n})
    made.rebalance(seed=1)
    return made


def test_every_partition_becomes_two_on_the_same_devices(builder, tmp_path):
    before = [list(row) for row in builder._replica2part2dev]
    parts = [dev["parts"] for dev in builder.devs]
    version = builder.version
    assert builder.prepare_increase_partition_power() and builder.next_part_power == 5
    assert builder.increase_partition_power()
    builder.validate()
    assert [list(row)[::2] for row in builder._replica2part2dev] == before
    assert [list(row)[1::2] for row in builder._replica2part2dev] == before
    assert [dev["parts"] for dev in builder.devs] == [2 * n for n in parts]
    assert (builder.part_power, builder.parts, builder.version) == (5, 32, version + 2)
    path = str(tmp_path / "object.builder")
    builder.save(path)
    again = RingBuilder.load(path)
    assert again.finish_increase_partition_power() and again.next_part_power is None
    again.rebalance(seed=2)
    again.validate()
    for format_version in (1, 2):
        builder.get_ring().save(str(tmp_path / "object.ring.gz"), format_version)
        ring = RingData.load(str(tmp_path / "object.ring.gz"))
        assert (ring.part_shift, ring.next_part_power) == (27, 5)


def test_steps_out_of_order_do_nothing(builder):
    version = builder.version
    assert not builder.increase_partition_power()
    assert not builder.cancel_increase_partition_power()
    assert not builder.finish_increase_partition_power()
    assert builder.version == version
    assert builder.prepare_increase_partition_power()
    assert not builder.prepare_increase_partition_power()
    assert not builder.finish_increase_partition_power()
    assert builder.cancel_increase_partition_power()
    assert not builder.increase_partition_power()
    assert builder.finish_increase_partition_power()
    assert (builder.part_power, builder.next_part_power) == (4, None)


def test_only_object_rings_grow(builder, tmp_path):
    path = str(tmp_path / "container.builder")
    builder.save(path)
    with pytest.raises(part_power.RingBuilderError, match="object rings"):
        part_power.step(path, "prepare_increase_partition_power")
    with pytest.raises(part_power.RingBuilderError, match="does not exist"):
        part_power.step(str(tmp_path / "object.builder"), "prepare_increase_partition_power")
