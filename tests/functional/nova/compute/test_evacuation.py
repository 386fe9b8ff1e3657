# SPDX-License-Identifier: Apache-2.0
"""Servers of a dead host are built elsewhere; the host comes back and touches none of them."""

import pytest

from nova import exception
from nova.compute import evacuation
from nova.compute.api import API
from nova.compute.states import Desired, TaskState, VmState
from nova.context import RequestContext
from nova.db import actions, instances, services, volume_attachments

ADMIN = RequestContext(user_id="root", project_id="ops", is_admin=True, overwrite=False)


@pytest.fixture
def api(cloud):
    from nova.compute.methods import METHODS
    return API(images=cloud.images, network=cloud.network, scheduler=cloud.scheduler_client(),
               compute=cloud.post.client(METHODS))


def boot(cloud):
    """A server, on host1."""
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.row(one).host == "host1", cloud.fault(one)
    return one


def force_down(host, down=True):
    [row] = services.get_all(host=host, topic="compute")
    services.change(row.id, forced_down=down)


@pytest.fixture
def dead(cloud):
    """A server whose host has died; host2 is there."""
    cloud.add_host("host1")
    one = boot(cloud)
    cloud.add_host("host2")
    force_down("host1")
    return one


def test_server_keeps_id_and_addresses_and_the_old_host_its_hands_off(cloud, api, dead):
    ports, old = list(cloud.network.ports[dead]), cloud.driver("host1").get_info(dead)
    api.evacuate(ADMIN, dead)
    cloud.deliver()
    assert cloud.states(dead) == (VmState.ACTIVE, None)
    assert cloud.row(dead).host == "host2"
    assert cloud.network.ports[dead] == ports
    new = cloud.driver("host2").get_info(dead)
    assert new.process_id != old.process_id
    assert [one.action for one in actions.of_instance(dead)] == ["evacuate", "create"]
    # The old host is back and finds a guest that is somebody else's by now.
    force_down("host1", False)
    cloud.computes["host1"] = cloud.new_compute("host1")
    cloud.computes["host1"]._ready = True
    cloud.computes["host1"].recover()
    assert dead not in cloud.driver("host1").list_instances()
    assert cloud.driver("host2").get_info(dead) == new
    assert cloud.network.ports[dead] == ports
    assert cloud.row(dead).build_request["evacuated_from"] == []
    cloud.assert_no_orphans()
    # And never again: a guest of it there now would be a riddle, not a leftover.
    cloud.driver("host2")._write(cloud.driver("host2")._read(dead))
    cloud.computes["host1"].reconcile()
    assert cloud.driver("host2").get_info(dead) == new


def test_host_that_is_up_keeps_its_servers(cloud, api):
    cloud.add_host("host1")
    one = boot(cloud)
    with pytest.raises(exception.BadRequest, match="still in use"):
        api.evacuate(ADMIN, one)
    force_down("host1")
    for target in ("host1", "nowhere"):
        with pytest.raises(exception.BadRequest, match="host:"):
            api.evacuate(ADMIN, one, target)
    assert cloud.states(one) == (VmState.ACTIVE, None)


def test_security_r11_t11_t12_evacuated_over_and_over_it_is_one_server(cloud, api, dead):
    """R11, T11, T12, T24: filters are asked each time, claims are one, hosts are rows' names."""
    one, needed = dead, instances.usage_of_host("host1")
    for target in ("-oProxyCommand=x", "a;b", "../host2", "host2\n"):
        with pytest.raises(exception.BadRequest, match="host:"):
            api.evacuate(ADMIN, one, target)
    for turn in range(6):
        here, there = ("host1", "host2") if turn % 2 == 0 else ("host2", "host1")
        force_down(here)
        force_down(there, False)
        api.evacuate(ADMIN, one)
        cloud.deliver()
        assert cloud.row(one).host == there
        assert instances.usage_of_host(there) == needed
        assert instances.usage_of_host(here).instances == 0
        cloud.computes[here].reconcile()
    # It is on host1 now, and host2 is to take no servers any more: nobody does.
    [row] = services.get_all(host="host2", topic="compute")
    services.change(row.id, disabled=True)
    force_down("host1")
    force_down("host2", False)
    api.evacuate(ADMIN, one)
    cloud.deliver()
    assert cloud.row(one).host != "host2" and instances.usage_of_host("host2").instances == 0


@pytest.mark.parametrize("task", [TaskState.POWERING_OFF, TaskState.REBOOTING])
def test_server_in_the_middle_of_something(cloud, api, dead, task):
    """What its dead host was doing to it is over; its answer, should it come, is not heard."""
    instances.begin_task(dead, task)
    api.evacuate(ADMIN, dead)
    cloud.deliver()
    assert cloud.states(dead) == (VmState.ACTIVE, None)
    with pytest.raises(exception.InvalidState):
        instances.transition(dead, from_task=task, from_host="host1", vm_state=VmState.STOPPED,
                             task_state=None)


def test_stopped_server_is_stopped_again(cloud, api):
    cloud.add_host("host1")
    one = boot(cloud)
    cloud.stop(one)
    cloud.deliver()
    assert cloud.row(one).desired_state == Desired.STOPPED
    cloud.add_host("host2")
    force_down("host1")
    api.evacuate(ADMIN, one)
    cloud.deliver()
    assert cloud.states(one) == (VmState.STOPPED, None)
    assert cloud.unfinished(one) == []


def test_building_and_deleted_servers_are_others_business(cloud, api, dead):
    api.evacuate(ADMIN, dead)
    with pytest.raises(exception.InvalidState):     # on its way already
        api.evacuate(ADMIN, dead)
    cloud.deliver()
    force_down("host2")
    instances.begin_task(dead, TaskState.DELETING)
    with pytest.raises(exception.InvalidState):
        api.evacuate(ADMIN, dead)


def test_failed_evacuation_keeps_the_addresses_and_can_be_asked_for_again(cloud, api, dead):
    ports = list(cloud.network.ports[dead])
    cloud.driver("host2").knobs.spawn_error = "HypervisorError"
    api.evacuate(ADMIN, dead)
    cloud.deliver()
    assert cloud.states(dead) == (VmState.ERROR, None) and cloud.row(dead).host is None
    assert cloud.network.ports[dead] == ports
    cloud.driver("host2").knobs.spawn_error = None
    api.evacuate(ADMIN, dead)
    cloud.deliver()
    assert cloud.states(dead) == (VmState.ACTIVE, None)
    assert cloud.network.ports[dead] == ports


def test_back_on_its_first_host_it_does_not_start_from_what_it_left_there(cloud, api, dead):
    api.evacuate(ADMIN, dead)
    cloud.deliver()
    old = cloud.driver("host1").get_info(dead)
    force_down("host1", False)
    force_down("host2")
    api.evacuate(ADMIN, dead, "host1")
    cloud.deliver()
    assert cloud.row(dead).host == "host1"
    assert cloud.driver("host1").get_info(dead).process_id != old.process_id
    assert cloud.row(dead).build_request["evacuated_from"] == ["host2"]


def test_an_old_servers_evacuation_waits_as_long_as_a_new_ones_build(cloud, api, dead):
    """Its age is counted from its evacuation: the network's first absence must not end it."""
    import datetime

    from nova.compute.request import build_age
    cloud.row(dead)
    api.evacuate(ADMIN, dead)
    row = cloud.row(dead)
    row.created_at -= datetime.timedelta(days=30)
    assert build_age(row) < 60


def test_volumes_go_along_and_only_the_new_host_reaches_them(cloud, api):
    cloud.add_host("host1")
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume)
    cloud.deliver()
    assert cloud.volume_worker.exports == {volume: "host1"}
    cloud.add_host("host2")
    force_down("host1")
    cloud.driver("host2").knobs.spawn_error = "HypervisorError"
    api.evacuate(ADMIN, one)
    cloud.deliver()
    # No host could; nobody reaches the volume, and it is the server's all the same.
    assert cloud.states(one) == (VmState.ERROR, None)
    assert cloud.volume_worker.exports == {}
    assert volume_attachments.get_of_volume(volume).instance_id == one
    cloud.driver("host2").knobs.spawn_error = None
    api.evacuate(ADMIN, one)
    cloud.deliver()
    assert cloud.states(one) == (VmState.ACTIVE, None)
    attachment = volume_attachments.get_of_volume(volume)
    assert (attachment.host, attachment.status) == ("host2", "attached")
    assert cloud.volume_worker.exports == {volume: "host2"}
    assert cloud.driver("host2").volumes_in_use() == {one: {volume: "vdb"}}


def test_guest_of_a_server_elsewhere_is_a_leftover_only_by_the_rows_word(cloud, dead):
    cloud.add_host("host1")
    instances.update_columns(dead, host="host2")
    cloud.computes["host1"].reconcile()
    assert dead in cloud.driver("host1").list_instances()
    assert evacuation.request_of(cloud.row(dead), None, None)["evacuated_from"] == ["host2"]
