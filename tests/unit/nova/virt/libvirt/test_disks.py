# SPDX-License-Identifier: Apache-2.0
"""Instance directories: complete or nothing, private, bounded."""

import json
import os
import subprocess
import uuid

import pytest

from nova.exception import HypervisorError
from nova.image.inspection import Verdict
from nova.linux.files import write_json
from nova.virt.driver import InstanceSpec
from nova.virt.libvirt import disks
from nova.virt.libvirt.console import tail
from nova.virt.libvirt.disks import MIB, InstanceDirectory, all_records, free_space
from nova.virt.libvirt.files import Owner


def spec(instance_id, **changes):
    values = {"id": instance_id, "project_id": "p", "user_id": "u", "display_name": "n",
              "hostname": "n", "vcpus": 1, "memory_mb": 1, "root_gb": 1, "image_id": "image"}
    return InstanceSpec(**{**values, **changes})


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base"
    path.write_bytes(b"x" * MIB)
    return Verdict(path, "raw", MIB)


@pytest.fixture
def files(tmp_path):
    return InstanceDirectory(tmp_path, str(uuid.uuid4()), Owner())


def make(files, base, **changes):
    return files.create(spec(files.id, **changes), base, {"base": "the-base"}, 1 << 40)


def test_all_disks_and_the_record(files, base):
    record = make(files, base, swap_mb=2, ephemeral_gb=1,
                  config_drive={"openstack/latest/meta_data.json": b"{}"})
    assert files.record() == record
    assert [(disk.file, disk.format, disk.target, disk.device) for disk in record.disks] == [
        ("disk", "qcow2", "vda", "disk"), ("disk.eph0", "raw", "vdb", "disk"),
        ("disk.swap", "raw", "vdc", "disk"), ("disk.config", "raw", "hdd", "cdrom")]
    shown = json.loads(subprocess.run(
        ["qemu-img", "info", "-f", "qcow2", "--output=json", files.path / "disk"],
        check=True, capture_output=True).stdout)
    assert shown["virtual-size"] == 1 << 30
    assert shown["full-backing-filename"] == str(base.path)
    assert shown["backing-filename-format"] == "raw"
    assert (files.path / "disk.swap").stat().st_size == 2 * MIB
    for path in files.path.iterdir():
        assert not path.stat().st_mode & 0o077, path
    assert not [path for path in files.path.iterdir() if path.name.startswith(".")]


def test_no_size_is_the_images(files, base):
    make(files, base, root_gb=0)
    shown = subprocess.run(["qemu-img", "info", "-f", "qcow2", "--output=json",
                            files.path / "disk"], check=True, capture_output=True)
    assert json.loads(shown.stdout)["virtual-size"] == MIB


def test_half_made_is_made_anew(files, base, monkeypatch):
    def full(*_args):
        raise HypervisorError(action="write", reason="disk full")
    with monkeypatch.context() as patch:
        patch.setattr(disks, "write_json", full)
        with pytest.raises(HypervisorError):
            make(files, base)
    assert files.record() is None
    assert all_records(files.path.parent) == (
        {}, {files.id: "its disks were never completed"})
    make(files, base)
    assert set(all_records(files.path.parent)[0]) == {files.id}


def test_remove_twice(files, base):
    make(files, base)
    files.remove()
    files.remove()
    assert not files.path.exists()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "not-a-uuid", ""])
def test_only_a_uuid_names_a_directory(tmp_path, name):
    with pytest.raises(ValueError):
        InstanceDirectory(tmp_path, name, Owner())


def test_config_drive_stays_in_its_place(files, base, tmp_path):
    """F3: a name that leaves the drive writes nothing."""
    with pytest.raises(ValueError, match="leaves"):
        make(files, base, config_drive={"../../../evil": b"x"})
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 1}', '{"disks": 3}'])
def test_unreadable_record_is_trouble_and_not_an_error(tmp_path, text):
    one = str(uuid.uuid4())
    (tmp_path / one).mkdir()
    (tmp_path / one / "instance.json").write_text(text)
    (tmp_path / "_base").mkdir()
    os.symlink("/etc", tmp_path / str(uuid.uuid4()))
    records, trouble = all_records(tmp_path)
    assert records == {} and set(trouble) == {one}


def test_no_directory_at_all(tmp_path):
    assert all_records(tmp_path / "none") == ({}, {})


def test_write_json_replaces_whole_files(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["x.json"]


def test_space(tmp_path):
    total, free = free_space(tmp_path)
    assert total > free > 0


def test_closed_directory_is_found(tmp_path):
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    for path in (tmp_path / "a", inner):
        os.chmod(path, 0o711)
    owner = Owner(54321, 54321)
    parents = owner.can_pass(inner)
    os.chmod(tmp_path / "a", 0o700)
    assert owner.can_pass(inner) in (tmp_path / "a", parents)
    assert owner.can_pass(inner) is not None
    assert Owner(0, 0).can_pass(inner) is None


def test_console_tail_is_bounded_and_crosses_a_rotation(tmp_path):
    """Q7: ten megabytes of console cost as much as is asked for."""
    log = tmp_path / "console.log"
    assert tail(log, 100) == b""
    log.write_bytes(b"\xff" * (10 * MIB) + b"end")
    assert tail(log, 5) == b"\xff\xffend"
    assert len(tail(log, 100_000)) == 100_000
    assert tail(log, 0) == b""
    log.rename(tmp_path / "console.log.0")
    log.write_bytes(b"new")
    assert tail(log, 8) == b"\xff\xffendnew"
