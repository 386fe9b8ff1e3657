# SPDX-License-Identifier: Apache-2.0
"""The proxy's cache in a real memcached."""

import json
import pickle
import uuid

import pytest
from pymemcache.client.base import Client

from swift.common.memcached import MemcacheCache, make_cache
from swift.common.request import wsgi_text
from swift.proxy import cached_info


@pytest.fixture
def cache(memcached_address):
    made = make_cache({'memcache_servers': memcached_address, 'swift_dir': '/nonexistent'})
    yield made
    made.close()


def test_values_come_back(cache):
    assert isinstance(cache, MemcacheCache)
    key = f'container/ä/{uuid.uuid4()}'
    assert cache.get(key) is None
    entry = {'status': 200, 'read_acl': None, 'meta': {'a': 'é'}}
    cache.set(key, entry, 60)
    assert cache.get(key) == entry
    cache.delete(key)
    assert cache.get(key) is None


def test_openstack_swifts_proxies_can_share_it(cache, memcached_address):
    """They parse what is flagged as JSON only, want real text, and write less of accounts."""
    name, env = str(uuid.uuid4()), {'swift.cache': cache}
    entry = cached_info.container_entry(200, {
        'x-container-read': wsgi_text('test:ü'), 'x-container-object-count': '1',
        wsgi_text('x-container-meta-größe'): wsgi_text('groß'), 'x-container-meta-a': 'b'})
    key = cached_info.cache_key('AUTH_a', name)
    cached_info.remember(env, key, entry, 60)
    assert cached_info._known({'swift.cache': cache}, key) == entry

    host, port = memcached_address.rsplit(':', 1)
    flagged = Client((host, int(port)), serde=Flags)
    stored, flags = flagged.get(cache._key(key))
    shared = json.loads(stored)
    assert flags == 2
    assert shared['read_acl'] == 'test:ü' and shared['meta'] == {'größe': 'groß', 'a': 'b'}
    flagged.close()


class Flags:
    """Shows the flags of what is stored."""

    @staticmethod
    def deserialize(_key, value, flags):
        return value, flags


def test_security_a_pickle_in_the_cache_is_a_miss(cache):
    """S1: what is no JSON is not looked at any further."""
    key = str(uuid.uuid4())
    cache.client.set(cache._key(key), pickle.dumps({'status': 200}))
    assert cache.get(key) is None


def test_a_dead_server_is_a_miss(free_port):
    cache = MemcacheCache([f'127.0.0.1:{free_port()}'])
    cache.set('a', 1, 60)
    assert cache.get('a') is None
    cache.delete('a')


def test_keystonemiddleware_can_keep_its_tokens_here(cache):
    key = str(uuid.uuid4())
    cache.set(key, b'["x"]', time=60)
    assert cache.get(key) == '["x"]'
