# SPDX-License-Identifier: Apache-2.0
"""A worker killed anywhere: the next one finishes, undoes or fails what it finds (P2, P3, P10)."""

import os
import subprocess
import threading
import time

import pytest

from nova import audit as audits
from nova.db import volume_snapshots, volumes
from nova.exception import VolumeBackendError
from nova.linux import qemu_img
from nova.volume import audit
from nova.volume.states import SnapshotStatus, VolumeStatus


class Killed(BaseException):
    """What a worker feels when it is killed; nothing of its own catches that."""


@pytest.fixture
def killed_at(monkeypatch):
    """A function that kills whoever calls a function next: before it runs, or after."""
    def arm(module, name, after=False):
        real = getattr(module, name)

        def die(*args, **kwargs):
            monkeypatch.setattr(module, name, real)
            if after:
                real(*args, **kwargs)
            raise Killed
        monkeypatch.setattr(module, name, die)
    return arm


STEPS = [(qemu_img, "create_empty", False), (qemu_img, "create_empty", True),
         (os, "rename", False), (os, "rename", True), (volumes, "transition", False),
         (volumes, "transition", True)]
COPY_STEPS = [(qemu_img, "copy", False), (qemu_img, "copy", True), (os, "rename", False),
              (os, "rename", True)]


def _names(step):
    return f"{'after' if step[2] else 'before'}-{step[1]}"


def settled(cloud):
    """Nothing in between, no file without a row, no row without its file."""
    assert not [row for row in volumes.get_all() if row.status.endswith("ing")]
    assert not [row for row in volume_snapshots.get_all() if row.status.endswith("ing")]
    assert audit.problems("h", cloud.workers["h"].worker.driver) == []
    assert not [name for name in cloud.files() if name.startswith(".")]


@pytest.mark.parametrize("step", STEPS, ids=_names)
def test_killed_in_a_create(cloud, killed_at, step):
    cloud.add_host()
    made = cloud.api.create(cloud.context, 1)
    killed_at(*step)
    with pytest.raises(Killed):
        cloud.deliver()
    cloud.kill_and_restart()
    assert volumes.get(made.id).status == "available"
    settled(cloud)


@pytest.mark.parametrize("step", COPY_STEPS, ids=_names)
@pytest.mark.parametrize("what", ["snapshot", "clone"])
def test_killed_in_a_copy(cloud, killed_at, what, step):
    cloud.add_host()
    row = cloud.volume(1)
    with cloud.path(row.id).open("r+b") as file:
        file.write(b"data")
    if what == "snapshot":
        made = cloud.api.create_snapshot(cloud.context, row.id)
    else:
        made = cloud.api.create(cloud.context, None, source_volume_id=row.id)
    killed_at(*step)
    with pytest.raises(Killed):
        cloud.deliver()
    cloud.kill_and_restart()
    kind = "snapshot" if what == "snapshot" else "volume"
    with cloud.path(made.id, kind).open("rb") as file:
        assert file.read(4) == b"data"
    settled(cloud)
    cloud.api.reserve(cloud.context, row.id, "i", "vdb")


@pytest.mark.parametrize("step", [
    (volumes, "delete_row", False), (volumes, "delete_row", True)], ids=_names)
def test_killed_in_a_delete(cloud, killed_at, step):
    cloud.add_host()
    row = cloud.volume(1)
    cloud.api.delete(cloud.context, row.id)
    killed_at(*step)
    with pytest.raises(Killed):
        cloud.deliver()
    cloud.kill_and_restart()
    assert volumes.get_all() == [] and cloud.files() == []


@pytest.mark.parametrize("step", [
    (qemu_img, "resize", False), (qemu_img, "resize", True)], ids=_names)
def test_killed_in_an_extend(cloud, killed_at, step):
    cloud.add_host()
    row = cloud.volume(1)
    cloud.api.extend(cloud.context, row.id, 2)
    killed_at(*step)
    with pytest.raises(Killed):
        cloud.deliver()
    cloud.kill_and_restart()
    assert volumes.get(row.id).size_gb == 2
    settled(cloud)


def test_a_delete_ends_the_copy_it_meets(cloud, tmp_path, monkeypatch):
    """Q12: a volume being filled is deleted at once, not when hours of copying are over."""
    tools = tmp_path / "bin"
    tools.mkdir()
    slow = tools / "qemu-img"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    worker = cloud.add_host()
    row = cloud.volume(1)
    made = cloud.api.create(cloud.context, None, source_volume_id=row.id)
    volumes.claim(made.id, "h", "nova")
    real = subprocess.Popen
    monkeypatch.setattr(qemu_img.subprocess, "Popen", lambda command, **options: real(
        [str(slow)] if "convert" in command else command, **options))
    copying = threading.Thread(target=worker.create_volume, args=(cloud.context, made.id))
    copying.start()
    until = time.monotonic() + 60
    while not any(made.id in name for name in cloud.files()):
        assert time.monotonic() < until
        time.sleep(0.05)
    cloud.api.delete(cloud.context, made.id)
    cloud.deliver()
    copying.join(60)
    assert not copying.is_alive() and worker.worker.unwanted == set()
    assert [one.id for one in volumes.get_all()] == [row.id]
    assert cloud.files() == [f"volume-{row.id}"]


@pytest.mark.parametrize("what", ["volume", "snapshot"])
def test_work_in_hand_is_not_late_however_long_it_takes(cloud, what):
    worker = cloud.add_host()
    row = cloud.volume(1)
    if what == "volume":
        made, table = cloud.api.create(cloud.context, None, source_volume_id=row.id), volumes
        volumes.claim(made.id, "h", "nova")
    else:
        made, table = cloud.api.create_snapshot(cloud.context, row.id), volume_snapshots
    with worker.locks.hold(made.id):        # as whoever copies it does
        cloud.make_everything_late()
        assert len(table.overdue(["creating"])) == 1
        worker.reconcile()
        assert table.overdue(["creating"]) == [] and table.get(made.id).status == "creating"
    cloud.make_everything_late()
    worker.reconcile()
    assert table.get(made.id).status == "available"


def test_messages_that_never_came_are_not_missed(cloud):
    worker = cloud.add_host()
    row = cloud.volume(1)
    other = cloud.volume(1)
    snapshot = cloud.api.create_snapshot(cloud.context, row.id)
    cloud.api.delete(cloud.context, other.id)
    waiting = cloud.api.create(cloud.context, 1)
    cloud.waiting.clear()
    worker.reconcile()
    assert volume_snapshots.get(snapshot.id).status == "creating"
    cloud.make_everything_late()
    cloud.scheduler.housekeeping()
    cloud.waiting.clear()
    cloud.make_everything_late()
    worker.reconcile()
    assert volume_snapshots.get(snapshot.id).status == "available"
    assert volumes.get(waiting.id).status == "available"
    assert [one.id for one in volumes.get_all()] == [waiting.id, row.id]
    settled(cloud)


@pytest.mark.parametrize("status", sorted(VolumeStatus))
def test_delete_works_from_every_status_without_an_attachment(cloud, status):
    worker = cloud.add_host()
    row = cloud.volume(1)
    volumes.transition(row.id, status=status)
    cloud.api.delete(cloud.context, row.id)
    cloud.deliver()
    assert volumes.get_all() == [] and cloud.files() == []
    worker.reconcile()


@pytest.mark.parametrize("status", sorted(SnapshotStatus))
def test_delete_works_from_every_status_of_a_snapshot(cloud, status):
    cloud.add_host()
    row = cloud.volume(1)
    snapshot = cloud.api.create_snapshot(cloud.context, row.id)
    cloud.deliver()
    volume_snapshots.transition(snapshot.id, status=status)
    cloud.api.delete_snapshot(cloud.context, snapshot.id)
    cloud.deliver()
    assert volume_snapshots.get_all() == [] and cloud.files() == [f"volume-{row.id}"]


def test_bytes_that_cannot_be_removed_are_said_so_and_tried_again(cloud, monkeypatch):
    """V3: a volume whose bytes could not be removed is not gone."""
    worker = cloud.add_host()
    row = cloud.volume(1)

    def fail(_volume_id):
        raise VolumeBackendError(action="remove a file", reason="I/O error on /srv/x")
    real = worker.worker.driver.delete_volume
    monkeypatch.setattr(worker.worker.driver, "delete_volume", fail)
    cloud.api.delete(cloud.context, row.id)
    cloud.deliver()
    row = volumes.get(row.id)
    assert (row.status, row.fault) == (
        "error_deleting", "The volume driver failed to remove a file.")
    monkeypatch.setattr(worker.worker.driver, "delete_volume", real)
    cloud.api.delete(cloud.context, row.id)
    cloud.deliver()
    assert volumes.get_all() == []


def test_a_back_end_that_is_not_ready_is_asked_again(cloud, monkeypatch):
    from nova.volume.file import FileDriver
    from nova.volume.manager import VolumeManager
    driver = FileDriver("h", cloud.directory / "h")
    monkeypatch.setattr(FileDriver, "init_host", _refuse)
    worker = VolumeManager("h", driver=driver, images=cloud.images, scheduler=cloud.Client(None))
    worker.start()
    assert not worker.hypervisor_up()
    with pytest.raises(VolumeBackendError):
        worker.initialize_connection(cloud.context, "v", {"host": "h"})
    monkeypatch.undo()
    worker.reconcile()
    worker._recovery.join()
    assert worker.hypervisor_up()


def _refuse(_self):
    raise VolumeBackendError(action="use its directory", reason="it is not mounted")


def test_the_audit_finds_what_does_not_fit(cloud, monkeypatch):
    worker = cloud.add_host()
    monkeypatch.setattr("nova.audit.SECOND_LOOK", 0)
    row, lost, short = (cloud.volume(1) for _ in range(3))
    stray = cloud.path("00000000-0000-4000-8000-000000000000")
    stray.write_bytes(b"somebody's data")
    (cloud.directory / "h" / "notes.txt").write_text("")
    cloud.path(lost.id).unlink()
    os.truncate(cloud.path(short.id), 5)
    cloud.api.reserve(cloud.context, row.id, "gone", "vdb")
    found = {(one.kind, one.thing): one for one in audit.check("h", True, worker.worker.driver)}
    assert {key: one.what for key, one in found.items()} == {
        ("attachment", row.id): "is reserved to instance gone, which is gone",
        ("volume-file", stray.name): "has no row",
        ("volume-file", "notes.txt"): "is no volume's",
        ("volume-file", f"volume-{lost.id}"): "is missing",
        ("volume-file", f"volume-{short.id}"): "is 5 bytes and its row says 1 GiB"}
    assert not any(one.repaired for one in found.values()) and stray.exists()
    cloud.make_everything_late()
    assert "volumes" in audits.CHECKS
