# SPDX-License-Identifier: Apache-2.0
"""G14 (OSSA-2026-038): as it comes, the service fetches from no place of our own, by whichever door
an address comes in; what it was to fetch from is asked again at each read."""

import ipaddress
import socket

import pytest

from glance.image.audit import findings

DATA = b"secret of an inner server"
FORMATS = {"disk_format": "raw", "container_format": "bare"}
V1 = {"X-Image-Meta-Disk-Format": "raw", "X-Image-Meta-Container-Format": "bare"}


@pytest.fixture
def admin(make_api, web):
    """The service with web servers as a store, and nothing said of what it may fetch but a port."""
    web.files["/x"] = DATA
    api = make_api(enabled_backends="file:file,web:http", show_multiple_locations=True,
                   glance_store={"default_backend": "file"},
                   import_filtering_opts={"allowed_ports": web.server_port})
    api.service.importer.spawn = lambda function, *args: function(*args)
    return api.as_("root:alpha:admin,member")


@pytest.fixture
def fetchers(admin, monkeypatch):
    """Both that fetch, asked of a name anybody may own whose address is ours."""
    def resolve(host, port, *args):
        if host == "images.example.com":
            host = "127.0.0.1"
        return socket.getaddrinfo(host, port, *args)

    both = [admin.service.importer.fetcher, admin.service.stores["web"]._fetcher]
    for fetcher in both:
        monkeypatch.setattr(fetcher, "_resolver", resolve)
    return both


DOORS = {
    "web-download": lambda api, image_id, url: api.call(
        "POST", f"/v2/images/{image_id}/import", {"method": {"name": "web-download", "uri": url}}),
    "task": lambda api, _image_id, url: api.call("POST", "/v2/tasks", {"type": "import", "input": {
        "import_from": url, "import_from_format": "raw", "image_properties": FORMATS}}),
    "copy_from": lambda api, _image_id, url: api.call(
        "POST", "/v1/images", headers={**V1, "X-Glance-Api-Copy-From": url}),
    "location": lambda api, image_id, url: api.call(
        "POST", f"/v2/images/{image_id}/locations", {"url": url}),
    "patch": lambda api, image_id, url: api.patch(
        image_id, ("add", "/locations/-", {"url": url, "metadata": {}})),
    "v1 location": lambda api, _image_id, url: api.call(
        "POST", "/v1/images", headers={**V1, "X-Image-Meta-Location": url}),
}


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "localhost",
                                  "images.example.com", "[::1]", "10.0.0.1"])
@pytest.mark.parametrize("door", DOORS)
def test_no_inner_place_by_any_door(admin, web, fetchers, door, host):
    served = []
    web.on_get = lambda: served.append(1)
    image = admin.create()
    response = DOORS[door](admin, image["id"], f"http://{host}:{web.server_port}/x")
    assert response.status_int in (201, 202, 400), response.text
    assert served == []
    assert [each["status"] for each in admin.get("/v2/images").json["images"]
            if each["status"] != "queued"] == []
    said = response.text + str([admin.get(f"/v2/tasks/{task['id']}").json["message"]
                                for task in admin.get("/v2/tasks").json["tasks"]])
    assert "secret" not in said and "refused" not in said
    assert list(findings(admin.service)) == []


def test_a_name_that_was_outside_once(admin, web, fetchers, monkeypatch):
    """An address that passed when it was registered is checked at each read, too."""
    image = admin.create()
    url = f"http://images.example.com:{web.server_port}/x"
    with monkeypatch.context() as allowing:
        for fetcher in fetchers:
            allowing.setattr(fetcher, "_networks", [ipaddress.ip_network("127.0.0.0/8")])
        assert DOORS["patch"](admin, image["id"], url).status_int == 200
        assert admin.get(image["file"]).body == DATA
    response = admin.get(image["file"])
    assert response.status_int >= 400 and DATA not in response.body


def test_a_body_without_end(make_api, web):
    """LP 2160020: it is cut at the size an image may have, announced or not."""
    web.files["/long"] = b"x" * 5000
    api = make_api(image_size_cap=4000, import_filtering_opts={
        "allowed_networks": "127.0.0.0/8", "allowed_ports": web.server_port})
    api.service.importer.spawn = lambda function, *args: function(*args)
    image = api.create()
    DOORS["web-download"](api, image["id"], f"{web.url}/long")
    assert api.show(image["id"])["status"] == "queued"
    [task] = api.get(f"/v2/images/{image['id']}/tasks").json["tasks"]
    assert task["status"] == "failure" and "4000" in task["message"]
    assert list(api.service.importer.staging.list_ids()) == []
