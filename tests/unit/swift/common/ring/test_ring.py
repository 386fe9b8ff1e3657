# SPDX-License-Identifier: Apache-2.0
"""Ring files, lookups and handoffs."""

import hashlib
import os

import pytest

from swift.common import storage
from swift.common.ring import Ring, RingBuilder, RingData
from swift.common.ring.format import RingFileError


def make_builder(power=6, replicas=3, zones=4, regions=1, per_zone=2, weight=100):
    builder = RingBuilder(power, replicas, 1)
    for r in range(regions):
        for z in range(zones):
            for h in range(per_zone):
                builder.add_dev(dict(region=r + 1, zone=z + 1, ip=f'10.{r}.{z}.{h}', port=6200,
                                     device='sda', weight=weight))
    builder.rebalance(seed='1')
    return builder


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    monkeypatch.setattr(storage, '_secrets', (b'pre', b'suf'))


@pytest.mark.parametrize('version', [1, 2])
@pytest.mark.parametrize('replicas', [3, 2.5, 1])
def test_round_trip(tmp_path, version, replicas):
    data = make_builder(replicas=replicas).get_ring()
    path = str(tmp_path / 'x.ring.gz')
    data.save(path, version)
    again = RingData.load(path)
    assert again.format_version == version
    assert again.table == data.table
    assert again.part_shift == data.part_shift and again.version == data.version
    assert [d['ip'] for d in again.devs] == [d['ip'] for d in data.devs]
    assert again.replica_count == replicas


def test_same_bytes_as_swift(tmp_path):
    """The digests were taken from the files Swift 2.38.3 writes for this very ring."""
    devs = [None, dict(id=1, region=1, zone=2, ip='10.0.0.1', port=6200, device='sdb',
                       weight=100.0, meta='', replication_ip='10.0.0.1', replication_port=6200)]
    import array
    data = RingData([array.array('H', [1] * 16)] * 2, devs, 28, version=3)
    path = str(tmp_path / 'o.ring.gz')
    for version, digest in EXPECTED.items():
        data.save(path, version)
        with open(path, 'rb') as f:
            assert hashlib.md5(f.read()).hexdigest() == digest


EXPECTED = {1: '62eaf797dc602114ce9d1d987be4d251', 2: '6a6e10a249b9ffe15aa0e37380b5cc98'}


def test_four_byte_ids_need_version_2(tmp_path):
    builder = RingBuilder(2, 1, 0)
    builder.add_dev(dict(id=70000, region=1, zone=1, ip='1.1.1.1', port=1, device='a', weight=1))
    builder.rebalance()
    ring = builder.get_ring()
    assert ring.dev_id_bytes == 4
    with pytest.raises(RingFileError):
        ring.save(str(tmp_path / 'a.ring.gz'), 1)
    ring.save(str(tmp_path / 'a.ring.gz'), 2)
    assert RingData.load(str(tmp_path / 'a.ring.gz')).table[0][0] == 70000


@pytest.mark.parametrize('blob', [b'', b'not gzip', None, 'cut'])
def test_damaged_files_are_refused(tmp_path, blob):
    path = tmp_path / 'a.ring.gz'
    if blob in (None, 'cut'):
        make_builder().get_ring().save(str(path), 2)
        raw = bytearray(path.read_bytes())
        if blob is None:
            raw[len(raw) // 2] ^= 0xff
        else:
            raw = raw[:-40]
        blob = bytes(raw)
    path.write_bytes(blob)
    with pytest.raises(RingFileError):
        RingData.load(str(path))


def test_lookup_is_hash_shift_index(tmp_path):
    data = make_builder().get_ring()
    data.save(str(tmp_path / 'object.ring.gz'))
    ring = Ring(str(tmp_path), ring_name='object')
    digest = hashlib.md5(b'pre/a/c/o' + b'suf').digest()
    part, nodes = ring.get_nodes('a', 'c', 'o')
    assert part == int.from_bytes(digest[:4], 'big') >> 26
    assert [n['id'] for n in nodes] == [row[part] for row in data.table]
    assert [n['index'] for n in nodes] == [0, 1, 2]


def test_handoffs_cover_every_other_device_zones_first(tmp_path):
    make_builder(zones=5, per_zone=3).get_ring().save(str(tmp_path / 'o.ring.gz'))
    ring = Ring(str(tmp_path), ring_name='o')
    for part in range(ring.partition_count):
        primaries = ring.get_part_nodes(part)
        more = list(ring.get_more_nodes(part))
        assert [n['handoff_index'] for n in more] == list(range(len(more)))
        ids = [n['id'] for n in primaries + more]
        assert sorted(ids) == list(range(15))
        zones = {n['zone'] for n in primaries}
        first = {n['zone'] for n in more[:5 - len(zones)]}
        assert not first & zones and len(first | zones) == 5


def test_reload_by_mtime(tmp_path):
    path = str(tmp_path / 'o.ring.gz')
    make_builder(zones=4).get_ring().save(path)
    ring = Ring(str(tmp_path), ring_name='o', reload_time=-1)
    assert len([d for d in ring.devs if d]) == 8
    make_builder(zones=5).get_ring().save(path)
    os.utime(path, (1, 1))
    assert ring.has_changed()
    assert len([d for d in ring.devs if d]) == 10
    assert not ring.has_changed()
