# SPDX-License-Identifier: Apache-2.0
"""tempauth: logging in, tokens, and who may do what."""

import time

import pytest

from swift.common import storage
from swift.common.exceptions import ConfigError
from swift.common.middleware import authbase
from swift.common.middleware.tempauth import TempAuth, read_users
from swift.common.request import Request, answer

CONF = {'user_test_tester': 'testing .admin', 'user_test_tester3': 'testing3',
        'user_test2_tester2': 'testing2 .admin', 'user_test5_tester5': 'testing5 service',
        'user_admin_admin': 'admin .admin .reseller_admin',
        'user_admin_auditor': 'admin_ro .reseller_reader',
        'user64_dW5kZXJfc2NvcmU_YV9i': 'testing4 .admin',
        'reseller_prefix': 'AUTH, SERVICE', 'SERVICE_require_group': 'service'}


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    monkeypatch.setattr(storage, '_secrets', (b'pre', b'suf'))


class FakeProxy:
    """Authorizes like the proxy, with a container list; remembers what it was asked."""

    def __init__(self):
        self.acl, self.account_sysmeta = None, {}

    def __call__(self, env, start_response):
        if env['REQUEST_METHOD'] == 'HEAD' and env.get('swift.authorize_override'):
            start_response('204 No Content', list(self.account_sysmeta.items()))
            return [b'']
        req = Request(env)
        req.acl = self.acl
        denied = env['swift.authorize'](req) if 'swift.authorize' in env else None
        return (denied or answer(200))(env, start_response)


@pytest.fixture
def proxy():
    return FakeProxy()


@pytest.fixture
def ask(proxy):
    app = TempAuth(proxy, CONF)

    def run(method, path, **headers):
        env = {'REQUEST_METHOD': method, 'PATH_INFO': path, 'QUERY_STRING': '',
               'SERVER_NAME': 'h', 'SERVER_PORT': '80', 'wsgi.url_scheme': 'http'}
        env.update({'HTTP_' + k.upper(): v for k, v in headers.items()})
        got = {}

        def start(status, items, exc_info=None):
            got.update(status=int(status[:3]), headers={k.lower(): v for k, v in items})
        got['body'] = b''.join(app(env, start))
        got['env'] = env
        return got
    run.app = app
    return run


def login(ask, user='test:tester', key='testing', path='/auth/v1.0'):
    return ask('GET', path, x_auth_user=user, x_auth_key=key)


def token(ask, *args):
    return login(ask, *args)['headers']['x-auth-token']


def test_login(ask):
    got = login(ask)
    assert got['status'] == 200
    assert got['headers']['x-storage-url'] == 'http://h:80/v1/AUTH_test'
    assert got['headers']['x-auth-token'] == got['headers']['x-storage-token']
    assert login(ask, 'tester', path='/auth/v1/test/auth')['status'] == 200
    assert login(ask, 'under_score:a_b', 'testing4')['status'] == 200
    assert login(ask)['headers']['x-auth-token'] == got['headers']['x-auth-token']


@pytest.mark.parametrize(('user', 'key', 'path', 'status'), [
    ('test:tester', 'wrong', '/auth/v1.0', 401), ('test:nobody', 'testing', '/auth/v1.0', 401),
    ('tester', 'testing', '/auth/v1.0', 401), ('', 'testing', '/auth/v1.0', 401),
    ('test:tester', '', '/auth/v1.0', 401), ('test:tester', 'testing', '/auth/v3/x/y/z', 400),
    ('test:tester', 'testing', '/auth/v1/other/auth', 401),
    ('\xff:x', 'y', '/auth/v1.0', 401)])
def test_refused_logins(ask, user, key, path, status):
    assert login(ask, user, key, path)['status'] == status


def test_security_unknown_user_and_wrong_key_look_the_same(ask):
    """L19."""
    one, two = login(ask, key='wrong'), login(ask, 'test:nobody', 'wrong')
    assert (one['status'], one['headers'], one['body']) == (
        two['status'], two['headers'], two['body'])


def test_owner_and_others(ask):
    mine = token(ask)
    for method, path, status in (
            ('GET', '/v1/AUTH_test', 200), ('PUT', '/v1/AUTH_test/c', 200),
            ('DELETE', '/v1/AUTH_test/c/o', 200), ('PUT', '/v1/AUTH_test', 403),
            ('DELETE', '/v1/AUTH_test', 403), ('GET', '/v1/AUTH_test2', 403),
            ('GET', '/v1/AUTH_', 403), ('GET', '/v1/OTHER_test', 403),
            ('GET', '/v1/SERVICE_test/c', 403)):
        assert ask(method, path, x_auth_token=mine)['status'] == status, (method, path)
    assert ask('GET', '/v1/AUTH_test')['status'] == 401
    assert ask('GET', '/v1/AUTH_test', x_storage_token=mine)['status'] == 200
    assert ask('GET', '/v1/AUTH_test', x_auth_token=token(ask, 'test:tester3', 'testing3'))[
        'status'] == 403


def test_reseller_admin(ask):
    admin = token(ask, 'admin:admin', 'admin')
    got = ask('DELETE', '/v1/AUTH_other', x_auth_token=admin)
    assert got['status'] == 200 and got['env']['reseller_request']
    assert got['env']['swift_owner']
    assert ask('GET', '/v1/AUTH_.secret', x_auth_token=admin)['status'] == 403


def test_reseller_reader(ask):
    reader = token(ask, 'admin:auditor', 'admin_ro')
    for path in ('/v1/AUTH_test', '/v1/AUTH_test/c', '/v1/AUTH_test2/c/o'):
        for method in ('GET', 'HEAD'):
            got = ask(method, path, x_auth_token=reader)
            assert got['status'] == 200 and 'swift_owner' not in got['env']
    assert ask('GET', '/v1/AUTH_.shards/c', x_auth_token=reader)['status'] == 403
    for method in ('PUT', 'POST', 'DELETE'):
        assert ask(method, '/v1/AUTH_test/c/o', x_auth_token=reader)['status'] == 403


def test_service_tokens(ask):
    mine, service = token(ask), token(ask, 'test5:tester5', 'testing5')
    path = '/v1/SERVICE_test/c'
    assert ask('GET', path, x_auth_token=mine, x_service_token=service)['status'] == 200
    assert ask('GET', path, x_auth_token=mine)['status'] == 403
    assert ask('GET', path, x_auth_token=service)['status'] == 403
    assert ask('GET', path, x_auth_token=mine, x_service_token='AUTH_tkbad')['status'] == 403


def test_container_lists(ask, proxy):
    other = token(ask, 'test2:tester2', 'testing2')
    for acl, status in ((None, 403), ('test2', 200), ('test2:tester2', 200), ('test2:x', 403),
                        ('test3,test2', 200), ('.r:*', 200), ('AUTH_test2', 200)):
        proxy.acl = acl
        assert ask('GET', '/v1/AUTH_test/c/o', x_auth_token=other)['status'] == status, acl


def test_referrers(ask, proxy):
    def get(path, acl, referer=None):
        proxy.acl = acl
        return ask('GET', path, **({'referer': referer} if referer else {}))['status']

    assert get('/v1/AUTH_test/c/o', '.r:*') == 200
    assert get('/v1/AUTH_test/c', '.r:*') == 401
    assert get('/v1/AUTH_test/c', '.r:*,.rlistings') == 200
    assert get('/v1/AUTH_test/c/o', '.r:.ex.com', 'http://a.ex.com/x') == 200
    assert get('/v1/AUTH_test/c/o', '.r:.ex.com', 'http://ex.org/') == 401
    assert get('/v1/AUTH_test/c/o', '.r:*,.r:-.ex.com', 'http://a.ex.com/') == 401


def test_security_referrer_never_writes(ask, proxy):
    """S19."""
    proxy.acl = '.r:*'
    assert ask('PUT', '/v1/AUTH_test/c/o')['status'] == 401
    assert ask('DELETE', '/v1/AUTH_test/c/o')['status'] == 401


def test_account_lists(ask, proxy):
    other = token(ask, 'test2:tester2', 'testing2')

    def status(method, path, acl):
        proxy.account_sysmeta = {'X-Account-Sysmeta-Core-Access-Control': acl}
        got = ask(method, path, x_auth_token=other)
        return got['status'], got['env'].get('swift_owner')

    assert status('GET', '/v1/AUTH_test', '{"read-only":["test2:tester2"]}') == (200, None)
    assert status('PUT', '/v1/AUTH_test/c', '{"read-only":["test2:tester2"]}') == (403, None)
    assert status('PUT', '/v1/AUTH_test/c', '{"read-write":["test2"]}') == (200, None)
    assert status('POST', '/v1/AUTH_test', '{"read-write":["test2"]}') == (403, None)
    assert status('POST', '/v1/AUTH_test', '{"admin":["test2"]}') == (200, True)
    assert status('GET', '/v1/AUTH_test', 'not json') == (403, None)


def test_tokens_end_and_cannot_be_forged(ask, monkeypatch):
    good = token(ask)
    assert ask.app.check_token(good) == 'test:tester,test,AUTH_test,SERVICE_test'
    for bad in (good[:-1] + ('0' if good[-1] != '0' else '1'), 'AUTH_tk', 'AUTH_tk.', 'AUTH_tk!.x',
                good.replace('.', ''), 'AUTH_tké', good + 'x'):
        assert ask.app.check_token(bad) is None
        assert ask('GET', '/v1/AUTH_test', x_auth_token=bad)['status'] in (401, 403)
    later = time.time() + 90_000
    monkeypatch.setattr(time, 'time', lambda: later)
    assert ask.app.check_token(good) is None


def test_a_changed_key_ends_the_tokens(proxy, ask):
    good = token(ask)
    changed = TempAuth(proxy, {**CONF, 'user_test_tester': 'other .admin'})
    assert changed.check_token(good) is None
    assert TempAuth(proxy, CONF).check_token(good) is not None
    assert TempAuth(proxy, {**CONF, 'token_secret': 'x'}).check_token(good) is None


def test_security_no_markup_or_line_in_the_challenge(ask):
    """S5."""
    got = ask('GET', '/v1/AUTH_"><script>\r\nX: y')
    assert got['status'] == 401
    challenge = got['headers']['www-authenticate']
    assert '<' not in challenge and '\r' not in challenge and '\n' not in challenge
    assert challenge.count('"') == 2


def test_users_that_cannot_be():
    for option in ({'user_a_b_c': 'key'}, {'user_a': 'key'}, {'user_a_b': ' '}):
        with pytest.raises(ConfigError):
            read_users(option)


def test_prefixes():
    assert authbase.read_prefixes({'reseller_prefix': "AUTH, '', SERVICE_"}) == [
        'AUTH_', '', 'SERVICE_']
    assert authbase.account_prefix('SERVICE_x', ['AUTH_', '', 'SERVICE_']) == 'SERVICE_'
    assert authbase.account_prefix('other', ['AUTH_', '']) == ''
    assert authbase.account_prefix('AUTH_', ['AUTH_']) is None


def test_security_filters_that_act_for_users_stand_after_auth(proxy, monkeypatch):
    """S17: a pipeline in another order is refused at the start."""
    from swift.common.constraints import Constraints
    from swift.common.middleware.copy import Copy
    from swift.common.middleware.healthcheck import HealthCheck
    monkeypatch.setattr(Constraints, 'load', classmethod(lambda cls: cls()))
    TempAuth(Copy(proxy, {}), CONF)
    with pytest.raises(ConfigError, match='copy must stand after'):
        Copy(HealthCheck(TempAuth(proxy, CONF), {}), {})
