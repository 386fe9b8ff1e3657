# SPDX-License-Identifier: Apache-2.0
"""The resources of the Volume API, as its clients use them."""

import json
import uuid

import pytest
from compute_api import IMAGE_ID
from volume_rows import add_volume

from nova.db import quotas, volume_attachments, volume_snapshots, volumes


def create(client, size=1, **more):
    return client.ok("POST", "/volumes", {"volume": {"size": size, **more}}, 202)["volume"]


def available(volume_id):
    volumes.claim(volume_id, "h", "nova")
    return volumes.transition(volume_id, status="available", format="raw")


# -- versions and what clients ask first ---------------------------------------------------------

@pytest.mark.parametrize("path, status", [("/", 300), ("/v3", 200), ("/v3/", 200)])
def test_version_documents_need_no_token(cloud, path, status):
    found = cloud.client(None, "").ok("GET", path, status=status)["versions"]
    assert [(one["id"], one["version"], one["min_version"]) for one in found] == [
        ("v3.0", "3.0", "3.0")]
    assert found[0]["links"][-1]["href"].endswith("/v3/")


def test_only_the_version_that_is_there(cloud):
    def ask(version):
        return cloud.alpha.request("GET", "/volumes", headers={
            "OpenStack-API-Version": f"volume {version}"}).status_int
    assert (ask("3.0"), ask("3.27"), ask("latest")) == (200, 406, 200)


def test_with_and_without_the_project_in_the_path(cloud):
    one = create(cloud.alpha)["id"]
    assert cloud.client("alice:alpha", "/v3/alpha").get(f"/volumes/{one}")["volume"]["id"] == one
    cloud.client("alice:alpha", "/v3/beta").fails(404, "GET", f"/volumes/{one}")
    cloud.nobody.fails(401, "GET", "/volumes")


# -- volumes -------------------------------------------------------------------------------------

def test_create_show_update_delete(cloud):
    one = create(cloud.alpha, name="data", description="d", metadata={"k": "v"},
                 volume_type="plain", availability_zone="nova", snapshot_id=None, multiattach=False)
    assert (one["status"], one["size"], one["name"], one["bootable"], one["volume_type"]) == (
        "creating", 1, "data", "false", "plain")
    assert one["os-vol-tenant-attr:tenant_id"] == "alpha"
    assert "os-vol-host-attr:host" not in one
    assert cloud.rpc.casts[-1] == ("scheduler", "schedule_volumes", None,
                                   {"volume_ids": [one["id"]]})
    available(one["id"])
    changed = cloud.alpha.ok("PUT", f"/volumes/{one['id']}", {"volume": {
        "name": "new", "description": None}})["volume"]
    assert (changed["name"], changed["description"], changed["availability_zone"]) == (
        "new", None, "nova")
    admins = cloud.admin.get(f"/volumes/{one['id']}")["volume"]
    assert admins["os-vol-host-attr:host"] == "h"
    cloud.alpha.ok("DELETE", f"/volumes/{one['id']}", status=202)
    assert volumes.get(one["id"]).status == "deleting"
    cloud.alpha.fails(404, "GET", f"/volumes/{uuid.uuid4()}")


def test_made_of_an_image_a_snapshot_a_volume(cloud):
    image = create(cloud.alpha, None, imageRef=IMAGE_ID)
    assert (image["bootable"], image["volume_image_metadata"]["os_distro"]) == ("true", "debian")
    source = create(cloud.alpha, 2)["id"]
    available(source)
    copy = create(cloud.alpha, 3, source_volid=source)
    assert (copy["size"], copy["source_volid"]) == (3, source)
    volumes.transition(copy["id"], status="error")
    snapshot = cloud.alpha.ok("POST", "/snapshots", {"snapshot": {
        "volume_id": source, "name": "s", "force": "False"}}, 202)["snapshot"]
    volume_snapshots.transition(snapshot["id"], status="available", format="raw")
    assert create(cloud.alpha, None, snapshot_id=snapshot["id"])["size"] == 2
    cloud.alpha.fails(400, "POST", "/volumes", {"volume": {
        "size": 1, "snapshot_id": snapshot["id"]}})


@pytest.mark.parametrize("body, status, word", [
    ({"size": 0}, 400, "size"), ({"size": "x"}, 400, "size"), ({"size": 1.5}, 400, "size"),
    ({}, 400, "size"), ({"size": None}, 400, "size"), ({"size": 1, "imageRef": "x"}, 400, "image"),
    ({"size": 1, "unknown": 1}, 400, "unknown"), ({"size": 1, "name": 5}, 400, "name"),
    ({"size": 1, "metadata": {"k": 1}}, 400, "metadata"),
    ({"size": 1, "volume_type": "none"}, 400, "volume_type"),
    ({"size": 1, "availability_zone": "none"}, 400, "availability_zone"),
    ({"size": 1, "snapshot_id": str(uuid.uuid4())}, 404, "Snapshot"),
    ({"size": 1, "source_volid": str(uuid.uuid4())}, 404, "Volume"),
    ({"size": 1, "multiattach": True}, 501, "multiattach"),
    ({"size": 1, "consistencygroup_id": "c"}, 501, "consistencygroup_id"),
    ({"size": 2000}, 413, "gigabytes")])
def test_what_cannot_be_made_says_why(cloud, body, status, word):
    assert word in cloud.alpha.fails(status, "POST", "/volumes", {"volume": body})
    assert volumes.get_all() == []


def test_lists_pages_order_and_filters(cloud):
    for name in ("b", "a", "c"):
        add_volume(project_id="alpha", name=name, size_gb=ord(name),
                   metadata_={"letter": name}, bootable=name == "a")
    add_volume(project_id="beta")

    def names(query, client=cloud.alpha):
        return [one["name"] for one in client.get(f"/volumes/detail?{query}")["volumes"]]
    assert names("") == ["c", "a", "b"]
    assert names("sort=name:asc") == ["a", "b", "c"]
    assert names("sort_key=size&sort_dir=desc") == ["c", "b", "a"]
    assert names("name=b") == ["b"]
    assert names("status=error") == []
    assert names("bootable=true") == ["a"]
    assert names("metadata=%7B%27letter%27%3A+%27c%27%7D") == ["c"]
    assert names("limit=2&offset=1") == ["a", "b"]
    first = cloud.alpha.get("/volumes?limit=2&sort=name:asc")
    assert [one["name"] for one in first["volumes"]] == ["a", "b"]
    [link] = first["volumes_links"]
    rest = cloud.client("alice:alpha", "").get(link["href"].partition("localhost")[2])
    assert [one["name"] for one in rest["volumes"]] == ["c"]
    assert len(cloud.admin.get("/volumes?all_tenants=1")["volumes"]) == 4
    assert len(cloud.admin.get("/volumes?all_tenants=1&project_id=beta")["volumes"]) == 1
    assert cloud.alpha.get("/volumes?project_id=beta")["volumes"] == []
    for query in ("unknown=1", "sort=nothing", "sort=name:up", "limit=-1", "metadata=x",
                  f"marker={uuid.uuid4()}"):
        cloud.alpha.fails(400, "GET", f"/volumes?{query}")


@pytest.mark.parametrize("kind", ["volumes", "snapshots"])
def test_metadata(cloud, kind):
    one = add_volume(project_id="alpha").id
    if kind == "snapshots":
        one = cloud.alpha.post("/snapshots", {"snapshot": {"volume_id": one}})["snapshot"]["id"]
    path = f"/{kind}/{one}/metadata"
    assert cloud.alpha.post(path, {"metadata": {"a": "1", "b": "2"}}) == {
        "metadata": {"a": "1", "b": "2"}}
    assert cloud.alpha.ok("PUT", f"{path}/a", {"meta": {"a": "3"}}) == {"meta": {"a": "3"}}
    assert cloud.alpha.get(f"{path}/a") == {"meta": {"a": "3"}}
    cloud.alpha.fails(400, "PUT", f"{path}/a", {"meta": {"b": "3"}})
    cloud.alpha.ok("DELETE", f"{path}/a")
    cloud.alpha.fails(404, "DELETE", f"{path}/a")
    assert cloud.alpha.ok("PUT", path, {"metadata": {"c": "4"}}) == {"metadata": {"c": "4"}}
    assert cloud.alpha.get(path) == {"metadata": {"c": "4"}}
    quotas.set_limits("alpha", {"metadata_items": 1})
    cloud.alpha.fails(413, "POST", path, {"metadata": {"d": "4"}})


def test_actions(cloud):
    one = add_volume(project_id="alpha").id
    path = f"/volumes/{one}/action"
    cloud.alpha.ok("POST", path, {"os-set_bootable": {"bootable": "True"}}, 200)
    assert volumes.get(one).bootable
    cloud.alpha.fails(400, "POST", path, {"os-extend": {"new_size": 1}})
    cloud.alpha.ok("POST", path, {"os-extend": {"new_size": "2"}}, 202)
    assert volumes.get(one).status == "extending"
    cloud.alpha.fails(403, "POST", path, {"os-reset_status": {"status": "available"}})
    cloud.admin.ok("POST", path, {"os-reset_status": {"status": "available"}}, 202)
    assert volumes.get(one).status == "available"
    cloud.admin.fails(400, "POST", path, {"os-reset_status": {"status": "in-use"}})
    cloud.admin.fails(501, "POST", path, {"os-reset_status": {"attach_status": "attached"}})
    cloud.alpha.fails(501, "POST", path, {"os-update_readonly_flag": {"readonly": True}})
    cloud.alpha.fails(400, "POST", path, {"os-unknown": {}})
    cloud.alpha.fails(403, "POST", path, {"os-force_delete": {}})
    cloud.admin.ok("POST", path, {"os-force_delete": {}}, 202)
    assert volumes.get(one).status == "deleting"


def test_snapshots(cloud):
    one = add_volume(project_id="alpha", size_gb=3).id
    made = cloud.alpha.ok("POST", "/snapshots", {"snapshot": {
        "volume_id": one, "name": "s", "metadata": {"k": "v"}}}, 202)["snapshot"]
    assert (made["status"], made["size"], made["volume_id"]) == ("creating", 3, one)
    shown = cloud.alpha.get(f"/snapshots/{made['id']}")["snapshot"]
    assert shown["os-extended-snapshot-attributes:progress"] == "0%"
    assert cloud.rpc.casts[-1][1] == "create_snapshot"
    volume_snapshots.transition(made["id"], status="available", format="raw")
    [listed] = cloud.alpha.get(f"/snapshots/detail?volume_id={one}&status=available")["snapshots"]
    assert listed["os-extended-snapshot-attributes:progress"] == "100%"
    changed = cloud.alpha.ok("PUT", f"/snapshots/{made['id']}", {"snapshot": {"name": "t"}})
    assert changed["snapshot"]["name"] == "t"
    cloud.alpha.fails(403, "POST", f"/snapshots/{made['id']}/action",
                      {"os-reset_status": {"status": "error"}})
    cloud.admin.ok("POST", f"/snapshots/{made['id']}/action",
                   {"os-reset_status": {"status": "error"}})
    cloud.alpha.ok("DELETE", f"/snapshots/{made['id']}", status=202)
    assert volume_snapshots.get(made["id"]).status == "deleting"
    busy = add_volume(project_id="alpha", status="in-use").id
    cloud.alpha.fails(400, "POST", "/snapshots", {"snapshot": {"volume_id": busy, "force": True}})


def test_types(cloud):
    cloud.alpha.fails(403, "POST", "/types", {"volume_type": {"name": "mine"}})
    made = cloud.admin.post("/types", {"volume_type": {
        "name": "fast", "description": "d", "os-volume-type-access:is_public": False,
        "extra_specs": {"a": "b"}}})["volume_type"]
    path = f"/types/{made['id']}"
    assert made["is_public"] is False
    assert cloud.admin.get(path)["volume_type"]["extra_specs"] == {"a": "b"}
    cloud.alpha.fails(404, "GET", path)
    cloud.admin.fails(409, "POST", "/types", {"volume_type": {"name": "fast"}})
    assert [one["name"] for one in cloud.alpha.get("/types")["volume_types"]] == ["plain"]
    assert "extra_specs" not in cloud.alpha.get("/types")["volume_types"][0]
    assert len(cloud.admin.get("/types?is_public=None")["volume_types"]) == 2
    cloud.admin.ok("PUT", path, {"volume_type": {"is_public": True, "name": "faster"}})
    assert cloud.alpha.get(path)["volume_type"]["name"] == "faster"
    cloud.admin.post(f"{path}/extra_specs", {"extra_specs": {"c": "d"}})
    assert cloud.admin.get(f"{path}/extra_specs") == {"extra_specs": {"a": "b", "c": "d"}}
    assert cloud.admin.ok("PUT", f"{path}/extra_specs/c", {"c": "e"}) == {"c": "e"}
    assert cloud.admin.get(f"{path}/extra_specs/c") == {"c": "e"}
    cloud.admin.ok("DELETE", f"{path}/extra_specs/c", status=202)
    cloud.admin.fails(404, "GET", f"{path}/extra_specs/c")
    cloud.alpha.fails(404, "GET", "/types/default")
    create(cloud.alpha, volume_type="faster")
    cloud.admin.fails(409, "DELETE", path)
    cloud.admin.fails(501, "POST", f"{path}/action", {"addProjectAccess": {"project": "alpha"}})


def test_limits_and_quotas(cloud):
    create(cloud.alpha, 2)
    absolute = cloud.alpha.get("/limits")["limits"]["absolute"]
    assert (absolute["totalVolumesUsed"], absolute["totalGigabytesUsed"],
            absolute["maxTotalVolumes"]) == (1, 2, 10)
    cloud.alpha.fails(403, "GET", "/limits?project_id=beta")
    assert cloud.alpha.get("/os-quota-sets/alpha")["quota_set"]["volumes"] == 10
    cloud.alpha.fails(403, "GET", "/os-quota-sets/beta")
    used = cloud.admin.get("/os-quota-sets/alpha?usage=True")["quota_set"]["gigabytes"]
    assert (used["in_use"], used["limit"]) == (2, 1000)
    cloud.alpha.fails(403, "PUT", "/os-quota-sets/alpha", {"quota_set": {"volumes": 99}})
    cloud.admin.ok("PUT", "/os-quota-sets/alpha", {"quota_set": {"volumes": "1"}})
    cloud.alpha.fails(413, "POST", "/volumes", {"volume": {"size": 1}})
    cloud.admin.fails(501, "PUT", "/os-quota-sets/alpha", {"quota_set": {"backups": 5}})
    cloud.admin.ok("DELETE", "/os-quota-sets/alpha")
    assert cloud.alpha.get("/os-quota-sets/alpha")["quota_set"]["volumes"] == 10
    assert cloud.alpha.get("/os-quota-sets/alpha/defaults")["quota_set"]["snapshots"] == 10


def test_daemons_zones_and_pools(cloud):
    cloud.alpha.fails(403, "GET", "/os-services")
    [row] = cloud.admin.get("/os-services")["services"]
    assert (row["binary"], row["host"], row["state"], row["status"]) == (
        "nova-volume", "h", "up", "enabled")
    body = {"host": "h", "binary": "nova-volume"}
    cloud.admin.ok("PUT", "/os-services/disable-log-reason", {**body, "disabled_reason": "why"})
    assert cloud.admin.get("/os-services")["services"][0]["disabled_reason"] == "why"
    zones = cloud.alpha.get("/os-availability-zone")["availabilityZoneInfo"]
    assert zones == [{"zoneName": "nova", "zoneState": {"available": False}}]
    cloud.admin.ok("PUT", "/os-services/enable", body)
    cloud.admin.fails(404, "PUT", "/os-services/disable", {**body, "host": "none"})
    cloud.alpha.fails(403, "GET", "/scheduler-stats/get_pools")
    [pool] = cloud.admin.get("/scheduler-stats/get_pools?detail=True")["pools"]
    assert pool["capabilities"]["total_capacity_gb"] == 100
    assert cloud.alpha.get("/extensions")["extensions"]


@pytest.mark.parametrize("path", ["/backups/x", "/volume-transfers", "/groups",
                                  "/consistencygroups/x"])
def test_what_is_not_there_says_so(cloud, path):
    assert path in cloud.alpha.fails(501, "GET", path)


@pytest.mark.parametrize("name, key", [
    ("backups", "backups"), ("os-volume-transfer", "transfers"), ("cgsnapshots", "cgsnapshots"),
    ("consistencygroups", "consistencygroups"), ("qos-specs", "qos_specs")])
def test_what_there_can_be_none_of_is_listed_and_not_made(cloud, name, key):
    for path in (f"/{name}", f"/{name}/detail?all_tenants=False"):
        assert cloud.admin.get(path) == {key: []}
    cloud.admin.fails(501, "POST", f"/{name}", {key: {}})
    if name == "qos-specs":
        cloud.alpha.fails(403, "GET", f"/{name}")
    else:
        assert cloud.alpha.get(f"/{name}") == {key: []}


def test_attachments_are_shown(cloud):
    one = add_volume(project_id="alpha").id
    server = str(uuid.uuid4())
    made = volume_attachments.reserve(one, server, "alpha", "vdb")
    assert cloud.alpha.get(f"/volumes/{one}")["volume"]["attachments"] == []
    volume_attachments.begin_attach(made.id, "host1")
    volume_attachments.finish_attach(made.id)
    [shown] = cloud.alpha.get(f"/volumes/{one}")["volume"]["attachments"]
    assert (shown["server_id"], shown["device"], shown["attachment_id"], shown["host_name"]) == (
        server, "/dev/vdb", made.id, None)
    [listed] = cloud.alpha.get(f"/attachments?volume_id={one}")["attachments"]
    assert (listed["id"], listed["instance"], listed["status"]) == (made.id, server, "attached")
    assert cloud.alpha.get(f"/attachments/{made.id}")["attachment"]["attach_mode"] == "rw"
    assert cloud.alpha.get("/attachments/detail?status=detaching") == {"attachments": []}
    cloud.alpha.fails(400, "DELETE", f"/volumes/{one}")
    assert json.dumps(cloud.admin.get(f"/volumes/{one}")).count("host1") == 1
