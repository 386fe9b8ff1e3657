# SPDX-License-Identifier: Apache-2.0
"""What hurt before, on the way of a build and of a deletion."""

import pytest

from nova import exception
from nova.compute.states import Desired, TaskState, VmState
from nova.db import actions, instances
from nova.db.models import Instance, new_id
from nova.scheduler import snapshot


@pytest.mark.parametrize("column", ["image_id", "kernel_id", "ramdisk_id"])
def test_worker_is_no_way_to_somebodys_image(cloud, column):
    """The worker reads images with its own rights: it asks again whether the project may."""
    cloud.add_host()
    [one] = cloud.create(**{column: cloud.private_image_id})
    cloud.deliver()
    assert cloud.states(one) == (VmState.ERROR, None)
    assert cloud.fault(one) == f"Image {cloud.private_image_id} could not be found."
    cloud.assert_no_orphans()


def test_unexpected_error_tells_the_user_its_class_alone(cloud):
    """L11: text of an error that is not ours is the administrator's."""
    cloud.add_host()
    cloud.driver().knobs.spawn_error = "password=secret"
    [one] = cloud.create()
    cloud.deliver()
    fault = instances.latest_faults([one])[one]
    assert fault.message == "An unexpected error occurred (RuntimeError)."
    assert "password=secret" in fault.details
    [action] = actions.of_instance(one)
    assert "secret" not in action.message


@pytest.mark.parametrize("vm, task", [
    (vm, task) for vm in VmState for task in (None, *TaskState)
    if task not in (TaskState.DELETING, TaskState.SCHEDULING)])
def test_delete_from_every_state(cloud, vm, task):
    """Q9 to Q11, Q13, Q14: whatever an instance is amidst, its deletion leaves nothing."""
    cloud.add_host()
    [one] = cloud.create()
    cloud.deliver()
    instances.transition(one, vm_state=vm, task_state=task)
    cloud.delete(one)
    cloud.deliver()
    with pytest.raises(exception.InstanceNotFound):
        cloud.row(one)
    assert instances.usage_of_project("p").instances == 0
    cloud.assert_no_orphans()


def test_hint_with_ten_thousand_ids_is_one_query_and_bounded(cloud, monkeypatch):
    """Q2: a hint is looked up at once, and only so much of it."""
    calls = []
    get_many = instances.get_many

    def counted(ids):
        calls.append(len(list(ids)))
        return get_many(ids)
    monkeypatch.setattr(snapshot.instances, "get_many", counted)
    row = Instance(id=new_id(), project_id="p", vcpus=1, memory_mb=1, root_gb=1, ephemeral_gb=0,
                   swap_mb=0, build_request={"scheduler_hints": {
                       "same_host": [new_id() for _ in range(10_000)]}})
    [request] = snapshot.requests([row])
    assert calls == [snapshot.MAX_HINT_IDS]
    assert request.same_host == frozenset()


def test_hints_do_not_tell_where_anothers_instance_runs(cloud):
    """A neighbour of another project is as good as none."""
    cloud.add_host("host1")
    cloud.add_host("host2")
    [theirs] = cloud.create(project_id="q")
    cloud.deliver()
    [one] = cloud.create(build_request={"scheduler_hints": {"same_host": [theirs]}})
    cloud.deliver()
    assert cloud.states(one) == (VmState.ERROR, None)


@pytest.mark.parametrize("hint", [5, "x", {"a": 1}, [[1]], [None], [{}]])
def test_hints_of_any_shape_end_in_a_decision(cloud, hint):
    cloud.add_host()
    [one] = cloud.create(build_request={"scheduler_hints": {"different_host": hint}})
    cloud.deliver()
    assert cloud.states(one) == (VmState.ACTIVE, None)


def test_quota_counts_an_instance_until_it_is_gone(cloud):
    """Q9: what cannot be removed yet still counts."""
    cloud.add_host()
    [one] = cloud.create()
    cloud.deliver()
    cloud.driver().knobs.destroy_error = "HypervisorError"
    cloud.delete(one)
    cloud.deliver()
    assert instances.usage_of_project("p").instances == 1
    assert cloud.row(one).desired_state == Desired.DELETED
    cloud.driver().knobs.destroy_error = None
    cloud.computes["host1"].recover()
    assert instances.usage_of_project("p").instances == 0
    cloud.assert_no_orphans()
