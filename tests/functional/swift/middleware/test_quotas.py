# SPDX-License-Identifier: Apache-2.0
"""Quotas of containers and accounts through real processes."""

import pytest

from swift.common.exceptions import ConfigError
from swift.common.middleware.account_quotas import AccountQuotas
from swift.common.middleware.container_quotas import ContainerQuotas

RESELLER = 'test:tester6'


@pytest.fixture
def account(cluster):
    """``(user, set)``: the owner of an account of its own, and what sets its quotas."""
    owner, reseller = cluster.login('test2:tester2'), cluster.login(RESELLER)

    def change(**quotas):
        headers = {f'X-Account-Quota-{n.replace("_", "-")}': v for n, v in quotas.items()}
        return cluster.request('POST', owner.base, {'X-Auth-Token': reseller.token, **headers})[0]
    owner('PUT', '/quotas', {'X-Storage-Policy': 'policy1'})
    yield owner, change
    assert change(bytes='', count='', bytes_policy_policy1='', count_policy_policy1='') == 204


def test_container_bytes_and_count(user, container):
    path = '/' + container
    assert user('POST', path, {'X-Container-Meta-Quota-Bytes': '10'})[0] == 204
    assert user('PUT', path + '/a', body=b'x' * 11)[0] == 413
    assert user('PUT', path + '/a', body=b'x' * 10)[0] == 201
    user('PUT', path + 'o')
    user('PUT', path + 'o/big', body=b'x' * 20)
    copied = {'X-Copy-From': f'{path}o/big', 'Content-Length': '0'}
    assert user('PUT', path + '/c', copied)[0] == 413
    user('POST', path, {'X-Container-Meta-Quota-Bytes': '', 'X-Container-Meta-Quota-Count': '0'})
    assert user('PUT', path + '/b', body=b'')[0] == 413
    assert user('POST', path, {'X-Remove-Container-Meta-Quota-Count': 'x'})[0] == 204
    assert user('PUT', path + '/b', body=b'')[0] == 201


@pytest.mark.parametrize('value', ['x', '-1', '1.5', '9' * 40, '\u00b2'])
def test_a_limit_is_a_number(user, container, value):
    header = {'X-Container-Meta-Quota-Bytes': value.encode()}
    assert user('POST', '/' + container, header)[0] == 400


def test_strangers_learn_nothing_of_quotas(cluster, user, container):
    user('POST', '/' + container, {'X-Container-Meta-Quota-Bytes': '0'})
    other = cluster.login('test2:tester2')
    path = f'{user.base}/{container}/o'
    assert cluster.request('PUT', path, {'X-Auth-Token': other.token}, b'x')[0] == 403
    assert cluster.request('PUT', path, {}, b'x')[0] == 401


def test_account_bytes_and_count(account, cluster):
    owner, change = account
    assert change(bytes='5') == 204
    assert owner('HEAD')[1]['x-account-quota-bytes'] == '5'
    assert owner('PUT', '/quotas/o', body=b'x' * 6)[0] == 413
    reseller = cluster.login(RESELLER)
    path = owner.base + '/quotas/r'
    assert cluster.request('PUT', path, {'X-Auth-Token': reseller.token}, b'x' * 6)[0] == 201
    assert change(bytes='', count='0') == 204
    assert owner('PUT', '/quotas/o', body=b'')[0] == 413
    assert change(count='') == 204
    assert owner('PUT', '/quotas/o', body=b'x' * 6)[0] == 201


def test_account_by_policy(account):
    owner, change = account
    assert change(bytes_policy_policy1='3') == 204
    assert owner('HEAD')[1]['x-account-quota-bytes-policy-policy1'] == '3'
    assert owner('PUT', '/quotas/p', body=b'x' * 4)[0] == 413
    owner('PUT', '/others')
    assert owner('PUT', '/others/p', body=b'x' * 4)[0] == 201
    assert change(bytes_policy_nonsense='3') == 400
    assert change(bytes='x') == 400
    assert change(colour='3') == 400


def test_security_owners_cannot_lift_their_quota(account):
    owner, change = account
    change(bytes='0')
    for header in ('X-Account-Quota-Bytes', 'X-Remove-Account-Quota-Bytes',
                   'X-Account-Meta-Quota-Bytes', 'X-Remove-Account-Meta-Quota-Bytes'):
        assert owner('POST', '', {header: '99'})[0] == 403
    owner('POST', '', {'X-Account-Sysmeta-Quota-Bytes': '99'})
    assert owner('HEAD')[1]['x-account-quota-bytes'] == '0'


@pytest.mark.parametrize('kind', [AccountQuotas, ContainerQuotas])
def test_security_auth_below_is_refused(kind):
    """S17."""
    class Auth:
        authorize = None
        app = None
    with pytest.raises(ConfigError, match='quotas'):
        kind(Auth())
