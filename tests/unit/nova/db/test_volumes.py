# SPDX-License-Identifier: Apache-2.0
"""Volumes, snapshots and attachments move as their tables of states say, and no other way."""

import datetime

import pytest
from sqlalchemy import update
from volume_rows import add_host, add_volume, volume_row

from nova import db
from nova.db import volume_attachments as attachments
from nova.db import volume_hosts, volume_snapshots, volume_types, volumes
from nova.db.models import new_id, utcnow
from nova.db.volume_models import Volume, VolumeExport, VolumeSnapshot
from nova.exception import (
    AlreadyExists,
    BadRequest,
    ClaimFailed,
    InUse,
    InvalidSnapshot,
    InvalidVolume,
    NoRoomForVolume,
    SnapshotNotFound,
    VolumeAttachmentNotFound,
    VolumeNotFound,
)
from nova.volume.states import SNAPSHOT_TASKS, VOLUME_TASKS, SnapshotStatus, VolumeStatus

pytestmark = pytest.mark.usefixtures("nova_db")


def snapshot_row(volume, **columns):
    values = {"id": new_id(), "project_id": "p", "user_id": "u", "volume_id": volume.id,
              "size_gb": volume.size_gb, "status": SnapshotStatus.CREATING, "bootable": False,
              "image_metadata": {}, "metadata_": {}}
    return VolumeSnapshot(**{**values, **columns})


def no_guard(_session):
    pass


def test_every_state_in_between_has_an_owner_a_deadline_and_a_next_step():
    moving = {one for one in VolumeStatus if one.value.endswith("ing") and "error" not in one}
    assert set(VOLUME_TASKS) == moving | {VolumeStatus.RESERVED}
    assert set(SNAPSHOT_TASKS) == {SnapshotStatus.CREATING, SnapshotStatus.DELETING}
    for task in (*VOLUME_TASKS.values(), *SNAPSHOT_TASKS.values()):
        assert task.owner in ("scheduler", "volume", "compute")
        assert task.deadline > 0 and task.ends_in and task.recovery
    assert VOLUME_TASKS[VolumeStatus.DELETING].starts_from == set(VolumeStatus) - {"deleting"}


def test_a_transition_starts_where_it_may_and_nowhere_else():
    row = add_volume(status=VolumeStatus.CREATING)
    assert row.deadline is not None
    moved = volumes.transition(row.id, from_status=VolumeStatus.CREATING,
                               status=VolumeStatus.AVAILABLE)
    assert (moved.status, moved.deadline) == ("available", None)
    with pytest.raises(InvalidVolume, match="while it is available"):
        volumes.transition(row.id, from_status=VolumeStatus.CREATING, status="error")
    with pytest.raises(VolumeNotFound):
        volumes.transition(new_id(), status="error")
    with pytest.raises(ValueError, match="transition"):
        volumes.modify(row.id, lambda one: setattr(one, "status", "error"))


def test_attach_and_detach_move_volume_and_attachment_together():
    row = add_volume()
    one = attachments.reserve(row.id, "i", "p", "vdb", boot_index=0, delete_on_termination=True)
    assert volumes.get(row.id).status == "reserved"
    assert (one.status, one.boot_index, one.delete_on_termination) == ("reserved", 0, True)
    for again in range(2):
        assert attachments.begin_attach(one.id, "c").host == "c", again
        assert volumes.get(row.id).status == "attaching"
    with pytest.raises(InvalidVolume):
        attachments.begin_attach(one.id, "other")
    for again in range(2):
        assert attachments.finish_attach(one.id).attached_at, again
        assert volumes.get(row.id).status == "in-use"
    with pytest.raises(InvalidVolume):
        attachments.undo_reserve(one.id)
    with pytest.raises(InvalidVolume):
        attachments.finish_detach(one.id)
    assert attachments.get_of_instance("i")[0].status == "attached"
    for again in range(2):
        attachments.begin_detach(one.id)
        assert volumes.get(row.id).status == "detaching", again
    assert attachments.finish_detach(one.id) is True
    assert volumes.get(row.id).status == "available"
    assert attachments.finish_detach(one.id) is False
    assert attachments.get_of_volume(row.id) is None
    with pytest.raises(VolumeAttachmentNotFound):
        attachments.get(one.id)


def test_a_volume_has_one_attachment_and_a_device_one_volume():
    first, second = add_volume(), add_volume()
    one = attachments.reserve(first.id, "i", "p", "vdb")
    with pytest.raises(InvalidVolume, match="reserved"):
        attachments.reserve(first.id, "j", "p", "vdb")
    with pytest.raises(InUse, match="vdb"):
        attachments.reserve(second.id, "i", "p", "vdb")
    assert volumes.get(second.id).status == "available"
    assert attachments.undo_reserve(one.id) is True
    assert attachments.undo_reserve(one.id) is False
    assert volumes.get(first.id).status == "available"
    assert attachments.reserve(second.id, "i", "p", "vdb").volume_id == second.id


def test_a_failed_attach_goes_the_way_of_a_detach():
    row = add_volume()
    one = attachments.reserve(row.id, "i", "p", "vdb")
    attachments.begin_attach(one.id, "c")
    attachments.begin_detach(one.id)
    attachments.finish_detach(one.id)
    assert volumes.get(row.id).status == "available"


def test_an_exported_volume_does_not_become_available():
    """V9: while anybody can reach it, nobody else gets it."""
    row = add_volume()
    one = attachments.reserve(row.id, "i", "p", "vdb")
    attachments.begin_attach(one.id, "c")
    attachments.begin_detach(one.id)
    with db.writer() as session:
        session.add(VolumeExport(volume_id=row.id, host="h", target_number=1, auth_user="u",
                                 auth_secret="s"))
    with pytest.raises(InvalidVolume, match="exported"):
        attachments.finish_detach(one.id)
    assert volumes.get(row.id).status == "detaching"


@pytest.mark.parametrize("status", sorted(set(VolumeStatus) - {VolumeStatus.DELETING}))
def test_delete_starts_from_every_status_without_an_attachment(status):
    row = add_volume(status=status)
    assert volumes.begin_delete(row.id).status == "deleting"
    with pytest.raises(InvalidVolume):
        volumes.begin_delete(row.id)
    assert volumes.delete_row(row.id, from_host="h") is True
    assert volumes.delete_row(row.id) is False


def test_what_is_attached_or_copied_is_not_deleted():
    row, source = add_volume(), add_volume()
    attachments.reserve(row.id, "i", "p", "vdb")
    with pytest.raises(InvalidVolume, match="while it is reserved"):
        volumes.begin_delete(row.id)
    assert volumes.get(row.id).status == "reserved"
    copy = volumes.create(volume_row(status="creating", source_volume_id=source.id))
    for attempt in (lambda: volumes.begin_delete(source.id),
                    lambda: attachments.reserve(source.id, "i", "p", "vdc"),
                    lambda: volumes.begin_extend(source.id, 1, no_guard)):
        add_host()
        with pytest.raises(InvalidVolume, match="being copied"):
            attempt()
        assert volumes.get(source.id).status == "available"
    volumes.transition(copy.id, status="available")
    assert volumes.begin_delete(source.id).status == "deleting"


def test_only_what_is_available_can_be_copied():
    add_host()
    row = add_volume(status=VolumeStatus.ERROR)
    with pytest.raises(InvalidVolume):
        volumes.create(volume_row(status="creating", source_volume_id=row.id))
    with pytest.raises(InvalidVolume):
        volume_snapshots.create(snapshot_row(row))
    with pytest.raises(SnapshotNotFound):
        volumes.create(volume_row(status="creating", snapshot_id=new_id()))
    snapshot = volume_snapshots.create(snapshot_row(add_volume()))
    with pytest.raises(InvalidSnapshot):
        volumes.create(volume_row(status="creating", snapshot_id=snapshot.id))
    volume_snapshots.transition(snapshot.id, from_status="creating", status="available")
    volumes.create(volume_row(status="creating", snapshot_id=snapshot.id))
    with pytest.raises(InvalidSnapshot, match="being copied"):
        volume_snapshots.begin_delete(snapshot.id)
    assert volume_snapshots.get(snapshot.id).status == "available"


def test_claims_never_exceed_what_a_host_has():
    add_host(total_gb=5, reserved_gb=1, allocation_ratio=1.5)     # room for 6
    rows = [add_volume(status="creating", host=None, size_gb=2) for _ in range(4)]
    for row in rows[:3]:
        assert volumes.claim(row.id, "h", "zone").availability_zone == "zone"
    with pytest.raises(ClaimFailed, match="2 asked, 0 free"):
        volumes.claim(rows[3].id, "h", "zone")
    with pytest.raises(InvalidVolume):
        volumes.claim(rows[0].id, "h", "zone")
    assert volume_hosts.claimed_by_host() == {"h": 6}
    volumes.transition(rows[0].id, status="available")
    with pytest.raises(NoRoomForVolume):
        volume_snapshots.create(snapshot_row(rows[0]))
    with pytest.raises(NoRoomForVolume):
        volumes.begin_extend(rows[0].id, 3, no_guard)
    volumes.begin_delete(rows[1].id)
    volumes.delete_row(rows[1].id)
    assert volume_snapshots.create(snapshot_row(rows[0])).host == "h"
    assert volume_hosts.claimed_by_host() == {"h": 6}


def test_a_volume_being_extended_takes_what_it_will_have():
    add_host(total_gb=10)
    row = add_volume(size_gb=2)
    moved = volumes.begin_extend(row.id, 7, no_guard)
    assert (moved.status, moved.size_gb, moved.claimed_gb) == ("extending", 2, 7)
    with pytest.raises(InvalidVolume):
        volumes.begin_extend(row.id, 8, no_guard)


def test_listing_filters_sorts_and_pages():
    made = [add_volume(name=f"Vol{number}", metadata_={"n": str(number % 2)}, size_gb=number + 1)
            for number in range(5)]
    add_volume(project_id="q", name="vol")
    page = volumes.get_all({"project_id": "p"}, limit=2)
    assert [row.name for row in page] == ["Vol4", "Vol3"]
    page = volumes.get_all({"project_id": "p"}, limit=2, marker=page[-1].id)
    assert [row.name for row in page] == ["Vol2", "Vol1"]
    assert [row.name for row in volumes.get_all(
        {"metadata": {"n": "1"}}, sort=[("size_gb", "asc")])] == ["Vol1", "Vol3"]
    assert len(volumes.get_all({"name_like": "vol"})) == 6
    assert volumes.count({"project_id": "p", "ids": [made[0].id, made[1].id]}) == 2
    for bad in ({"wrong": 1},):
        with pytest.raises(BadRequest, match="wrong"):
            volumes.get_all(bad)
    with pytest.raises(BadRequest, match="marker"):
        volumes.get_all({"project_id": "q"}, marker=made[0].id)
    with pytest.raises(VolumeNotFound):
        volumes.get(made[0].id, "q")


def test_overdue_are_those_past_their_deadline():
    row = add_volume(status="creating")
    assert volumes.overdue(["creating"]) == []
    with db.writer() as session:
        session.execute(update(Volume).values(
            deadline=utcnow() - datetime.timedelta(seconds=1)))
    assert [one.id for one in volumes.overdue(["creating"], host="h")] == [row.id]
    assert volumes.overdue(["creating"], host=None) == []


@pytest.mark.parametrize("host, deadline", [("h", 900), (None, 60)])
def test_overdue_are_those_begun_long_ago(host, deadline):
    row = add_volume(status="creating", host=host)
    for seconds, found in ((0, [row.id]), (5, []), (20, [])):
        assert [one.id for one in volumes.overdue(["creating"], begun=seconds)] == found
    with db.writer() as session:
        session.execute(update(Volume).values(
            deadline=utcnow() + datetime.timedelta(seconds=deadline - 10)))
    for seconds, found in ((5, [row.id]), (20, [])):
        assert [one.id for one in volumes.overdue(
            ["creating", "deleting"], host=host, begun=seconds)] == found


def test_types_are_found_by_id_and_by_name():
    fast = volume_types.create("fast", extra_specs={"volume_backend_name": "ssd"})
    with pytest.raises(AlreadyExists, match="fast"):
        volume_types.create("fast")
    assert volume_types.get("fast").id == volume_types.get(fast.id).id
    row = add_volume(volume_type_id=fast.id)
    with pytest.raises(InUse):
        volume_types.remove(fast.id)
    volumes.begin_delete(row.id)
    volumes.delete_row(row.id)
    volume_types.remove(fast.id)
    assert volume_types.get_all() == []
