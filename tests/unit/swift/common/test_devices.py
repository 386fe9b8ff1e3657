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
    assert local_addresses({"bind_ip": "10.0.0.1"}) == {"10.0.0.1"}
    assert "127.0.0.1" in local_addresses({})
    assert local_addresses({"bind_ip": "10.0.0.1", "ring_ip": "10.0.0.2"}) == {"10.0.0.2"}
    assert is_local(NODE, {"10.0.1.1"}, 6300) and not is_local(NODE, {"10.0.0.1"}, 6300)


def test_a_missing_rsync_is_said(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    rsync = Rsync({}, "object", 6200, logging.getLogger("test"))
    assert not rsync.copy(["/nowhere"], str(tmp_path))
    assert "not installed" in caplog.text


@pytest.fixture
def rsync(monkeypatch, tmp_path, caplog):
    """A function: what is logged of an rsync that says something and ends with a code."""
    def run(code, kind="object", **conf):
        program = tmp_path / "rsync"
        program.write_text(f"#!/bin/sh\necho {'a' * 30}\necho {'b' * 30}\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
        caplog.set_level(logging.DEBUG)
        caplog.clear()
        logger = logging.getLogger("test")
        assert Rsync(conf, kind, 6200, logger).copy(["/x", "/y"], "/z") is not bool(code)
        return [(record.levelname, record.getMessage()) for record in caplog.records
                if record.name == "test"]
    return run


def test_what_is_logged_of_transfers(rsync):
    (level, said), = rsync(0)
    assert level == "INFO" and said.startswith("rsync of 2 folders or files to /z took ")
    assert rsync(0, log_rsync_transfers="no")[0][0] == rsync(0, "container")[0][0] == "DEBUG"
    assert rsync(0, "container", log_rsync_transfers="yes")[0][0] == "INFO"


def test_how_much_is_logged_of_what_went_wrong(rsync):
    assert rsync(23) == [
        ("ERROR", f"ERROR rsync to /z ended with 23: {'a' * 30}\n{'b' * 30}")]
    assert rsync(23, rsync_error_log_line_length="4")[0][1].endswith("23: aaaa\nbbbb")


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
