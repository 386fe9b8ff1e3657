# SPDX-License-Identifier: Apache-2.0
"""keystoneauth: operators, resellers, readers, container lists."""

import pytest

from swift.common.middleware.keystoneauth import KeystoneAuth
from swift.common.request import Request, answer


def status(method='GET', path='/v1/AUTH_p1/c/o', acl=None, conf=None, confirmed=True,
           roles='member', **headers):
    def proxy(env, start_response):
        req = Request(env)
        req.acl = acl
        denied = env['swift.authorize'](req) if 'swift.authorize' in env else None
        proxy.owner = env.get('swift_owner')
        return (denied or answer(200))(env, start_response)

    env = {'REQUEST_METHOD': method, 'PATH_INFO': path, 'QUERY_STRING': ''}
    if confirmed:
        who = {'user_id': 'u1', 'user_name': 'joe', 'project_id': 'p1', 'project_name': 'proj',
               'user_domain_id': 'default', 'project_domain_id': 'default', 'roles': roles,
               'identity_status': 'Confirmed', **headers}
        env.update({'HTTP_X_' + k.upper(): v for k, v in who.items()})
    got = []
    KeystoneAuth(proxy, {'operator_roles': 'admin, member', **(conf or {})})(
        env, lambda line, items, exc=None: got.append(int(line[:3])))
    return got[0]


def test_operators_own_their_project():
    assert status() == 200
    assert status('PUT', '/v1/AUTH_p1/c') == 200
    assert status(roles='Member,x') == 200
    assert status(roles='reader') == 403
    assert status(path='/v1/AUTH_p2/c') == 403
    assert status('PUT', '/v1/AUTH_p1') == 403
    assert status('DELETE', '/v1/AUTH_p1') == 403
    assert status(confirmed=False) == 401
    assert status(path='/v1/OTHER_p1/c') == 403


def test_reseller_admins_own_all_but_hidden_accounts():
    assert status('DELETE', '/v1/AUTH_p2', roles='ResellerAdmin') == 200
    assert status(path='/v1/AUTH_.x', roles='ResellerAdmin') == 403


def test_security_identity_headers_count_only_when_confirmed():
    """K13: roles a client sends itself are nothing without auth_token's word."""
    assert status(identity_status='Invalid') == 401


def test_readers():
    assert status(roles='r', conf={'project_reader_roles': 'r'}) == 200
    assert status('PUT', roles='r', conf={'project_reader_roles': 'r'}) == 403
    assert status(path='/v1/AUTH_p2/c', roles='r', conf={'system_reader_roles': 'r'}) == 200


@pytest.mark.parametrize(('acl', 'want'), [
    ('p1:u1', 200), ('p1:*', 200), ('*:u1', 200), ('*:*', 200), ('proj:joe', 200),
    ('p2:u1', 403), ('p1:u2', 403), ('p1', 403), ('friend', 200), ('other', 403),
    ('.r:*', 200), (None, 403)])
def test_container_lists(acl, want):
    assert status(path='/v1/AUTH_p2/c/o', acl=acl, roles='friend') == want


def test_security_names_mean_nothing_across_domains():
    """S16."""
    for domain in ({'user_domain_id': 'other'}, {'project_domain_id': 'other'},
                   {'project_domain_id': ''}):
        assert status(path='/v1/AUTH_p2/c/o', acl='proj:joe', roles='x', **domain) == 403
        assert status(path='/v1/AUTH_p2/c/o', acl='p1:u1', roles='x', **domain) == 200


def test_service_roles():
    conf = {'reseller_prefix': 'AUTH, SERVICE', 'SERVICE_service_roles': 'service'}
    assert status(path='/v1/SERVICE_p1/c', conf=conf) == 403
    assert status(path='/v1/SERVICE_p1/c', conf=conf, service_roles='service',
                  service_identity_status='Confirmed') == 200
    assert status(path='/v1/SERVICE_p1/c', conf=conf, service_roles='service') == 403


def test_beside_tempauth(monkeypatch):
    """Each takes its own tokens; tempauth's are not shown to Keystone."""
    from swift.common import storage
    from swift.common.middleware.tempauth import TempAuth
    monkeypatch.setattr(storage, '_secrets', (b'pre', b'suf'))
    asked = []

    def proxy(env, start_response):
        denied = env['swift.authorize'](Request(env))
        return (denied or answer(200))(env, start_response)

    keystone = KeystoneAuth(proxy, {'operator_roles': 'member'})

    def authtoken(env, start_response):
        asked.append(env.get('HTTP_X_AUTH_TOKEN'))
        if env.get('HTTP_X_AUTH_TOKEN') == 'gAAA':
            env.update(HTTP_X_IDENTITY_STATUS='Confirmed', HTTP_X_ROLES='member',
                       HTTP_X_PROJECT_ID='p1', HTTP_X_USER_ID='u1')
        else:
            env['HTTP_X_IDENTITY_STATUS'] = 'Invalid'
        return keystone(env, start_response)

    app = TempAuth(authtoken, {'user_t_u': 'k .admin'})

    def get(account, token):
        got = []
        env = {'REQUEST_METHOD': 'GET', 'PATH_INFO': f'/v1/{account}', 'QUERY_STRING': ''}
        if token:
            env['HTTP_X_AUTH_TOKEN'] = token
        app(env, lambda line, items, exc=None: got.append(int(line[:3])))
        return got[0]

    mine = app.make_token(app.users['t:u'])[0]
    assert get('AUTH_t', mine) == 200 and asked.pop() is None
    assert get('AUTH_p1', mine) == 403
    assert get('AUTH_p1', 'gAAA') == 200
    assert get('AUTH_t', 'gAAA') == 403
    assert get('AUTH_p1', 'gBBB') == get('AUTH_p1', None) == 401


def domain_status(path, acl, stored, method='GET', **headers):
    """As `status`, of an account that has stored a domain; what is to be stored with it."""
    from swift.proxy.cached_info import account_entry, cache_key
    seen = {}

    def proxy(env, start_response):
        req = Request(env)
        req.acl = acl
        denied = env['swift.authorize'](req)
        seen['stored'] = env.get('HTTP_X_ACCOUNT_SYSMETA_PROJECT_DOMAIN_ID')
        return (denied or answer(200))(env, start_response)

    entry = account_entry(200 if stored != 'none' else 404, {} if stored is None else {
        'x-account-sysmeta-project-domain-id': stored})
    env = {'REQUEST_METHOD': method, 'PATH_INFO': path, 'QUERY_STRING': '',
           'swift.infocache': {cache_key(path.split('/')[2]): entry}}
    who = {'user_id': 'u1', 'user_name': 'joe', 'project_id': 'p1', 'project_name': 'proj',
           'user_domain_id': 'default', 'project_domain_id': 'default', 'roles': 'member',
           'identity_status': 'Confirmed', **headers}
    env.update({'HTTP_X_' + k.upper(): v for k, v in who.items()})
    got = []
    KeystoneAuth(proxy, {'operator_roles': 'admin, member'})(
        env, lambda line, items, exc=None: got.append(int(line[:3])))
    return got[0], seen['stored']


@pytest.mark.parametrize(('stored', 'want'), [
    (None, 200), ('default', 200), ('other', 403), ('_unknown', 403), ('none', 403)])
def test_security_s16_names_count_in_accounts_of_the_default_domain_only(stored, want):
    """S16: a list of names in another domain's account means that domain's users."""
    assert domain_status('/v1/AUTH_p2/c/o', 'proj:joe', stored)[0] == want
    assert domain_status('/v1/AUTH_p2/c/o', 'p1:u1', stored)[0] == 200
    assert domain_status('/v1/AUTH_p1/c/o', None, stored)[0] == 200


@pytest.mark.parametrize(('account', 'stored', 'domain', 'want'), [
    ('p1', 'none', 'other', 'other'), ('p2', 'none', 'other', '_unknown'),
    ('p1', None, 'default', 'default'), ('p1', None, 'other', None),
    ('p1', '_unknown', 'other', 'other'), ('p2', '_unknown', 'other', None),
    ('p1', 'default', 'other', None)])
def test_the_domain_of_an_account_is_kept_once_it_is_known(account, stored, domain, want):
    for method, path in (('PUT', f'/v1/AUTH_{account}/c'), ('POST', f'/v1/AUTH_{account}')):
        assert domain_status(path, None, stored, method, roles='ResellerAdmin',
                             project_domain_id=domain) == (200, want)
    assert domain_status(f'/v1/AUTH_{account}/c', None, stored, 'POST', roles='ResellerAdmin',
                         project_domain_id=domain) == (200, None)
