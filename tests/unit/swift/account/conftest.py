# SPDX-License-Identifier: Apache-2.0
import pytest

from swift.account.server import AccountApp
from swift.common import storage, storage_policy


@pytest.fixture
def app(tmp_path, monkeypatch):
    """An account server over one device."""
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    monkeypatch.setattr(storage_policy, "_policies", storage_policy.parse_policies({}))
    (tmp_path / "sda").mkdir()
    return AccountApp({"devices": str(tmp_path), "mount_check": "false",
                       "log_level": "CRITICAL", "log_address": "/none"})
