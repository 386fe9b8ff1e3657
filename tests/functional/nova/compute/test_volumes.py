# SPDX-License-Identifier: Apache-2.0
"""Volumes in and out of instances on fake hosts, and who dies on the way."""

import datetime
import uuid

import pytest
from oslo_config import cfg
from tripwire import Killed, Tripwire

from nova import exception
from nova.compute import audit
from nova.compute.states import VmState
from nova.db import actions, instances, session, volume_attachments, volumes
from nova.db.models import new_id, utcnow
from nova.db.volume_models import VolumeAttachment
from nova.virt.fake import Knobs

CONF = cfg.CONF
FREE = ("available", None, None)
IN_USE = ("in-use", "attached", "host1")


@pytest.fixture(autouse=True)
def short_waits(cloud, monkeypatch):
    CONF.set_override("volume_detach_timeout", 1)
    CONF.set_override("volume_ready_timeout", 1)
    monkeypatch.setattr("nova.compute.volumes.POLL_SECONDS", 0.05)
    yield
    CONF.clear_override("volume_detach_timeout")
    CONF.clear_override("volume_ready_timeout")


def boot(cloud, volumes=(), **changes):
    [one] = cloud.create(build_request={"block_devices": [
        {"volume_id": volume, "device": f"vd{'abcdef'[position + changes.get('first', 1)]}",
         **more} for position, (volume, more) in enumerate(volumes)]},
        **{name: value for name, value in changes.items() if name != "first"})
    cloud.deliver()
    return one


def log_of(cloud, one):
    return [(row.action, row.message) for row in actions.of_instance(one)]


def test_attach_and_detach(cloud):
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume)
    cloud.post.waiting *= 2
    cloud.deliver()
    assert cloud.volume_status(volume) == IN_USE
    assert cloud.driver().volumes_in_use() == {one: {volume: "vdb"}}
    assert log_of(cloud, one)[0] == ("attach_volume", None)
    assert cloud.computes["host1"].audit() == []
    cloud.detach(one, volume)
    cloud.post.waiting *= 2
    cloud.deliver()
    assert cloud.volume_status(volume) == FREE
    assert cloud.driver().volumes_in_use() == {}
    assert log_of(cloud, one)[0] == ("detach_volume", None)


def test_attached_while_off_and_kept_over_stop_start_and_reboot(cloud):
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.stop(one)
    cloud.deliver()
    cloud.attach(one, volume)
    cloud.deliver()
    assert cloud.volume_status(volume) == IN_USE
    assert not cloud.has(one, volume)
    cloud.start(one)
    cloud.deliver()
    assert cloud.has(one, volume)
    cloud.volume_worker.exports.clear()         # the volume's host was away
    cloud.reboot(one, hard=True)
    cloud.deliver()
    assert cloud.has(one, volume)
    assert cloud.volume_status(volume) == IN_USE


def test_after_a_reboot_of_the_host_guests_have_their_volumes_again(cloud):
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume)
    cloud.deliver()
    cloud.driver().set_power_state(one, 4)
    cloud.volume_worker.exports.clear()
    cloud.computes["host1"].recover(host_rebooted=True)
    assert cloud.has(one, volume)
    assert cloud.volume_status(volume) == IN_USE


def test_boot_from_a_volume_with_another_beside_it(cloud):
    cloud.add_host()
    root, data = cloud.volume(bootable=True), cloud.volume()
    one = boot(cloud, [(root, {"boot_index": 0}), (data, {"delete_on_termination": True})],
               first=0, image_id=None, root_gb=0)
    assert cloud.states(one) == (VmState.ACTIVE, None), cloud.fault(one)
    assert cloud.driver().volumes_in_use() == {one: {root: "vda", data: "vdb"}}
    assert cloud.volume_status(root) == IN_USE
    cloud.delete(one)
    cloud.deliver()
    assert cloud.volume_status(root) == FREE
    assert volumes.get_many([data]) == {}
    cloud.assert_no_orphans()


@pytest.mark.parametrize("status, text", [
    ("error", "cannot attach volume"), ("creating", "cannot attach volume"),
    (None, "not be found")])
def test_a_build_whose_volume_cannot_be_had_fails_and_says_so(cloud, status, text):
    cloud.add_host()
    volume = cloud.volume(status=status) if status else str(uuid.uuid4())
    good = cloud.volume()
    one = boot(cloud, [(good, {}), (volume, {})])
    assert cloud.states(one) == (VmState.ERROR, None)
    assert text in cloud.fault(one)
    assert cloud.volume_status(good) == FREE
    assert cloud.row(one).host is None
    cloud.assert_no_orphans()


def test_a_refused_build_takes_its_volumes_to_the_next_host(cloud):
    for host in ("host1", "host2"):
        cloud.add_host(host)
        cloud.driver(host).knobs = Knobs(spawn_error="HypervisorError", spawn_failures=1)
    volume = cloud.volume()
    one = boot(cloud, [(volume, {})])
    CONF.set_override("max_build_attempts", 3)
    assert cloud.states(one)[0] in (VmState.ACTIVE, VmState.ERROR)
    if cloud.states(one)[0] == VmState.ACTIVE:
        assert cloud.volume_status(volume)[0] == "in-use"
    else:
        assert cloud.volume_status(volume) == FREE
    CONF.clear_override("max_build_attempts")


@pytest.mark.parametrize("remains", [False, True])
def test_security_a_failed_attach_leaves_nothing_open(cloud, remains):
    """V9: whatever it left is taken away before the volume is available again."""
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.driver().knobs = Knobs(attach_error="HypervisorError", attach_leaves_remains=remains)
    cloud.attach(one, volume)
    cloud.deliver()
    assert cloud.volume_status(volume) == FREE
    assert not cloud.has(one, volume)
    action, message = log_of(cloud, one)[0]
    assert action == "attach_volume"
    assert message == "The hypervisor failed to attach a volume."


def test_security_what_a_volume_driver_says_is_the_operators(cloud):
    """L8: neither paths nor anything else of a back end is told to the owner."""
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.volume_worker.error = exception.VolumeBackendError(
        action="find a volume", reason="/srv/canary is not there")
    cloud.attach(one, volume)
    cloud.deliver()
    assert log_of(cloud, one)[0] == (
        "attach_volume", "The volume driver failed to find a volume.")
    assert cloud.volume_status(volume)[0] == "detaching"    # it may be reachable by somebody
    cloud.volume_worker.error = None
    cloud.computes["host1"].reconcile()
    assert cloud.volume_status(volume) == FREE


def test_a_host_that_cannot_reach_a_volume_gives_the_build_to_another(cloud):
    for host in ("host1", "host2"):
        cloud.add_host(host)
    volume = cloud.volume()
    initialize = cloud.volume_worker.initialize_connection

    def only_from_host2(context, volume_id, connector):
        if connector["host"] != "host2":
            raise exception.Conflict("can be attached on its own host alone")
        return initialize(context, volume_id, connector)
    cloud.volume_worker.initialize_connection = only_from_host2
    one = boot(cloud, [(volume, {})])
    assert cloud.states(one) == (VmState.ACTIVE, None), cloud.fault(one)
    assert cloud.row(one).host == "host2"
    assert cloud.volume_status(volume) == ("in-use", "attached", "host2")


def test_an_attach_that_fails_unexpectedly_ends_as_well(cloud):
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.driver().knobs = Knobs(attach_error="Boom", attach_leaves_remains=True)
    cloud.attach(one, volume)
    cloud.deliver()
    assert cloud.volume_status(volume) == FREE
    assert not cloud.has(one, volume)
    assert log_of(cloud, one)[0] == (
        "attach_volume", "An unexpected error occurred (RuntimeError).")


def test_security_a_guest_that_keeps_its_volume_keeps_it_in_the_row_too(cloud):
    """V9: never available while a guest has it."""
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume)
    cloud.deliver()
    cloud.driver().knobs.greedy = True
    cloud.detach(one, volume)
    cloud.deliver()
    assert cloud.volume_status(volume) == IN_USE
    assert cloud.has(one, volume)
    assert log_of(cloud, one)[0] == (
        "detach_volume", "The hypervisor failed to detach a volume.")
    cloud.driver().knobs.greedy = False
    cloud.detach(one, volume)
    cloud.deliver()
    assert cloud.volume_status(volume) == FREE


def test_security_nothing_is_available_while_it_can_be_reached(cloud):
    """V9: the volume's host does not answer: detaching goes on when it does."""
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume)
    cloud.deliver()
    cloud.volume_worker.error = exception.RpcTimeout(
        method="terminate_connection", topic="volume", seconds=1)
    cloud.detach(one, volume)
    cloud.deliver()
    assert cloud.volume_status(volume) == ("detaching", "detaching", "host1")
    cloud.computes["host1"].reconcile()
    assert cloud.volume_status(volume)[0] == "detaching"
    cloud.volume_worker.error = None
    cloud.computes["host1"].reconcile()
    assert cloud.volume_status(volume) == FREE


def test_lost_messages_are_no_harm(cloud):
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume)
    cloud.post.waiting.clear()
    cloud.computes["host1"].reconcile()
    assert cloud.volume_status(volume)[1] == "reserved"     # its message may be on its way
    with session.writer() as open_session:
        open_session.query(VolumeAttachment).update(
            {"created_at": utcnow() - datetime.timedelta(seconds=60)})
    cloud.computes["host1"].reconcile()
    assert cloud.volume_status(volume) == IN_USE
    cloud.detach(one, volume)
    cloud.post.waiting.clear()
    cloud.computes["host1"].reconcile()
    assert cloud.volume_status(volume) == FREE


def test_volumes_of_an_instance_that_is_gone_are_released(cloud):
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume)
    cloud.deliver()
    instances.transition(one, task_state="deleting")
    instances.delete_row(one)
    cloud.computes["host1"].reconcile()
    assert cloud.volume_status(volume) == FREE
    assert cloud.driver().volumes_in_use() == {}


def test_delete_takes_only_what_goes_with_it(cloud):
    cloud.add_host()
    one = boot(cloud)
    kept, gone, reserved = cloud.volume(), cloud.volume(), cloud.volume()
    cloud.attach(one, kept)
    cloud.attach(one, gone, "vdc", delete_on_termination=True)
    cloud.deliver()
    cloud.volumes.reserve(cloud.context(), reserved, one, "vdd", delete_on_termination=True)
    cloud.driver().knobs.greedy = True      # it does not matter: the guest is gone
    cloud.delete(one)
    cloud.deliver()
    assert cloud.volume_status(kept) == FREE
    assert volumes.get_many([gone, reserved]) == {}
    assert volume_attachments.get_all() == []
    cloud.assert_no_orphans()


def test_audit_compares_guests_disks_with_attachments(cloud):
    cloud.add_host()
    one, has_no_row, has_no_disk = boot(cloud), cloud.volume(), cloud.volume()
    for volume, device in ((has_no_row, "vdb"), (has_no_disk, "vdc")):
        cloud.attach(one, volume, device)
    cloud.deliver()
    assert audit.problems("host1", cloud.driver()) == []
    attachment = volume_attachments.get_of_volume(has_no_row)
    volume_attachments.begin_detach(attachment.id)
    volume_attachments.finish_detach(attachment.id)
    cloud.driver().detach_volume(one, has_no_disk)
    found = {problem.id: problem.problem for problem in audit.problems("host1", cloud.driver())}
    assert found.keys() == {has_no_row, has_no_disk}
    assert "no attachment says so" in found[has_no_row]
    assert "has it not" in found[has_no_disk]


# -- death at every step -------------------------------------------------------------------------

def prepared_attach(cloud):
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume)
    return one, volume


def prepared_detach(cloud):
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume)
    cloud.deliver()
    cloud.detach(one, volume)
    return one, volume


def prepared_failure(cloud):
    one, volume = prepared_attach(cloud)
    cloud.driver().knobs = Knobs(attach_error="HypervisorError", attach_leaves_remains=True)
    return one, volume


def prepared_greedy(cloud):
    one, volume = prepared_detach(cloud)
    cloud.driver().knobs.greedy = True
    return one, volume


def prepared_boot(cloud):
    volume = cloud.volume(bootable=True)
    [one] = cloud.create(image_id=None, root_gb=0, build_request={"block_devices": [
        {"volume_id": volume, "device": "vda", "boot_index": 0}]})
    return one, volume


def prepared_delete(cloud):
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume, delete_on_termination=True)
    cloud.deliver()
    cloud.delete(one)
    return one, volume


GONE = (None, None, None)
OPERATIONS = {
    "attach": (prepared_attach, {IN_USE}),
    "detach": (prepared_detach, {FREE}),
    # A knob does not outlive its process: what is attached again succeeds.
    "attach-fails": (prepared_failure, {FREE, IN_USE}),
    "detach-fails": (prepared_greedy, {IN_USE, FREE}),
    "boot": (prepared_boot, {IN_USE}),
    "delete": (prepared_delete, {GONE}),
}
STEPS = {
    volume_attachments: ("reserve", "begin_attach", "finish_attach", "begin_detach",
                         "finish_detach", "undo_detach", "undo_reserve"),
    instances: ("modify",),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_every_step(cloud, monkeypatch, operation):
    """P2, P3: row, guest and export agree whenever the worker died, and the volume is usable."""
    prepare, ends = OPERATIONS[operation]
    cloud.add_host()
    wire = Tripwire(monkeypatch, cloud)
    for module, names in STEPS.items():
        for name in names:
            wire.watch(monkeypatch, module, name)
    for name in ("initialize_connection", "terminate_connection", "delete_volume"):
        wire.watch(monkeypatch, cloud.volume_worker, name)
    CONF.set_override("volume_detach_timeout", 0)
    deaths = []
    for step in range(100):
        one, volume = prepare(cloud)
        wire.countdown = step
        try:
            cloud.deliver()
            wire.countdown = None
            break
        except Killed as death:
            deaths.append(str(death))
        cloud.restart()
        cloud.recover()
        if volumes.get_many([volume]) and volumes.get(volume).status == "deleting":
            cloud.volume_worker.delete_volume(None, volume)     # as its own worker would by itself
        status = cloud.volume_status(volume)
        assert status in ends, (deaths[-1], status)
        assert cloud.has(one, volume) == (status == IN_USE), deaths[-1]
        assert cloud.computes["host1"].audit() == [], deaths[-1]
    assert len(deaths) >= 4, deaths


@pytest.mark.parametrize("state, after", [
    ("reserved", FREE), ("attaching", ("detaching", "detaching", None)),
    ("detaching", IN_USE)])
def test_attachment_whose_message_is_parked_is_given_up(cloud, state, after):
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume)
    attachment = volume_attachments.get_of_volume(volume)
    if state == "attaching":
        volume_attachments.begin_attach(attachment.id, "host1")
    elif state == "detaching":
        cloud.deliver()
        cloud.detach(one, volume)
    cloud.post.waiting.clear()
    method = "detach_volume" if state == "detaching" else "attach_volume"
    parked = cloud.computes["host1"].message_parked
    parked(cloud.context(), method, {"attachment_id": attachment.id}, "5 workers died of it")
    assert cloud.volume_status(volume) == after
    assert log_of(cloud, one)[0] == (
        method, "It failed unexpectedly, as often as it was tried.")
    if state == "attaching":        # the reconciler does what is left to do
        cloud.computes["host1"].reconcile()
        assert cloud.volume_status(volume) == FREE
    parked(cloud.context(), method, {"attachment_id": new_id()}, "of one that is gone")


def test_detach_that_breaks_the_reconciler_is_given_up_at_its_deadline(cloud, monkeypatch):
    cloud.add_host()
    one, volume = boot(cloud), cloud.volume()
    cloud.attach(one, volume)
    cloud.deliver()
    cloud.detach(one, volume)
    cloud.post.waiting.clear()

    def broken(*_args, **_kwargs):
        raise KeyError("nobody expected that")

    monkeypatch.setattr(type(cloud.driver()), "detach_volume", broken)
    cloud.computes["host1"].reconcile()
    assert cloud.volume_status(volume)[0] == "detaching"
    volumes.transition(volume, deadline=utcnow() - datetime.timedelta(seconds=1))
    cloud.computes["host1"].reconcile()
    assert cloud.volume_status(volume) == IN_USE
