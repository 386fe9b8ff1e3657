# SPDX-License-Identifier: Apache-2.0
"""What becomes of instances on fake hosts when everybody lives."""

import threading
import time
import uuid

import pytest
from oslo_config import cfg

from nova import exception
from nova.compute.states import Desired, PowerState, TaskState, VmState
from nova.db import actions, compute_nodes, instances
from nova.db.models import Instance
from nova.virt.fake import Knobs

CONF = cfg.CONF


def boot(cloud, **changes):
    [one] = cloud.create(**changes)
    cloud.deliver()
    assert cloud.states(one) == (VmState.ACTIVE, None), cloud.fault(one)
    return one


def test_boot(cloud):
    cloud.add_host()
    one = boot(cloud)
    row = cloud.row(one)
    assert (row.host, row.power_state) == ("host1", PowerState.RUNNING)
    assert row.launched_at is not None
    assert cloud.unfinished(one) == []
    cloud.assert_no_orphans()


def test_every_message_twice_changes_nothing(cloud):
    cloud.add_host()
    [one] = cloud.create()
    cloud.post.waiting *= 2
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    cloud.post.waiting *= 2
    cloud.deliver()
    first = cloud.driver().get_info(one).process_id
    cloud.computes["host1"].build_instance(cloud.context(), one)
    for change in (cloud.stop, cloud.start, cloud.delete):
        change(one)
        cloud.post.waiting *= 3
        cloud.deliver()
    assert first is not None
    assert cloud.guests() == set()
    cloud.assert_no_orphans()


def test_stop_start_reboot_delete(cloud):
    cloud.add_host()
    one = boot(cloud)
    cloud.stop(one)
    cloud.deliver()
    assert cloud.states(one) == (VmState.STOPPED, None)
    assert cloud.row(one).power_state == PowerState.SHUTDOWN
    cloud.start(one)
    cloud.deliver()
    before = cloud.driver().get_info(one).process_id
    for hard in (False, True):
        cloud.reboot(one, hard)
        cloud.deliver()
        assert cloud.states(one) == (VmState.ACTIVE, None)
    assert cloud.driver().get_info(one).process_id != before
    cloud.delete(one)
    cloud.deliver()
    with pytest.raises(exception.InstanceNotFound):
        cloud.row(one)
    assert cloud.unfinished(one) == []
    cloud.assert_no_orphans()


def test_capacity_is_never_exceeded_and_the_refusal_counts_hosts(cloud):
    for host in ("host1", "host2"):
        cloud.add_host(host)
        compute_nodes.report(host, memory_mb=1024, ram_allocation_ratio=1.0,
                             reserved_memory_mb=0)
    made = cloud.create(count=5, memory_mb=512)
    cloud.deliver()
    by_state = [cloud.row(one).vm_state for one in made]
    assert sorted(by_state) == [VmState.ACTIVE] * 4 + [VmState.ERROR]
    assert all(usage.memory_mb <= 1024 for usage in instances.usage_by_host().values())
    [failed] = [one for one in made if cloud.row(one).vm_state == VmState.ERROR]
    assert cloud.fault(failed) == (
        "No valid host was found. Of 2 hosts these filters refused: Ram 2.")
    assert cloud.row(failed).host is None
    assert cloud.unfinished(failed) == []


def test_refusal_goes_to_another_host(cloud):
    for host in ("host1", "host2"):
        cloud.add_host(host)
    [one] = cloud.create()
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    first = cloud.row(one).host
    cloud.driver(first).knobs.spawn_error = "HypervisorError"
    cloud.driver(first).knobs.spawn_leaves_remains = True
    cloud.deliver()
    assert cloud.states(one) == (VmState.ACTIVE, None)
    row = cloud.row(one)
    assert row.host != first
    assert [one["host"] for one in row.build_request["refusals"]] == [first]
    cloud.assert_no_orphans()


def test_refusals_are_bounded_and_the_fault_keeps_the_operators_words_to_itself(cloud):
    for host in ("host1", "host2", "host3", "host4"):
        cloud.add_host(host).worker.driver.knobs = Knobs(spawn_error="HypervisorError")
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.states(one) == (VmState.ERROR, None)
    assert cloud.fault(one) == "The hypervisor failed to spawn a guest."
    assert cloud.row(one).host is None
    assert len(cloud.row(one).build_request["refusals"]) == 2
    cloud.assert_no_orphans()


@pytest.mark.parametrize("name", ["ImageUnacceptable", "ImageNotFound", "ImageServiceError"])
def test_bad_image_is_nobodys_refusal(cloud, name):
    cloud.add_host("host1")
    cloud.add_host("host2")
    for host in cloud.computes:
        cloud.driver(host).knobs.spawn_error = name
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.states(one) == (VmState.ERROR, None)
    assert "refusals" not in cloud.row(one).build_request
    cloud.assert_no_orphans()


def test_claim_lost_to_a_shrunken_host(cloud):
    """The worker looks again before it spawns."""
    cloud.add_host()
    [one] = cloud.create()
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    compute_nodes.report("host1", memory_mb=256)
    cloud.deliver()
    assert cloud.states(one) == (VmState.ERROR, None)
    assert "No valid host" in cloud.fault(one)
    cloud.assert_no_orphans()


def test_network_that_is_away_delays_a_build_and_does_not_end_it(cloud):
    cloud.add_host()
    cloud.network.error = exception.RpcTimeout(method="m", topic="network", seconds=1)
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.states(one) == (VmState.BUILDING, TaskState.NETWORKING)
    cloud.network.error = None
    cloud.computes["host1"].recover()
    assert cloud.states(one) == (VmState.ACTIVE, None)
    assert cloud.unfinished(one) == []


def test_no_addresses_left_is_told_in_words(cloud):
    cloud.add_host()
    cloud.network.error = exception.NoMoreAddresses(network_id="net")
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.states(one) == (VmState.ERROR, None)
    assert cloud.fault(one) == "No more IP addresses available on network net."


def test_delete_of_an_instance_in_error_with_remains(cloud):
    cloud.add_host()
    driver = cloud.driver()
    driver.knobs = Knobs(spawn_error="ImageUnacceptable", spawn_leaves_remains=True,
                         destroy_error="HypervisorError")
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.states(one) == (VmState.ERROR, None)
    assert cloud.row(one).host == "host1"
    cloud.delete(one)
    cloud.deliver()
    assert cloud.states(one) == (VmState.ERROR, TaskState.DELETING)
    driver.knobs = Knobs()
    cloud.computes["host1"].recover()
    cloud.assert_no_orphans()
    assert cloud.unfinished(one) == []


def test_delete_while_building_ends_the_build(cloud):
    manager = cloud.add_host()
    [one] = cloud.create()
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    entered, go_on = threading.Event(), threading.Event()
    spawn = manager.worker.driver.spawn

    def slow(*args):
        entered.set()
        assert go_on.wait(10)
        spawn(*args)
    manager.worker.driver.spawn = slow
    builder = threading.Thread(target=cloud.deliver)
    builder.start()
    assert entered.wait(10)
    cloud.delete(one)
    remover = threading.Thread(target=manager.terminate_instance, args=(cloud.context(), one))
    remover.start()
    go_on.set()
    builder.join(10)
    remover.join(10)
    with pytest.raises(exception.InstanceNotFound):
        cloud.row(one)
    cloud.assert_no_orphans()


@pytest.mark.parametrize("hard", [False, True])
def test_deaf_guest_is_rebooted_all_the_same(cloud, hard):
    cloud.add_host()
    one = boot(cloud)
    cloud.driver().knobs.deaf = True
    cloud.reboot(one, hard)
    cloud.deliver()
    assert cloud.states(one) == (VmState.ACTIVE, None)


@pytest.mark.parametrize("change", ["stop", "reboot"])
def test_delete_does_not_wait_for_a_deaf_guest(cloud, change):
    manager = cloud.add_host()
    one = boot(cloud)
    cloud.driver().knobs.deaf = True
    CONF.set_override("shutdown_timeout", 3600)
    CONF.set_override("reboot_timeout", 3600)
    getattr(cloud, change)(one)
    waiting = threading.Thread(target=cloud.deliver)
    waiting.start()
    time.sleep(0.3)
    instances.begin_task(one, TaskState.DELETING, desired_state=Desired.DELETED)
    manager.terminate_instance(cloud.context(), one)
    waiting.join(60)
    assert not waiting.is_alive()
    cloud.assert_no_orphans()


def test_power_failure_settles_on_what_the_hypervisor_says(cloud):
    cloud.add_host()
    one = boot(cloud)
    cloud.driver().knobs.power_error = "HypervisorError"
    cloud.stop(one)
    cloud.deliver()
    assert cloud.states(one) == (VmState.ACTIVE, None)
    [stop] = [a for a in actions.of_instance(one) if a.action == "stop"]
    assert stop.message == "The hypervisor failed to power a guest off."


def test_stop_of_a_lost_guest_says_so(cloud):
    cloud.add_host()
    one = boot(cloud)
    cloud.driver().lose(one)
    cloud.stop(one)
    cloud.deliver()
    assert cloud.states(one) == (VmState.ERROR, None)
    assert cloud.fault(one) == "The guest is not on its host any more."


def test_message_to_the_wrong_host_is_passed_over(cloud):
    cloud.add_host("host1")
    cloud.add_host("host2")
    one = boot(cloud)
    host = cloud.row(one).host
    other = "host2" if host == "host1" else "host1"
    cloud.computes[other].terminate_instance(cloud.context(), one)
    cloud.computes[other].stop_instance(cloud.context(), one)
    assert cloud.states(one) == (VmState.ACTIVE, None)
    with pytest.raises(exception.InstanceNotFound):
        cloud.computes[other].get_console_output(cloud.context(), one)


def test_console_and_uptime(cloud):
    manager = cloud.add_host()
    one = boot(cloud)
    assert "booted" in manager.get_console_output(cloud.context(), one, lines=1)
    ten = manager.get_console_output(cloud.context(), one, lines=10).splitlines()
    assert len(ten) == 10 and all(line.startswith("fake") for line in ten)
    assert "load average" in manager.host_uptime(cloud.context())


def test_rules_of_a_busy_instance_are_refreshed_when_it_is_not(cloud):
    manager = cloud.add_host()
    one = boot(cloud)
    with manager.locks.hold(one):
        cloud.network.ports[one] = []
        manager.refresh_instance_network(cloud.context(), [one, str(uuid.uuid4())])
        assert cloud.driver()._read(one)["vifs"]
    manager.advance(cloud.context(), one)
    assert cloud.driver()._read(one)["vifs"] == []


def test_rules_of_many_are_refreshed_in_one_step(cloud, monkeypatch):
    manager = cloud.add_host()
    every = sorted(boot(cloud) for _ in range(3))
    steps, refresh = [], manager.worker.driver.refresh_network

    def count(wanted):
        steps.append(sorted(wanted))
        refresh(wanted)
    monkeypatch.setattr(manager.worker.driver, "refresh_network", count)
    manager.refresh_instance_network(cloud.context(), every)
    assert steps == [every]


def test_rules_that_are_refused_do_not_stop_those_of_others(cloud):
    manager = cloud.add_host()
    bad, good = boot(cloud), boot(cloud)
    cloud.driver().knobs.refused_rules = [bad]
    cloud.network.ports.update({bad: [], good: []})
    manager.refresh_instance_network(cloud.context(), [bad, good])
    assert cloud.driver()._read(bad)["vifs"] and not cloud.driver()._read(good)["vifs"]


def test_bug_rules_changed_during_a_refresh_were_forgotten(cloud, monkeypatch):
    """A second message found the instance held by the first: nobody applied what it was about."""
    manager = cloud.add_host()
    one = boot(cloud)
    refresh = manager.worker.driver.refresh_network

    def slow(wanted):
        if cloud.network.ports[one]:
            cloud.network.ports[one] = []
            manager.refresh_instance_network(cloud.context(), [one])
        refresh(wanted)
    monkeypatch.setattr(manager.worker.driver, "refresh_network", slow)
    manager.refresh_instance_network(cloud.context(), [one])
    assert cloud.driver()._read(one)["vifs"] == []


def test_hint_to_be_apart(cloud):
    cloud.add_host("host1")
    cloud.add_host("host2")
    one = boot(cloud)
    other = boot(cloud, build_request={"scheduler_hints": {"different_host": [one]}})
    same = boot(cloud, build_request={"scheduler_hints": {"same_host": one}})
    assert cloud.row(other).host != cloud.row(one).host == cloud.row(same).host


def test_hypervisor_that_is_not_ready_costs_no_instance(cloud):
    cloud.add_host()
    manager = cloud.new_compute("host1")
    manager.worker.driver.init_host = lambda: (_ for _ in ()).throw(
        exception.HypervisorError(action="connect", reason="no"))
    manager.start()
    cloud.computes["host1"] = manager
    assert not manager.hypervisor_up()
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.states(one) == (VmState.BUILDING, TaskState.NETWORKING)
    del manager.worker.driver.init_host
    manager.reconcile()      # takes up what is left in the background
    assert manager.hypervisor_up()
    until = time.monotonic() + 20
    while cloud.states(one) != (VmState.ACTIVE, None) and time.monotonic() < until:
        time.sleep(0.05)
    assert cloud.states(one) == (VmState.ACTIVE, None)


def test_row_with_nonsense_does_not_stop_the_others(cloud):
    """Q20: one inconsistent row must not keep the worker from starting."""
    cloud.add_host()
    broken = Instance(
        id=str(uuid.uuid4()), project_id="p", user_id="u", display_name="x", hostname="x",
        reservation_id="r", vm_state="building", task_state="spawning",
        desired_state=Desired.ACTIVE, image_id=None, flavor_id="1", flavor_name="t", vcpus=1,
        memory_mb=1, root_gb=0, host="host1")
    instances.create([broken])
    [one] = cloud.create()
    cloud.scheduler.schedule_instances(cloud.context(), [one])
    cloud.restart()
    cloud.recover()
    assert cloud.states(one) == (VmState.ACTIVE, None)
    assert cloud.states(broken.id) == (VmState.ERROR, None)


def test_the_log_says_step_by_step_which_host_refused_and_why(cloud):
    cloud.add_host("host1")
    cloud.add_host("host2")
    for host in ("host1", "host2"):
        cloud.driver(host).knobs.spawn_error = "HypervisorError"
    [one] = cloud.create()
    cloud.deliver()
    [create] = actions.of_instance(one)
    found = [(event.event, event.host, event.result) for event in actions.events_of(create.id)]
    first, second = found[1][1], found[4][1]
    assert {first, second} == {"host1", "host2"}
    assert found == [
        ("scheduler_scheduling", None, "Success"), ("compute_networking", first, "Success"),
        ("compute_spawning", first, "Error"), ("scheduler_scheduling", None, "Success"),
        ("compute_networking", second, "Success"), ("compute_spawning", second, "Error"),
        ("scheduler_scheduling", None, "Error")]
    told = [event.message for event in actions.events_of(create.id) if event.message]
    assert told[0].startswith(f"{first} refused: The hypervisor failed to spawn a guest")
    assert told[1].startswith(f"{second} refused")
    # The owner is told how many, the operator which and why.
    assert create.message.startswith("No valid host was found.")
    assert "host1" not in create.message and "host1 refused" in told[2]
