# SPDX-License-Identifier: Apache-2.0
"""Instance rows: listing in pages, transitions, claims, counting, faults and actions."""

import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nova import db
from nova.compute.states import TASKS, TaskState, VmState
from nova.db import actions, compute_nodes, instances
from nova.db.models import Instance, InstanceAction, new_id, utcnow
from nova.exception import (
    BadRequest,
    ClaimFailed,
    HostNotFound,
    InstanceNotFound,
    InvalidState,
    OverQuota,
)

pytestmark = pytest.mark.usefixtures("nova_db")


def an_instance(**changes):
    values = {
        "id": new_id(), "project_id": "p", "user_id": "u", "display_name": "n", "hostname": "n",
        "reservation_id": "r", "vm_state": VmState.ACTIVE, "task_state": None,
        "desired_state": "active", "flavor_id": "1", "flavor_name": "f", "vcpus": 1,
        "memory_mb": 512, "root_gb": 1}
    return Instance(**{**values, **changes})


def test_created_instances_can_be_read_whole_without_a_session():
    [row] = instances.create([an_instance()])
    for column in Instance.__mapper__.column_attrs:
        assert getattr(row, column.key) == getattr(instances.get(row.id), column.key)


def test_create_is_all_or_nothing_and_guarded():
    def refuse(_session):
        raise OverQuota(resource="instances", requested=1, used=1, limit=1)

    with pytest.raises(OverQuota):
        instances.create([an_instance()], guard=refuse)
    twice = new_id()
    with pytest.raises(Exception, match="NOT NULL"):
        instances.create([an_instance(id=twice), an_instance(id=twice, hostname=None)])
    assert instances.get_all() == []


def test_get_hides_what_is_another_projects():
    [row] = instances.create([an_instance()])
    assert instances.get(row.id, "p").id == row.id
    for project in ("q", ""):
        with pytest.raises(InstanceNotFound):
            instances.get(row.id, project)
    with pytest.raises(InstanceNotFound):
        instances.get(new_id())


def test_one_requests_instances_are_listed_in_their_order():
    rows = instances.create([an_instance(launch_index=n) for n in range(5)])
    listed = instances.get_all(sort=(("created_at", "asc"),))
    assert [row.id for row in listed] == [row.id for row in rows]
    assert [row.id for row in instances.get_all()] == [row.id for row in reversed(rows)]


SORTABLE = ["created_at", "display_name", "host", "launched_at", "task_state", "vm_state"]


@settings(max_examples=20, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), limit=st.integers(1, 5),
       sort=st.lists(st.tuples(st.sampled_from(SORTABLE), st.sampled_from(["asc", "desc"])),
                     max_size=3, unique_by=lambda pair: pair[0]))
def test_pages_put_together_are_the_whole_list(data, limit, sort):
    """Whatever it is sorted by, NULLs and ties included, no page repeats or leaves out a row."""
    for old in instances.get_all():
        instances.delete_row(old.id, from_task=instances.ANY)
    hosts = st.sampled_from([None, "a", "b"])
    moments = st.sampled_from([None, datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 2)])
    instances.create([
        an_instance(host=data.draw(hosts), launched_at=data.draw(moments),
                    display_name=data.draw(st.sampled_from(["x", "y"])))
        for _ in range(data.draw(st.integers(0, 9)))])
    whole = [row.id for row in instances.get_all(sort=sort)]
    pages, marker = [], None
    while page := instances.get_all(sort=sort, limit=limit, marker=marker):
        assert len(page) <= limit
        pages += [row.id for row in page]
        marker = page[-1].id
    assert pages == whole
    assert len(set(pages)) == len(pages)


def test_filters():
    old = datetime.datetime(2020, 1, 1)
    [a, b, c] = instances.create([
        an_instance(display_name="Web-1", host="h1", image_id="i1"),
        an_instance(display_name="web%2", host="h2", task_state=TaskState.REBOOTING),
        an_instance(display_name="db", project_id="q", vm_state=VmState.ERROR)])

    def ids(**filters):
        return {row.id for row in instances.get_all(filters)}

    assert ids(project_id="q") == {c.id}
    assert ids(name="WEB") == {a.id, b.id}
    assert ids(name="%") == {b.id}
    assert ids(host=None) == {c.id}
    assert ids(host=["h1", None]) == {a.id, c.id}
    assert ids(vm_state=[VmState.ERROR, VmState.ACTIVE], task_state=None) == {a.id, c.id}
    assert ids(ids=[a.id, c.id], image_id="i1") == {a.id}
    assert ids(changes_since=old) == {a.id, b.id, c.id}
    assert ids(changes_before=old) == set()
    assert ids(host=[]) == set()
    for wrong in ({"password": 1}, {"metadata": 1}, {"__class__": 1}):
        with pytest.raises(BadRequest, match=next(iter(wrong))):
            instances.get_all(wrong)
    with pytest.raises(BadRequest, match="sort_key"):
        instances.get_all(sort=(("user_data", "asc"),))
    with pytest.raises(BadRequest, match="sort_dir"):
        instances.get_all(sort=(("id", "up"),))


def test_marker_of_another_project_is_none():
    [mine, other] = instances.create([an_instance(), an_instance(project_id="q")])
    with pytest.raises(BadRequest, match="marker"):
        instances.get_all({"project_id": "p"}, marker=other.id)
    assert instances.get_all({"project_id": "p"}, marker=mine.id) == []


def test_transition_sets_what_was_asked_and_the_deadline_of_the_task():
    [row] = instances.create([an_instance()])
    moved = instances.transition(row.id, from_vm=VmState.ACTIVE, from_task=None,
                                 task_state=TaskState.REBOOTING, progress=5)
    assert (moved.task_state, moved.progress) == (TaskState.REBOOTING, 5)
    wait = (moved.task_deadline - utcnow()).total_seconds()
    assert TASKS[TaskState.REBOOTING].deadline - 5 < wait <= TASKS[TaskState.REBOOTING].deadline
    done = instances.transition(row.id, from_task=TaskState.REBOOTING, task_state=None)
    assert (done.task_state, done.task_deadline) == (None, None)


def test_transition_that_lost_says_where_the_instance_is():
    [row] = instances.create([an_instance(host="h")])
    for expected in ({"from_vm": VmState.STOPPED}, {"from_task": TaskState.SPAWNING},
                     {"from_vm": (VmState.STOPPED, VmState.ERROR)}, {"from_host": "other"},
                     {"from_host": None}):
        with pytest.raises(InvalidState) as caught:
            instances.transition(row.id, **expected, vm_state=VmState.ERROR, verb="start")
        assert caught.value.details == {"action": "start", "instance_id": row.id,
                                        "vm_state": "active", "task_state": None}
    assert instances.get(row.id).vm_state == VmState.ACTIVE
    with pytest.raises(InstanceNotFound):
        instances.transition(new_id(), vm_state=VmState.ERROR)


@pytest.mark.parametrize("task", list(TaskState))
def test_tasks_start_from_the_states_of_the_table_and_from_no_other(task):
    for vm in VmState:
        for old in (None, *TaskState):
            [row] = instances.create([an_instance(vm_state=vm, task_state=old)])
            if (vm, old) in TASKS[task].starts_from:
                assert instances.begin_task(row.id, task).task_state == task
            else:
                with pytest.raises(InvalidState):
                    instances.begin_task(row.id, task)
                assert instances.get(row.id).task_state == old


def test_actions_are_written_with_the_transition_or_not_at_all():
    [row] = instances.create([an_instance()])

    def action(name):
        return InstanceAction(instance_id=row.id, project_id="p", action=name, request_id="req-1")

    instances.begin_task(row.id, TaskState.REBOOTING, log=action("reboot"))
    with pytest.raises(InvalidState):
        instances.begin_task(row.id, TaskState.POWERING_OFF, log=action("stop"))
    [only] = actions.of_instance(row.id)
    assert (only.action, only.finished_at) == ("reboot", None)
    instances.transition(row.id, task_state=None, error="it did not")
    [only] = actions.of_instance(row.id, "p")
    assert only.finished_at is not None and only.message == "it did not"
    assert actions.of_instance(row.id, "q") == []


def steps(action):
    return [(one.event, one.result, one.message) for one in actions.events_of(action.id)]


def test_steps_of_an_action_are_what_its_transitions_were():
    def action(name):
        return InstanceAction(instance_id=row.id, project_id="p", action=name)

    row = an_instance(vm_state=VmState.BUILDING, task_state=TaskState.SCHEDULING)
    instances.create([row], actions=[action("create")])
    compute_nodes.report("h", hypervisor_hostname="h", hypervisor_type="fake", vcpus=64,
                         memory_mb=65536, local_gb=1000)
    actions.refused(row.id, "scheduler_claim", "too small", "tiny")
    instances.claim(row.id, "h")
    instances.transition(row.id, task_state=TaskState.SCHEDULING, error="h refused: no")
    instances.begin_task(row.id, TaskState.DELETING, log=action("delete"))
    assert instances.delete_row(row.id)
    delete, create = actions.of_instance(row.id)
    assert steps(create) == [
        ("scheduler_scheduling", "Success", None), ("scheduler_claim", "Error", "too small"),
        ("compute_networking", "Error", "h refused: no"),
        ("scheduler_scheduling", "Error", "Overtaken by delete.")]
    assert create.message == "Overtaken by delete." and create.finished_at is not None
    assert steps(delete) == [("compute_deleting", "Success", None)]
    assert delete.message is None and delete.finished_at is not None
    assert actions.purge(utcnow() + datetime.timedelta(days=1)) == 2
    assert actions.events_of(delete.id) == []


def test_actions_outlive_the_instance_until_they_are_purged():
    [gone, there] = instances.create([an_instance(), an_instance()])
    for row in (gone, there):
        actions.add(InstanceAction(instance_id=row.id, project_id="p", action="create"))
    instances.delete_row(gone.id, from_task=None)
    assert len(actions.of_instance(gone.id)) == 1
    assert actions.purge(utcnow() - datetime.timedelta(days=1)) == 0
    assert actions.purge(utcnow() + datetime.timedelta(days=1)) == 1
    assert len(actions.of_instance(there.id)) == 1


def test_modify_and_update_columns_leave_the_states_alone():
    [row] = instances.create([an_instance()])
    changed = instances.modify(row.id, lambda r: setattr(r, "metadata_", {"a": "b"}))
    assert changed.metadata_ == instances.get(row.id).metadata_ == {"a": "b"}
    assert instances.update_columns(row.id, power_state=1).power_state == 1
    with pytest.raises(ValueError, match="transition"):
        instances.modify(row.id, lambda r: setattr(r, "task_state", TaskState.DELETING))
    with pytest.raises(ValueError, match="vm_state"):
        instances.update_columns(row.id, vm_state=VmState.ERROR)
    assert instances.get(row.id).vm_state == VmState.ACTIVE


def test_delete_row_takes_only_what_is_being_deleted_here():
    [row] = instances.create([an_instance(host="h", task_state=TaskState.DELETING)])
    instances.add_fault(row.id, 500, "x")
    with pytest.raises(InvalidState):
        instances.delete_row(row.id, from_host="other")
    assert instances.delete_row(row.id, from_host="h")
    assert not instances.delete_row(row.id, from_host="h")
    assert instances.latest_faults([row.id]) == {}


def test_latest_fault_is_the_newest_and_fits_its_column():
    [row, other] = instances.create([an_instance(), an_instance()])
    instances.add_fault(row.id, 500, "first")
    instances.add_fault(row.id, 404, "é" * 300, details="d", host="h")
    instances.add_fault(new_id(), 500, "of nobody")
    found = instances.latest_faults([row.id, other.id])
    assert list(found) == [row.id]
    assert (found[row.id].code, found[row.id].message) == (404, "é" * 255)


def test_claim_needs_a_host_with_room_and_an_instance_that_waits():
    compute_nodes.report("h", hypervisor_hostname="h", hypervisor_type="fake", vcpus=2,
                         memory_mb=1024, local_gb=10, cpu_allocation_ratio=1.0,
                         ram_allocation_ratio=1.0, reserved_memory_mb=100)
    waiting = {"vm_state": VmState.BUILDING, "task_state": TaskState.SCHEDULING}
    [row, big, idle] = instances.create([
        an_instance(**waiting), an_instance(memory_mb=925, **waiting), an_instance()])
    with pytest.raises(HostNotFound):
        instances.claim(row.id, "elsewhere")
    with pytest.raises(ClaimFailed) as caught:
        instances.claim(big.id, "h")
    assert caught.value.details == {"host": "h", "resource": "memory_mb", "requested": 925,
                                    "free": 924}
    with pytest.raises(InvalidState):
        instances.claim(idle.id, "h")
    before = compute_nodes.get("h").generation
    won = instances.claim(row.id, "h", availability_zone="nova")
    assert (won.host, won.task_state, won.availability_zone) == ("h", TaskState.NETWORKING, "nova")
    assert compute_nodes.get("h").generation == before + 1
    assert instances.get(big.id).host is None


def test_usage_is_what_the_rows_say():
    instances.create([an_instance(host="h", swap_mb=1, ephemeral_gb=2),
                      an_instance(host="h", vcpus=3), an_instance(project_id="q")])
    assert instances.usage_by_host() == {
        "h": instances.Usage(instances=2, vcpus=4, memory_mb=1024, disk_gb=1 + 2 + 1 + 1)}
    assert instances.usage_of_host("h") == instances.usage_by_host()["h"]
    assert instances.usage_of_host("empty") == instances.Usage()
    assert instances.usage_of_project("q") == instances.Usage(1, 1, 512, 1)
    assert instances.usage_of_project("nobody") == instances.Usage()


def test_overdue_lists_the_tasks_past_their_deadline():
    [late, early, idle] = instances.create([
        an_instance(task_state=TaskState.REBOOTING, host="h"),
        an_instance(task_state=TaskState.REBOOTING, host="h"), an_instance(host="h")])
    with db.writer() as session:
        session.get(Instance, late.id).task_deadline = utcnow() - datetime.timedelta(seconds=1)
    assert [r.id for r in instances.overdue([TaskState.REBOOTING], host="h")] == [late.id]
    assert instances.overdue([TaskState.DELETING]) == []
    assert instances.overdue([TaskState.REBOOTING], host="other") == []
