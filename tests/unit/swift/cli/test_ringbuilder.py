# SPDX-License-Identifier: Apache-2.0
"""swift-ring-builder: command line, exit codes, files."""

import os
import re

import pytest

from swift.cli import ringbuilder
from swift.common.ring import RingBuilder, RingData, devices


@pytest.fixture
def tool(tmp_path, capsys):
    path = str(tmp_path / 'object.builder')

    def run(*args):
        code = ringbuilder.run([path, *map(str, args)])
        return code, capsys.readouterr().out
    run.path = path
    return run


def filled(tool, n=4):
    assert tool('create', 4, 3, 1)[0] == 0
    for i in range(1, n + 1):
        assert tool('add', f'r1z{i}-10.0.0.{i}:6200/sd{i}', 100)[0] == 0
    assert tool('rebalance', '--seed', 1)[0] == 0


def test_create_add_rebalance_write_both_files(tool, tmp_path):
    filled(tool)
    ring = RingData.load(str(tmp_path / 'object.ring.gz'))
    assert len(ring.table) == 3 and len(ring.devs) == 4
    assert RingBuilder.load(tool.path).version == ring.version == 5
    assert any(n.endswith('object.ring.gz') for n in os.listdir(tmp_path / 'backups'))
    code, out = tool()
    assert code == 0 and '16 partitions, 3.000000 replicas, 1 regions, 4 zones, 4 devices' in out
    assert 'up-to-date' in out
    code, listed = tool('list')
    assert code == 0 and without_time(listed) == without_time(out)


def without_time(text):
    """A listing without the time that is left, of which a second may have passed."""
    return re.sub(r'\(.* remaining\)', '', text)


def test_seed_makes_equal_rings(tool, tmp_path):
    blobs = []
    for _ in range(2):
        filled(tool)
        blobs.append((tmp_path / 'object.ring.gz').read_bytes())
    assert blobs[0] == blobs[1]


def test_search_and_list_parts(tool):
    filled(tool)
    assert '10.0.0.2' in tool('search', 'z2')[1]
    assert tool('search', '--ip', '10.0.0.3')[1].count('10.0.0.3:6200') == 2
    assert tool('search', 'z9')[0] == 2
    code, out = tool('list_parts', 'd0')
    assert code == 0 and len(out.splitlines()) == 13


def test_set_weight_and_remove(tool):
    filled(tool)
    assert tool('set_weight', 'd1', 50, 'z3', 70)[0] == 0
    assert [d['weight'] for d in RingBuilder.load(tool.path).devs] == [100, 50, 70, 100]
    assert tool('set_weight', 'z9', 5)[0] == 2
    assert tool('set_weight', 'd1', 'many')[0] == 2
    assert tool('set_weight', 'r1', '5', '--yes')[0] == 0
    assert tool('remove', 'd0')[0] == 0
    assert 'DEL' in tool()[1]
    assert tool('remove', 'd0')[0] == 2
    tool('rebalance')
    assert RingBuilder.load(tool.path).devs[0] is None
    assert tool('validate')[0] == 0


def test_matching_many_asks(tool, monkeypatch):
    filled(tool)
    monkeypatch.setattr('builtins.input', lambda prompt: 'n')
    assert tool('set_weight', 'r1', '5')[0] == 2
    assert RingBuilder.load(tool.path).devs[0]['weight'] == 100
    monkeypatch.setattr('builtins.input', lambda prompt: 'y')
    assert tool('set_weight', 'r1', '5')[0] == 0


def test_nothing_to_do_is_a_warning(tool):
    filled(tool)
    code, out = tool('rebalance')
    assert code == 1 and 'min_part_hours' in out
    tool('pretend_min_part_hours_passed')
    assert tool('rebalance')[0] == 1


@pytest.mark.parametrize('args', [
    ('nonsense',), ('create', 'x'), ('create', 4, 3), ('create', 99, 3, 1), ('add', 'foo', 1),
    ('add', 'z1-1.1.1.1:6200/a'), ('add', 'z1-1.1.1.1:99999/a', 1), ('add', 'z1-1.1.1.1:1/a', -1),
    ('add', 'z1-1.1.1.1:1/..', 1), ('add', 'z1-1.1.1.1:1/a', 'nan'), ('search', ''),
    ('set_min_part_hours', 'x'), ('set_replicas', 'x'), ('set_overload', 'x'), ('remove',),
    ('increase_partition_power',), ('set_info', 'd0', 'z3'),
    ('add', 'r1z1-10.0.0.1:6200/sd1', 100)])
def test_refusals_leave_the_file_alone(tool, args):
    filled(tool)
    with open(tool.path, 'rb') as f:
        before = f.read()
    assert tool(*args)[0] == 2
    with open(tool.path, 'rb') as f:
        assert f.read() == before


def test_settings(tool):
    filled(tool)
    assert tool('set_overload', '10%')[0] == 0
    assert tool('set_min_part_hours', 5)[0] == 0
    assert tool('set_replicas', 2.5)[0] == 0
    assert tool('set_info', 'd1', '10.9.9.9:1/new_note')[0] == 0
    assert tool('set_region', 'd1', 2)[0] == 0
    assert tool('set_zone', 'd1', 7)[0] == 0
    b = RingBuilder.load(tool.path)
    assert (b.overload, b.min_part_hours, b.replicas) == (pytest.approx(0.1), 5, 2.5)
    dev = b.devs[1]
    assert (dev['ip'], dev['port'], dev['device'], dev['meta']) == ('10.9.9.9', 1, 'new', 'note')
    assert (dev['region'], dev['zone'], dev['replication_ip']) == (2, 7, '10.0.0.2')


def test_write_builder_from_ring(tool, tmp_path):
    filled(tool)
    os.unlink(tool.path)
    assert tool()[0] == 2
    assert tool('write_builder', 2)[0] == 0
    assert tool('validate')[0] == 0
    assert tool('write_builder', 2)[0] == 2
    assert 'Serialization version: 1' in tool('version')[1]


@pytest.mark.parametrize(('text', 'found'), [
    ('d74', {'id': 74}), ('r4', {'region': 4}), ('z1', {'zone': 1}),
    ('z1-1.2.3.4', {'zone': 1, 'ip': '1.2.3.4'}), ('1.2.3.4', {'ip': '1.2.3.4'}),
    ('z1:5678', {'zone': 1, 'port': 5678}), (':5678', {'port': 5678}),
    ('R5.6.7.8', {'replication_ip': '5.6.7.8'}), ('R:5678', {'replication_port': 5678}),
    ('1.2.3.4R5.6.7.8', {'ip': '1.2.3.4', 'replication_ip': '5.6.7.8'}),
    ('/sdb1', {'device': 'sdb1'}), ('_shiny', {'meta': 'shiny'}),
    ('_"snet: 5.6.7.8"', {'meta': 'snet: 5.6.7.8'}), ('[::1]', {'ip': '::1'}),
    ('z1-[::1]:5678', {'zone': 1, 'ip': '::1', 'port': 5678}),
    ('d74r4z1-1.2.3.4:5678R5.6.7.8:9/sdb1_"x"', {
        'id': 74, 'region': 4, 'zone': 1, 'ip': '1.2.3.4', 'port': 5678,
        'replication_ip': '5.6.7.8', 'replication_port': 9, 'device': 'sdb1', 'meta': 'x'})])
def test_search_values(text, found):
    assert devices.parse_search(text) == found
