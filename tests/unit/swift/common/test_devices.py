# SPDX-License-Identifier: Apache-2.0
import logging

import pytest

from swift.common.devices import Brake, Rsync, is_local, local_addresses

NODE = {"ip": "10.0.0.1", "port": 6200, "replication_ip": "10.0.1.1", "replication_port": 6300,
        "device": "sda", "id": 1}


def target(conf, node):
    return Rsync(conf, "object", 6200, logging.getLogger()).target(node, "objects/7")


@pytest.mark.parametrize("conf, node, expected", [
    ({"bind_ip": "10.0.0.2"}, NODE, "10.0.1.1::object/sda/objects/7"),
    ({"bind_ip": "10.0.0.2", "rsync_module": "rsync://{ip}:{port}/object_{replication_port}"},
     NODE, "rsync://10.0.0.1:6200/object_6300/sda/objects/7"),
    ({"bind_ip": "fd00::2"}, {**NODE, "replication_ip": "fd00::1"},
     "[fd00::1]::object/sda/objects/7"),
    ({"bind_ip": "10.0.1.1", "bind_port": "6300", "devices": "/data"}, NODE,
     "/data/sda/objects/7"),
    ({"bind_ip": "10.0.1.1", "bind_port": "6300", "rsync_module": "{ip}::m"}, NODE,
     "10.0.0.1::m/sda/objects/7"),
    ({"bind_ip": "10.0.1.1", "bind_port": "6301"}, NODE, "10.0.1.1::object/sda/objects/7")])
def test_where_rsync_copies_to(conf, node, expected):
    assert target(conf, node) == expected


def test_local_addresses():
    assert local_addresses("10.0.0.1") == {"10.0.0.1"}
    assert "127.0.0.1" in local_addresses("0.0.0.0")
    assert is_local(NODE, {"10.0.1.1"}, 6300) and not is_local(NODE, {"10.0.0.1"}, 6300)


def test_a_missing_rsync_is_said(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    rsync = Rsync({}, "object", 6200, logging.getLogger("test"))
    assert not rsync.copy(["/nowhere"], str(tmp_path))
    assert "not installed" in caplog.text


def test_a_brake_holds_the_rate(monkeypatch):
    clock = [100.0]
    slept = []
    monkeypatch.setattr("swift.common.devices.time.monotonic", lambda: clock[0])

    def pause(seconds):
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("swift.common.devices.pause", pause)
    brake = Brake(10)
    for _ in range(100):
        brake.spend()
    assert 8 <= clock[0] - 100 <= 10.5 and min(slept) > 0.2
