# SPDX-License-Identifier: Apache-2.0
"""swift-ring-composer: builders of several regions as one ring."""
import json

import pytest

from swift.cli import ring_composer
from swift.common.ring import Ring, RingBuilder


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.files = [self.make(region) for region in (1, 2)]
        self.composite, self.ring = str(folder / "x.composite"), str(folder / "object.ring.gz")

    def make(self, region, part_power=4, replicas=2, devices=3, name=None, **changes):
        builder = RingBuilder(part_power, replicas, 1)
        for n in range(devices):
            builder.add_dev({"region": region, "zone": n, "ip": f"10.0.{region}.{n}", "port": 6200,
                             "device": "d", "weight": 1, **changes})
        builder.rebalance(seed=region)
        path = str(self.folder / f"{name or f'r{region}'}.builder")
        builder.save(path)
        return path

    def __call__(self, *words, code=0):
        assert ring_composer.main([self.composite, *map(str, words)]) == code

    def compose(self, *words, code=0):
        self("compose", *words, "--output", self.ring, code=code)


def test_each_partition_has_the_replicas_of_each_region(site, capsys):
    site.compose(*site.files)
    ring = Ring(site.ring)
    assert ring.replica_count == 4 and ring.partition_count == 16
    for part in range(16):
        assert [node["region"] for node in ring.get_part_nodes(part)] == [1, 1, 2, 2]
        for region, path in enumerate(site.files):
            wanted = [row[part] for row in RingBuilder.load(path)._replica2part2dev]
            found = [node["id"] - 3 * region for node in ring.get_part_nodes(part)
                     if node["region"] == region + 1]
            assert found == wanted
    site("show")
    known = json.loads(capsys.readouterr().out)
    assert known["version"] == 1 and len(known["components"]) == 2
    assert sorted(known["component_builder_files"].values()) == site.files


def test_composed_anew_only_from_the_same_when_one_has_changed(site, capsys):
    site.compose(*site.files)
    site.compose(code=2)
    assert "no builder has changed" in capsys.readouterr().err
    builder = RingBuilder.load(site.files[0])
    builder.add_dev({"region": 1, "zone": 9, "ip": "10.0.1.9", "port": 6200, "device": "d",
                     "weight": 1})
    builder.save(site.files[0])
    site.compose(code=2)
    assert "needs a rebalance" in capsys.readouterr().err
    builder.pretend_min_part_hours_passed()
    builder.rebalance(seed=3)
    builder.save(site.files[0])
    site.compose(*reversed(site.files), code=2)
    assert "another id" in capsys.readouterr().err
    site.compose()
    assert len([dev for dev in Ring(site.ring).devs if dev]) == 7
    site.compose(*reversed(site.files), "--force")
    assert [n["region"] for n in Ring(site.ring).get_part_nodes(0)] == [2, 2, 1, 1]


@pytest.mark.parametrize("other, words", [
    ({"part_power": 5}, "part powers differ"), ({"replicas": 2.5}, "whole number"),
    ({"region": 1}, "region 1 is in 2"), ({"ip": "10.0.1.0"}, "is there twice")])
def test_builders_that_do_not_fit(site, capsys, other, words):
    changes = {"region": 3, "devices": 3, **other}
    if "ip" in other:
        changes["devices"], changes["replicas"] = 1, 1
    site.compose(site.files[0], site.make(name="bad", **changes), code=2)
    assert words in capsys.readouterr().err
    site.compose(site.files[0], code=2)
    site.compose(site.files[0], site.files[0], code=2)
    site("show", code=2)


def test_a_partition_moves_in_one_region_at_a_time(site, capsys):
    site.compose(*site.files)
    tables = []
    for path in site.files:
        builder = RingBuilder.load(path)
        region = builder.devs[0]["region"]
        builder.add_dev({"region": region, "zone": 9, "ip": f"10.0.{region}.9", "port": 6200,
                         "device": "d", "weight": 5})
        builder.pretend_min_part_hours_passed()
        tables.append([list(row) for row in builder._replica2part2dev])
        builder.save(path)
    site("rebalance", "--seed", "1")
    assert capsys.readouterr().out.count("reassigned") == 2
    moved = []
    for path, table in zip(site.files, tables, strict=True):
        now = RingBuilder.load(path)._replica2part2dev
        moved.append({part for old, new in zip(table, now, strict=True)
                      for part in range(16) if old[part] != new[part]})
    assert any(moved) and not moved[0] & moved[1]
    site.compose()
