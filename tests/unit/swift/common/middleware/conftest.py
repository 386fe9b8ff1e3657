# SPDX-License-Identifier: Apache-2.0
"""Filters ask what an account has by each policy: there is one, without a swift.conf."""
import pytest

from swift.common import storage_policy


@pytest.fixture(autouse=True)
def one_policy(monkeypatch):
    monkeypatch.setattr(storage_policy, '_policies', storage_policy.parse_policies({}))
