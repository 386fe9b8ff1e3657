# SPDX-License-Identifier: Apache-2.0
"""The order in which a guest's side of the network is made and unmade."""

from types import SimpleNamespace

import pytest

from nova.linux.run import CommandFailed
from nova.network.model import VIF
from nova.virt.libvirt.driver import LibvirtDriver

ONE = VIF.from_wire({
    "port_id": "p1", "mac": "fa:16:3e:00:00:02", "tap": "tapp1", "bridge": "br100",
    "network_id": "n1", "network_name": "private", "mtu": 1500, "bridge_interface": None,
    "vlan": None, "addresses": [], "dns_servers": [], "rules": []})


class Recorder:
    """Takes any call, remembers its name, fails where it is told to."""

    def __init__(self, fails=()):
        self.calls, self.fails = [], set(fails)

    def __getattr__(self, name):
        def call(*_arguments, **_more):
            self.calls.append(name)
            if name in self.fails:
                raise CommandFailed(command=name, reason="refused")
        return call


@pytest.fixture
def driver(tmp_path):
    made = LibvirtDriver("host1", tmp_path)
    made.bridges = made.firewall = Recorder()
    made._machine = SimpleNamespace(owner=SimpleNamespace(uid=0))
    return made


def test_security_n16_rules_are_there_before_the_tap_is(driver):
    """N16: a tap is never up, nor on the bridge, before its filter is loaded."""
    driver.plug_network("i1", [ONE])
    calls = driver.firewall.calls
    assert calls == ["apply", "ensure_bridge", "ensure_tap"]


def test_security_n16_no_tap_without_rules(driver):
    """N16: rules that cannot be loaded leave the guest unplugged."""
    driver.firewall = driver.bridges = Recorder(fails=["apply"])
    with pytest.raises(Exception, match="refused"):
        driver.plug_network("i1", [ONE])
    assert driver.firewall.calls == ["apply"]
