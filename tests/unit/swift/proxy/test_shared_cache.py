# SPDX-License-Identifier: Apache-2.0
"""Entries of accounts that one of OpenStack Swift's proxies put into the memcached."""
from types import SimpleNamespace

import pytest

from swift.proxy.controllers.base import Controller


@pytest.mark.parametrize('missing', [{'status': 404}, {'status': 404, 'deleted': False}],
                         ids=["Swift's", 'ours'])
def test_an_account_is_made_that_was_not_there(missing, monkeypatch):
    entries = [missing, {'status': 200}]
    app = SimpleNamespace(account_autocreate=True, info_cache=SimpleNamespace(
        account=lambda *names: entries[0], forget=lambda *names: None))
    monkeypatch.setattr(Controller, 'create_account', lambda self: entries.pop(0))
    controller = object.__new__(Controller)
    controller.app, controller.req, controller.account = app, None, 'AUTH_new'
    assert controller.account_exists(create=True) == {'status': 200}
