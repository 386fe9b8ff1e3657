# SPDX-License-Identifier: Apache-2.0
"""Which checksum fragments carry, while nodes of a cluster have libraries of different ages."""
import os

import pytest

from swift.common import storage, storage_policy
from swift.common.ec import LEGACY_CRC, Coding, set_checksum
from swift.common.ring import Ring
from swift.obj.reconstructor import ObjectReconstructor
from swift.proxy.server import Application

QUIET = {"log_address": "/none", "log_level": "CRITICAL"}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv(LEGACY_CRC, "1")           # put back afterwards, whatever becomes of it


def head():
    """How a fragment begins, with the checksum of what it says of itself."""
    return Coding("liberasurecode_rs_vand", 2, 1).encode(b"x" * 5000)[0][:80]


def test_old_and_new_checksums():
    set_checksum({"write_legacy_ec_crc": "true"})
    old = head()
    set_checksum({"write_legacy_ec_crc": "false"})
    new = head()
    assert old != new
    set_checksum({})
    assert head() == new
    set_checksum({"write_legacy_ec_crc": "true"})
    set_checksum({"write_legacy_ec_crc": " "})
    assert head() == old


def test_a_reconstructor_heeds_it():
    ObjectReconstructor({**QUIET, "write_legacy_ec_crc": "no"})
    assert LEGACY_CRC not in os.environ
    ObjectReconstructor({**QUIET, "write_legacy_ec_crc": "yes"})
    assert os.environ[LEGACY_CRC]


class OneNode(Ring):
    """A ring of no file."""

    replica_count = 1

    def __init__(self):
        pass


def test_a_proxy_heeds_it(monkeypatch):
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    monkeypatch.setattr(storage_policy, "_policies", storage_policy.parse_policies({}))
    Application({**QUIET, "write_legacy_ec_crc": "no"}, account_ring=OneNode(),
                container_ring=OneNode())
    assert LEGACY_CRC not in os.environ
