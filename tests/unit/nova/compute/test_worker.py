# SPDX-License-Identifier: Apache-2.0
"""What the worker's rooms share."""

import json
import threading

import pytest

from nova import exception
from nova.compute import config_drive
from nova.compute.locks import InstanceLocks
from nova.compute.request import BuildRequest, with_refusal
from nova.compute.worker import fault_text, spec_of
from nova.db.models import Instance


def row(**changes):
    values = {"id": "i", "project_id": "p", "user_id": "u", "display_name": "n", "hostname": "h",
              "vcpus": 1, "memory_mb": 2, "root_gb": 3, "ephemeral_gb": 4, "swap_mb": 5,
              "flavor_name": "f", "launch_index": 0, "metadata_": {"k": "v"},
              "build_request": {"image_properties": {"x": "y"}}}
    return Instance(**{**values, **changes})


@pytest.mark.parametrize("error, code, text", [
    (RuntimeError("password=secret"), 500, "An unexpected error occurred (RuntimeError)."),
    (exception.HypervisorError(action="start a guest", reason="/secret/path"), 500,
     "The hypervisor failed to start a guest."),
    (exception.RemoteError(reason="secret"), 500, "A worker failed."),
    (exception.NoMoreAddresses(network_id="n"), 409,
     "No more IP addresses available on network n."),
])
def test_faults_tell_no_secrets(error, code, text):
    """L11: the text of an error that is not ours never reaches the user."""
    assert fault_text(error) == (code, text)


def test_spec():
    spec = spec_of(row())
    assert (spec.id, spec.vcpus, spec.memory_mb, spec.root_gb) == ("i", 1, 2, 3)
    assert spec.metadata == {"k": "v"}
    assert spec.image_properties == {"x": "y"}
    assert spec.name == "instance-i"


def test_build_request_keeps_what_it_does_not_know():
    values = {"networks": [1], "other": 2}
    once = with_refusal(values, "h1", "x" * 1000)
    twice = with_refusal(once, "h2", "why")
    assert values == {"networks": [1], "other": 2}
    assert twice["networks"] == [1] and twice["other"] == 2
    assert [one.host for one in BuildRequest.of(twice).refusals] == ["h1", "h2"]
    assert len(BuildRequest.of(twice).refusals[0].reason) == 500
    assert BuildRequest.of(None) == BuildRequest()


def test_locks_are_gone_when_nobody_needs_them():
    locks, order = InstanceLocks(), []
    entered = threading.Event()

    def second():
        entered.set()
        with locks.hold("a"):
            order.append("second")
    with locks.hold("a"):
        thread = threading.Thread(target=second)
        thread.start()
        entered.wait(60)
        with locks.try_hold("a") as held:
            assert not held
        with locks.try_hold("b") as held:
            assert held
        assert locks.held("a") and not locks.held("b")
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    assert not locks.held("a") and locks._locks == {}


def test_config_drive():
    files = config_drive.files_of(row(user_data="IyEvYmluL3No", key_name="k", key_data="ssh-rsa"))
    assert files["openstack/latest/user_data"] == b"#!/bin/sh"
    data = json.loads(files["openstack/latest/meta_data.json"])
    assert data["uuid"] == "i" and data["public_keys"] == {"k": "ssh-rsa"}
    assert "ec2/latest/user-data" not in config_drive.files_of(row(user_data=None))
