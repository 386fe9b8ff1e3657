# SPDX-License-Identifier: Apache-2.0
"""Filters that need no store below them: rates, sync, names, logs, domains, forms."""

import hashlib
import io
import json
import logging
import os
import socket
import types

import pytest
from wsgi_call import call, environ

from swift.common import container_sync_realms, recon, storage, storage_policy
from swift.common.exceptions import ConfigError
from swift.common.memcached import LocalCache
from swift.common.middleware import (
    backend_ratelimit,
    cname_lookup,
    container_sync,
    crossdomain,
    domain_remap,
    name_check,
    object_versioning,
    ratelimit,
    staticweb,
)
from swift.common.middleware import recon as recon_filter
from swift.common.middleware.log_template import Template
from swift.common.middleware.multipart_form import Form, FormError, boundary_of
from swift.common.middleware.proxy_logging import SEEN, ProxyLogging
from swift.common.middleware.versioned_containers import public_location, split_place, version_name
from swift.common.middleware.versions_listing import VersionListing
from swift.common.request import Response
from swift.common.timestamp import Timestamp
from swift.proxy.cached_info import account_entry, cache_key, container_entry


class Below:
    """An application that remembers what it was asked."""

    def __init__(self, headers=()):
        self.asked, self.headers = [], list(headers)

    def __call__(self, env, start):
        self.asked.append(dict(env))
        return Response(200, self.headers, b'below')(env, start)


def known(container=None, account=None):
    """An environ's memory of a container and an account."""
    return {cache_key('a', 'c'): container_entry(200, container or {}),
            cache_key('a'): account_entry(200, account or {})}


@pytest.mark.parametrize(('interval', 'seen'), [('0', True), ('600', False), ('', False),
                                                ('often', False)])
def test_realms_are_looked_at_as_often_as_they_say(tmp_path, interval, seen, caplog):
    path = tmp_path / 'container-sync-realms.conf'
    default = f'[DEFAULT]\nmtime_check_interval = {interval}\n' if interval else ''
    path.write_text(default + '[one]\nkey = a\n')
    realms = container_sync_realms.Realms(str(path), logging.getLogger('realms'))
    assert bool(realms.realm('one')) == (interval != 'often')
    assert ('mtime_check_interval' in caplog.text) == (interval == 'often')
    path.write_text(default + '[one]\nkey = a\n[two]\nkey = b\n')
    assert bool(realms.realm('two')) == seen


# -- where filters may stand ---------------------------------------------------
@pytest.mark.parametrize('make', [
    lambda app: staticweb.StaticWeb(app, {}),
    lambda app: object_versioning.ObjectVersioning(app, {})])
def test_security_no_auth_below(make):
    """S17: what acts for a user must know who that is."""
    auth = types.SimpleNamespace(authorize=None, app=None)
    with pytest.raises(ConfigError, match='must stand after'):
        make(auth)


# -- rates ---------------------------------------------------------------------
def test_rates():
    assert ratelimit.rate_of([(100, 50.0), (200, 10.0)], 50) is None
    assert ratelimit.rate_of([(100, 50.0), (200, 10.0)], 150) == 30
    assert ratelimit.rate_of([(100, 50.0), (200, 10.0)], 9999) == 10
    with pytest.raises(ConfigError):
        ratelimit.read_limits({'container_ratelimit_x': '5'}, 'container_ratelimit_')


def test_too_many_writes_are_refused(monkeypatch):
    waits = []
    monkeypatch.setattr(ratelimit, 'sleep', waits.append)
    below = Below()
    app = ratelimit.RateLimit(below, {'container_ratelimit_0': '1', 'max_sleep_time_seconds': '2'})
    cache = LocalCache()

    def put():
        env = {**environ('PUT', '/v1/a/c/o'), 'swift.cache': cache, 'swift.infocache': known()}
        status = []
        app(env, lambda line, headers, exc=None: status.append(line))
        return int(status[0][:3])

    assert [put() for _ in range(5)] == [200, 200, 200, 498, 498]
    assert len(waits) == 2 and waits[0] < waits[1] <= 2
    assert call(app, 'GET', '/v1/a/c/o')[0] == 200


@pytest.mark.parametrize(('word', 'status'), [('BLACKLIST', 497), ('WHITELIST', 200)])
@pytest.mark.parametrize('path', ['/v1/a', '/v1/a/c', '/v1/a/c/o'])
@pytest.mark.parametrize('method', ['PUT', 'GET', 'HEAD', 'OPTIONS'])
def test_accounts_by_name(monkeypatch, word, status, method, path):
    monkeypatch.setattr(ratelimit, 'sleep', lambda seconds: None)
    app = ratelimit.RateLimit(Below(), {'account_blacklist': 'a'} if word == 'WHITELIST' else {})
    env = {**environ(method, path), 'swift.cache': LocalCache(), 'swift.infocache': known(
        account={'x-account-sysmeta-global-write-ratelimit': word})}
    got = []
    app(env, lambda line, headers, exc=None: got.append(line))
    assert int(got[0][:3]) == status


def test_a_disk_is_not_asked_too_much():
    app = backend_ratelimit.BackendRateLimit(Below(), {
        'requests_per_device_per_second': '1', 'requests_per_device_rate_buffer': '0.5',
        'swift_dir': '/nonexistent'})
    assert [call(app, 'GET', f'/sd{d}/1/a')[0] for d in 'aab'] == [200, 529, 200]
    free = backend_ratelimit.BackendRateLimit(Below(), {'swift_dir': '/nonexistent'})
    assert {call(free, 'GET', '/sda/1/a')[0] for _ in range(50)} == {200}


def test_a_node_s_rates_are_read_anew(tmp_path, caplog):
    path = tmp_path / 'backend-ratelimit.conf'
    path.write_text('[object-server]\nrequests_per_device_per_second = 1\n')
    now = [0.0]
    app = backend_ratelimit.BackendRateLimit(Below(), {
        'log_name': 'object-server', 'log_address': '/none', 'swift_dir': str(tmp_path),
        'requests_per_device_per_second': '1000',
        'config_reload_interval': '10'}, lambda: now[0])
    assert app.rate == 1                                  # the file counts
    path.write_text('[object-server]\nput_requests_per_device_per_second = 50\n')
    now[0] = 9.0
    call(app, 'GET', '/sda/1/a')
    assert app.rate == 1
    now[0] = 10.0
    call(app, 'GET', '/sda/1/a')
    assert app.rate == 1000 and app.rates == {'PUT': 50}
    path.write_text('[object-server]\nrequests_per_device_per_second = many\n')
    now[0] = 30.0
    assert call(app, 'GET', '/sda/1/a')[0] == 200         # and stays as it was
    assert app.rate == 1000
    path.unlink()
    now[0] = 40.0
    call(app, 'GET', '/sda/1/a')
    assert app.rate == 1000 and not app.rates
    path.write_text('[object-server]\nrequests_per_device_per_second = 2\n')
    app.reload_interval = 0
    now[0] = 1e6
    call(app, 'GET', '/sda/1/a')
    assert app.rate == 1000


# -- container sync ------------------------------------------------------------
@pytest.fixture
def sync(tmp_path):
    (tmp_path / 'container-sync-realms.conf').write_text(
        '[US]\nkey = realm\nkey2 = older\ncluster_one = http://one/v1\n')
    below = Below()
    app = container_sync.ContainerSync(below, {'swift_dir': str(tmp_path), 'current': '//us/one'})

    def send(words, stamp='1.00000', key='user', **more):
        env = {**environ('PUT', '/v1/a/c/o'), 'HTTP_X_CONTAINER_SYNC_AUTH': words,
               'swift.client_x_timestamp': stamp,
               'swift.infocache': known({'x-container-sync-key': key} if key else {}), **more}
        got = []
        app(env, lambda line, headers, exc=None: got.append(line))
        return int(got[0][:3])
    send.app, send.below = app, below
    return send


def signed(realm_key='realm', user_key='user', stamp='1.00000', path='/v1/a/c/o'):
    return 'us nonce ' + container_sync_realms.signature('PUT', path, stamp, 'nonce', realm_key,
                                                        user_key)


def test_security_only_both_keys_sync(sync):
    """S15: the realm's key and the container's, over method, path and time; addresses count for
    nothing."""
    assert sync(signed()) == 200 and sync(signed('older')) == 200
    asked = sync.below.asked[-1]
    assert asked['HTTP_X_TIMESTAMP'] == '1.00000' and asked['swift.authorize_override'] is True
    local = {'REMOTE_ADDR': '127.0.0.1', 'HTTP_X_FORWARDED_FOR': '127.0.0.1'}
    for words in (signed('wrong'), signed(user_key='wrong'), signed(path='/v1/a/c/p'),
                  signed(stamp='2.00000'), '', 'us nonce', 'us nonce \xe9', 'eu' + signed()[2:]):
        assert sync(words, **local) == 401, words
    assert sync(signed(user_key=''), key='') == 401
    assert sync(signed(stamp='x'), stamp='x') == 401
    assert len(sync.below.asked) == 2
    assert call(sync.app, 'PUT', '/v1/a/c/o', {'X-Container-Sync-Auth': 'x'})[1][
        'www-authenticate'] == 'SwiftContainerSync realm="a"'


def test_targets_of_sync(sync):
    for target, status in (('//us/one/a/c', 200), ('//US/ONE/a/c', 200), ('//us/two/a/c', 400),
                           ('//eu/one/a/c', 400), ('//us/one/a', 400), ('', 200)):
        assert call(sync.app, 'PUT', '/v1/a/c', {'X-Container-Sync-To': target})[0] == status


# -- names and domains ---------------------------------------------------------
def test_names():
    app = name_check.NameCheck(Below(), {})
    assert call(app, 'GET', '/v1/a/c/o')[0] == 200
    for path in ('/v1/a/c/<o', '/v1/a/../c', '/v1/a/c/' + 'o' * 255, "/v1/a/c/'"):
        assert call(app, 'GET', path)[0] == 400, path


@pytest.mark.parametrize(('host', 'path', 'found'), [
    ('c.AUTH_x.example.com', '/o', '/v1/AUTH_x/c/o'),
    ('auth-x.example.com:80', '/c', '/v1/AUTH_x/c'),
    ('example.com', '/v1/a', '/v1/a'), ('c.b.AUTH_x.example.com', '/', None),
    ('other_x.example.com', '/p', '/p'), ('..example.com', '/', None),
    ('auth_x-y.example.com', '/', '/v1/AUTH_x-y/'), ('auth-x-y.example.com', '/', '/v1/AUTH_x-y/')])
def test_domains(host, path, found):
    below = Below([('Location', 'http://h/v1/AUTH_x/c/d/')])
    status, headers, _ = call(domain_remap.DomainRemap(below, {}), 'GET', path, {'Host': host})
    assert status == (200 if found else 400)
    assert [env['PATH_INFO'] for env in below.asked] == ([found] if found else [])
    if host.startswith('c.AUTH_x'):
        assert headers['location'] == 'http://h/d/'


@pytest.mark.parametrize(('host', 'account'), [
    ('x', 'AUTH_x'), ('a-b-c', 'AUTH_a_b-c'), ('a_b-c', 'AUTH_a_b-c'), ('auth-a-b', 'AUTH_a-b')])
def test_the_first_dash_of_an_account_is_its_underscore(host, account):
    below = Below()
    app = domain_remap.DomainRemap(below, {'default_reseller_prefix': 'AUTH'})
    assert call(app, 'GET', '/o', {'Host': f'c.{host}.example.com'})[0] == 200
    assert below.asked[0]['PATH_INFO'] == f'/v1/{account}/c/o'


def test_cnames():
    names = {'www.me.org': 'c.AUTH_x.example.com', 'a.org': 'b.org', 'b.org': 'x.example.com'}
    below = Below()
    app = cname_lookup.CnameLookup(below, {'lookup_depth': '2'}, lambda n: (names.get(n), 60))
    for host, found in (('www.me.org:81', 'c.AUTH_x.example.com:81'), ('a.org', 'x.example.com'),
                        ('c.example.com', 'c.example.com'), ('127.0.0.1', '127.0.0.1')):
        assert call(app, 'GET', '/', {'Host': host})[0] == 200
        assert below.asked[-1]['HTTP_HOST'] == found
    assert call(app, 'GET', '/', {'Host': 'nowhere.org'})[0] == 400


def test_security_cross_domain_policy():
    """S26."""
    app = crossdomain.CrossDomain(Below(), {'cross_domain_policy': '<x/>'})
    status, headers, body = call(app, 'GET', '/crossdomain.xml')
    assert status == 200 and b'<x/>' in body and headers['content-type'] == 'application/xml'
    assert call(app, 'POST', '/crossdomain.xml')[2] == b'below'


# -- versions ------------------------------------------------------------------
def test_places_of_versions():
    name = version_name('o/\u00e9', Timestamp('1234567890.12345'))
    assert name == '\0o/\u00e9\x008765432109.87654'
    place = '%00versions%00c/%00o%008765432109.87654'
    assert split_place(place) == ('c', 'o', '1234567890.12345')
    assert public_location('/v1/a/' + place) == '/v1/a/c/o?version-id=1234567890.12345'
    assert public_location('/v1/a/c/o') == '/v1/a/c/o'
    for text in ('1', '1234567890.1', 'now', '-1', '9' * 30):
        with pytest.raises(ValueError):
            object_versioning.parse_version(text)


def listing(params, own, versions):
    """Names and versions of a merged listing of two lists of entries."""
    def page(name, query):
        asked = dict(item.partition('=')[::2] for item in query.split('&'))
        rows = versions if name == 'hidden' else own
        if asked.get('reverse'):
            rows = rows[::-1]
        return rows[:int(asked['limit'])] if 'marker' not in asked else []
    found = VersionListing(params, 100)
    assert found.problem is None
    return found.items(page('own', found.first_query()), 'own', 'hidden', page)


def entry(name, **more):
    return {'name': name, 'hash': 'h', 'bytes': 1, 'content_type': 't', 'last_modified': 'l',
            **more}


def test_versions_are_merged_by_name():
    def kept(name, second, **more):
        return entry(version_name(name, Timestamp(second)), **more)
    own = [entry('b'), entry('c', symlink_path='/v1/a/%00versions%00x/%00c%00'
                             + version_name('c', Timestamp(5)).rpartition('\0')[2])]
    versions = [kept('a', 3, content_type='application/x-deleted;swift_versions_deleted=1'),
                kept('b', 1), kept('c', 6), kept('c', 5)]
    items = listing({}, own, versions)
    assert [(i['name'], i['version_id'], i['is_latest']) for i in items] == [
        ('a', '0000000003.00000', True), ('b', 'null', True), ('b', '0000000001.00000', False),
        ('c', '0000000006.00000', False), ('c', '0000000005.00000', True)]
    back = listing({'reverse': 'on'}, own, versions)
    assert back == items[::-1]
    assert listing({'limit': '2'}, own, versions) == items[:2]
    assert VersionListing({'version_marker': '1'}, 10).problem.status == 400


# -- forms ---------------------------------------------------------------------
class Source(io.BytesIO):
    def read1(self, size=-1):
        return self.read(min(size, 3))          # pieces as small as a network can make them


def test_parts_of_a_form():
    body = (b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
            b'--B\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
            b'1\r\n--\r\n--A\r\n--B--\r\n')
    boundary = boundary_of('multipart/form-data; boundary=B')
    found = []
    for part in Form(Source(body), boundary):
        found.append((part.name, part.filename, part.text(100)))
    assert found == [('a', None, ''), ('f', 'x', '1\r\n--\r\n--A')]
    for kind in ('multipart/form-data', 'text/plain; boundary=B', 'multipart/form-data; boundary='):
        with pytest.raises(FormError):
            boundary_of(kind)


# -- logs ----------------------------------------------------------------------
def test_lines_by_a_template(caplog):
    app = ProxyLogging(None, {'log_msg_template': '{method} {path.anonymized} {end_time.iso8601} '
                                                  '{status_int} {access_user_id} {account}',
                              'log_anonymization_salt': 's'})
    app.logger.propagate = True
    with caplog.at_level(logging.INFO):
        env = {**environ('GET', '/v1/a b/c'), 'swift.access_logging': {'user_id': 'me:you'},
               SEEN: True}
        app.access_log(env, '200 OK', 5, 1.0, 2.0)
    words = caplog.messages[0].split(' ')
    assert words[0] == 'GET' and words[1].startswith('%7BSMD5%7D') and len(words[1]) == 42
    assert words[2:] == ['1970-01-01T00:00:02', '200', 'me:you', 'a%20b']
    for bad in ('{nothing}', '{method.anonymized}', '{end_time.what}'):
        with pytest.raises(ConfigError):
            Template(bad)


def test_security_headers_in_the_log_open_no_doors(caplog):
    """L13, L14: logged headers have neither tokens, keys, cookies nor authorization."""
    app = ProxyLogging(None, {'access_log_headers': 'yes'})
    app.logger.propagate = True
    secret = 'f' * 30
    with caplog.at_level(logging.INFO):
        env = environ('GET', '/', dict.fromkeys(
            ('X-Auth-Token', 'Authorization', 'Cookie', 'X-Account-Meta-Temp-Url-Key',
             'X-Service-Token', 'X-Container-Sync-Key'), secret) | {'X-Color': 'blue'})
        app.access_log({**env, SEEN: True}, '200 OK', 0, 0, 0)
    assert secret not in caplog.text and 'X-Color%3A%20blue' in caplog.text


def test_metrics_for_statsd():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(('127.0.0.1', 0))
        sock.settimeout(30)
        app = ProxyLogging(None, {
            'log_statsd_host': '127.0.0.1', 'log_statsd_port': str(sock.getsockname()[1]),
            'log_statsd_metric_prefix': 'here', 'access_log_level': 'ERROR',
            'access_log_statsd_valid_http_methods': 'GET,PUT',
            'log_statsd_valid_http_methods': 'HACK'})
        for method in ('GET', 'HACK'):
            app.access_log({**environ(method, '/v1/a/c/o', body=b'123'), SEEN: True},
                           '200 OK', 7, 1.0, 1.5)
        got = [sock.recv(1000).decode() for _ in range(4)]
    assert got == ['here.proxy-server.object.GET.200.timing:500|ms',
                   'here.proxy-server.object.GET.200.xfer:10|c',
                   'here.proxy-server.object.BAD_METHOD.200.timing:500|ms',
                   'here.proxy-server.object.BAD_METHOD.200.xfer:10|c']


def test_what_filters_ask_is_logged_right_before_the_proxy(caplog):
    def proxy(env, start):
        start('200 OK', [])
        return iter([b'12', b'345'])
    inner = ProxyLogging(proxy, {})
    inner.logger.propagate = True
    with caplog.at_level(logging.INFO):
        assert call(inner, 'GET', '/v1/a/c/o')[2] == b'12345'
        assert not caplog.messages             # the server logs what clients ask
        env = {**environ('GET', '/v1/a/c/o'), 'swift.source': 'SLO'}
        assert b''.join(inner(env, lambda status, headers, exc=None: None)) == b'12345'
    [line] = caplog.messages
    words = line.split(' ')
    assert words[3:5] == ['GET', '/v1/a/c/o'] and words[11] == '5' and words[16] == 'SLO'


def test_what_the_s3_api_asks_has_a_line_of_its_own_if_wanted(caplog):
    inner = ProxyLogging(lambda env, start: start('200 OK', []) or [b''], {})
    inner.logger.propagate = True
    with caplog.at_level(logging.INFO):
        for more in ({}, {'swift.log_twice': True}):
            env = {**environ('GET', '/v1/a/c/o'), 'swift.source': 'S3', **more}
            b''.join(inner(env, lambda status, headers, exc=None: None))
            assert len(caplog.messages) == len(more)


# -- recon ---------------------------------------------------------------------
def test_recon(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, '_secrets', (b'p', b's'))
    monkeypatch.setattr(storage_policy, '_policies', storage_policy.parse_policies({}))
    (tmp_path / 'devices/sda/async_pending/abc').mkdir(parents=True)
    (tmp_path / 'devices/sda/async_pending/abc/x').touch()
    (tmp_path / 'devices/sda/quarantined/objects-1/y').mkdir(parents=True)
    (tmp_path / 'object.ring.gz').write_bytes(b'ring')
    conf = {'recon_cache_path': str(tmp_path), 'devices': str(tmp_path / 'devices'),
            'mount_check': 'false', 'swift_dir': str(tmp_path)}
    recon.note_pass(conf, 'object-updater', 2.5, logging.getLogger())
    (tmp_path / 'container.recon').write_bytes(b'\x80\x04.')       # no pickle is ever loaded
    app = recon_filter.Recon(Below(), conf)

    def get(what):
        status, _, body = call(app, 'GET', '/recon/' + what)
        assert status == 200, what
        return json.loads(body)
    assert get('updater/object')['object_updater_sweep'] == 2.5
    assert get('updater/container')['container_updater_sweep'] is None
    counted = get('async')
    assert counted.pop('async_pending_last') > 0 and counted == {'async_pending': 1}
    assert get('replication').keys() == get('replication/object').keys()
    assert get('sharding').keys() == get('sharding/container').keys()
    assert ('tcp6_in_use' in get('sockstat')) == os.path.exists('/proc/net/sockstat6')
    assert get('quarantined')['policies'] == {'1': {'objects': 1}}
    assert list(get('ringmd5').values()) == [hashlib.md5(b'ring').hexdigest()]
    assert get('diskusage')[0]['size'] > 0 and get('unmounted') == []
    for what in ('mem', 'load', 'sockstat', 'mounted', 'version', 'time', 'devices',
                 'swiftconfmd5', 'replication/account', 'expirer/object'):
        get(what)
    assert call(app, 'GET', '/recon/nothing')[0] == 404
    assert call(app, 'GET', '/sda/1/a')[2] == b'below'


@pytest.mark.parametrize(('base', 'where'), [
    ('', 'http://inner:8080'), ('https:', 'https://inner:8080'), ('https://', 'https://inner:8080'),
    ('//www.example.com:81', 'http://www.example.com:81'),
    ('https://www.example.com', 'https://www.example.com')])
def test_redirects_lead_to_where_the_site_is_reached(base, where):
    auth = types.SimpleNamespace(app=None)
    site = staticweb.StaticWeb(auth, {'url_base': base})
    env = {'HTTP_HOST': 'inner:8080', 'wsgi.url_scheme': 'http', 'PATH_INFO': '/v1/a/c'}
    assert staticweb.redirect(env, site.base).get('Location') == where + '/v1/a/c/'
