# SPDX-License-Identifier: Apache-2.0
"""Every change of state is told once, and nothing secret with it."""

import json

import pytest
from oslo_config import cfg

from nova import notifications
from nova.compute.states import TaskState, VmState
from nova.context import RequestContext
from nova.db import changes, instances
from nova.db.models import Instance
from nova.db.session import writer

CONF = cfg.CONF
SECRET = "hunter2-this-is-secret"


def events(told, instance_id=None):
    return [one["event_type"].removeprefix("compute.instance.") for one in told
            if instance_id in (None, one["payload"]["instance_id"])]


def test_the_life_of_an_instance_in_notifications(cloud, told):
    cloud.add_host()
    [one] = cloud.create()
    cloud.deliver()
    assert events(told) == ["create.start", "update", "update", "create.end"]
    assert [message["payload"]["task_state"] for message in told] == [
        "scheduling", "networking", "spawning", None]
    last = told[-1]
    assert (last["priority"], last["payload"]["state"], last["payload"]["old_state"],
            last["payload"]["old_task_state"]) == ("INFO", "active", "building", "spawning")
    assert last["payload"]["host"] == "host1" and last["payload"]["vcpus"] == 1
    assert last["payload"]["launched_at"].endswith("Z")
    json.dumps(told)
    for ask, expected in (
            (cloud.stop, ["power_off.start", "power_off.end"]),
            (cloud.start, ["power_on.start", "power_on.end"]),
            (cloud.reboot, ["reboot.start", "reboot.end"]),
            (cloud.delete, ["delete.start", "delete.end"])):
        told.clear()
        ask(one)
        cloud.deliver()
        assert events(told) == expected
    assert told[-1]["payload"]["state"] == "deleted" and told[-1]["payload"]["deleted_at"]
    assert len({message["message_id"] for message in told}) == len(told)


def test_what_fails_is_told_as_an_error(cloud, told):
    cloud.add_host()
    cloud.driver().knobs.spawn_error = "it burns"
    [one] = cloud.create()
    cloud.deliver()
    assert events(told)[-1] == "create.error" and told[-1]["priority"] == "ERROR"
    [other] = cloud.create(vcpus=100_000)
    cloud.deliver()
    assert events(told, other) == ["create.start", "create.error"]
    assert cloud.states(one) == (VmState.ERROR, None)


def test_what_is_rolled_back_is_told_to_nobody(cloud, told):
    cloud.add_host()
    [one] = cloud.create()
    cloud.deliver()
    told.clear()
    with pytest.raises(RuntimeError), writer() as session:
        changes.note(session, ("active", None, "host1"), instances.get(one))
        raise RuntimeError
    cloud.stop(one)
    assert events(told) == ["power_off.start"]
    told.clear()
    instances.update_columns(one, locked=True)      # no state is changed by that
    assert told == []


@pytest.mark.parametrize("task", list(TaskState))
def test_no_task_is_forgotten(cloud, told, task):
    """A task somebody adds to the table has its notifications too."""
    cloud.add_host()
    [one] = cloud.create()
    cloud.deliver()
    told.clear()
    instances.transition(one, task_state=task)
    instances.transition(one, task_state=None)
    verb = notifications.verb_of(task)
    assert events(told) == [f"{verb}.start", f"{verb}.end"]


def test_a_driver_that_fails_undoes_nothing(cloud, told, monkeypatch):
    def broken(_envelope):
        raise OSError("no space left")
    cloud.add_host()
    monkeypatch.setitem(notifications._DRIVERS, "log", broken)
    [one] = cloud.create()
    cloud.deliver()
    assert cloud.states(one) == (VmState.ACTIVE, None)


def test_nothing_is_read_while_nobody_listens(cloud):
    notifications.set_up(True)
    assert changes._watcher is None
    with writer() as session:
        assert changes.states_of(session, Instance, "any") is None
        assert changes.last_row(session, Instance, "any") is None


def test_rabbitmq_without_a_broker_is_refused():
    CONF.set_override("drivers", ["rabbitmq"], "notifications")
    try:
        with pytest.raises(ValueError, match="rabbitmq needs transport_url"):
            notifications.set_up(False)
    finally:
        CONF.clear_override("drivers", "notifications")
        changes.watch(None)


def test_security_l5_l10_no_token_and_no_context_in_notifications(cloud, told, caplog):
    """L5, L10: whatever an owner gave us in confidence, however it fails, is not in them."""
    cloud.add_host()
    context = RequestContext(auth_token=SECRET, user_id="u", project_id="p")
    secrets = {
        "user_data": SECRET, "key_data": SECRET, "metadata_": {"password": SECRET},
        "build_request": {"request_id": context.request_id, "image_properties": {"p": SECRET},
                          "scheduler_hints": {"build_near_host_ip": SECRET}}}
    [one] = cloud.create(**secrets)
    cloud.deliver()
    cloud.stop(one)
    cloud.deliver()
    cloud.driver().knobs.spawn_error = f"password={SECRET}"
    cloud.create(**secrets)
    cloud.deliver()
    cloud.delete(one)
    cloud.deliver()
    assert len(told) > 8
    assert SECRET not in json.dumps(told)
    wanted = {"message_id", "publisher_id", "event_type", "priority", "timestamp", "request_id",
              "payload"}
    allowed = {*notifications.PAYLOAD, "state", "task_state", "old_state", "old_task_state",
               "old_host", "deleted_at"}
    for envelope in told:
        assert set(envelope) == wanted
        assert set(envelope["payload"]) == allowed
