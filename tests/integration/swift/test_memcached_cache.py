# SPDX-License-Identifier: Apache-2.0
"""The proxy's cache in a real memcached."""

import pickle
import uuid

import pytest

from swift.common.memcached import MemcacheCache, make_cache


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
