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
        captured = capsys.readouterr()
        run.errors = captured.err
        return code, captured.out
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
    assert tool('search', '--ip', '10.0.0.3')[1].splitlines()[1].split() == [
        '2', '1', '3', '10.0.0.3', '6200', '10.0.0.3', '6200', 'sd3', '100.00', '12', '0.00']
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
    assert tool('remove', 'd0')[0] == 0
    assert len(RingBuilder.load(tool.path)._remove_devs) == 1
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
    before = RingBuilder.load(tool.path).version
    assert tool('set_weight', 'd0', 100.1)[0] == 0
    code, out = tool('rebalance')
    assert code == 1 and 'no need' in out
    builder = RingBuilder.load(tool.path)
    assert builder.version == before + 1 and builder.devs_changed


def test_force_saves_though_nothing_moved(tool, tmp_path):
    filled(tool)
    before = RingBuilder.load(tool.path).version
    assert tool('rebalance', '-f')[0] == 0
    assert RingBuilder.load(tool.path).version == before + 1
    assert RingData.load(str(tmp_path / 'object.ring.gz')).version == before + 1


@pytest.mark.parametrize('args', [
    ('nonsense',), ('create', 'x'), ('create', 4, 3), ('create', 99, 3, 1), ('add', 'foo', 1),
    ('add', 'z1-1.1.1.1:6200/a'), ('add', 'z1-1.1.1.1:99999/a', 1), ('add', 'z1-1.1.1.1:1/a', -1),
    ('add', 'z1-1.1.1.1:1/..', 1), ('add', 'z1-1.1.1.1:1/a', 'nan'), ('search', ''),
    ('set_min_part_hours', 'x'), ('set_replicas', 'x'), ('set_overload', 'x'), ('remove',),
    ('increase_partition_power',), ('set_info', 'd0', 'z3'), ('write_ring', '--nonsense'),
    ('add', 'z1r1-10.0.0.9:6200/a', 1), ('add', 'r1z1-localhost:6200/a', 1),
    ('add', 'r1z1-10.0.0.999:6200/a', 1), ('add', 'r1z1-10.0.0.9:6200R10.0.0.9/a', 1),
    ('add', 'r1z1-10.0.0.9:6200R:6201/a', 1), ('set_replicas', 'nan'),
    ('add', '-r', 1, '-z', 1, '-i', '10.0.0.9', '-p', 6200, '-d', 'a', '-w', 1,
     'r1z1-10.0.0.9:6200/b', 1),
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
    version = RingBuilder.load(tool.path).version
    assert tool('set_min_part_hours', 5)[0] == 0
    assert tool('set_replicas', 2.5)[0] == 0
    # neither changes what a ring written now would be
    assert RingBuilder.load(tool.path).version == version
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


def test_usage_is_no_error(capsys):
    assert ringbuilder.run([]) == 0
    assert 'write_builder' in capsys.readouterr().out


def test_letters_are_options_of_the_command(tool):
    filled(tool)
    assert tool('add', '-r', 2, '-z', 3, '-i', '[FE80::09]', '-p', 6200, '-j', '10.1.0.9', '-q',
                6300, '-d', 'sdx', '-w', 40, '-m', 'spare')[0] == 0
    dev = RingBuilder.load(tool.path).devs[4]
    assert (dev['region'], dev['ip'], dev['replication_ip'], dev['replication_port']) == \
        (2, 'fe80::9', '10.1.0.9', 6300)
    assert tool('search', '-d', 'sdx', '-r', 2)[0] == 0
    assert tool('set_weight', '-u', 4, 60)[0] == 0
    assert tool('set_info', '-u', 4, '-I', 'Host-9', '-P', 1, '-J', '[::1]', '-Q', 7, '-D', 'sdy',
                '-M', 'x y')[0] == 0
    dev = RingBuilder.load(tool.path).devs[4]
    assert [dev[k] for k in ('weight', 'ip', 'port', 'replication_ip', 'replication_port',
                             'device', 'meta')] == [60, 'host-9', 1, '::1', 7, 'sdy', 'x y']
    assert tool('rebalance', '-f', '-s', 1, '-d')[0] in (0, 1)
    assert tool('remove', '-d', 'sdy', '-y')[0] == 0


def test_no_region_is_region_one_with_a_warning(tool):
    filled(tool)
    assert tool('add', 'z1-10.0.0.9:6200/sdx', 100)[0] == 0
    assert 'region 1' in tool.errors
    assert RingBuilder.load(tool.path).devs[4]['region'] == 1


def test_yes_tells_what_it_changes(tool):
    filled(tool)
    out = tool('set_weight', 'r1', 5, '--yes')[1]
    assert out.startswith('Matched more than one device:\n    d0r1z1-10.0.0.1:6200R')


def test_quotes_are_part_of_what_is_stored(tool):
    filled(tool)
    assert tool('set_info', 'd1', '_"a b"')[0] == 0
    assert RingBuilder.load(tool.path).devs[1]['meta'] == '"a b"'
    assert tool('search', '_a b')[0] == 0


def test_devices_to_be_removed_count_until_then(tool):
    filled(tool)
    tool('remove', 'd3')
    out = tool()[1]
    assert '4 zones, 4 devices, 2-byte IDs, 999.99 balance' in out
    code, out = tool('dispersion', '-v')
    assert code == 1 and 'Worst tier is 100.000000 (r1z4)' in out
    held = RingBuilder.load(tool.path).devs[3]['parts']
    assert f'Dispersion is {100 * held / 48:.6f}' in out
    row = next(line.split() for line in out.splitlines() if line.startswith('r1z4-10.0.0.4/sd4'))
    assert row[1:] == [str(held), '100.00', '0', str(16 - held), str(held), '0', '0']


def test_dispersion_of_tiers_by_name(tool):
    filled(tool)
    code, out = tool('dispersion', r'r\d+z\d+$', '-v')
    assert code == 0 and [line.split()[:4] for line in out.splitlines() if line[:2] == 'r1'] == [
        [f'r1z{n}', '12', '0.00', '1'] for n in range(1, 5)]
    assert 'Tier' not in tool('dispersion', 'elsewhere', '-v')[1]
    assert tool('dispersion', '[')[0] == 2


def test_dispersion_is_told_with_a_warning(tool):
    tool('create', 4, 3, 1)
    for place, weight in (('z1-10.0.0.1:6200/a', 100), ('z1-10.0.0.1:6200/b', 100),
                          ('z2-10.0.0.2:6200/a', 50), ('z3-10.0.0.3:6200/a', 50)):
        tool('add', f'r1{place}', weight)
    code, out = tool('rebalance', '--seed', 1)
    assert code == 1 and 'NOTE: Dispersion of' in out
    assert RingBuilder.load(tool.path).dispersion > 0


def test_an_empty_ring_is_not_written(tool, tmp_path):
    tool('create', 4, 3, 1)
    assert tool('write_ring')[0] == 2
    assert not (tmp_path / 'object.ring.gz').exists()
    tool('add', 'r1z1-10.0.0.1:6200/a', 1)
    assert tool('write_ring')[0] == 0
    assert 'rebalance' in tool.errors


def test_wide_device_ids(tool, tmp_path):
    filled(tool)
    assert tool('write_ring', '--dev-id-bytes', 4)[0] == 2
    assert tool('write_ring', '--format-version', 2, '--dev-id-bytes', 4)[0] == 0
    ring = RingData.load(str(tmp_path / 'object.ring.gz'))
    assert ring.dev_id_bytes == 4
    assert [list(row) for row in ring.table] == [
        list(row) for row in RingBuilder.load(tool.path)._replica2part2dev]
    assert '4-byte IDs' in tool('version')[1]


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
