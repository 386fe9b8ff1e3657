# SPDX-License-Identifier: Apache-2.0
"""nova-dhcpbridge: leases come and go in the rows."""

import os
import subprocess
import sys

import pytest

from nova.cmd import dhcpbridge
from nova.db import networks, ports


@pytest.fixture
def network(nova_db):
    return networks.create({"name": "n", "cidr": "10.0.0.0/29", "gateway": "10.0.0.1"})


def test_lease_comes_and_goes(network, capsys):
    port = ports.create({"network_id": network.id, "project_id": "p"})
    assert dhcpbridge.run(["add", port.mac.upper(), "10.0.0.2", "web"], network.id) == 0
    assert networks.leases(network.id) == [(port.mac, "10.0.0.2")]
    assert dhcpbridge.run(["init"], network.id) == 0
    expires, *rest = capsys.readouterr().out.split()
    assert rest == [port.mac, "10.0.0.2", "*", "*"] and int(expires) > 0
    assert dhcpbridge.run(["old", port.mac, "10.0.0.2"], network.id) == 0
    assert dhcpbridge.run(["del", port.mac, "10.0.0.2"], network.id) == 0
    assert networks.leases(network.id) == []


def test_what_is_not_ours_is_left_alone(network):
    assert dhcpbridge.run(["add", "fa:16:3e:00:00:09", "10.0.0.2"], network.id) == 0
    assert dhcpbridge.run(["add", "00:01", "fd00::1"], network.id) == 0
    assert networks.leases(network.id) == []


@pytest.mark.parametrize("words", [[], ["add"], ["add", "x"], ["tftp", "1", "2", "3"],
                                   ["init", "x"]])
def test_calls_that_make_no_sense(network, words, capsys):
    assert dhcpbridge.run(words, network.id) == 2
    assert "usage" in capsys.readouterr().err


def test_as_dnsmasq_runs_it(network, nova_db, tmp_path):
    port = ports.create({"network_id": network.id, "project_id": "p"})
    conf = tmp_path / "nova.conf"
    conf.write_text(f"[database]\nconnection = {nova_db}\n")
    command = [sys.executable, "-m", "nova.cmd.dhcpbridge", "--config-file", str(conf)]
    environment = {"NETWORK_ID": network.id, "PATH": os.environ["PATH"],
                   "DNSMASQ_INTERFACE": "br100"}
    subprocess.run([*command, "add", port.mac, "10.0.0.2", "web"], env=environment, check=True,
                   timeout=60)
    assert networks.leases(network.id) == [(port.mac, "10.0.0.2")]


def test_it_starts_without_what_it_does_not_need():
    """It is started for each lease of each guest: eventlet, rpc and web servers stay out."""
    text = subprocess.run(
        [sys.executable, "-c", "import sys, nova.cmd.dhcpbridge; print(*sys.modules)"],
        capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert not {"eventlet", "kombu", "webob", "routes", "alembic", "jsonschema"} & set(text)
