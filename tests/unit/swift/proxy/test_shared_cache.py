# SPDX-License-Identifier: Apache-2.0
"""Entries of accounts and containers: in a memcached that OpenStack Swift's proxies share, and how
often they are looked at."""
from types import SimpleNamespace

import pytest

from swift.common import storage_policy
from swift.common.exceptions import ConfigError
from swift.common.memcached import LocalCache
from swift.common.ring import Ring
from swift.proxy import cached_info
from swift.proxy.cached_info import (
    account_entry,
    cache_key,
    container_entry,
    get_account_info,
    get_container_info,
)
from swift.proxy.controllers.base import Controller
from swift.proxy.server import Application


@pytest.mark.parametrize('missing', [{'status': 404}, {'status': 404, 'deleted': False},
                                     {'status': 200, 'account_really_exists': False}],
                         ids=["Swift's", 'ours', "Swift's of one to be made"])
def test_an_account_is_made_that_was_not_there(missing, monkeypatch):
    entries = [missing, {'status': 200}]
    app = SimpleNamespace(account_autocreate=True, info_cache=SimpleNamespace(
        account=lambda *names: entries[0], forget=lambda *names: None))
    monkeypatch.setattr(Controller, 'create_account', lambda self: entries.pop(0))
    controller = object.__new__(Controller)
    controller.app, controller.req, controller.account = app, None, 'AUTH_new'
    assert controller.account_exists(create=True) == {'status': 200}


@pytest.fixture
def two_policies(monkeypatch):
    monkeypatch.setattr(storage_policy, '_policies', storage_policy.parse_policies({
        'storage-policy:0': {'name': 'Gold', 'default': 'yes'},
        'storage-policy:1': {'name': 'silver'}}))


def test_what_an_account_has_by_each_policy_is_remembered(two_policies):
    entry = account_entry(204, {'x-account-storage-policy-gold-container-count': '2',
                                'x-account-storage-policy-gold-object-count': '3',
                                'x-account-storage-policy-gold-bytes-used': '4'})
    assert entry['storage_policies'] == {
        '0': {'container_count': 2, 'object_count': 3, 'bytes': 4},
        '1': {'container_count': 0, 'object_count': 0, 'bytes': 0}}


class Proxy:
    """Answers HEAD, and has the cache remember what it said."""

    def __init__(self):
        self.cache, self.asked = LocalCache(), []

    def __call__(self, env, start):
        self.asked.append(env['PATH_INFO'])
        names = env['PATH_INFO'].split('/')[2:]
        make = container_entry if len(names) == 2 else account_entry
        self.cache.set(cache_key(*names), make(204, {}), 60)
        start('204 No Content', [])
        return [b'']

    def request(self):
        return {'PATH_INFO': '/v1/a/c/o', 'REQUEST_METHOD': 'GET', 'swift.cache': self.cache}


class Rings(Ring):
    """A ring of no file."""

    def __init__(self):
        self.replicas = 3

    @property
    def replica_count(self):
        return self.replicas


@pytest.fixture
def configured(monkeypatch, two_policies):
    """A function: a proxy's options."""
    monkeypatch.setattr(cached_info, '_skip_chances', dict(cached_info._skip_chances))
    return lambda conf: Application({'log_address': '/none', **conf}, account_ring=Rings(),
                                    container_ring=Rings())


@pytest.mark.parametrize('kind, path', [('account', '/v1/a'), ('container', '/v1/a/c')])
@pytest.mark.parametrize('percent, times', [('0', 1), ('100', 5), ('50', 3)])
def test_a_share_of_looks_is_at_what_is_true(configured, monkeypatch, kind, path, percent, times):
    configured({f'{kind}_existence_skip_cache_pct': percent})
    chances = iter([0.9, 0.1] * 9)
    monkeypatch.setattr(cached_info, 'random', SimpleNamespace(random=lambda: next(chances)))
    proxy = Proxy()
    monkeypatch.setattr(cached_info, 'remember', lambda env, key, entry, seconds:
                        env['swift.cache'].set(key, entry, seconds))
    get = get_container_info if kind == 'container' else get_account_info
    for _ in range(5):
        env = proxy.request()
        assert get(env, proxy)['status'] == 204
        get(env, proxy)                               # one request looks once
    assert proxy.asked == [path] * times
    other = get_account_info if kind == 'container' else get_container_info
    proxy.asked.clear()
    for _ in range(5):
        other(proxy.request(), proxy)
    assert len(proxy.asked) == 1


@pytest.mark.parametrize('value', ['101', '-1', 'often'])
@pytest.mark.parametrize('option', [
    'account_existence_skip_cache_pct', 'container_existence_skip_cache_pct',
    'container_listing_shard_ranges_skip_cache_pct'])
def test_a_share_is_of_a_hundred(configured, option, value):
    with pytest.raises(ConfigError, match=option):
        configured({option: value})
