# SPDX-License-Identifier: Apache-2.0
"""What hurt volumes before (rows of the security catalogue by their ids)."""

import logging

from nova.db import volume_exports, volumes
from nova.linux import qemu_img
from nova.volume.driver import Export
from nova.volume.worker import fault_text

GIB = 1024 ** 3
SECRET = b"somebody's secret" * 64


def everything_in(path):
    """The bytes of a file that were ever written."""
    with path.open("rb") as file:
        return file.read(1 << 20)


def test_f6_f7_a_header_written_by_a_guest_is_just_bytes(cloud, forged_qcow2):
    """F6, F7: clone, snapshot and extend a raw volume that looks like qcow2: the same bytes."""
    cloud.add_host()
    row = cloud.volume(1)
    with cloud.path(row.id).open("r+b") as file:
        file.write(forged_qcow2)
    snapshot = cloud.api.create_snapshot(cloud.context, row.id)
    clone = cloud.api.create(cloud.context, None, source_volume_id=row.id)
    cloud.deliver()
    of_snapshot = cloud.volume(None, snapshot_id=snapshot.id)
    cloud.api.extend(cloud.context, clone.id, 2)
    cloud.deliver()
    for path in (cloud.path(row.id), cloud.path(snapshot.id, "snapshot"), cloud.path(clone.id),
                 cloud.path(of_snapshot.id)):
        with path.open("rb") as file:
            assert file.read(512) == forged_qcow2
            assert not file.read(1 << 20).strip(b"\0")
    for one in volumes.get_all():
        assert (one.status, one.format) == ("available", "raw")


def test_f12_f13_an_image_over_a_file_of_the_host_is_refused(cloud, forged_qcow2, monkeypatch):
    """F12, F13: a qcow2 image over a host's file becomes no volume, and qemu-img never sees it."""
    cloud.add_host()
    seen = []
    monkeypatch.setattr(qemu_img, "_run", lambda *words, **_limits: seen.append(words))
    image = cloud.images.add(forged_qcow2.ljust(65536, b"\0"), "qcow2")
    row = cloud.volume(1, image_id=image)
    assert row.status == "error" and "unacceptable" in row.fault
    vmdk = cloud.images.add(b"# Disk DescriptorFile\nRW 1 FLAT \"/etc/passwd\" 0\n", "vmdk")
    assert cloud.volume(1, image_id=vmdk).status == "error"
    assert seen == [] and cloud.files() == []


def test_v1_v2_nothing_of_a_deleted_volume_is_in_a_new_one(cloud):
    """V1, V2, V4: delete volumes and snapshots full of data; what is made next reads as zeros."""
    cloud.add_host()
    for _ in range(3):
        row = cloud.volume(1)
        with cloud.path(row.id).open("r+b") as file:
            file.write(SECRET * 1000)
        snapshot = cloud.api.create_snapshot(cloud.context, row.id)
        cloud.deliver()
        cloud.api.delete(cloud.context, row.id, cascade=True)
        cloud.deliver()
        fresh = cloud.volume(1)
        assert not everything_in(cloud.path(fresh.id)).strip(b"\0")
        cloud.api.extend(cloud.context, fresh.id, 2)
        cloud.deliver()
        assert not everything_in(cloud.path(fresh.id)).strip(b"\0")
        assert not cloud.path(snapshot.id, "snapshot").exists()


def test_v16_nothing_is_left_of_a_deleted_volume(cloud):
    """V16: no file with its id, no row."""
    cloud.add_host()
    row = cloud.volume(1)
    cloud.api.delete(cloud.context, row.id)
    cloud.deliver()
    assert not [name for name in cloud.files() if row.id in name]
    assert volume_exports.get(row.id) is None


def test_r2_r4_files_are_their_owners_alone(cloud):
    """R2, R4: volumes and snapshots 0600, the directory closed to listing."""
    cloud.add_host()
    row = cloud.volume(1)
    cloud.api.create_snapshot(cloud.context, row.id)
    cloud.deliver()
    directory = cloud.directory / "h"
    assert directory.stat().st_mode & 0o777 == 0o711
    assert [path.stat().st_mode & 0o777 for path in directory.iterdir()] == [0o600, 0o600]


def test_l8_l18_secrets_and_paths_are_in_no_fault_and_no_repr(cloud, caplog):
    """L8, L18: what the operator's log may say the owner's fault does not, and neither a secret."""
    from nova.exception import VolumeBackendError
    caplog.set_level(logging.DEBUG)
    error = VolumeBackendError(action="export a volume", reason="/srv/volumes is full")
    assert fault_text(error) == "The volume driver failed to export a volume."
    assert fault_text(ValueError("s3cret")) == "An unexpected error occurred (ValueError)."
    export = Export("v", 1, "user", "s3cret")
    logging.getLogger("test").info("%s %r", export, export)
    assert "s3cret" not in caplog.text
