# SPDX-License-Identifier: Apache-2.0
"""What hurt OpenStack's volumes before; each test is named after a row of the list."""

import json
import uuid

import pytest
from volume_rows import add_volume

from nova.api.openstack.volume.volume_actions import CONNECT
from nova.db import session, volume_attachments, volume_snapshots, volumes
from nova.db.models import new_id
from nova.db.volume_models import VolumeExport, VolumeSnapshot


@pytest.fixture
def theirs(cloud):
    """A volume, a snapshot and an attachment of project alpha."""
    volume = add_volume(project_id="alpha", metadata_={"k": "v"}).id
    snapshot = volume_snapshots.create(VolumeSnapshot(
        id=new_id(), project_id="alpha", user_id="u", volume_id=volume, size_gb=1,
        status="available", bootable=False, image_metadata={}, metadata_={"k": "v"})).id
    attached = add_volume(project_id="alpha").id
    row = volume_attachments.reserve(attached, str(uuid.uuid4()), "alpha", "vdb")
    volume_attachments.begin_attach(row.id, "host1")
    volume_attachments.finish_attach(row.id)
    return {"volume": volume, "snapshot": snapshot, "attachment": row.id, "attached": attached}


@pytest.mark.parametrize("method, path, body", [
    ("GET", "/volumes/{volume}", None), ("DELETE", "/volumes/{volume}", None),
    ("PUT", "/volumes/{volume}", {"volume": {"name": "x"}}),
    ("GET", "/volumes/{volume}/metadata", None), ("GET", "/volumes/{volume}/metadata/k", None),
    ("POST", "/volumes/{volume}/metadata", {"metadata": {"a": "b"}}),
    ("PUT", "/volumes/{volume}/metadata", {"metadata": {"a": "b"}}),
    ("PUT", "/volumes/{volume}/metadata/k", {"meta": {"k": "b"}}),
    ("DELETE", "/volumes/{volume}/metadata/k", None),
    ("POST", "/volumes/{volume}/action", {"os-extend": {"new_size": 5}}),
    ("POST", "/volumes/{volume}/action", {"os-set_bootable": {"bootable": True}}),
    ("POST", "/volumes/{volume}/action", {"os-show_image_metadata": None}),
    ("POST", "/volumes/{volume}/action", {"os-detach": {}}),
    ("POST", "/volumes/{volume}/action", {"os-retype": {}}),
    ("POST", "/snapshots", {"snapshot": {"volume_id": "{volume}"}}),
    ("POST", "/volumes", {"volume": {"size": 1, "source_volid": "{volume}"}}),
    ("POST", "/volumes", {"volume": {"size": 1, "snapshot_id": "{snapshot}"}}),
    ("GET", "/snapshots/{snapshot}", None), ("DELETE", "/snapshots/{snapshot}", None),
    ("PUT", "/snapshots/{snapshot}", {"snapshot": {"name": "x"}}),
    ("POST", "/snapshots/{snapshot}/metadata", {"metadata": {"a": "b"}}),
    ("DELETE", "/snapshots/{snapshot}/metadata/k", None),
    ("GET", "/attachments/{attachment}", None), ("DELETE", "/attachments/{attachment}", None),
    ("PUT", "/attachments/{attachment}", {"attachment": {"connector": {}}}),
    ("POST", "/attachments/{attachment}/action", {"os-complete": {}})])
def test_others_things_do_not_exist(cloud, theirs, method, path, body):
    """T7, T14, V17: the same 404 as for what nobody has, and no side effect."""
    answers = []
    for ids in (theirs, {name: str(uuid.uuid4()) for name in theirs}):
        filled = json.loads(json.dumps(body), object_hook=lambda found, ids=ids: {
            name: value.format(**ids) if isinstance(value, str) else value
            for name, value in found.items()})
        response = cloud.beta.request(method, path.format(**ids), filled)
        text = response.text
        for one in ids.values():
            text = text.replace(one, "ID")
        answers.append((response.status_int, text))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    volume = volumes.get(theirs["volume"])
    assert (volume.status, volume.name, volume.metadata_, volume.bootable) == (
        "available", None, {"k": "v"}, False)
    assert volume_snapshots.get(theirs["snapshot"]).metadata_ == {"k": "v"}


@pytest.mark.parametrize("path, key", [
    ("/volumes", "volumes"), ("/volumes/detail", "volumes"), ("/snapshots", "snapshots"),
    ("/snapshots/detail", "snapshots"), ("/attachments", "attachments"),
    ("/attachments/detail", "attachments")])
@pytest.mark.parametrize("query", [
    "", "all_tenants=1", "all_tenants=1&project_id=alpha", "project_id=alpha", "marker={marker}"])
def test_lists_show_ones_own(cloud, theirs, path, key, query):
    """T18: whatever is asked for."""
    one = theirs[key.rstrip("s")]
    response = cloud.beta.request("GET", f"{path}?{query.format(marker=one)}")
    if response.status_int == 200:
        assert response.json[key] == []
    else:
        assert response.status_int == 400       # somebody else's marker is none


@pytest.mark.parametrize("name", CONNECT)
@pytest.mark.parametrize("which", ["attached", "volume"])
def test_attaching_is_not_the_volume_apis(cloud, theirs, name, which):
    """V9 (CVE-2023-2088): no word of a user, or an administrator, parts a volume from its row."""
    for client in (cloud.alpha, cloud.admin):
        client.fails(409, "POST", f"/volumes/{theirs[which]}/action", {name: {}})
    assert volumes.get(theirs["attached"]).status == "in-use"
    assert volumes.get(theirs["volume"]).status == "available"


def test_attachments_cannot_be_changed(cloud, theirs):
    """V9: neither completed, nor pointed elsewhere, nor removed, nor made."""
    path = f"/attachments/{theirs['attachment']}"
    for client in (cloud.alpha, cloud.admin):
        client.fails(409, "DELETE", path)
        client.fails(409, "PUT", path, {"attachment": {"connector": {"host": "evil"}}})
        client.fails(409, "POST", f"{path}/action", {"os-complete": {}})
        client.fails(409, "POST", "/attachments", {"attachment": {
            "volume_uuid": theirs["volume"], "instance_uuid": str(uuid.uuid4())}})
    assert volume_attachments.get(theirs["attachment"]).status == "attached"
    assert volumes.get(theirs["volume"]).status == "available"


def test_a_volume_in_use_is_not_deleted_nor_reset(cloud, theirs):
    """V9: also not by force."""
    path = f"/volumes/{theirs['attached']}"
    cloud.alpha.fails(400, "DELETE", path)
    cloud.admin.fails(400, "POST", f"{path}/action", {"os-force_delete": {}})
    cloud.admin.fails(400, "POST", f"{path}/action", {"os-reset_status": {"status": "available"}})
    cloud.admin.fails(400, "POST", f"{path}/action", {"os-reset_status": {"status": "error"}})
    assert volumes.get(theirs["attached"]).status == "in-use"


def test_how_a_volume_is_reached_is_shown_to_nobody(cloud, theirs):
    """L15 (CVE-2020-10755): no connection, no password in any answer."""
    with session.writer() as writing:
        columns = {column.name: None for column in VolumeExport.__table__.columns}
        values = {**columns, "volume_id": theirs["attached"], "host": "h", "target_number": 1}
        for column in VolumeExport.__table__.columns:
            if values[column.name] is None and not column.nullable and column.default is None:
                values[column.name] = "canary-secret"
        values = {name: value for name, value in values.items() if value is not None}
        values |= {name: "canary-secret" for name in columns if "secret" in name}
        writing.add(VolumeExport(**values))
    for path in ("/volumes/detail", f"/volumes/{theirs['attached']}", "/attachments/detail",
                 f"/attachments/{theirs['attachment']}"):
        for client in (cloud.alpha, cloud.admin):
            text = client.request("GET", path).text
            assert "canary" not in text
            assert "connection" not in text


def test_a_type_that_is_not_public_is_nobodys(cloud):
    """T7: by id and by name, to look at and to use."""
    made = cloud.admin.post("/types", {"volume_type": {
        "name": "hidden", "os-volume-type-access:is_public": False}})["volume_type"]
    for name in (made["id"], "hidden"):
        cloud.alpha.fails(404, "GET", f"/types/{name}")
        cloud.alpha.fails(400, "POST", "/volumes", {"volume": {"size": 1, "volume_type": name}})
    assert "hidden" not in cloud.alpha.request("GET", "/types?is_public=None").text
