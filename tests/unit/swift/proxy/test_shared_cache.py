# SPDX-License-Identifier: Apache-2.0
"""Entries of accounts in a memcached that OpenStack Swift's proxies share."""
from types import SimpleNamespace

import pytest

from swift.common import storage_policy
from swift.proxy.cached_info import account_entry
from swift.proxy.controllers.base import Controller


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
