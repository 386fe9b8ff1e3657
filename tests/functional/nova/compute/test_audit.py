# SPDX-License-Identifier: Apache-2.0
"""Guests against rows, as nova-manage audit asks for it."""

import pytest

from nova import exception
from nova.compute import audit
from nova.compute.states import VmState
from nova.db import instances, session
from nova.db.models import Instance


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("nova.audit.SECOND_LOOK", 0)


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
    monkeypatch.setattr("nova.audit.time.sleep", lambda _seconds: cloud.driver()._write(guest))
    assert check(cloud) == []


def test_another_hosts_guests_cannot_be_seen_from_here(cloud):
    with pytest.raises(exception.NotSupported, match="host9"):
        list(audit.check("host9", False))


def test_repair_settles_rows_without_their_guest(cloud):
    """And when the guest is there again, the reconciler believes it: nothing was removed."""
    cloud.add_host()
    one = boot(cloud)
    guest = cloud.driver()._read(one)
    cloud.driver().lose(one)
    assert check(cloud) == [("guest", one, False)]
    assert check(cloud, repair=True) == [("guest", one, True)]
    assert (cloud.states(one), cloud.fault(one)) == (
        (VmState.ERROR, None), "The guest is not on its host any more.")
    assert check(cloud) == []
    cloud.driver()._write(guest)
    cloud.computes["host1"].reconcile()
    assert cloud.states(one) == (VmState.ACTIVE, None)


def test_repair_removes_what_an_evacuated_instance_left(cloud):
    cloud.add_host()
    left, elsewhere = boot(cloud), boot(cloud)
    instances.update_columns(left, host="host2", build_request={"evacuated_from": ["host1"]})
    instances.update_columns(elsewhere, host="host2")
    assert set(check(cloud, repair=True)) == {("guest", left, True), ("guest", elsewhere, False)}
    assert cloud.guests() == {elsewhere}


def test_repair_leaves_what_somebody_is_at(cloud):
    cloud.add_host()
    one = boot(cloud)
    cloud.driver().lose(one)
    manager = cloud.computes["host1"]
    with manager.locks.hold(one):
        [finding] = manager.audit_host(cloud.context(), True)
    assert (finding["thing"], finding["repaired"]) == (one, False)
    [finding] = manager.audit_host(cloud.context(), True)
    assert (finding["thing"], finding["repaired"]) == (one, True)


def test_repair_settles_instances_of_hosts_that_are_gone(cloud):
    from nova import audit as everything
    from nova.db import services
    cloud.add_host()
    idle, busy, doomed = boot(cloud), boot(cloud), boot(cloud)
    cloud.reboot(busy)
    cloud.delete(doomed)
    cloud.post.waiting.clear()
    [row] = services.get_all(host="host1")
    services.remove(row.id)
    found = list(everything.check_places("", True))
    assert {one.thing for one in found} == {idle, busy, doomed}
    assert all(one.repaired and "no host" in one.what for one in found)
    for one in (idle, busy):
        assert cloud.states(one) == (VmState.ERROR, None)
        assert cloud.fault(one) == "The host it was on is not there any more."
        assert cloud.unfinished(one) == []
    # Its deletion goes on without its host.
    assert cloud.row(doomed).host is None
    assert list(everything.check_places("", False)) == []
