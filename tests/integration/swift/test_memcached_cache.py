# SPDX-License-Identifier: Apache-2.0
"""The proxy's cache in a real memcached."""

import json
import logging
import pickle
import uuid

import pytest
from private_server import PrivateServer
from pymemcache.client.base import Client
from tls_peer import BAD, TlsPeer

from swift.common.exceptions import ConfigError
from swift.common.memcached import MemcacheCache, _read_line, make_cache
from swift.common.request import real_text, split_path, wsgi_text
from swift.proxy import cached_info


@pytest.fixture
def cache(memcached_address):
    made = make_cache({'memcache_servers': memcached_address, 'swift_dir': '/nonexistent'})
    yield made
    made.close()


def server_of(cache):
    return next(iter(cache.servers.values()))


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
    data = pickle.dumps({'status': 200})
    answer = server_of(cache).ask(b'set %b 0 60 %d\r\n%b\r\n' % (
        cache._key(key).encode(), len(data), data), _read_line)
    assert answer == b'STORED'
    assert cache.get(key) is None


def test_several_values_are_one_question(cache, monkeypatch):
    keys = [str(uuid.uuid4()) for _ in range(3)]
    cache.set(keys[0], 'END\r\n' * 40_000, 60)
    cache.set(keys[2], {'a': 1}, 60)
    server = server_of(cache)
    asked, ask = [], server.ask
    monkeypatch.setattr(server, 'ask', lambda *args: asked.append(args) or ask(*args))
    assert cache.get_many(keys) == ['END\r\n' * 40_000, None, {'a': 1}]
    assert len(asked) == 1


def test_who_asks_about_an_object_s_container_is_told_of_the_account(cache, monkeypatch):
    account, container = str(uuid.uuid4()), 'ä'
    keys = [cached_info.cache_key(account), cached_info.cache_key(account, container)]
    for key in keys:
        cache.set(key, {'status': 204, 'key': key}, 60)
    asked, get_many = [], cache.get_many
    monkeypatch.setattr(cache, 'get_many', lambda keys: asked.append(keys) or get_many(keys))
    env = {'swift.cache': cache, 'PATH_INFO': wsgi_text(f'/v1/{account}/{container}/o')}
    assert split_path(env)[2] == container
    for key in keys[::-1]:
        assert real_text(cached_info._known(env, key)['key']) == key
    assert len(asked) == 1
    env = {'swift.cache': cache, 'PATH_INFO': f'/v1/{account}'}
    split_path(env)
    assert cached_info._known(env, keys[0])['status'] == 204
    assert asked[1:] == [(keys[0],)]


def test_a_dead_server_is_a_miss(free_port):
    cache = MemcacheCache([f'127.0.0.1:{free_port()}'])
    cache.set('a', 1, 60)
    assert cache.get('a') is None
    cache.delete('a')


@pytest.mark.parametrize(('conf', 'dead'), [
    ({}, [True, True, True]), ({'error_suppression_limit': '3'}, [False, False, True]),
    ({'error_suppression_interval': '0'}, [False, False, False])])
def test_a_server_is_left_alone_after_so_many_failures(free_port, conf, dead):
    cache = make_cache({'memcache_servers': f'127.0.0.1:{free_port()}',
                        'swift_dir': '/nonexistent', **conf})
    found = []
    for _ in dead:
        cache.get('a')
        found.append(cache._server('a') is None)
    assert found == dead


@pytest.mark.parametrize(('tries', 'found'), [('3', 'here'), ('1', None)])
def test_who_fails_has_the_next_one_asked_at_once(memcached_address, free_port, tries, found):
    cache = make_cache({'memcache_servers': f'127.0.0.1:{free_port()}, {memcached_address}',
                        'swift_dir': '/nonexistent', 'error_suppression_interval': '0',
                        'tries': tries})
    dead, _ = cache.servers.values()
    key = next(key for key in map(str, range(999)) if cache._server(cache._key(key)) is dead)
    cache.set(key, 'here', 60)
    assert cache.get(key) == found
    assert cache.get_many([key, 'other']) == [found, None]
    cache.close()


def test_values_that_are_too_large_to_last_are_told_of(memcached_address, caplog):
    for most, told in ((-1, 0), (100, 1), (0, 2)):
        cache = make_cache({'memcache_servers': memcached_address, 'swift_dir': '/nonexistent',
                            'log_address': '/none', 'item_size_warning_threshold': str(most)})
        cache.logger = logging.getLogger('sizes')
        caplog.clear()
        cache.set('short', 'x', 60)
        cache.set('long', 'x' * 100, 60)
        assert len(caplog.messages) == told
        cache.close()


def test_failures_that_are_long_past_do_not_count(free_port):
    cache = make_cache({'memcache_servers': f'127.0.0.1:{free_port()}', 'swift_dir': '/nonexistent',
                        'error_suppression_limit': '2', 'error_suppression_interval': '30'})
    server = server_of(cache)
    cache.get('a')
    server.failed_at -= 31
    cache.get('a')
    assert cache._server('a') is server
    cache.get('a')
    assert cache._server('a') is None


def test_keystonemiddleware_can_keep_its_tokens_here(cache):
    key = str(uuid.uuid4())
    cache.set(key, b'["x"]', time=60)
    assert cache.get(key) == '["x"]'


def test_long_values_and_those_that_look_like_an_end(cache):
    key = str(uuid.uuid4())
    for value in ('x' * 500_000, 'a\r\nEND\r\nb', ''):
        cache.set(key, value, 60)
        assert cache.get(key) == value
    cache.set(key, 'x' * 2_000_000, 60)         # more than memcached takes
    assert cache.get(key) in (None, '')
    assert cache.get(key + 'other') is None     # and the connection is in step


def test_numbers(cache):
    key = str(uuid.uuid4())
    assert [cache.incr(key, delta, 60) for delta in (5, 3, -1, -100, 2)] == [5, 8, 7, 0, 2]
    assert cache.incr(key + 'b', -1, 60) == 0


def test_a_server_that_closed_idle_connections_is_asked_anew(cache):
    key = str(uuid.uuid4())
    cache.set(key, 'here', 60)
    for _ in range(2):
        server_of(cache).idle[0].sendall(b'quit\r\n')
        assert cache.get(key) == 'here'


def test_keys_of_a_dead_server_live_on_another(memcached_address, free_port):
    cache = MemcacheCache([f'127.0.0.1:{free_port()}', memcached_address])
    keys = [str(uuid.uuid4()) for _ in range(40)]
    dead, live = cache.servers.values()
    assert {cache._server(cache._key(key)) for key in keys} == {dead, live}
    for _ in range(2):                          # the first that is tried finds out
        for key in keys:
            cache.set(key, key, 60)
    assert [cache.get(key) for key in keys] == keys
    cache.close()


class TlsMemcached(PrivateServer):
    """A memcached that speaks TLS only, with the certificate of a TlsPeer."""

    def __init__(self, port, chain, *options):
        super().__init__(port, 'memcached')
        self.options = ','.join((f'ssl_chain_cert={chain}', f'ssl_key={chain}', *options))

    def command(self):
        return ['memcached', '-u', 'root', '-l', '127.0.0.1', '-p', str(self.port), '-m', '8', '-Z',
                '-o', self.options]

    def greets(self, probe):
        return True


@pytest.fixture
def by_tls(free_port, tmp_path):
    """A function: the cache in a memcached whose certificate is of a kind, by more options."""
    made = []

    def start(kind, *options, **conf):
        peer = TlsPeer(kind, tmp_path)
        peer.close = peer._server.server_close
        memcached = TlsMemcached(free_port(), tmp_path / 'peer.pem', *options)
        made.extend((peer, memcached))
        memcached.start()
        cache = make_cache({'memcache_servers': f'127.0.0.1:{memcached.port}', 'tls_enabled': 'yes',
                            'swift_dir': '/nonexistent', 'connect_timeout': '5', 'io_timeout': '5',
                            'tls_cafile': peer.ca, **conf})
        made.append(cache)
        return cache
    yield start
    for one in reversed(made):
        one.close()


def test_by_tls(by_tls):
    cache = by_tls('good')
    for value in ('x' * 500_000, {'a': 1}):
        cache.set('key', value, 60)
        assert cache.get('key') == value
    assert cache.incr('number', 5, 60) == 5
    assert len(server_of(cache).idle) == 1


@pytest.mark.parametrize('kind', BAD)
def test_security_a_memcached_that_may_be_anyones_is_told_nothing(by_tls, kind):
    cache = by_tls(kind)
    cache.set('key', 'secret', 60)
    assert cache.get('key') is None and server_of(cache).dead_until
    assert server_of(cache).idle == []


def test_security_a_system_does_not_vouch_for_a_private_authority(by_tls):
    cache = by_tls('good', tls_cafile='')
    cache.set('key', 'secret', 60)
    assert server_of(cache).dead_until


def test_by_tls_with_a_certificate_of_our_own(by_tls, tmp_path):
    wants = ('ssl_verify_mode=2', f'ssl_ca_cert={tmp_path}/ca.pem')
    cache = by_tls('good', *wants)
    cache.set('key', 1, 60)
    assert cache.get('key') is None
    cache = by_tls('good', *wants, tls_certfile=f'{tmp_path}/peer.pem')
    cache.set('key', 1, 60)
    assert cache.get('key') == 1


@pytest.mark.parametrize('name', ['tls_cafile', 'tls_certfile', 'tls_keyfile'])
def test_files_that_are_none_are_refused(by_tls, name, tmp_path):
    by_tls('good')
    more = {'tls_certfile': f'{tmp_path}/peer.pem'} if name == 'tls_keyfile' else {}
    (tmp_path / 'none').write_text('none')
    for path in ('/nonexistent', str(tmp_path / 'none')):
        with pytest.raises(ConfigError, match=name):
            make_cache({'memcache_servers': '127.0.0.1:1', 'swift_dir': '/nonexistent',
                        'tls_enabled': 'yes', **more, name: path})
