# SPDX-License-Identifier: Apache-2.0
import pytest

from swift.common import storage, storage_policy
from swift.container.backend import ContainerBroker
from swift.container.server import ContainerApp


@pytest.fixture
def app(tmp_path, monkeypatch):
    """A container server over one device, with two storage policies."""
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    monkeypatch.setattr(storage_policy, "_policies", storage_policy.parse_policies({
        "storage-policy:0": {"name": "zero", "default": "yes"},
        "storage-policy:1": {"name": "one"}}))
    (tmp_path / "sda").mkdir()
    return ContainerApp({"devices": str(tmp_path), "mount_check": "false",
                         "log_level": "CRITICAL", "log_address": "/none"})


@pytest.fixture
def broker(tmp_path):
    """A fresh container database."""
    path = tmp_path / "sda/containers/1/abc/" / ("0" * 32)
    path.mkdir(parents=True)
    made = ContainerBroker(str(path / f"{'0' * 32}.db"), "a", "c")
    made.initialize("0000000001.00000", 0)
    return made
