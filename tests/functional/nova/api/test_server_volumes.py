# SPDX-License-Identifier: Apache-2.0
"""Volumes of servers in the Compute API: attached, detached, booted from."""

import uuid

import pytest
from compute_api import IMAGE_ID, PRIVATE_IMAGE_ID
from volume_rows import add_host, add_volume

from nova.compute.states import TaskState
from nova.db import instances, volume_attachments, volume_snapshots, volumes
from nova.db.models import new_id
from nova.db.volume_models import VolumeSnapshot


def path(server, volume=None):
    return f"/servers/{server}/os-volume_attachments" + (f"/{volume}" if volume else "")


def volume(project="alpha", **columns):
    return add_volume(project_id=project, **columns).id


@pytest.fixture
def server(cloud, active):
    one = cloud.alpha.boot()
    active(one)
    return one


def attach(cloud, server, one, **more):
    return cloud.alpha.ok("POST", path(server), {"volumeAttachment": {"volumeId": one, **more}},
                          200)["volumeAttachment"]


def attached(server, one, status="attached"):
    row = volume_attachments.get_of_volume(one)
    volume_attachments.begin_attach(row.id, "host1")
    if status == "attached":
        volume_attachments.finish_attach(row.id)
    return row.id


def test_attach_list_show_detach(cloud, server):
    one = volume()
    made = attach(cloud, server, one)
    assert made == {"id": one, "volumeId": one, "serverId": server, "device": "/dev/vdb"}
    row = volume_attachments.get_of_volume(one)
    assert cloud.compute.casts[-1] == ("attach_volume", "host1", {"attachment_id": row.id})
    assert cloud.alpha.get(path(server))["volumeAttachments"] == [made]
    assert cloud.alpha.get(path(server, one))["volumeAttachment"] == made
    shown = cloud.alpha.get(f"/servers/{server}")["server"]
    assert shown["os-extended-volumes:volumes_attached"] == [{"id": one}]
    [listed] = cloud.alpha.get("/servers/detail")["servers"]
    assert listed["os-extended-volumes:volumes_attached"] == [{"id": one}]
    attached(server, one)
    cloud.alpha.ok("DELETE", path(server, one), status=202)
    assert volumes.get(one).status == "detaching"
    assert cloud.compute.casts[-1][0] == "detach_volume"
    # Asked again it is on its way out already.
    cloud.alpha.fails(400, "DELETE", path(server, one))


def test_detach_before_any_host_began_frees_it_at_once(cloud, server):
    one = volume()
    attach(cloud, server, one)
    cloud.alpha.ok("DELETE", path(server, one), status=202)
    assert volumes.get(one).status == "available"


def test_devices(cloud, server):
    first, second, third = volume(), volume(), volume()
    assert attach(cloud, server, first, device="/dev/vdc")["device"] == "/dev/vdc"
    assert attach(cloud, server, second, device="/dev/sdf")["device"] == "/dev/vdf"
    cloud.alpha.fails(409, "POST", path(server), {"volumeAttachment": {
        "volumeId": third, "device": "/dev/vdc"}})
    cloud.alpha.fails(409, "POST", path(server), {"volumeAttachment": {
        "volumeId": third, "device": "/dev/vda"}})
    message = cloud.alpha.fails(400, "POST", path(server), {"volumeAttachment": {
        "volumeId": third, "device": "/dev/../etc"}})
    assert "device" in message
    assert attach(cloud, server, third, device=None)["device"] == "/dev/vdb"


@pytest.mark.parametrize("vm_state, task_state", [
    ("building", "spawning"), ("active", "rebooting"), ("error", None)])
def test_a_server_in_the_wrong_state_is_a_conflict(cloud, server, vm_state, task_state):
    one = volume()
    instances.transition(server, vm_state=vm_state, task_state=task_state)
    cloud.alpha.fails(409, "POST", path(server), {"volumeAttachment": {"volumeId": one}})
    assert volumes.get(one).status == "available"


def test_a_volume_in_the_wrong_state_is_refused(cloud, server):
    for status in ("creating", "error", "in-use", "deleting", "extending"):
        one = volume(status=status)
        message = cloud.alpha.fails(400, "POST", path(server),
                                    {"volumeAttachment": {"volumeId": one}})
        assert status in message
    one = volume()
    attach(cloud, server, one)
    cloud.alpha.fails(400, "POST", path(server), {"volumeAttachment": {"volumeId": one}})


def test_security_others_volumes_and_servers_do_not_exist(cloud, server, active):
    """T7, T16, V17: 404 for a foreign volume, a foreign server, and a foreign pair of both."""
    theirs, mine, other = volume("beta"), volume(), cloud.beta.boot()
    active(other)
    answers = [cloud.alpha.fails(404, "POST", path(server), {
        "volumeAttachment": {"volumeId": one}}).replace(one, "ID")
        for one in (theirs, str(uuid.uuid4()))]
    assert answers[0] == answers[1]
    cloud.alpha.fails(404, "POST", path(other), {"volumeAttachment": {"volumeId": mine}})
    # Not even an administrator gives a server somebody else's data.
    cloud.admin.fails(404, "POST", path(server), {"volumeAttachment": {"volumeId": theirs}})
    cloud.beta.post(path(other), {"volumeAttachment": {"volumeId": theirs}})
    attached(other, theirs)
    for server_id in (server, other):
        for method in ("GET", "DELETE"):
            cloud.alpha.fails(404, method, path(server_id, theirs))
    assert volumes.get(theirs).status == "in-use"
    assert cloud.alpha.get(path(server)) == {"volumeAttachments": []}
    cloud.alpha.fails(404, "GET", path(other))


def test_a_deletion_that_comes_between_leaves_no_reservation(cloud, server, monkeypatch):
    one, reserve = volume(), cloud.volumes.reserve

    def late(*args, **kwargs):
        instances.begin_task(server, TaskState.DELETING)
        return reserve(*args, **kwargs)
    monkeypatch.setattr(cloud.volumes, "reserve", late)
    cloud.alpha.fails(404, "POST", path(server), {"volumeAttachment": {"volumeId": one}})
    assert volumes.get(one).status == "available"


def test_a_locked_server_is_left_alone(cloud, server):
    one = volume()
    cloud.alpha.ok("POST", f"/servers/{server}/action", {"lock": None})
    cloud.alpha.fails(409, "POST", path(server), {"volumeAttachment": {"volumeId": one}})


def test_swap_is_not_there(cloud, server):
    """V10."""
    one = volume()
    attach(cloud, server, one)
    assert cloud.alpha.request("PUT", path(server, one), {
        "volumeAttachment": {"volumeId": volume()}}).status_int == 403
    cloud.admin.fails(501, "PUT", path(server, one), {"volumeAttachment": {"volumeId": volume()}})


# -- boot ----------------------------------------------------------------------------------------

def boot(client, *devices, **more):
    body = {"name": "one", "flavorRef": "1", "block_device_mapping_v2": list(devices), **more}
    return client.ok("POST", "/servers", {"server": body}, 202)["server"]["id"]


def refused(client, *devices, status=400, **more):
    body = {"name": "one", "flavorRef": "1", "block_device_mapping_v2": list(devices), **more}
    message = client.fails(status, "POST", "/servers", {"server": body})
    assert client.get("/servers")["servers"] == []
    return message


def test_boot_from_a_volume(cloud):
    root = volume(bootable=True, image_metadata={"os_command_line": "quiet", "min_ram": 1})
    one = boot(cloud.alpha, {"uuid": root, "source_type": "volume", "boot_index": 0,
                             "destination_type": "volume"})
    attachment = volume_attachments.get_of_volume(root)
    assert (attachment.instance_id, attachment.device, attachment.boot_index,
            attachment.status) == (one, "vda", 0, "reserved")
    row = instances.get(one)
    assert (row.image_id, row.root_gb) == (None, 0)
    assert row.build_request["image_properties"]["os_command_line"] == "quiet"
    shown = cloud.alpha.get(f"/servers/{one}")["server"]
    assert shown["image"] == ""
    # It is the root disk: it stays.
    instances.claim(one, "host1")
    instances.transition(one, vm_state="active", task_state=None)
    cloud.alpha.fails(403, "DELETE", path(one, root))


def test_boot_from_a_new_volume_of_an_image(cloud):
    one = boot(cloud.alpha, {
        "uuid": IMAGE_ID, "source_type": "image", "boot_index": "0", "volume_size": 2,
        "destination_type": "volume", "delete_on_termination": True}, imageRef="")
    [planned] = instances.get(one).build_request["block_devices"]
    made = volumes.get(planned["volume_id"])
    assert (made.status, made.size_gb, made.image_id, made.bootable) == (
        "creating", 2, IMAGE_ID, True)
    assert (planned["device"], planned["made"], planned["delete_on_termination"]) == (
        "vda", True, True)
    assert ("scheduler", "schedule_volumes", None, {"volume_ids": [made.id]}) \
        in cloud.volume_rpc.casts
    # No host ever took it: what was made for it goes with it.
    cloud.alpha.ok("DELETE", f"/servers/{one}")
    cloud.alpha.fails(404, "GET", f"/servers/{one}")
    assert volumes.get_many([made.id]) == {}


def test_an_image_with_volumes_beside_it(cloud):
    """A blank one, one there is, one of a snapshot; each of two servers has its own."""
    snapshot = _snapshot("alpha")
    first = boot(cloud.alpha, {"source_type": "blank", "volume_size": 1,
                               "destination_type": "volume", "boot_index": -1},
                 {"source_type": "snapshot", "uuid": snapshot, "destination_type": "volume",
                  "device_name": "/dev/vdz"}, imageRef=IMAGE_ID, max_count=2, min_count=2)
    row = instances.get(first)
    assert row.image_id == IMAGE_ID
    assert [one["device"] for one in row.build_request["block_devices"]] == ["vdb", "vdz"]
    made = volumes.get_all({"project_id": "alpha", "status": "creating"})
    assert len(made) == 4
    assert {one.snapshot_id for one in made} == {None, snapshot}


def _snapshot(project, **columns):
    add_host()
    source = volume(project)
    return volume_snapshots.create(VolumeSnapshot(**{
        "id": new_id(), "project_id": project, "user_id": "u", "volume_id": source, "size_gb": 1,
        "status": "available", "bootable": False, "image_metadata": {}, "metadata_": {},
        **columns})).id


def test_the_mapping_of_2011(cloud):
    root, data = volume(bootable=True), volume()
    body = {"name": "one", "flavorRef": "1", "block_device_mapping": [
        {"device_name": "vda", "volume_id": root, "delete_on_termination": "1"},
        {"device_name": "/dev/vdd", "volume_id": data}]}
    one = cloud.alpha.ok("POST", "/os-volumes_boot", {"server": body})["server"]["id"]
    found = {row.volume_id: row for row in volume_attachments.get_of_instance(one)}
    assert (found[root].device, found[root].boot_index, found[root].delete_on_termination) == (
        "vda", 0, True)
    assert (found[data].device, found[data].boot_index) == ("vdd", None)


BLANK = {"source_type": "blank", "destination_type": "volume", "volume_size": 1}


@pytest.mark.parametrize("devices, more, status, word", [
    ([], {}, 400, "imageRef"),
    ([{**BLANK, "boot_index": 0}], {}, 400, "block_device_mapping_v2.0"),
    ([{**BLANK, "volume_size": None}], {"imageRef": IMAGE_ID}, 400, "volume_size"),
    ([{**BLANK, "uuid": str(uuid.uuid4())}], {"imageRef": IMAGE_ID}, 400, "uuid"),
    ([{"source_type": "volume"}], {"imageRef": IMAGE_ID}, 400, "uuid"),
    ([{"uuid": str(uuid.uuid4())}], {"imageRef": IMAGE_ID}, 400, "source_type"),
    ([{**BLANK, "device_name": "/dev/vda"}], {"imageRef": IMAGE_ID}, 400, "device_name"),
    ([{**BLANK, "device_name": "x"}], {"imageRef": IMAGE_ID}, 400, "device_name"),
    ([{**BLANK, "device_name": "vdc"}] * 2, {"imageRef": IMAGE_ID}, 400, "device_name"),
    ([{**BLANK, "destination_type": "local"}], {"imageRef": IMAGE_ID}, 501, "local"),
    ([{**BLANK, "disk_bus": "ide"}], {"imageRef": IMAGE_ID}, 501, "disk_bus"),
    ([{**BLANK, "no_device": True}], {"imageRef": IMAGE_ID}, 501, "no_device"),
    ([{**BLANK, "volume_type": "none"}], {"imageRef": IMAGE_ID}, 400, "volume_type"),
    ([{**BLANK, "volume_size": 5000}], {"imageRef": IMAGE_ID}, 403, "gigabytes"),
    ([{"uuid": IMAGE_ID, "source_type": "image", "boot_index": 0, "volume_size": 1,
       "destination_type": "volume"}], {"imageRef": IMAGE_ID}, 400, "imageRef"),
    ([{"uuid": PRIVATE_IMAGE_ID, "source_type": "image", "boot_index": 0, "volume_size": 1,
       "destination_type": "volume"}], {}, 400, "block_device_mapping_v2.0.uuid")])
def test_refused_boots_leave_nothing(cloud, devices, more, status, word):
    assert word in refused(cloud.beta, *devices, status=status, **more)
    assert volumes.get_all() == []


def test_bug_boot_that_ended_half_way_left_a_server_without_its_volumes(cloud, monkeypatch):
    """The second volume cannot be had any more: the first is as before, and there is no server.

    They come in one transaction: an API that dies in the middle leaves nothing either.
    """
    first, second = volume(), volume()
    reservation = volume_attachments.reservation

    def late(volume_id, *args, **kwargs):
        if volume_id == second:
            volumes.begin_delete(second)
        return reservation(volume_id, *args, **kwargs)
    monkeypatch.setattr(volume_attachments, "reservation", late)
    devices = [{"uuid": one, "source_type": "volume", "destination_type": "volume"}
               for one in (first, second)]
    refused(cloud.alpha, *devices, BLANK, imageRef=IMAGE_ID)
    assert volumes.get(first).status == "available"
    assert {one.id for one in volumes.get_all()} == {first, second}


@pytest.mark.parametrize("kind", ["volume", "snapshot"])
@pytest.mark.parametrize("form", ["v1", "v2"])
@pytest.mark.parametrize("root", [True, False])
def test_security_boot_with_what_is_not_ones_own(cloud, kind, form, root):
    """T3: another project's volume or snapshot answers as one there is not, in every form."""
    theirs = volume("alpha", bootable=True) if kind == "volume" else _snapshot(
        "alpha", bootable=True)
    answers = []
    for one in (theirs, str(uuid.uuid4())):
        body = {"name": "one", "flavorRef": "1", "imageRef": "" if root else IMAGE_ID}
        if form == "v1":
            body["block_device_mapping"] = [
                {"device_name": "vda" if root else "vdb", f"{kind}_id": one}]
        else:
            body["block_device_mapping_v2"] = [{
                "uuid": one, "source_type": kind, "destination_type": "volume",
                "boot_index": 0 if root else None}]
        answers.append(cloud.beta.fails(400, "POST", "/servers", {"server": body})
                       .replace(one, "ID"))
    assert answers[0] == answers[1]
    assert volume_attachments.get_all() == []
    assert cloud.beta.get("/servers") == {"servers": []}


def test_one_volume_is_of_one_server(cloud):
    one = volume()
    refused(cloud.alpha, {"uuid": one, "source_type": "volume"}, imageRef=IMAGE_ID, max_count=2)
    refused(cloud.alpha, *[{"uuid": one, "source_type": "volume"}] * 2, imageRef=IMAGE_ID)
    refused(cloud.alpha, {"uuid": one, "source_type": "volume", "boot_index": 0})
    boot(cloud.alpha, {"uuid": one, "source_type": "volume"}, imageRef=IMAGE_ID)
    cloud.alpha.fails(400, "POST", "/servers", {"server": {
        "name": "two", "flavorRef": "1", "imageRef": IMAGE_ID,
        "block_device_mapping_v2": [{"uuid": one, "source_type": "volume"}]}})
