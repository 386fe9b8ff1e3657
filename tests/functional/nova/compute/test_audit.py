# SPDX-License-Identifier: Apache-2.0
"""Guests against rows, as nova-manage audit asks for it."""

import pytest

from nova import exception
from nova.compute import audit
from nova.compute.states import VmState
from nova.db import session
from nova.db.models import Instance


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(audit, "SECOND_LOOK", 0)


def check(cloud, repair=False):
    return [(one.kind, one.thing, one.repaired)
            for one in audit.check("host1", repair, cloud.driver())]


def boot(cloud):
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.row(one).vm_state == VmState.ACTIVE
    return one


def forget(instance_id):
    with session.writer() as db:
        db.execute(Instance.__table__.delete().where(Instance.id == instance_id))


def test_nothing_to_say(cloud):
    cloud.add_host()
    boot(cloud)
    cloud.create()      # one that waits for a host
    assert check(cloud) == []


def test_missing_and_stray(cloud):
    cloud.add_host()
    lost, stray = boot(cloud), boot(cloud)
    cloud.driver().lose(lost)
    forget(stray)
    assert set(check(cloud)) == {("guest", lost, False), ("guest", stray, False)}


def test_repair_removes_what_is_known_to_be_deleted_and_nothing_else(cloud):
    cloud.add_host()
    deleted, unknown = boot(cloud), boot(cloud)
    cloud.driver().knobs.destroy_error = "HypervisorError"
    cloud.delete(deleted)
    cloud.deliver()
    cloud.driver().knobs.destroy_error = None
    forget(deleted)
    forget(unknown)
    assert set(check(cloud, repair=True)) == {("guest", deleted, True), ("guest", unknown, False)}
    assert cloud.guests() == {unknown}


def test_what_changes_meanwhile_is_no_finding(cloud, monkeypatch):
    cloud.add_host()
    one = boot(cloud)
    guest = cloud.driver()._read(one)
    cloud.driver().lose(one)
    monkeypatch.setattr(audit.time, "sleep", lambda _seconds: cloud.driver()._write(guest))
    assert check(cloud) == []


def test_another_hosts_guests_cannot_be_seen_from_here(cloud):
    with pytest.raises(exception.NotSupported, match="host9"):
        list(audit.check("host9", False))
