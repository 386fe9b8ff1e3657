# SPDX-License-Identifier: Apache-2.0
"""Names of disks: each once, in their order."""

import pytest

from nova.compute import devices
from nova.exception import BadRequest, Conflict


def test_local_disks_come_after_the_root():
    assert devices.local_devices(1, 1) == {"ephemeral": "vdb", "swap": "vdc"}
    assert devices.local_devices(0, 1) == {"swap": "vdb"}
    assert devices.local_devices(0, 0) == {}


@pytest.mark.parametrize("written", ["/dev/vdc", "vdc", "/dev/sdc", "xvdc", "/dev/hdc"])
def test_names_as_users_write_them(written):
    assert devices.parse(written) == "vdc"


@pytest.mark.parametrize("written", ["", "vd", "/dev/vdc1", "vdaa", "/dev/../vdc", "vdc\n", "nbd0"])
def test_no_names(written):
    with pytest.raises(BadRequest, match="device"):
        devices.parse(written)


def test_the_first_free_one():
    assert devices.choose(None, {"vda", "vdb", "vdd"}) == "vdc"
    assert devices.choose("vde", {"vda"}) == "vde"
    with pytest.raises(Conflict):
        devices.choose("vdb", {"vda", "vdb"})
    with pytest.raises(Conflict):
        devices.choose(None, devices.DEVICES)
