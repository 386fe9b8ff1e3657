# SPDX-License-Identifier: Apache-2.0
"""Volumes from the API to the bytes: made, copied, extended, attached, deleted."""

import os
import subprocess

import pytest
from oslo_config import cfg
from volume_rows import add_instance

from nova import exception, metrics
from nova.db import volume_attachments, volume_hosts, volume_snapshots, volume_types, volumes
from nova.exception import VolumeBackendError
from nova.volume.model import Connector

GIB = 1024 ** 3
CONF = cfg.CONF


def write(path, data, offset=0):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def read(path, size, offset=0):
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def test_a_new_volume_is_a_sparse_file_of_its_size(cloud):
    cloud.add_host()
    row = cloud.volume(2, name="n")
    assert (row.status, row.host, row.format, row.availability_zone) == (
        "available", "h", "raw", "nova")
    status = cloud.path(row.id).stat()
    assert status.st_size == 2 * GIB and status.st_blocks * 512 < 1 << 20
    cloud.api.delete(cloud.context, row.id)
    cloud.deliver()
    assert cloud.files() == [] and volumes.get_all() == []


def test_qcow2_stays_qcow2_whatever_is_made_later(cloud):
    CONF.set_override("format", "qcow2", "volume")
    try:
        cloud.add_host()
        row = cloud.volume(1)
    finally:
        CONF.clear_override("format", "volume")
    assert row.format == "qcow2" and read(cloud.path(row.id), 4) == b"QFI\xfb"
    copy = cloud.volume(None, source_volume_id=row.id)
    assert (copy.format, cloud.path(copy.id).stat().st_size) == ("raw", GIB)


def test_snapshots_and_copies_have_the_bytes_and_stand_alone(cloud):
    cloud.add_host()
    row = cloud.volume(1)
    write(cloud.path(row.id), b"before", GIB - 6)
    snapshot = cloud.api.create_snapshot(cloud.context, row.id, "s")
    with pytest.raises(exception.InvalidVolume, match="being copied"):
        cloud.api.reserve(cloud.context, row.id, "i", "vdb")
    cloud.deliver()
    write(cloud.path(row.id), b"after ", GIB - 6)
    assert volume_snapshots.get(snapshot.id).status == "available"
    older = cloud.volume(2, snapshot_id=snapshot.id)
    newer = cloud.volume(None, source_volume_id=row.id)
    assert (older.size_gb, newer.size_gb) == (2, 1)
    cloud.api.delete(cloud.context, row.id)
    cloud.api.delete_snapshot(cloud.context, snapshot.id)
    cloud.deliver()
    assert cloud.files() == sorted(f"volume-{one.id}" for one in (older, newer))
    assert read(cloud.path(older.id), 6, GIB - 6) == b"before"
    assert read(cloud.path(newer.id), 6, GIB - 6) == b"after "
    assert cloud.path(older.id).stat().st_size == 2 * GIB


def test_a_volume_of_an_image_has_its_bytes(cloud, tmp_path):
    cloud.add_host()
    raw = cloud.images.add(b"boot sector".ljust(4096, b"\0"))
    row = cloud.volume(1, image_id=raw)
    assert (row.status, row.bootable) == ("available", True)
    assert read(cloud.path(row.id), 11) == b"boot sector"
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "3G"], check=True)
    large = cloud.images.add(disk.read_bytes(), "qcow2")
    row = cloud.volume(1, image_id=large)
    assert row.status == "error" and "disk is 3221225472 bytes" in row.fault
    row = cloud.volume(3, image_id=large)
    assert (row.status, cloud.path(row.id).stat().st_size) == ("available", 3 * GIB)
    cloud.images.bytes[raw] = b"something".ljust(4096, b"\0")
    row = cloud.volume(1, image_id=raw)
    assert row.status == "error" and "not the one recorded" in row.fault
    assert not [name for name in cloud.files() if name.startswith(".")]


def test_an_image_service_that_is_away_is_waited_for(cloud):
    worker = cloud.add_host()
    image = cloud.images.add(b"x" * 512)
    made = cloud.api.create(cloud.context, 1, image_id=image)
    cloud.images.error = exception.ImageServiceError(reason="away")
    cloud.deliver()
    assert volumes.get(made.id).status == "creating"
    cloud.images.error = None
    worker.reconcile()
    assert volumes.get(made.id).status == "available"


def test_extend_and_what_is_new_reads_as_zeros(cloud):
    cloud.add_host()
    row = cloud.volume(1)
    write(cloud.path(row.id), b"end", GIB - 3)
    cloud.api.extend(cloud.context, row.id, 2)
    cloud.deliver()
    row = volumes.get(row.id)
    assert (row.status, row.size_gb, row.claimed_gb) == ("available", 2, 2)
    assert read(cloud.path(row.id), 6, GIB - 3) == b"end\0\0\0"


def test_attach_on_its_own_host_alone(cloud):
    worker = cloud.add_host()
    row, instance = cloud.volume(1), add_instance()
    attachment = cloud.api.reserve(cloud.context, row.id, instance.id, "vdb")
    here = Connector("h", "iqn.h", "127.0.0.1")
    with pytest.raises(exception.InvalidVolume):
        cloud.api.initialize_connection(cloud.context, row.id, here)
    cloud.api.begin_attach(attachment.id, "h")
    with pytest.raises(exception.InvalidVolume):
        cloud.api.initialize_connection(cloud.context, row.id, Connector("elsewhere"))
    found = cloud.api.initialize_connection(cloud.context, row.id, here)
    assert (found.driver, found.path, found.format) == (
        "file", str(cloud.path(row.id)), "raw")
    os.chmod(found.path, 0o640)     # the hypervisor's side hands it over, one way or another
    cloud.api.finish_attach(attachment.id)
    for attempt in (lambda: cloud.api.delete(cloud.context, row.id),
                    lambda: cloud.api.extend(cloud.context, row.id, 2),
                    lambda: cloud.api.create_snapshot(cloud.context, row.id),
                    lambda: cloud.api.terminate_connection(cloud.context, row.id, here)):
        with pytest.raises(exception.InvalidVolume):
            attempt()
    assert volumes.get(row.id).status == "in-use"
    cloud.api.begin_detach(cloud.context, row.id, instance.id)
    cloud.api.terminate_connection(cloud.context, row.id, here)
    assert cloud.path(row.id).stat().st_mode & 0o777 == 0o600
    cloud.api.finish_detach(attachment.id)
    worker.reconcile()
    assert volumes.get(row.id).status == "available"


def test_another_host_cannot_attach_a_file(cloud):
    cloud.add_host()
    row, instance = cloud.volume(1), add_instance()
    attachment = cloud.api.reserve(cloud.context, row.id, instance.id, "vdb")
    cloud.api.begin_attach(attachment.id, "far")
    with pytest.raises(exception.Conflict, match="own host"):
        cloud.api.initialize_connection(cloud.context, row.id, Connector("far"))


# -- placing -----------------------------------------------------------------------------------

def test_every_refusal_says_why(cloud):
    row = cloud.volume(1)
    assert volumes.get(row.id).fault == "No valid host was found. There are no volume hosts."
    cloud.add_host("a", "north")
    cloud.add_host("b", "south")
    volume_hosts.report("a", total_gb=10)
    volume_hosts.report("b", total_gb=5)
    before = metrics.REFUSED.labels("VolumeZone")._value.get()
    row = cloud.volume(7, availability_zone="south")
    assert metrics.REFUSED.labels("VolumeZone")._value.get() == before + 1
    assert row.status == "error"
    assert row.fault == ("No valid host was found. Of 2 hosts these filters refused: "
                         "VolumeZone 1, VolumeCapacity 1.")
    assert cloud.volume(7).host == "a"
    assert cloud.volume(4, availability_zone="south").host == "b"
    assert "VolumeCapacity 2" in cloud.volume(4).fault
    kind = volume_types.create("ssd", extra_specs={"volume_backend_name": "ssd"})
    assert "VolumeTypeSpecs 2" in cloud.volume(1, volume_type="ssd").fault
    volume_types.modify(kind.id, lambda one: setattr(
        one, "extra_specs", {"storage_protocol": "file"}))
    assert cloud.volume(1, volume_type="ssd").status == "available"


def test_a_host_that_fails_gives_the_volume_to_another(cloud, monkeypatch):
    first, second = cloud.add_host("a"), cloud.add_host("b")
    volume_hosts.report("a", total_gb=1000)

    def full(*_args, **_kwargs):
        raise VolumeBackendError(action="make a volume", reason="no space in /srv/secret")
    monkeypatch.setattr(first.worker.driver, "create_volume", full)
    row = cloud.volume(1)
    assert (row.status, row.host) == ("available", "b")
    assert [one["host"] for one in row.request["refusals"]] == ["a"]
    monkeypatch.setattr(second.worker.driver, "create_volume", full)
    row = cloud.volume(1)
    assert row.status == "error" and row.host is None
    assert "VolumeRetry 2" in row.fault and "2 tried before" in row.fault
    assert "secret" not in row.fault


def test_attempts_are_bounded(cloud, monkeypatch):
    CONF.set_override("max_attempts", 2, "volume")
    try:
        for name in "abc":
            worker = cloud.add_host(name)

            def full(*_args, **_kwargs):
                raise VolumeBackendError(action="make a volume", reason="no space")
            monkeypatch.setattr(worker.worker.driver, "create_volume", full)
        row = cloud.volume(1)
    finally:
        CONF.clear_override("max_attempts", "volume")
    assert (row.status, row.fault) == ("error", "The volume driver failed to make a volume.")
    cloud.api.delete(cloud.context, row.id)
    cloud.deliver()
    assert volumes.get_all() == []


def test_copies_go_where_their_source_is(cloud):
    cloud.add_host("a")
    row = cloud.volume(1)
    cloud.add_host("b")
    volume_hosts.report("b", total_gb=100000)
    assert cloud.volume(1).host == "b"
    assert cloud.volume(None, source_volume_id=row.id).host == "a"
    del cloud.workers["a"]
    made = cloud.api.create(cloud.context, None, source_volume_id=row.id)
    cloud.deliver()
    assert volumes.get(made.id).status == "creating"


def test_a_volume_waits_for_workers_that_are_down_and_moves_on(cloud, monkeypatch):
    cloud.add_host("a")
    del cloud.workers["a"]
    row = cloud.volume(1)
    assert (row.status, row.host) == ("creating", "a")
    cloud.make_everything_late()
    monkeypatch.setattr("nova.scheduler.volumes.services.is_up", lambda row, _after:
                        row.host == "b")
    cloud.scheduler.volumes.housekeeping()
    assert volumes.get(row.id).host is None and volumes.get(row.id).status == "creating"
    cloud.add_host("b")
    cloud.make_everything_late()
    cloud.scheduler.volumes.housekeeping()
    cloud.deliver()
    row = volumes.get(row.id)
    assert (row.status, row.host) == ("available", "b")
    # The first host comes back with what it had begun: its late verdict is not taken.
    cloud.add_host("a").create_volume(cloud.context, row.id)
    assert cloud.files("a") == []


def test_deleted_before_a_host_took_it(cloud):
    made = cloud.api.create(cloud.context, 1)
    cloud.api.delete(cloud.context, made.id)
    cloud.add_host()
    cloud.deliver()
    assert volumes.get_all() == [] and cloud.files() == []


def test_attachments_of_no_instance_are_let_go(cloud):
    worker = cloud.add_host()
    first, second, third = (cloud.volume(1) for _ in range(3))
    instance = add_instance()
    cloud.api.reserve(cloud.context, first.id, "gone", "vdb")
    reached = cloud.api.reserve(cloud.context, second.id, "gone", "vdc",
                                delete_on_termination=True)
    cloud.api.begin_attach(reached.id, "h")
    cloud.api.finish_attach(reached.id)
    cloud.api.reserve(cloud.context, third.id, instance.id, "vdb")
    worker.reconcile()
    # The reservation is young: its instance's row may be about to come.
    assert volumes.get(first.id).status == "reserved"
    cloud.make_everything_late()
    worker.reconcile()
    assert volumes.get(first.id).status == "available"
    with pytest.raises(exception.VolumeNotFound):
        volumes.get(second.id)
    assert [one.volume_id for one in volume_attachments.get_all()] == [third.id]
