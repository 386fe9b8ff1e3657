# SPDX-License-Identifier: Apache-2.0
"""P6: parallel claims never exceed a host, parallel creates never exceed a quota."""

import threading

import pytest

from nova import db, quota
from nova.compute.states import TaskState, VmState
from nova.db import compute_nodes, instances, quotas
from nova.db.models import Instance, new_id
from nova.exception import ClaimFailed, InvalidState, OverQuota


def an_instance(**changes):
    values = {
        "id": new_id(), "project_id": "p", "user_id": "u", "display_name": "n", "hostname": "n",
        "reservation_id": "r", "vm_state": VmState.BUILDING, "task_state": TaskState.SCHEDULING,
        "desired_state": "active", "flavor_id": "1", "flavor_name": "f", "vcpus": 1,
        "memory_mb": 512, "root_gb": 1}
    return Instance(**{**values, **changes})


def together(functions):
    """Run functions at the same time in threads; returns what each returned or raised."""
    outcomes, barrier = [None] * len(functions), threading.Barrier(len(functions))

    def run(position, function):
        barrier.wait(20)
        try:
            outcomes[position] = function()
        except Exception as error:      # the test looks at it
            outcomes[position] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


@pytest.mark.parametrize("short", ["vcpus", "memory_mb", "disk_gb"])
def test_parallel_claims_never_exceed_a_host(any_db, short):
    offers = {"vcpus": 1000, "memory_mb": 10**6, "local_gb": 1000, "cpu_allocation_ratio": 1.0,
              "ram_allocation_ratio": 1.0}
    offers.update({"vcpus": {"vcpus": 7}, "memory_mb": {"memory_mb": 7 * 512 + 511},
                   "disk_gb": {"local_gb": 7}}[short])
    compute_nodes.report("h", hypervisor_hostname="h", hypervisor_type="fake", **offers)
    rows = instances.create([an_instance() for _ in range(20)])
    outcomes = together([lambda row=row: instances.claim(row.id, "h") for row in rows])
    won = [outcome for outcome in outcomes if isinstance(outcome, Instance)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, ClaimFailed)]
    assert (len(won), len(lost)) == (7, 13), outcomes
    assert {error.details["resource"] for error in lost} == {short}
    assert instances.usage_by_host()["h"].instances == 7
    assert all(row.task_state == TaskState.NETWORKING and row.host == "h" for row in won)


def test_one_instance_is_claimed_once_however_many_try(any_db):
    for host in ("a", "b"):
        compute_nodes.report(host, hypervisor_hostname=host, hypervisor_type="fake", vcpus=100,
                             memory_mb=10**6, local_gb=1000)
    [row] = instances.create([an_instance()])
    outcomes = together([lambda host=host: instances.claim(row.id, host) for host in "abababab"])
    assert sum(isinstance(outcome, Instance) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, InvalidState) for outcome in outcomes) == 7


def test_parallel_creates_never_exceed_a_quota(any_db):
    quotas.set_limits("p", {"instances": 5})

    def create():
        return instances.create([an_instance()], guard=quota.guard(
            "p", {"instances": 1, "cores": 1, "ram": 512}))

    outcomes = together([create] * 16)
    assert sum(isinstance(outcome, list) for outcome in outcomes) == 5, outcomes
    refused = [outcome for outcome in outcomes if isinstance(outcome, OverQuota)]
    assert len(refused) == 11
    assert "instances" in str(refused[0])
    assert instances.usage_of_project("p").instances == 5
    assert quota.headroom("p", {"instances": 1}) == 0


def test_one_transition_of_many_wins(any_db):
    [row] = instances.create([an_instance(vm_state=VmState.ACTIVE, task_state=None)])
    outcomes = together([
        lambda task=task: instances.begin_task(row.id, task)
        for task in (TaskState.POWERING_OFF, TaskState.REBOOTING) * 6])
    assert sum(isinstance(outcome, Instance) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, InvalidState) for outcome in outcomes) == 11


def test_reading_goes_on_while_somebody_writes(any_db):
    [row] = instances.create([an_instance()])
    with db.writer() as session:
        session.get(Instance, row.id).display_name = "changed"
        session.flush()
        [outcome] = together([lambda: instances.get(row.id).display_name])
        assert outcome == "n"
    assert instances.get(row.id).display_name == "changed"
