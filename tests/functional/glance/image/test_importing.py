# SPDX-License-Identifier: Apache-2.0
"""Imports: what is staged, fetched or copied is inspected, stored, told, and taken back."""

import hashlib
import json
import pathlib
import threading
import uuid

import pytest

from glance import exceptions, outbound
from glance.context import service_context
from glance.image.audit import findings
from glance.image.orders import Order
from glance.image.reconciler import Reconciler

OCTETS = {"Content-Type": "application/octet-stream"}
DATA = b"bytes of an image " * 1000
SERVICE = service_context()


@pytest.fixture
def api(importing_api):
    return importing_api


def stage(api, image_id, data=DATA):
    return api.call("PUT", f"/v2/images/{image_id}/stage", data, OCTETS)


def start(api, image_id, method="glance-direct", uri=None, headers=None, **more):
    named = {"name": method, **({"uri": uri} if uri is not None else {})}
    return api.call("POST", f"/v2/images/{image_id}/import", {"method": named, **more}, headers)


def tasks(api, image_id):
    return api.get(f"/v2/images/{image_id}/tasks").json["tasks"]


def nothing_left(api, tmp_path):
    """Neither in the stores nor in the staging area."""
    places = [tmp_path / "images", tmp_path / "deep", tmp_path / "state/staging"]
    assert list(findings(api.service)) == []
    return [path.name for place in places for path in place.rglob("*") if path.is_file()] == []


def test_staged_data_is_imported(api, tmp_path):
    image = api.create()
    assert image["id"] and "glance-direct" in api.call(
        "POST", "/v2/images", {}).headers["OpenStack-image-import-methods"]
    assert stage(api, image["id"]).status_int == 204
    assert api.show(image["id"])["status"] == "uploading"
    assert api.get(image["file"]).status_int in (204, 404)
    response = start(api, image["id"])
    assert response.status_int == 202
    after = api.show(image["id"])
    assert (after["status"], after["size"], after["stores"]) == ("active", len(DATA), "file")
    assert after["os_hash_value"] == hashlib.sha256(DATA).hexdigest()
    assert (after["os_glance_importing_to_stores"], after["os_glance_failed_import"]) == ("", "")
    assert api.get(image["file"]).body == DATA
    [task] = tasks(api, image["id"])
    assert (task["status"], task["result"]) == ("success", {"image_id": image["id"]})
    assert task["request_id"] == response.headers["X-Openstack-Request-Id"]
    assert task["input"]["import_req"]["method"]["name"] == "glance-direct"
    assert not list((tmp_path / "state/staging").glob("*-*"))
    assert list(findings(api.service)) == []


@pytest.mark.parametrize("wanted", [{"all_stores": True}, {"stores": ["deep", "file"]}])
def test_import_into_several_stores(api, wanted):
    image = api.create()
    stage(api, image["id"])
    assert start(api, image["id"], **wanted).status_int == 202
    after = api.show(image["id"])
    assert sorted(after["stores"].split(",")) == ["deep", "file"]
    assert len(after["locations"] if "locations" in after else "12") == 2
    admin = api.as_("root:ops:admin")
    assert admin.call("DELETE", f"/v2/stores/file/{image['id']}").status_int == 204
    assert api.show(image["id"])["stores"] == "deep"
    assert api.get(image["file"]).body == DATA
    assert admin.call("DELETE", f"/v2/stores/file/{image['id']}").status_int == 404
    # G7: the last copy stays
    assert admin.call("DELETE", f"/v2/stores/deep/{image['id']}").status_int == 403
    assert list(findings(api.service)) == []


def test_fetched_data_is_imported(api, web, tmp_path):
    """U9: and who is asked for it learns nothing of who asks."""
    web.files["/image"] = DATA
    image = api.create()
    assert start(api, image["id"], "web-download", f"{web.url}/image").status_int == 202
    assert api.show(image["id"])["status"] == "active"
    assert api.get(image["file"]).body == DATA
    assert tasks(api, image["id"])[0]["status"] == "success"
    said = {name.lower() for headers in web.seen for name in headers}
    assert web.seen and not said & {"authorization", "cookie", "x-auth-token",
                                    "x-service-token", "x-identity-status", "x-project-id"}


@pytest.mark.parametrize("path", ["/missing", "/qcow2"])
def test_a_fetch_that_fails_leaves_the_image_queued(api, web, tmp_path, path):
    """F9: and so does data of another format than the declared one."""
    web.files["/qcow2"] = b"QFI\xfb\0\0\0\x03" + b"\0" * 1000
    image = api.create()
    assert start(api, image["id"], "web-download", web.url + path).status_int == 202
    after = api.show(image["id"])
    assert (after["status"], after["size"]) == ("queued", None)
    assert after["os_glance_failed_import"] == "file"
    assert tasks(api, image["id"])[0]["status"] == "failure"
    assert nothing_left(api, tmp_path)
    web.files["/good"] = DATA
    start(api, image["id"], "web-download", f"{web.url}/good")
    assert api.show(image["id"])["status"] == "active"


@pytest.mark.parametrize("uri", [
    "http://127.0.0.1:1/x", "http://169.254.169.254/", "file:///etc/passwd", "http://u:p@h/",
    "http://2130706433/", "", "x"])
def test_addresses_that_are_never_fetched(api, uri):
    """U4 to U7: by import, by task and by version 1 alike, before anything is made."""
    image = api.create()
    admin = api.as_("root:ops:admin")
    before = api.ids()
    assert start(api, image["id"], "web-download", uri).status_int == 400
    assert api.show(image["id"])["status"] == "queued"
    response = admin.call("POST", "/v2/tasks", {"type": "import", "input": {
        "import_from": uri, "import_from_format": "raw",
        "image_properties": {"disk_format": "raw", "container_format": "bare"}}})
    assert response.status_int == 400
    if uri:
        response = api.call("POST", "/v1/images", headers={
            "X-Image-Meta-Disk-Format": "raw", "X-Image-Meta-Container-Format": "bare",
            "X-Glance-Api-Copy-From": uri})
        assert response.status_int == 400
    assert api.ids() == before


def test_inner_hosts_on_an_allowed_port(api, web, tmp_path):
    """U4, U6: what only a resolver can tell fails the task, in the same words as anything else."""
    said = set()
    for host in ("169.254.169.254", "localhost.", "10.0.0.1"):
        api.service.importer.fetcher._networks = []
        image = api.create()
        start(api, image["id"], "web-download", f"http://{host}:{web.server_port}/")
        assert api.show(image["id"])["status"] == "queued"
        said.add(tasks(api, image["id"])[0]["message"])
    assert said == {outbound.REFUSED}
    assert nothing_left(api, tmp_path)


def test_copy_from_of_version_1(api, web):
    web.files["/image"] = DATA
    response = api.call("POST", "/v1/images", headers={
        "X-Image-Meta-Name": "copied", "X-Image-Meta-Disk-Format": "raw",
        "X-Image-Meta-Container-Format": "bare", "X-Glance-Api-Copy-From": f"{web.url}/image"})
    assert response.status_int == 201
    image = response.json["image"]
    assert (image["status"], image["size"]) == ("active", len(DATA))
    assert api.get(f"/v1/images/{image['id']}").body == DATA


def test_tasks_of_administrators(api, web):
    web.files["/image"] = DATA
    admin = api.as_("root:ops:admin")
    body = {"type": "import", "input": {
        "import_from": f"{web.url}/image", "import_from_format": "raw",
        "image_properties": {"name": "made", "disk_format": "raw", "container_format": "bare"}}}
    assert api.call("POST", "/v2/tasks", body).status_int == 403
    assert api.get("/v2/tasks").status_int == 403
    made = admin.call("POST", "/v2/tasks", body)
    assert made.status_int == 201
    task = admin.get(f"/v2/tasks/{made.json['id']}").json
    assert (task["type"], task["status"]) == ("import", "success")
    image = admin.show(task["result"]["image_id"])
    assert (image["name"], image["status"]) == ("made", "active")
    assert [each["id"] for each in admin.get("/v2/tasks?status=success").json["tasks"]] == [
        task["id"]]
    assert admin.get(f"/v2/tasks/{uuid.uuid4()}").status_int == 404
    for wrong in ({}, {"type": "export", "input": {}}, {"type": "import", "input": {}}):
        assert admin.call("POST", "/v2/tasks", wrong).status_int == 400


def test_copies_in_further_stores(api):
    image = api.active(DATA)
    assert start(api, image["id"], "copy-image", all_stores=True).status_int == 403
    admin = api.as_("root:ops:admin")
    assert start(admin, image["id"], "copy-image", all_stores=True,
                 all_stores_must_succeed=False).status_int == 202
    after = api.show(image["id"])
    assert sorted(after["stores"].split(",")) == ["deep", "file"]
    assert after["os_glance_importing_to_stores"] == after["os_glance_failed_import"] == ""
    assert list(findings(api.service)) == []


def test_the_store_a_reader_prefers(api, tmp_path):
    image = api.active(DATA)
    start(api.as_("root:ops:admin"), image["id"], "copy-image", stores=["deep"])
    for first, other in (("file", "deep"), ("deep", "file")):
        (tmp_path / {"file": "images", "deep": "deep"}[other] / image["id"]).rename(
            tmp_path / "away")
        for prefer in (first, f"{first},{other}", f"{other},{first}", ""):
            assert api.get(f"{image['file']}?prefer={prefer}").body == DATA
        (tmp_path / "away").rename(
            tmp_path / {"file": "images", "deep": "deep"}[other] / image["id"])
    asked = [place["store"] for place in api.service.stores.ordered(
        [{"store": "file"}, {"store": "web"}, {"store": "deep"}], ["deep", "web"])]
    assert asked == ["deep", "web", "file"]
    response = api.get(f"{image['file']}?prefer=nowhere")
    assert response.status_int == 400 and "prefer" in response.text


def test_a_copy_that_fails_is_told(api, tmp_path, monkeypatch):
    image = api.active(DATA)
    store = api.service.stores["deep"]

    def full(*_args):
        raise exceptions.StorageFull("no room")

    monkeypatch.setattr(store, "add", full)
    admin = api.as_("root:ops:admin")
    start(admin, image["id"], "copy-image", stores=["deep"])
    after = api.show(image["id"])
    assert (after["status"], after["stores"], after["os_glance_failed_import"]) == (
        "active", "file", "deep")
    assert tasks(admin, image["id"])[0]["status"] == "failure"
    monkeypatch.undo()
    start(admin, image["id"], "copy-image", stores=["deep"])
    assert sorted(api.show(image["id"])["stores"].split(",")) == ["deep", "file"]


@pytest.mark.parametrize("must", [True, False])
def test_one_of_two_stores_fails(api, tmp_path, monkeypatch, must):
    image = api.create()
    stage(api, image["id"])

    def away(*_args):
        raise exceptions.Unavailable("away")

    monkeypatch.setattr(api.service.stores["deep"], "add", away)
    start(api, image["id"], all_stores=True, all_stores_must_succeed=must)
    after = api.show(image["id"])
    if must:
        assert after["status"] == "uploading"  # what is staged is good for another try
        monkeypatch.undo()
        start(api, image["id"], all_stores=True)
        assert api.show(image["id"])["status"] == "active"
    else:
        assert (after["status"], after["stores"]) == ("active", "file")
        assert after["os_glance_failed_import"] == "deep"
    assert list(findings(api.service)) == []


@pytest.mark.parametrize("body, status", [
    ({}, 400), ({"method": "glance-direct"}, 400), ({"method": {"name": "punchcard"}}, 400),
    ({"method": {"name": "web-download"}}, 400), ([], 400),
    ({"method": {"name": "location"}}, 400), ({"method": {"name": "remove-copy"}}, 400),
    ({"method": {"name": "glance-direct"}, "stores": "file"}, 400),
    ({"method": {"name": "glance-direct"}, "stores": ["nowhere"]}, 404),
    ({"method": {"name": "glance-direct"}, "stores": ["web"]}, 400),
    ({"method": {"name": "glance-direct"}, "stores": ["file"], "all_stores": True}, 400),
    ({"method": {"name": "glance-direct"}, "all_stores": "yes"}, 400),
    ({"method": {"name": "glance-direct"}}, 409),
    ({"method": {"name": "copy-image"}, "stores": ["deep"]}, 403)])
def test_imports_that_cannot_be(api, body, status):
    image = api.create()
    response = api.call("POST", f"/v2/images/{image['id']}/import", body)
    assert response.status_int == status, response.text
    assert api.show(image["id"])["status"] == "queued"
    assert tasks(api, image["id"]) == []


def test_bug_the_services_own_orders_were_anybodys(api):
    """T14: one that asks for no right could put another project's queued image to importing."""
    image = api.as_("root:alpha:admin,member").create(visibility="public")
    for name in ("location", "remove-copy"):
        response = api.as_("bob:beta").call("POST", f"/v2/images/{image['id']}/import",
                                            {"method": {"name": name}})
        assert response.status_int == 400 and name in response.text
    after = api.show(image["id"])
    assert after["status"] == "queued" and "os_glance_failed_import" not in after
    assert tasks(api, image["id"]) == []


def test_only_what_is_queued_can_be_staged_and_only_once(api):
    image = api.create()
    assert stage(api, image["id"]).status_int == 204
    assert stage(api, image["id"], b"other").status_int == 409
    assert api.upload(image["id"], b"other").status_int == 409
    start(api, image["id"])
    assert stage(api, image["id"], b"other").status_int == 409
    assert start(api, image["id"]).status_int == 409
    assert api.get(image["file"]).body == DATA


def test_staging_is_inspected_like_an_upload(api, tmp_path):
    """F13, F14: no gigabyte of a lie waits for its import."""
    image = api.create()
    assert stage(api, image["id"], b"QFI\xfb\0\0\0\x03" + b"\0" * 1000).status_int == 415
    assert api.show(image["id"])["status"] == "queued"
    assert nothing_left(api, tmp_path)


def test_formats_are_looked_at_again_when_they_were_not_known(api, tmp_path):
    """F9: staged without a format, declared afterwards."""
    image = api.call("POST", "/v2/images", {}).json
    assert stage(api, image["id"], b"QFI\xfb\0\0\0\x03" + b"\0" * 1000).status_int == 204
    assert start(api, image["id"]).status_int == 400
    api.patch(image["id"], ("replace", "/disk_format", "raw"),
              ("replace", "/container_format", "bare"))
    assert start(api, image["id"]).status_int == 202
    assert api.show(image["id"])["status"] == "queued"
    assert nothing_left(api, tmp_path)


# G3, G4: whatever the moment, a delete leaves nothing behind


def test_delete_of_a_staged_image(api, tmp_path):
    """G3."""
    image = api.create()
    stage(api, image["id"])
    assert api.call("DELETE", f"/v2/images/{image['id']}").status_int == 204
    assert nothing_left(api, tmp_path)


@pytest.mark.parametrize("method", ["glance-direct", "web-download", "copy-image"])
def test_delete_in_the_middle_of_an_import(api, web, tmp_path, monkeypatch, method):
    """G3: between the last byte and the verdict."""
    web.files["/image"] = DATA
    store = api.service.stores["deep"]
    add = store.add
    image = api.active(DATA) if method == "copy-image" else api.create()
    if method == "glance-direct":
        stage(api, image["id"])

    def add_and_delete(*args):
        stored = add(*args)
        assert api.call("DELETE", f"/v2/images/{image['id']}").status_int == 204
        return stored

    monkeypatch.setattr(store, "add", add_and_delete)
    start(api.as_("root:alpha:admin"), image["id"], method,
          f"{web.url}/image" if method == "web-download" else None, stores=["deep"])
    assert nothing_left(api, tmp_path)


@pytest.mark.parametrize("step", ["update_task", "beat", "update_image"])
def test_a_registry_that_fails_at_any_step(api, web, tmp_path, monkeypatch, step):
    """G4: what the process could not finish, the reconciler does."""
    web.files["/image"] = DATA
    image = api.create()
    registry = api.service.registry
    real = getattr(registry, step)
    calls = []

    def fail(*args, **kwargs):
        calls.append(step)
        if len(calls) > (1 if step == "update_image" else 0):
            raise exceptions.GlanceError("broken")
        return real(*args, **kwargs)

    monkeypatch.setattr(registry, step, fail)
    monkeypatch.setattr("glance.image.upload.BEAT_INTERVAL", 0)
    start(api, image["id"], "web-download", f"{web.url}/image")
    monkeypatch.undo()
    Reconciler(api.service).run_once(at_start=True)
    assert api.show(image["id"])["status"] == "queued"
    assert [task["status"] for task in tasks(api, image["id"])] == ["failure"]
    assert nothing_left(api, tmp_path)


# What dead processes leave


def dead_worker(api):
    host, group, _ = api.service.worker.id.split(":")
    return f"{host}:{group}:{uuid.uuid4().hex}"


def begin(api, image_id, worker, method, stores=("file",)):
    """An import as its process leaves it when it dies after the rows were written."""
    order = Order(method, tuple(stores), "http://example.com/")
    task = api.service.importer.tasks.record(api.service.worker and SERVICE, image_id, order, {},
                                       "api_image_import")
    api.service.worker.uploads.discard(task["id"])
    api.service.registry.update_task(SERVICE, task["id"], {"worker": worker,
                                                           "status": "processing"})
    if method != "copy-image":
        api.service.registry.update_image(SERVICE, image_id, {
            "status": "importing", "upload_token": task["id"], "upload_worker": worker},
            from_status=("queued", "uploading"))
    return task


@pytest.mark.parametrize("method, status", [
    ("web-download", "queued"), ("glance-direct", "uploading"), ("copy-image", "active")])
def test_import_of_a_dead_process(api, tmp_path, method, status):
    """Bytes in stores go, staged data stays, image and task say what happened."""
    image = api.active(DATA) if method == "copy-image" else api.create()
    if method == "glance-direct":
        stage(api, image["id"])
    task = begin(api, image["id"], dead_worker(api), method, ("file", "deep"))
    for place in ("images", "deep"):
        if not (tmp_path / place / image["id"]).exists():
            (tmp_path / place / ".partial" / f"{image['id']}.x").write_bytes(b"half")
    Reconciler(api.service).run_once()
    assert api.show(image["id"])["status"] == status
    assert api.service.registry.get_task(SERVICE, task["id"])["status"] == "failure"
    assert not [path for path in tmp_path.rglob("*.x")]
    if method == "copy-image":
        assert api.get(image["file"]).body == DATA
    assert [line for line in findings(api.service) if "uploading" not in line] == []
    assert Reconciler(api.service).run_once() == 0


def test_import_through_another_machine_counts_by_its_last_sign_of_life(api):
    image = api.create()
    begin(api, image["id"], "other:0123456789abcdef:x", "web-download")
    assert Reconciler(api.service, stall_timeout=900).run_once() == 0
    assert Reconciler(api.service, stall_timeout=-1).run_once() == 1
    # it may come back, so nothing new can begin under this id
    assert api.show(image["id"])["status"] == "killed"


def test_staging_of_a_dead_process_and_staged_data_nobody_wants(api, tmp_path):
    image = api.create()
    api.service.registry.update_image(SERVICE, image["id"], {
        "status": "uploading", "upload_token": "t", "upload_worker": dead_worker(api)},
        from_status=("queued",))
    staging = pathlib.Path(tmp_path / "state/staging")
    (staging / ".partial" / f"{image['id']}.x").write_bytes(b"half")
    assert Reconciler(api.service).run_once() == 1
    assert api.show(image["id"])["status"] == "queued"
    assert nothing_left(api, tmp_path)
    stage(api, image["id"])
    assert Reconciler(api.service).run_once() == 0
    api.service.importer.staging.lifetime = -1
    assert Reconciler(api.service).run_once() == 1
    assert api.show(image["id"])["status"] == "queued"
    assert nothing_left(api, tmp_path)


def test_a_copy_that_could_not_be_removed_is_removed_later(api, tmp_path, monkeypatch):
    image = api.create()
    stage(api, image["id"])
    start(api, image["id"], all_stores=True)
    store = api.service.stores["deep"]

    def away(_url):
        raise exceptions.Unavailable("away")

    monkeypatch.setattr(store, "delete", away)
    admin = api.as_("root:ops:admin")
    assert admin.call("DELETE", f"/v2/stores/deep/{image['id']}").status_int == 204
    assert (tmp_path / "deep" / image["id"]).exists()
    monkeypatch.undo()
    assert Reconciler(api.service).run_once() == 1
    assert not (tmp_path / "deep" / image["id"]).exists()
    assert list(findings(api.service)) == []


def test_imports_run_beside_the_request(make_api, web, tmp_path):
    """The answer does not wait for the data."""
    api = make_api(import_filtering_opts={"allowed_networks": "127.0.0.0/8",
                                          "allowed_ports": web.server_port})
    go = threading.Event()
    web.files["/image"], web.on_get = DATA, lambda: go.wait(30)
    image = api.create()
    assert start(api, image["id"], "web-download", f"{web.url}/image").status_int == 202
    assert api.show(image["id"])["status"] == "importing"
    go.set()
    for _ in range(600):
        if api.show(image["id"])["status"] == "active":
            break
        threading.Event().wait(0.05)
    assert api.get(image["file"]).body == DATA


def test_quota_on_what_is_staged(make_api):
    api = make_api(image_stage_total=10, user_storage_quota="1 KB")
    for _ in range(2):
        image = api.create()
        last = stage(api, image["id"], b"x" * 11).status_int
    assert last == 413
    assert json.dumps(api.get("/v2/info/usage").json).count("image_stage_total") == 1
    assert api.upload(api.create()["id"], b"x" * 2000).status_int == 413
