# SPDX-License-Identifier: Apache-2.0
"""glance-download: an image of another region, as the caller who has it there."""

import json
import uuid

import pytest

from glance.image import regions
from glance.image.audit import findings
from glance.image.reconciler import Reconciler

DATA = b"bytes of an image " * 1000
WANTED = {"hw_cpu_cores": "5", "trait:STORAGE_DISK_SSD": "required", "os_distro": "rhel"}


def catalog(url, region="north", **more):
    return json.dumps([
        {"type": "compute", "endpoints": [{"region": region, "publicURL": "http://nova/"}]},
        {"type": "image", "endpoints": [{"region": region, "publicURL": url, **more}]}])


@pytest.fixture
def api(importing_api, serve):
    """One service that is two regions: what it fetches, it fetches from itself."""
    importing_api.url = serve(importing_api.app)
    return importing_api


def start(api, image_id, source_id, region="north", found=None, **more):
    found = catalog(api.url) if found is None else found
    return api.call(
        "POST", f"/v2/images/{image_id}/import",
        {"method": {"name": "glance-download", "glance_image_id": source_id,
                    "glance_region": region, **more}},
        environ={"HTTP_X_SERVICE_CATALOG": found})


def outcome(api, image_id):
    [task] = api.get(f"/v2/images/{image_id}/tasks").json["tasks"]
    return task["status"], task["message"]


def test_data_formats_and_some_properties_come_over(api):
    source = api.active(DATA, speed="88mph", **WANTED)
    image = api.create(disk_format="iso", container_format="ovf", hw_cpu_cores="1", mine="kept")
    assert start(api, image["id"], source["id"]).status_int == 202
    after = api.show(image["id"])
    assert outcome(api, image["id"]) == ("success", "")
    assert (after["status"], after["disk_format"], after["container_format"]) == (
        "active", "raw", "bare")
    assert {name: after[name] for name in WANTED} == WANTED
    assert after["mine"] == "kept" and "speed" not in after
    assert after["os_hash_value"] == source["os_hash_value"]
    assert api.get(after["file"]).body == DATA
    assert list(findings(api.service)) == []


@pytest.mark.parametrize("case", ["no region", "no catalog", "nobody there", "no image",
                                  "another's image", "no data", "no interface"])
def test_what_cannot_be_had_leaves_the_image_queued(api, case, free_port):
    """U5: and the task says no more than that."""
    source_id, options = str(uuid.uuid4()), {}
    if case == "no region":
        options = {"region": "south"}
    elif case == "no catalog":
        options = {"found": "{"}
    elif case == "nobody there":
        options = {"found": catalog(f"http://127.0.0.1:{free_port()}/")}
    elif case == "another's image":
        source_id = api.as_("bob:beta").active(DATA)["id"]
    elif case == "no data":
        source_id = api.create()["id"]
    elif case == "no interface":
        options = {"glance_service_interface": "not an interface"}
    image = api.create(hw_cpu_cores="1")
    assert start(api, image["id"], source_id, **options).status_int == 202
    status, message = outcome(api, image["id"])
    assert (status, message.partition(":")[0]) == (
        "failure", "glance_region" if case.startswith("no ") and case not in (
            "no image", "no data") else "glance_image_id")
    assert "127.0.0.1" not in message
    after = api.show(image["id"])
    assert (after["status"], after["hw_cpu_cores"]) == ("queued", "1")
    assert list(findings(api.service)) == []


@pytest.mark.parametrize("method", [
    {"glance_image_id": "foo", "glance_region": "north"}, {"glance_region": "north"},
    {"glance_image_id": str(uuid.uuid4())}, {"glance_image_id": 5, "glance_region": "north"},
    {"glance_image_id": str(uuid.uuid4()), "glance_region": "north",
     "glance_service_interface": 5}])
def test_orders_that_cannot_be(api, method):
    image = api.create()
    response = api.call("POST", f"/v2/images/{image['id']}/import",
                        {"method": {"name": "glance-download", **method}})
    assert response.status_int == 400
    assert "method." in response.json["error"]["message"]
    assert api.get(f"/v2/images/{image['id']}/tasks").json["tasks"] == []


def test_data_that_breaks_off_or_is_not_what_it_was(api, tmp_path):
    source = api.active(DATA)
    (tmp_path / "images" / source["id"]).write_bytes(b"X" + DATA[1:])
    image = api.create()
    start(api, image["id"], source["id"])
    assert outcome(api, image["id"])[0] == "failure"
    assert api.show(image["id"])["status"] == "queued"
    assert list(api.service.importer.staging.list_ids()) == []


def test_a_source_is_inspected_like_any_other(api, tmp_path):
    """F13: another region may be less careful."""
    source = api.active(b"plain")
    evil = b"QFI\xfb\0\0\0\x03" + bytes(1000)
    registry, context = api.service.registry, regions.RequestContext(is_admin=True, internal=True)
    (tmp_path / "images" / source["id"]).write_bytes(evil)
    place = {**registry.get_image(context, source["id"])["locations"][0], "crc32": None}
    registry.update_image(context, source["id"], {
        "size": len(evil), "locations": [place], "os_hash_algo": None, "os_hash_value": None,
        "checksum": None})
    image = api.create()
    start(api, image["id"], source["id"])
    assert outcome(api, image["id"])[0] == "failure"
    assert api.show(image["id"])["status"] == "queued"


def test_nothing_of_the_caller_is_written_down(api):
    """L4: neither token nor catalog; a process that dies leaves an import nobody can go on with."""
    api.service.importer.spawn = lambda _function, *_args: None
    image = api.create()
    start(api, image["id"], str(uuid.uuid4()))
    [task] = api.service.registry.list_tasks(regions.RequestContext(
        is_admin=True, internal=True), image_id=image["id"])
    assert api.token not in str(task) and api.url not in str(task)
    api.service.worker.uploads.clear()
    Reconciler(api.service).run_once()
    assert api.show(image["id"])["status"] == "queued"
    assert outcome(api, image["id"])[0] == "failure"
