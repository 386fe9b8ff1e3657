# SPDX-License-Identifier: Apache-2.0
"""Every change of a volume's or snapshot's status is told once, and nothing secret with it."""

import json

import pytest
from volume_rows import add_instance, add_volume

from nova.db import volume_attachments, volume_snapshots, volumes
from nova.exception import InvalidVolume, VolumeBackendError
from nova.volume import events as volume_events
from nova.volume.states import SNAPSHOT_TASKS, VOLUME_TASKS, VolumeStatus

SECRET = "hunter2-this-is-secret"


def events(told):
    found = [one["event_type"] for one in told]
    told.clear()
    return found


def attach(cloud, volume_id, instance_id):
    made = cloud.api.reserve(cloud.context, volume_id, instance_id, "vdb")
    cloud.api.begin_attach(made.id, "compute1")
    return made


def test_the_life_of_a_volume_in_notifications(cloud, told):
    cloud.add_host()
    row = cloud.volume(1, name="n")
    assert [(one["event_type"], one["payload"]["status"], one["payload"]["old_status"],
             one["payload"]["host"]) for one in told] == [
        ("volume.create.start", "creating", None, None),
        ("volume.update", "creating", "creating", "h"),
        ("volume.create.end", "available", "creating", "h")]
    payload = told[-1]["payload"]
    assert (payload["volume_id"], payload["display_name"], payload["size"], payload["tenant_id"]) \
        == (row.id, "n", 1, row.project_id)
    json.dumps(told)
    told.clear()
    server = add_instance().id
    told.clear()
    made = attach(cloud, row.id, server)
    cloud.api.finish_attach(made.id)
    assert {(one["payload"]["instance_id"], one["payload"]["device"]) for one in told} \
        == {(server, "vdb")}
    assert events(told) == ["volume.attach.start", "volume.update", "volume.attach.end"]
    cloud.api.begin_detach(cloud.context, row.id, server)
    cloud.api.finish_detach(made.id)
    assert told[-1]["payload"]["instance_id"] == server
    assert events(told) == ["volume.detach.start", "volume.detach.end"]
    cloud.api.extend(cloud.context, row.id, 2)
    cloud.deliver()
    assert told[-1]["payload"]["size"] == 2
    assert events(told) == ["volume.resize.start", "volume.resize.end"]
    snapshot = cloud.api.create_snapshot(cloud.context, row.id, "s")
    cloud.deliver()
    assert told[-1]["payload"]["snapshot_id"] == snapshot.id
    assert events(told) == ["snapshot.create.start", "snapshot.create.end"]
    cloud.api.delete_snapshot(cloud.context, snapshot.id)
    cloud.api.delete(cloud.context, row.id)
    cloud.deliver()
    assert told[-1]["payload"]["status"] == "deleted" and told[-1]["payload"]["deleted_at"]
    assert sorted(events(told)) == ["snapshot.delete.end", "snapshot.delete.start",
                                    "volume.delete.end", "volume.delete.start"]


def test_what_fails_is_told_as_an_error(cloud, told, monkeypatch):
    def broken(*_args, **_kwargs):
        raise VolumeBackendError(action="do it", reason="it burns")
    manager = cloud.add_host()
    row = cloud.volume(1)
    told.clear()
    for method, ask, expected in (
            ("create_volume", lambda: cloud.volume(None, source_volume_id=row.id),
             "volume.create.error"),
            ("create_snapshot", lambda: cloud.api.create_snapshot(cloud.context, row.id),
             "snapshot.create.error"),
            ("extend_volume", lambda: cloud.api.extend(cloud.context, row.id, 2),
             "volume.resize.error"),
            ("delete_volume", lambda: cloud.api.delete(cloud.context, row.id),
             "volume.delete.error")):
        with monkeypatch.context() as patch:
            patch.setattr(manager.worker.driver, method, broken)
            ask()
            cloud.deliver()
        assert (told[-1]["event_type"], told[-1]["priority"]) == (expected, "ERROR")


def test_an_attach_or_a_detach_that_fails_is_told_too(cloud, told):
    cloud.add_host()
    row, server = cloud.volume(1), add_instance().id
    told.clear()
    made = attach(cloud, row.id, server)
    volume_attachments.begin_detach(made.id)
    assert events(told)[-1] == "volume.attach.error"
    cloud.api.undo_detach(made.id)
    assert told[-1]["priority"] == "ERROR" and events(told) == ["volume.detach.error"]
    cloud.api.begin_detach(cloud.context, row.id, server)
    cloud.api.finish_detach(made.id)
    told.clear()
    cloud.api.undo_reserve(cloud.api.reserve(cloud.context, row.id, server, "vdb").id)
    assert events(told) == ["volume.attach.start", "volume.detach.end"]


def test_what_is_refused_or_no_change_is_told_to_nobody(cloud, told):
    row = add_volume()
    told.clear()
    cloud.api.update(cloud.context, row.id, {"name": "other"})
    with pytest.raises(InvalidVolume):
        volumes.transition(row.id, from_status=VolumeStatus.DELETING, status=VolumeStatus.ERROR)
    cloud.api.reserve(cloud.context, row.id, add_instance().id, "vdb")
    told.clear()
    with pytest.raises(InvalidVolume):      # the row was moved before the attachment was found
        cloud.api.delete(cloud.context, row.id)
    assert told == []


@pytest.mark.parametrize("status", list(VOLUME_TASKS))
def test_no_work_on_a_volume_is_forgotten(told, nova_db, status):
    """A status somebody adds to the table needs a name in events."""
    row = add_volume()
    told.clear()
    volumes.transition(row.id, status=status)
    assert events(told)[0].endswith(".start")


def test_every_work_on_snapshots_has_a_name():
    assert volume_events._SNAPSHOT_WORK.keys() == SNAPSHOT_TASKS.keys()
    assert volume_events._VOLUME_WORK.keys() == VOLUME_TASKS.keys()


def test_security_l5_l8_l15_no_secret_of_a_volume_in_notifications(cloud, told):
    """L5, L8, L15: neither metadata nor how a volume is reached is in them."""
    cloud.add_host()
    row = cloud.volume(1, metadata={"password": SECRET}, description=SECRET)
    made = attach(cloud, row.id, add_instance().id)
    volumes.transition(row.id, fault=SECRET)
    cloud.api.finish_attach(made.id)
    volume_snapshots.get_all()
    assert len(told) > 5 and SECRET not in json.dumps(told)
    more = {"status", "old_status", "old_host", "deleted_at", "instance_id", "device"}
    for one in told:
        if one["event_type"].startswith("volume."):
            assert set(one["payload"]) == {*volume_events.VOLUME_PAYLOAD, *more}
