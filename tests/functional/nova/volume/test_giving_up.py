# SPDX-License-Identifier: Apache-2.0
"""Work that breaks whoever does it, every time: the row says so, and nothing waits for it."""

import datetime
import time

import pytest
from oslo_config import cfg
from sqlalchemy import select

from nova import db, rpc
from nova.db import volume_snapshots, volumes
from nova.db.volume_models import Volume, VolumeSnapshot
from nova.volume.giving_up import GIVEN_UP
from nova.volume.methods import METHODS

CONF = cfg.CONF
REASON = "5 times it raised KeyError"


class Killed(BaseException):
    """What a worker feels when it is killed; nothing of its own catches that."""


@pytest.fixture
def broken(cloud, monkeypatch):
    """A function that makes one method of the driver of host "h" raise what nobody expected."""
    def make(name, error=KeyError):
        def fail(*_args, **_kwargs):
            raise error("nobody expected that")
        monkeypatch.setattr(cloud.workers["h"].worker.driver, name, fail)
    return make


def let_messages_be_lost():
    """Make every work begun so long ago that its message counts as lost; no deadline is over."""
    with db.writer() as session:
        for table in (Volume, VolumeSnapshot):
            for row in session.scalars(select(table).where(table.deadline.is_not(None))):
                row.deadline -= datetime.timedelta(seconds=CONF.message_patience + 1)


def begun(cloud, what):
    """Return (rows, id, method, what the messages say) of work of a kind; no message is left."""
    volume = cloud.volume().id
    if what == "create_volume":
        volume = cloud.api.create(cloud.context, 1).id
        cloud.scheduler.schedule_volumes(cloud.context, [volume])
    elif what == "extend_volume":
        cloud.api.extend(cloud.context, volume, 2)
    elif what == "delete_volume":
        cloud.api.delete(cloud.context, volume)
    else:
        snapshot = cloud.api.create_snapshot(cloud.context, volume).id
        if what == "delete_snapshot":
            cloud.deliver()
            cloud.api.delete_snapshot(cloud.context, snapshot)
        cloud.waiting.clear()
        return volume_snapshots, snapshot, {"snapshot_id": snapshot}
    cloud.waiting.clear()
    return volumes, volume, {"volume_id": volume}


WORK = {"create_volume": "error", "extend_volume": "error_extending",
        "delete_volume": "error_deleting", "create_snapshot": "error",
        "delete_snapshot": "error_deleting"}


@pytest.mark.parametrize("what", WORK)
def test_work_whose_message_is_parked_is_given_up_at_once(cloud, what):
    worker = cloud.add_host()
    rows, one, args = begun(cloud, what)
    worker.message_parked(cloud.context, what, args, REASON)
    row = rows.get(one)
    assert (row.status, row.fault, row.deadline) == (WORK[what], GIVEN_UP, None)
    # It is over: the message once more, and one about it on another host, change nothing.
    worker.message_parked(cloud.context, what, args, REASON)
    cloud.add_host("other").message_parked(cloud.context, what, args, REASON)
    assert rows.get(one).status == WORK[what]


@pytest.mark.parametrize("what", WORK)
def test_what_was_given_up_can_be_deleted(cloud, what):
    worker = cloud.add_host()
    rows, one, args = begun(cloud, what)
    worker.message_parked(cloud.context, what, args, REASON)
    (cloud.api.delete if rows is volumes else cloud.api.delete_snapshot)(cloud.context, one)
    cloud.deliver()
    assert [row for row in rows.get_all() if row.id == one] == []
    assert [name for name in cloud.files() if one in name] == []


def test_parked_message_about_what_is_gone_or_ready_changes_nothing(cloud):
    worker = cloud.add_host()
    volume = cloud.volume()
    worker.message_parked(cloud.context, "create_volume", {"volume_id": volume.id}, REASON)
    worker.message_parked(cloud.context, "delete_volume", {"volume_id": "none"}, REASON)
    worker.message_parked(cloud.context, "delete_snapshot", {"snapshot_id": "none"}, REASON)
    cloud.scheduler.message_parked(cloud.context, "schedule_volumes",
                                   {"volume_ids": [volume.id, "none"]}, REASON)
    assert volumes.get(volume.id).status == "available"


def test_scheduling_whose_message_is_parked_is_given_up(cloud):
    made = cloud.api.create(cloud.context, 1)
    cloud.scheduler.message_parked(cloud.context, "schedule_volumes", {"volume_ids": [made.id]},
                                   REASON)
    row = volumes.get(made.id)
    assert (row.status, row.fault, row.host) == ("error", GIVEN_UP, None)


def test_row_that_breaks_the_scheduler_keeps_no_other_waiting(cloud, monkeypatch):
    cloud.add_host()
    broken_one, sound = (cloud.api.create(cloud.context, 1).id for _ in range(2))
    cloud.waiting.clear()
    schedule = cloud.scheduler.volumes.schedule

    def breaks(context, ids):
        if broken_one in ids:
            raise KeyError("nobody expected that")
        schedule(context, ids)

    monkeypatch.setattr(cloud.scheduler.volumes, "schedule", breaks)
    cloud.make_everything_late()
    cloud.scheduler.housekeeping()
    cloud.deliver()
    assert volumes.get(broken_one).status == "error"
    assert volumes.get(sound).status == "available"


@pytest.mark.parametrize("what", ["extend_volume", "delete_volume", "create_snapshot",
                                  "delete_snapshot"])
def test_work_that_breaks_the_reconciler_is_given_up_at_its_deadline(cloud, broken, what):
    cloud.add_host()
    rows, one, _args = begun(cloud, what)
    broken(what)
    cloud.workers["h"].worker.again.add(one)
    cloud.workers["h"].reconcile()
    assert rows.get(one).status not in WORK.values()      # it may be over in a moment
    cloud.make_everything_late()
    cloud.workers["h"].reconcile()
    assert (rows.get(one).status, rows.get(one).fault) == (WORK[what], GIVEN_UP)


@pytest.mark.parametrize("what", ["create_volume", "create_snapshot"])
def test_work_every_worker_dies_of_does_not_kill_workers_for_ever(cloud, broken, what):
    """A crash of the process, not an exception: only the row can tell how often."""
    cloud.add_host()
    rows, one, _args = begun(cloud, what)
    broken(what, Killed)
    deaths = 0
    for _ in range(10):
        try:
            cloud.workers["h"].reconciler.recover()
            break
        except Killed:
            deaths += 1
    assert deaths == 5
    assert (rows.get(one).status, rows.get(one).fault) == (WORK[what], GIVEN_UP)


def test_deaths_are_counted_anew_for_the_next_work(cloud):
    worker = cloud.add_host()
    _rows, one, _args = begun(cloud, "extend_volume")
    for count in (1, 2, 3):
        assert volumes.note_death(one) == count
    worker.advance(cloud.context, one)
    assert (volumes.get(one).status, volumes.get(one).deaths) == ("available", 0)
    assert volumes.note_death("none") == volume_snapshots.note_death("none") == 0


@pytest.mark.parametrize("what", WORK)
def test_bug_work_whose_message_was_lost_waited_for_its_deadline(cloud, what):
    """The API died before it told the worker, which looks for what was begun a while ago."""
    worker = cloud.add_host()
    rows, one, _args = begun(cloud, what)
    status = rows.get(one).status
    worker.take_up()
    time.sleep(0.1)
    assert rows.get(one).status == status       # the message may be on its way
    let_messages_be_lost()
    worker.take_up()
    until = time.monotonic() + 20
    while any(row.status == status for row in rows.get_all() if row.id == one):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_bug_scheduling_whose_message_was_lost_waited_for_its_deadline(cloud):
    cloud.add_host()
    made = cloud.api.create(cloud.context, 1)
    cloud.waiting.clear()
    cloud.scheduler.housekeeping()
    assert volumes.get(made.id).host is None
    let_messages_be_lost()
    cloud.scheduler.housekeeping()
    cloud.deliver()
    assert volumes.get(made.id).status == "available"


@pytest.mark.parametrize("what", ["delete_volume", "create_snapshot"])
def test_message_nobody_can_work_on_is_parked_and_its_row_says_so(cloud, broken, what,
                                                                   monkeypatch):
    """Through the worker's own server: tried as often as it may be, then given up at once."""
    worker = cloud.add_host()
    rows, one, args = begun(cloud, what)
    broken(what)
    monkeypatch.setattr("nova.rpc.server.AGAIN_PAUSE", 0.01)
    made = rpc.configure("memory://")
    server = rpc.Server(METHODS, "h", worker).start()
    try:
        rpc.Client(METHODS).cast(cloud.context, what, host="h", **args)
        until = time.monotonic() + 20
        while rows.get(one).status not in WORK.values():
            assert time.monotonic() < until, rows.get(one).status
            time.sleep(0.02)
    finally:
        server.stop(5)
        made.close()
        monkeypatch.setattr("nova.rpc.broker._broker", None)
    assert (rows.get(one).status, rows.get(one).fault) == (WORK[what], GIVEN_UP)
