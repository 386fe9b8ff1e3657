# SPDX-License-Identifier: Apache-2.0
"""Processes die at every step of everything; what is left is taken up and ends well.

A death is an exception no handler catches, raised right before or right after one of the calls
that leave a trace.  Then all messages are lost, new workers start, and recover.
"""

import contextlib
import datetime
import threading
import time

import pytest
from sqlalchemy import update
from tripwire import TRACES, Killed, Tripwire

from nova import exception
from nova.compute.states import Desired, PowerState, TaskState, VmState
from nova.db import actions, compute_nodes, instances, session
from nova.db.models import Instance, InstanceAction, utcnow
from nova.virt.driver import ComputeDriver


def boot(cloud):
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.states(one) == (VmState.ACTIVE, None), cloud.fault(one)
    return one


def stopped(cloud):
    one = boot(cloud)
    cloud.stop(one)
    cloud.deliver()
    return one


def failing(cloud):
    """A build that its first host refuses."""
    cloud.driver("host1").knobs.spawn_error = "HypervisorError"
    cloud.driver("host1").knobs.spawn_failures = 1
    cloud.driver("host1").knobs.spawn_leaves_remains = True
    return cloud.create()[0]


def bad_image(cloud):
    for host in cloud.computes:
        cloud.driver(host).knobs.spawn_error = "ImageUnacceptable"
    return cloud.create()[0]


ACTIVE, STOPPED = (VmState.ACTIVE, None), (VmState.STOPPED, None)
OPERATIONS = {
    "build": (lambda cloud: cloud.create()[0], lambda cloud, one: None, {ACTIVE}),
    "build-refused": (failing, lambda cloud, one: None, {ACTIVE}),
    # Killed before it is known, a bad image is found bad again, unless it is good by then.
    "build-bad-image": (bad_image, lambda cloud, one: None, {ACTIVE, (VmState.ERROR, None)}),
    "delete": (boot, lambda cloud, one: cloud.delete(one), {None}),
    "delete-stopped": (stopped, lambda cloud, one: cloud.delete(one), {None}),
    "stop": (boot, lambda cloud, one: cloud.stop(one), {STOPPED}),
    "start": (stopped, lambda cloud, one: cloud.start(one), {ACTIVE}),
    "reboot-soft": (boot, lambda cloud, one: cloud.reboot(one), {ACTIVE}),
    "reboot-hard": (boot, lambda cloud, one: cloud.reboot(one, hard=True), {ACTIVE}),
}


def end_of(cloud, one):
    try:
        return cloud.states(one)
    except exception.InstanceNotFound:
        return None


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_every_step(cloud, monkeypatch, operation):
    prepare, act, ends = OPERATIONS[operation]
    cloud.add_host("host1")
    cloud.add_host("host2")
    wire = Tripwire(monkeypatch, cloud)
    deaths = []
    for step in range(100):
        one = prepare(cloud)
        act(cloud, one)
        wire.countdown = step
        try:
            cloud.deliver()
            wire.countdown = None
            break
        except Killed as death:
            deaths.append(str(death))
        cloud.restart()
        cloud.recover()
        assert end_of(cloud, one) in ends, deaths[-1]
        assert cloud.unfinished(one) == [], deaths[-1]
        cloud.assert_no_orphans()
        if end_of(cloud, one) is not None:
            cloud.delete(one) if cloud.row(one).host else instances.delete_row(one, from_task=None)
            cloud.deliver()
    assert len(deaths) >= 4, deaths
    assert end_of(cloud, one) in ends


def test_running_guests_are_never_touched(cloud):
    """P4: workers come and go, the guest's process stays the same."""
    cloud.add_host()
    one = boot(cloud)
    before = cloud.driver().get_info(one)
    for _ in range(3):
        cloud.restart()
        cloud.recover()
        cloud.computes["host1"].reconcile()
    assert cloud.driver().get_info(one) == before


def overdue(instance_id):
    with session.writer() as db:
        db.execute(update(Instance).where(Instance.id == instance_id).values(
            task_deadline=utcnow() - datetime.timedelta(seconds=1)))


@pytest.mark.parametrize("past, ends", [(False, (VmState.BUILDING, TaskState.NETWORKING)),
                                        (True, ACTIVE)])
def test_lost_message_is_made_up_for_at_the_deadline(cloud, past, ends):
    cloud.add_host()
    [one] = cloud.create()
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    cloud.post.waiting.clear()
    if past:
        overdue(one)
    cloud.computes["host1"].reconcile()
    assert cloud.states(one) == ends


def test_lost_message_to_the_scheduler(cloud):
    cloud.add_host()
    [one] = cloud.create()
    cloud.post.waiting.clear()
    cloud.scheduler.housekeeping()
    cloud.deliver()
    assert cloud.states(one) == (VmState.BUILDING, TaskState.SCHEDULING)
    overdue(one)
    cloud.scheduler.housekeeping()
    cloud.deliver()
    assert cloud.states(one) == ACTIVE


def test_bug_a_stopped_scheduler_still_recovered(cloud):
    """What was stopped before its recovery began takes nothing up, and asks no database."""
    cloud.add_host()
    [one] = cloud.create()
    cloud.post.waiting.clear()
    cloud.scheduler.stop()
    cloud.scheduler._recover()
    cloud.deliver()
    assert cloud.states(one) == (VmState.BUILDING, TaskState.SCHEDULING)


def test_build_is_taken_from_a_host_that_is_down(cloud):
    cloud.add_host("host1")
    cloud.add_host("host2")
    [one] = cloud.create()
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    cloud.post.waiting.clear()
    dead = cloud.row(one).host
    from nova.db import services
    [service] = services.get_all(host=dead)
    services.change(service.id, forced_down=True)
    cloud.scheduler.housekeeping()
    assert cloud.row(one).host == dead
    overdue(one)
    cloud.scheduler.housekeeping()
    cloud.deliver()
    assert cloud.states(one) == ACTIVE
    assert cloud.row(one).host != dead
    # The dead one comes back with the message it never answered.
    cloud.computes[dead].build_instance(cloud.context(), one)
    cloud.assert_no_orphans()


def test_build_that_was_taken_away_leaves_nothing_behind(cloud, monkeypatch):
    """A host thought dead finishes its spawn: the instance is another's by then."""
    cloud.add_host("host1")
    cloud.add_host("host2")
    [one] = cloud.create()
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    slow = cloud.row(one).host
    driver = cloud.driver(slow)
    spawn = driver.spawn

    def spawn_slowly(spec, images, source):
        instances.transition(one, task_state=TaskState.SCHEDULING, host=None,
                             build_request={"refusals": [{"host": slow, "reason": "down"}]})
        cloud.scheduler.schedule_instances(cloud.context(), [one])
        spawn(spec, images, source)
    monkeypatch.setattr(driver, "spawn", spawn_slowly)
    cloud.deliver()
    assert cloud.states(one) == ACTIVE
    assert cloud.row(one).host != slow
    assert driver.list_instances() == {}
    cloud.assert_no_orphans()


def test_waiting_for_compute_to_come_up(cloud):
    cloud.add_host()
    from nova.db import services
    [service] = services.get_all(host="host1")
    services.change(service.id, forced_down=True)
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.states(one) == (VmState.BUILDING, TaskState.SCHEDULING)
    services.change(service.id, forced_down=False)
    overdue(one)
    cloud.scheduler.housekeeping()
    cloud.deliver()
    assert cloud.states(one) == ACTIVE


def test_disabled_host_is_a_refusal_at_once(cloud):
    cloud.add_host()
    from nova.db import services
    [service] = services.get_all(host="host1")
    services.change(service.id, disabled=True)
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.fault(one) == (
        "No valid host was found. Of 1 hosts these filters refused: ComputeUp 1.")


def test_deleting_without_a_host_is_finished_by_the_scheduler(cloud):
    cloud.add_host()
    [one] = cloud.create()
    cloud.post.waiting.clear()
    instances.begin_task(one, TaskState.DELETING, desired_state=Desired.DELETED)
    overdue(one)
    cloud.scheduler.housekeeping()
    assert end_of(cloud, one) is None


# -- guests that are not what their rows say

def test_guest_that_powered_itself_off(cloud):
    cloud.add_host()
    one = boot(cloud)
    cloud.driver().set_power_state(one, PowerState.SHUTDOWN)
    cloud.computes["host1"].reconcile()
    assert cloud.states(one) == STOPPED
    assert cloud.row(one).power_state == PowerState.SHUTDOWN
    assert not cloud.driver().get_info(one).running


def test_guest_somebody_started_is_left_running(cloud):
    cloud.add_host()
    one = stopped(cloud)
    cloud.driver().set_power_state(one, PowerState.RUNNING)
    cloud.computes["host1"].reconcile()
    assert cloud.states(one) == ACTIVE
    assert cloud.driver().get_info(one).running


def test_guest_that_vanished(cloud):
    cloud.add_host()
    one = boot(cloud)
    cloud.driver().lose(one)
    cloud.computes["host1"].reconcile()
    assert cloud.states(one) == (VmState.ERROR, None)
    assert cloud.fault(one) == "The guest is not on its host any more."
    assert cloud.row(one).host == "host1"


@pytest.mark.parametrize("power_state, ends", [(PowerState.RUNNING, ACTIVE),
                                               (PowerState.SHUTDOWN, STOPPED)])
def test_bug_guest_that_came_back_stayed_in_error(cloud, power_state, ends):
    """Its disk, or libvirt's list, was away for a while: the row settles as the guest is."""
    cloud.add_host()
    one = boot(cloud)
    driver = cloud.driver()
    guest = driver._read(one)
    driver.lose(one)
    cloud.computes["host1"].reconcile()
    cloud.computes["host1"].reconcile()
    assert cloud.states(one) == (VmState.ERROR, None)
    driver._write({**guest, "power_state": power_state})
    cloud.computes["host1"].reconcile()
    assert cloud.states(one) == ends
    assert cloud.row(one).power_state == power_state


def test_guest_of_an_instance_in_error_for_another_reason_changes_nothing(cloud):
    cloud.add_host()
    one = boot(cloud)
    guest = cloud.driver()._read(one)
    cloud.driver().lose(one)
    cloud.computes["host1"].reconcile()
    instances.add_fault(one, 500, "Something else is wrong.")
    cloud.driver()._write(guest)
    cloud.computes["host1"].reconcile()
    assert cloud.states(one) == (VmState.ERROR, None)


@pytest.mark.parametrize("look", ["list_instances", "get_info"])
def test_hypervisor_that_does_not_answer_is_not_a_guest_that_is_gone(cloud, monkeypatch, look):
    """In the reconciler as at the end of a task: the row waits until somebody knows."""
    cloud.add_host()
    one = boot(cloud)
    other = boot(cloud)
    cloud.driver().set_power_state(one, PowerState.SHUTDOWN)

    def silent(*_args):
        raise exception.HypervisorError(action="look", reason="libvirt gave no answer")
    with monkeypatch.context() as patch:
        patch.setattr(cloud.driver(), look, silent)
        cloud.stop(other)
        with contextlib.suppress(exception.HypervisorError):
            cloud.computes["host1"].reconcile()
        if look == "get_info":
            cloud.deliver()
            assert cloud.states(other) == (VmState.ACTIVE, TaskState.POWERING_OFF)
        assert cloud.states(one) == ACTIVE
    cloud.deliver()
    cloud.computes["host1"].reconcile()
    assert (cloud.states(one), cloud.states(other)) == (STOPPED, STOPPED)
    assert cloud.fault(one) is None and cloud.fault(other) is None


def test_host_reboot_starts_what_ran(cloud):
    manager = cloud.add_host()
    ran, off = boot(cloud), stopped(cloud)
    cloud.driver().set_power_state(ran, PowerState.SHUTDOWN)
    compute_nodes.report("host1", stats={"boot_id": "another boot"})
    cloud.restart()
    manager = cloud.computes["host1"]
    assert manager.resources.rebooted()
    manager.recover(host_rebooted=True)
    assert cloud.states(ran) == ACTIVE
    assert cloud.driver().get_info(ran).running
    assert cloud.states(off) == STOPPED
    assert not cloud.driver().get_info(off).running
    assert cloud.unfinished(ran) == []


def test_unknown_guest_is_reported_and_left_alone(cloud, caplog):
    cloud.add_host()
    one = boot(cloud)
    with session.writer() as db:
        db.execute(Instance.__table__.delete().where(Instance.id == one))
    cloud.computes["host1"].reconcile()
    assert cloud.guests() == {one}
    assert one in caplog.text
    assert [problem.as_tuple() for problem in cloud.computes["host1"].audit()] == [
        ("guest", one, "a guest belongs to no instance of this host")]


def test_guest_of_a_deleted_instance_is_removed(cloud):
    cloud.add_host()
    one = boot(cloud)
    with session.writer() as db:
        db.execute(Instance.__table__.delete().where(Instance.id == one))
    actions.add(InstanceAction(instance_id=one, project_id="p", action="delete"))
    cloud.computes["host1"].reconcile()
    assert cloud.guests() == set()


def test_guest_of_an_instance_elsewhere_is_left_alone(cloud):
    cloud.add_host("host1")
    cloud.add_host("host2")
    one = boot(cloud)
    here = cloud.row(one).host
    instances.update_columns(one, host="host2" if here == "host1" else "host1")
    cloud.computes[here].reconcile()
    assert one in cloud.driver(here).list_instances()


def test_a_hypervisor_that_cannot_list_changes_nothing(cloud):
    cloud.add_host()
    one = boot(cloud)
    cloud.driver().knobs.list_error = "HypervisorError"
    with pytest.raises(exception.HypervisorError):
        cloud.computes["host1"].reconcile()
    assert cloud.states(one) == ACTIVE
    assert not cloud.computes["host1"].hypervisor_up()
    cloud.driver().knobs.list_error = None
    cloud.computes["host1"].reconcile()
    assert cloud.computes["host1"].hypervisor_up()


def test_recovery_that_failed_is_done_by_the_next_period(cloud):
    """The hypervisor, or the database, went away just as we came."""
    cloud.add_host()
    [one] = cloud.create()
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    cloud.restart()
    manager = cloud.computes["host1"]
    cloud.driver().knobs.list_error = "HypervisorError"
    manager.recover()
    cloud.driver().knobs.list_error = None
    manager.reconcile()
    assert cloud.states(one) == ACTIVE


def test_database_that_goes_away_in_the_middle_of_a_deletion(cloud, monkeypatch):
    cloud.add_host()
    one = boot(cloud)
    cloud.delete(one)

    def away(*_args, **_kwargs):
        raise exception.DatabaseUnavailable(reason="restarting")
    with monkeypatch.context() as patch:
        patch.setattr(instances, "delete_row", away)
        cloud.deliver()
    assert cloud.states(one)[1] == TaskState.DELETING
    cloud.computes["host1"].reconcile()
    assert end_of(cloud, one) is None
    cloud.assert_no_orphans()


def test_rules_changed_while_nobody_listened_are_applied_at_the_start(cloud):
    cloud.add_host()
    one = boot(cloud)
    cloud.network.ports[one] = []
    cloud.restart()
    cloud.recover()
    assert cloud.driver()._read(one)["vifs"] == []


def test_rules_changed_while_no_message_came_are_applied_by_the_next_period(cloud):
    cloud.add_host()
    one = boot(cloud)
    cloud.network.ports[one] = []
    cloud.computes["host1"].reconcile()
    assert cloud.driver()._read(one)["vifs"] == []


def test_the_contract_names_every_trace():
    """The tripwire watches every method of the contract that changes a guest."""
    looks = {"init_host", "list_instances", "get_info", "get_console_output", "plug_network",
             "refresh_network", "get_available_resource", "host_uptime", "cleanup", "audit",
             "connector", "volumes_in_use"}
    assert set(ComputeDriver.__abstractmethods__) == looks | set(TRACES["driver"])


def test_bug_busy_instance_was_passed_over_by_recovery(cloud):
    """A refresh of its rules held an instance just as recovery came by: nobody came again."""
    manager = cloud.add_host()
    [one] = cloud.create()
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    cloud.restart()
    manager = cloud.computes["host1"]
    with manager.locks.hold(one):
        recovery = threading.Thread(target=manager.recover)
        recovery.start()
        time.sleep(0.3)
        assert cloud.states(one) == (VmState.BUILDING, TaskState.NETWORKING)
    recovery.join(20)
    assert cloud.states(one) == ACTIVE


def test_bug_resumed_build_came_up_without_addresses(cloud, monkeypatch):
    """Killed after its addresses were given back, a build went on with none."""
    cloud.add_host()
    [one] = cloud.create()
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    instances.transition(one, from_task=TaskState.NETWORKING, task_state=TaskState.SPAWNING)
    assert cloud.network.ports == {}
    cloud.restart()
    cloud.recover()
    assert cloud.states(one) == ACTIVE
    assert cloud.driver()._read(one)["vifs"]


@pytest.mark.parametrize("operation", ["delete", "start"])
def test_what_another_service_delays_is_tried_the_next_period(cloud, monkeypatch, operation):
    cloud.add_host()
    one = stopped(cloud)
    away = exception.RpcTimeout(method="m", topic="network", seconds=1)

    def fail(*_args):
        raise away
    with monkeypatch.context() as patch:
        for name in ("deallocate_for_instance", "get_instance_vifs"):
            patch.setattr(cloud.network, name, fail)
        getattr(cloud, operation)(one)
        cloud.deliver()
        before = cloud.states(one)
        assert before[1] is not None
        cloud.computes["host1"].reconcile()
        assert cloud.states(one) == before
    cloud.computes["host1"].reconcile()
    assert end_of(cloud, one) == (None if operation == "delete" else ACTIVE)
    cloud.assert_no_orphans()


METHODS = ("build_instance", "stop_instance", "start_instance", "reboot_instance",
           "terminate_instance")


@pytest.mark.parametrize("method", METHODS)
def test_message_that_comes_late_does_nothing(cloud, method):
    """The row moved on long ago: the hint finds nothing to do and no guest is touched."""
    cloud.add_host()
    one, off = boot(cloud), stopped(cloud)
    guests = [cloud.driver().get_info(each) for each in (one, off)]
    for instance_id in (one, off, "00000000-0000-0000-0000-000000000000"):
        getattr(cloud.computes["host1"], method)(cloud.context(), instance_id=instance_id)
    cloud.scheduler.schedule_instances(cloud.context(), [one, off])
    assert (cloud.states(one), cloud.states(off)) == (ACTIVE, STOPPED)
    assert [cloud.driver().get_info(each) for each in (one, off)] == guests


def test_task_whose_message_is_parked_is_given_up(cloud):
    cloud.add_host()
    one = boot(cloud)
    cloud.ask(one, TaskState.REBOOTING, "reboot_instance")
    cloud.post.waiting.clear()
    cloud.computes["host1"].message_parked(
        cloud.context(), "reboot_instance", {"instance_id": one}, "5 workers died of it")
    assert cloud.states(one) == (VmState.ERROR, None)
    assert cloud.fault(one) == "It failed unexpectedly, as often as it was tried."
    [reboot, _create] = actions.of_instance(one)
    assert reboot.finished_at and "5 workers died" in actions.events_of(reboot.id)[0].message
    # Parked messages about what is over, or elsewhere, change nothing.
    cloud.computes["host1"].message_parked(cloud.context(), "m", {"instance_id": one}, "again")
    cloud.scheduler.message_parked(cloud.context(), "m", {"instance_ids": [one]}, "again")
    cloud.reboot(one, hard=True)
    cloud.deliver()
    assert cloud.states(one) == ACTIVE


def test_scheduling_whose_message_is_parked_is_given_up(cloud):
    [one] = cloud.create()
    cloud.scheduler.message_parked(cloud.context(), "schedule_instances", {"instance_ids": [one]},
                                   "5 times it raised KeyError")
    assert cloud.states(one) == (VmState.ERROR, None)
    assert cloud.unfinished(one) == []


def test_task_every_worker_dies_of_does_not_kill_workers_for_ever(cloud, monkeypatch):
    """A crash of the process, not an exception: only the row can tell how often."""
    cloud.add_host()
    one = boot(cloud)

    def die(*_args, **_kwargs):
        raise Killed("segmentation fault")

    monkeypatch.setattr(type(cloud.driver()), "reboot", die)
    cloud.reboot(one)
    deaths = 0
    with pytest.raises(Killed):
        cloud.deliver()
    for _ in range(10):
        cloud.restart()
        try:
            manager = cloud.computes["host1"]
            manager.reconciler._recover_one(cloud.row(one), None, False)
            break
        except Killed:
            deaths += 1
    assert deaths == 5
    assert cloud.states(one) == (VmState.ERROR, None)
    assert cloud.unfinished(one) == []


def test_row_that_breaks_the_reconciler_is_given_up_at_its_deadline(cloud, monkeypatch):
    cloud.add_host()
    one = boot(cloud)

    def broken(*_args, **_kwargs):
        raise KeyError("nobody expected that")

    monkeypatch.setattr(type(cloud.driver()), "reboot", broken)
    cloud.reboot(one)
    cloud.post.waiting.clear()
    overdue(one)
    cloud.computes["host1"].reconcile()
    assert cloud.states(one) == (VmState.ERROR, None)


def test_row_that_breaks_the_scheduler_keeps_no_other_waiting(cloud, monkeypatch):
    cloud.add_host()
    broken, sound = cloud.create()[0], cloud.create()[0]
    cloud.post.waiting.clear()
    place = cloud.scheduler.schedule_instances

    def breaks(context, ids):
        if broken in ids:
            raise KeyError("nobody expected that")
        place(context, ids)

    monkeypatch.setattr(cloud.scheduler, "schedule_instances", breaks)
    for one in (broken, sound):
        overdue(one)
    cloud.scheduler.housekeeping()
    cloud.deliver()
    assert cloud.states(sound) == ACTIVE
    assert cloud.states(broken) == (VmState.ERROR, None)


def test_bug_hosts_that_were_down_once_were_never_tried_again(cloud):
    """Two hosts that were away for a moment, and the build had no host left to go to."""
    cloud.add_host("host1")
    [one] = cloud.create()
    from nova.db import services
    for _ in range(4):
        cloud.scheduler.schedule_instances(cloud.context(), [one])
        assert cloud.states(one) == (VmState.BUILDING, TaskState.NETWORKING)
        [service] = services.get_all(host="host1")
        services.change(service.id, forced_down=True)
        overdue(one)
        cloud.scheduler._take_from_hosts_down()
        assert cloud.states(one) == (VmState.BUILDING, TaskState.SCHEDULING)
        services.change(service.id, forced_down=False)
    cloud.post.waiting.clear()
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    cloud.deliver()
    assert cloud.states(one) == ACTIVE
    assert cloud.row(one).build_request["evacuated_from"] == []


def test_bug_failed_build_kept_the_address_a_late_message_gave_it(cloud):
    cloud.add_host("host1")
    [one] = cloud.create()
    cloud.post.waiting.clear()
    cloud.network.allocate_for_instance(None, one)
    cloud.beat("host1")
    from nova.db import services
    [service] = services.get_all(host="host1")
    services.change(service.id, disabled=True)
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    assert cloud.states(one) == (VmState.ERROR, None)
    assert cloud.network.ports == {}
