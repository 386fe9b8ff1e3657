# SPDX-License-Identifier: Apache-2.0
"""What the options of affinities, sorting and concurrency make of the order of nodes."""

import itertools
import logging
import re
from pathlib import Path

import pytest

import swift
from swift.common import storage, storage_policy
from swift.common.exceptions import ConfigError
from swift.common.ring import Ring, RingBuilder
from swift.proxy.nodes import ErrorLimiter, OrderedNodes, RoutedNodes
from swift.proxy.routed import RoutedApplication
from swift.proxy.routes import (
    OF_POLICY,
    Route,
    Routes,
    Timings,
    parse_read_affinity,
    parse_write_affinity,
)
from swift.proxy.server import Application, app_factory

POLICIES = {'storage-policy:0': {'name': 'gold', 'default': 'yes'},
            'storage-policy:1': {'name': 'silver'}}


def node(i, region, zone=1, **more):
    return dict(id=i, region=region, zone=zone, ip=f'10.0.{region}.{i}', port=6200,
                device=f'd{i}', **more)


class RegionRing(Ring):
    """Three primaries, one of them in region 1, and as many handoffs as a test says."""

    def __init__(self, *handoff_regions):
        self.primaries = [node(0, 1), node(1, 2), node(2, 2)]
        self.handoffs = [node(3 + n, region, handoff_index=n)
                         for n, region in enumerate(handoff_regions)]

    def get_part_nodes(self, part):
        return list(self.primaries)

    def get_more_nodes(self, part):
        return iter(self.handoffs)


def ids(nodes):
    return [n['id'] for n in nodes]


# -- options -------------------------------------------------------------------
def test_read_affinity_takes_the_least_number_that_fits():
    distance = parse_read_affinity('r1=100, r1z2=50, r2 = 200,r2z7=300')
    assert [distance(node(0, *place)) for place in ((1, 1), (1, 2), (2, 1), (2, 7), (3, 1))] == [
        100, 50, 200, 200, float('inf')]
    assert parse_read_affinity(' ') is None


def test_write_affinity_takes_regions_and_zones():
    is_local = parse_write_affinity('r1, r2z3')
    assert [is_local(node(0, *place)) for place in ((1, 9), (2, 3), (2, 1), (3, 3))] == [
        True, True, False, False]
    assert parse_write_affinity('') is None


@pytest.mark.parametrize(('option', 'value'), [
    ('sorting_method', 'nearest'), ('timing_expiry', 'soon'), ('timing_expiry', '-1'),
    ('read_affinity', 'r1'), ('read_affinity', 'r1=x'), ('read_affinity', 'r1=-1'),
    ('read_affinity', 'z1=1'), ('read_affinity', 'r1z=1'), ('read_affinity', 'r\u0661=1'),
    ('write_affinity', 'r1=100'), ('write_affinity', 'region1'), ('write_affinity', 'r1 r2'),
    ('write_affinity_node_count', 'all'), ('write_affinity_node_count', '2 * nodes'),
    ('write_affinity_handoff_delete_count', 'many'),
    ('write_affinity_handoff_delete_count', '-1'),
    ('concurrency_timeout', 'half'), ('concurrent_ec_extra_requests', '1.5')])
def test_what_cannot_be_is_refused_by_name(tmp_path, option, value):
    policies = storage_policy.parse_policies(POLICIES)
    with pytest.raises(ConfigError, match=rf'^{option}\b'):
        Routes({option: value}, policies)
    if option == 'timing_expiry':
        return                     # of all policies at once
    path = tmp_path / 'proxy.conf'
    path.write_text(f'[proxy-server:policy:1]\n{option} = {value}\n')
    with pytest.raises(ConfigError, match=rf'^\[proxy-server:policy:1\] {option}\b'):
        Routes({'__file__': str(path)}, policies)


@pytest.mark.parametrize('index', ['7', 'silver', ''])
def test_a_section_of_no_policy_is_refused(tmp_path, index):
    path = tmp_path / 'proxy.conf'
    path.write_text(f'[proxy-server:policy:{index}]\nsorting_method = timing\n')
    with pytest.raises(ConfigError, match='proxy-server:policy'):
        Routes({'__file__': str(path)}, storage_policy.parse_policies(POLICIES))


def test_the_sample_shows_them():
    sample = Path(swift.__file__).parents[1] / 'etc/swift/proxy-server.conf-sample'
    shown = set(re.findall(r'^# ([a-z_]+) =', sample.read_text(), re.MULTILINE))
    assert {*OF_POLICY, 'timing_expiry'} <= shown


def test_a_policys_section_overrides_and_default_comes_between(tmp_path):
    path = tmp_path / 'proxy.conf'
    path.write_text('[DEFAULT]\nread_affinity = r3=1\n[app:proxy-server]\nuse = egg:swift#proxy\n'
                    '[proxy-server:policy:1]\nconcurrent_gets = on\nwrite_affinity = r2\n')
    routes = Routes({'__file__': str(path), 'read_affinity': 'r1=1', 'write_affinity': 'r1',
                     'sorting_method': 'AFFINITY', 'conn_timeout': '2'},
                    storage_policy.parse_policies(POLICIES))
    default, silver = routes.of_policy(0), routes.of_policy(1)
    assert default is routes.default and not default.concurrent and silver.concurrent
    assert [route.distance(node(0, 1)) == 1 for route in (default, silver)] == [True, False]
    assert silver.distance(node(0, 3)) == 1
    assert default.is_local(node(0, 1)) and not silver.is_local(node(0, 1))
    assert silver.sorting == 'affinity' and silver.stagger == 2


@pytest.mark.parametrize(('conf', 'plain'), [
    ({}, True), ({'sorting_method': 'affinity'}, True), ({'read_affinity': 'r1=1'}, True),
    ({'write_affinity_node_count': '9', 'concurrency_timeout': '1'}, True),
    ({'sorting_method': 'affinity', 'read_affinity': 'r1=1'}, False),
    ({'sorting_method': 'timing'}, False), ({'write_affinity': 'r1'}, False),
    ({'concurrent_gets': 'yes'}, False)])
def test_only_who_asks_for_something_pays_for_it(conf, plain):
    assert Routes(conf, storage_policy.parse_policies({})).are_plain == plain


# -- the order of nodes --------------------------------------------------------
def test_a_new_object_goes_to_local_nodes_first():
    ring = RegionRing(2, 1, 2, 1, 1)
    for count, expected in (('2 * replicas', [0, 4, 6, 7, 1, 2, 3, 5]),
                            ('2', [0, 4, 1, 2, 3, 5, 6, 7]),
                            ('0', [0, 1, 2, 3, 4, 5, 6, 7])):
        route = Route.of({'write_affinity': 'r1', 'write_affinity_node_count': count})
        nodes = ids(route.local_first(ring, 0, ring.get_part_nodes(0)))
        assert nodes == expected


def test_a_new_object_does_not_go_to_who_is_shut_out():
    ring, limiter = RegionRing(2, 1, 2, 1, 1), ErrorLimiter()
    limiter.shut_out(ring.primaries[0])
    limiter.shut_out(ring.handoffs[1])
    route = Route.of({'write_affinity': 'r1'})
    nodes = OrderedNodes(limiter, route.local_first(ring, 0, ring.get_part_nodes(0)), 5)
    assert ids(nodes) == [6, 7, 1, 2, 3] and next(nodes, None) is None


@pytest.mark.parametrize(('count', 'regions', 'expected'), [
    ('auto', (2, 1, 2, 1, 1), [0, 1, 2, 4, 6]), ('auto', (2, 1), [0, 1, 2, 4]),
    ('1', (1, 1, 1), [0, 1, 2, 3]), ('0', (1, 1, 1), [0, 1, 2]), ('Auto', (2, 2), [0, 1, 2])])
def test_updates_go_to_local_handoffs_too(count, regions, expected):
    ring = RegionRing(*regions)
    route = Route.of({'write_affinity': 'r1', 'write_affinity_handoff_delete_count': count})
    assert ids(route.with_handoffs(ring, 0, ring.get_part_nodes(0))) == expected


def test_no_handoff_is_given_twice():
    ring = RegionRing(2, 1, 2, 1, 1)
    first = [*ring.primaries, ring.handoffs[1], ring.handoffs[3]]
    nodes = RoutedNodes(ErrorLimiter(), ring, 0, first, 7, Route.of({}))
    assert nodes.most == 5 and nodes.primaries_left
    assert ids(itertools.islice(nodes, 5)) == [0, 1, 2, 4, 6]
    assert not nodes.primaries_left and ids(nodes) == [3, 5]


def test_timings_are_forgotten():
    now = [100.0]
    timings = Timings(300, clock=lambda: now[0])
    timings.note(node(1, 1), 0.01234)
    assert timings.of(node(1, 1)) == 0.012 and timings.of(node(2, 1)) == -1
    now[0] = 400.0
    assert timings.of(node(1, 1)) == -1


# -- the application -----------------------------------------------------------
@pytest.fixture
def etc(tmp_path, monkeypatch):
    """Rings of two regions with three devices each, and two policies; what `conf` has to say."""
    monkeypatch.setattr(storage, '_secrets', (b'', b'tests'))
    monkeypatch.setattr(storage_policy, '_policies', storage_policy.parse_policies(POLICIES))
    builder = RingBuilder(4, 3, 0)
    for n in range(6):
        builder.add_dev(dict(region=1 + n // 3, zone=n, ip=f'10.0.0.{n}', port=6200,
                             device=f'd{n}', weight=1))
    builder.rebalance(seed='tests')
    for name in ('account', 'container', 'object', 'object-1'):
        builder.get_ring().save(str(tmp_path / f'{name}.ring.gz'))

    def made(text='', **conf):
        path = tmp_path / 'proxy.conf'
        path.write_text('[app:proxy-server]\nuse = egg:swift#proxy\n' + text)
        return app_factory({'__file__': str(path), 'swift_dir': str(tmp_path),
                            'log_address': '/none'}, **conf)
    return made


def regions(app, ring, shuffled=True):
    part, primaries = ring.get_nodes('a', 'c', 'o')
    return [n['region'] for n in app.node_iter(ring, part, primaries, shuffle=shuffled)]


def test_an_application_that_is_asked_for_nothing_is_the_plain_one(etc):
    assert type(etc()) is Application
    assert type(etc('[proxy-server:policy:1]\nsorting_method = shuffle\n')) is Application
    assert type(etc('[proxy-server:policy:1]\nsorting_method = timing\n')) is RoutedApplication


@pytest.mark.parametrize('near', [1, 2])
def test_reads_ask_near_primaries_first(etc, near):
    app = etc(f'[proxy-server:policy:1]\nread_affinity = r{3 - near}=1\n',
              sorting_method='affinity', read_affinity=f'r{near}=100')
    primaries = {n['region'] for n in app.object_ring(0).get_nodes('a', 'c', 'o')[1]}
    assert primaries == {1, 2}
    for _ in range(20):
        for ring in (app.object_ring(0), app.container_ring):
            order = regions(app, ring)
            assert order[0] == near and order[2] == 3 - near and len(order) == 6
        assert regions(app, app.object_ring(1))[0] == 3 - near


def test_equals_share_the_load(etc):
    app = etc(sorting_method='affinity', read_affinity='r1=1,r2=1')
    ring = app.object_ring(0)
    part, primaries = ring.get_nodes('a', 'c', 'o')
    assert {next(app.node_iter(ring, part, primaries, shuffle=True))['id']
            for _ in range(100)} == set(ids(primaries))


def test_fragments_that_are_the_data_go_first_among_equals(etc):
    app = etc(sorting_method='affinity', read_affinity='r1=1')
    ring = app.object_ring(0)
    given = [node(0, 2), node(1, 1), node(2, 2), node(3, 1)]
    assert ids(itertools.islice(app.fragment_iter(ring, 0, given), 4)) == [1, 3, 0, 2]


def test_timing_asks_the_quickest_first_and_whom_it_does_not_know(etc):
    app = etc(sorting_method='timing', timing_expiry='60')
    assert app.timings.expiry == 60
    ring = app.object_ring(0)
    part, primaries = ring.get_nodes('a', 'c', 'o')
    for seconds, place in zip((0.3, 0.1), primaries, strict=False):
        app.timings.note(place, seconds)
    wanted = [primaries[2]['id'], primaries[1]['id'], primaries[0]['id']]
    assert ids(itertools.islice(app.node_iter(ring, part, primaries, shuffle=True), 3)) == wanted


def test_writes_of_databases_know_no_affinity(etc):
    app = etc(write_affinity='r1')
    ring = app.container_ring
    part, primaries = ring.get_nodes('a', 'c')
    assert ids(app.node_iter(ring, part, primaries))[:3] == ids(primaries)
    objects = app.object_ring(1)
    assert [n['region'] for n in app.write_iter(objects, part, primaries)] == [1, 1, 1, 2, 2, 2]


def test_read_affinity_without_the_sorting_is_told(etc, caplog, monkeypatch):
    monkeypatch.setattr('swift.proxy.server.get_logger', lambda *_: logging.getLogger('routes'))
    etc(read_affinity='r1=1', concurrent_gets='on')
    assert caplog.messages == ['read_affinity changes nothing: sorting_method is shuffle']
