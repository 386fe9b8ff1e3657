# SPDX-License-Identifier: Apache-2.0
"""What tgtd says, read; what it is told, checked."""

import socket
import struct
import threading
from pathlib import Path

import pytest

from nova.exception import BadRequest, VolumeBackendError
from nova.volume.connections import connector_of
from nova.volume.iscsi import IscsiDriver
from nova.volume.tgt import ACCOUNT, NEW, Tgt, parse_accounts, parse_targets

SHOWN = """\
Target 1: iqn.2010-10.org.openstack:volume-a
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 1
            Initiator: iqn.2010-10.test:here alias: none
            Connection: 0
                IP Address: 127.0.0.1
    LUN information:
        LUN: 0
            Type: controller
            Backing store path: None
        LUN: 1
            Type: disk
            Backing store path: /srv/volume-a
    Account information:
        user1
    ACL information:
        iqn.2010-10.test:here
Target 7: iqn.2010-10.org.openstack:volume-b
    LUN information:
        LUN: 0
            Backing store path: None
    Account information:
    ACL information:
"""


def test_targets_are_read_as_they_are_shown():
    first, second = parse_targets(SHOWN).values()
    assert (first.number, first.name) == (1, "iqn.2010-10.org.openstack:volume-a")
    assert (first.units, first.accounts, first.allowed, first.sessions) == (
        {1: "/srv/volume-a"}, {"user1"}, {"iqn.2010-10.test:here"}, 1)
    assert first.complete and not second.complete
    assert (second.number, second.units, second.accounts) == (7, {}, set())
    assert parse_targets("") == {} == parse_targets("nonsense\n    LUN: 1\n")
    assert parse_accounts("Account list:\n    one\n    two (x)\n") == {"one", "two"}


def test_no_value_can_be_two():
    for value in ("a,password=b", "a=b", "a\nb", "a\0"):
        with pytest.raises(ValueError, match="comma"):
            Tgt(Path("/nowhere")).new_account(value, "s")


def test_a_directory_tgtd_cannot_be_told_is_refused(tmp_path):
    with pytest.raises(VolumeBackendError, match="cannot be told"):
        IscsiDriver("h", tmp_path / "a,b", Tgt(Path("/nowhere"))).init_host()


@pytest.mark.parametrize("answer, said", [
    (struct.pack("=II", 12, 8), "error 12"), (b"", "cut short"), (b"\0" * 5, "cut short"),
    (struct.pack("=II", 0, 100) + b"few", "cut short")])
def test_failures_name_no_secret(tmp_path, answer, said):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve():
            with server.accept()[0] as peer:
                peer.recv(4096)
                peer.sendall(answer)
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(VolumeBackendError, match=said) as failed:
            Tgt(path).ask(ACCOUNT, NEW, {"user": "u", "password": "s3cret"})
        thread.join()
    assert "s3cret" not in str(failed.value) and "make tgtd's account" in str(failed.value)
    with pytest.raises(VolumeBackendError, match="gone"):
        Tgt(tmp_path / "gone").targets()


@pytest.mark.parametrize("values", [
    {}, {"host": ""}, {"host": 1}, {"host": "h", "more": 1}, {"host": "h", "initiator": "a,b"},
    {"host": "h", "ip": "x" * 300}, {"host": "h", "initiator": "a\nb"}])
def test_what_is_no_connector_is_refused(values):
    with pytest.raises(BadRequest, match="connector"):
        connector_of(values)
