# SPDX-License-Identifier: Apache-2.0
"""Image documents of API v2: create, show, list, patch, delete, tags, schemas."""

import uuid

import jsonschema
import pytest

PATH = "/v2/images"


def test_create_shows_what_was_asked_for(api):
    wanted = str(uuid.uuid4()).upper()
    response = api.call("POST", PATH, {
        "id": wanted, "name": "Ubuntu", "tags": ["a", "b"], "visibility": "private",
        "disk_format": "qcow2", "container_format": "bare", "min_disk": 5, "min_ram": 64,
        "protected": True, "os_hidden": True, "os_distro": "ubuntu"})
    assert response.status_int == 201
    image = response.json
    assert response.headers["Location"].endswith(f"/v2/images/{wanted.lower()}")
    assert image["id"] == wanted.lower()
    assert image["status"] == "queued"
    assert (image["owner"], image["os_distro"]) == ("alpha", "ubuntu")
    assert (image["size"], image["checksum"], image["os_hash_value"]) == (None, None, None)
    assert image["self"] == f"/v2/images/{image['id']}"
    assert image["file"] == f"/v2/images/{image['id']}/file"
    assert image == api.show(image["id"])
    schema = api.get("/v2/schemas/image").json
    jsonschema.validate(image, {"type": "object", **{
        key: schema[key] for key in ("properties", "additionalProperties")}})


def test_create_with_nothing_at_all(api):
    image = api.call("POST", PATH, {}).json
    assert (image["name"], image["visibility"], image["tags"]) == (None, "shared", [])


@pytest.mark.parametrize("body, status, words", [
    ({"name": 7}, 400, "name:"), ({"name": "x" * 256}, 400, "name:"),
    ({"disk_format": "zip"}, 400, "disk_format:"),
    ({"container_format": "box"}, 400, "container_format:"),
    ({"visibility": "secret"}, 400, "visibility:"), ({"min_disk": -1}, 400, "min_disk:"),
    ({"min_ram": 2 ** 31}, 400, "min_ram:"), ({"min_ram": "7"}, 400, "min_ram:"),
    ({"protected": "yes"}, 400, "protected:"), ({"tags": "a"}, 400, "tags:"),
    ({"tags": ["x" * 256]}, 400, "tags.0:"), ({"id": "7"}, 400, "id:"),
    ({"os": 5}, 400, "os:"), ({"x" * 256: "y"}, 400, "property name"), ({"": "y"}, 400, "name"),
    ({"name": "a\0b"}, 400, "name: may not contain a NUL"),
    ({"name": "\ud800"}, 400, "name: not valid Unicode"),
    ({"disk_format": "ami", "container_format": "bare"}, 400, "container_format:"),
    ({"status": "active"}, 403, "status:"), ({"size": 5}, 403, "size:"),
    ({"checksum": "x"}, 403, "checksum:"), ({"self": "x"}, 403, "self:"),
    ({"os_glance_x": "y"}, 403, "os_glance_x:"),
    ({"locations": []}, 403, "locations:"), ({"deleted": True}, 403, "deleted:"),
    ({"owner": "beta"}, 403, "set_owner"), ({"visibility": "public"}, 403, "publicize_image"),
    ([], 400, "body:"),
])
def test_create_refuses(api, body, status, words):
    response = api.call("POST", PATH, body)
    assert response.status_int == status
    assert words in response.json["error"]["message"]
    assert response.json["error"]["request_id"] == response.headers["X-Openstack-Request-Id"]
    assert api.ids("?visibility=all&os_hidden=false") == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100000, b'{"a": NaN}'])
def test_create_refuses_what_is_not_json(api, body):
    response = api.call("POST", PATH, body, {"Content-Type": "application/json"})
    assert response.status_int == 400


def test_create_refuses_other_media_types_and_huge_bodies(api):
    assert api.call("POST", PATH, b"{}", {"Content-Type": "text/xml"}).status_int == 415
    huge = b'{"name": "' + b"x" * (1 << 20) + b'"}'
    assert api.call("POST", PATH, huge, {"Content-Type": "application/json"}).status_int == 413


def test_create_twice_with_one_id(api, bob):
    image = api.create()
    for caller in (api, bob):
        response = caller.call("POST", PATH, {"id": image["id"]})
        assert response.status_int == 409
        assert "id:" in response.json["error"]["message"]


def test_limits_on_properties_and_tags(make_api):
    api = make_api(image_property_quota=2, image_tag_quota=2)
    assert api.call("POST", PATH, {"a": "1", "b": "2", "c": "3"}).status_int == 413
    assert api.call("POST", PATH, {"tags": ["a", "b", "c"]}).status_int == 413
    image = api.create(a="1", b="2", tags=["a", "b"])
    assert api.patch(image["id"], ("add", "/c", "3")).status_int == 413
    assert api.call("PUT", f"{PATH}/{image['id']}/tags/c").status_int == 413
    assert api.call("PUT", f"{PATH}/{image['id']}/tags/a").status_int == 204


def test_limit_on_images_per_project(make_api):
    """Q25: an end to endless images without data."""
    api = make_api(image_count_total=1)
    api.create()
    response = api.call("POST", PATH, {})
    assert response.status_int == 413
    assert "at most 1 image" in response.json["error"]["message"]
    assert api.as_("bob:beta").call("POST", PATH, {}).status_int == 201


def test_admin_creates_for_others(admin, bob):
    image = admin.create(owner="beta", visibility="private")
    assert bob.show(image["id"])["owner"] == "beta"


def test_reader_may_not_create(api):
    response = api.as_("eve:alpha:reader").call("POST", PATH, {})
    assert response.status_int == 403
    assert "add_image" in response.json["error"]["message"]


# Listing


def test_list_pages_with_links_that_keep_the_query(api):
    made = {api.create(name=f"i{number}", os="linux")["id"] for number in range(5)}
    api.create(name="other")
    page = api.get(f"{PATH}?os=linux&limit=2&sort=name:asc").json
    assert page["first"] == "/v2/images?os=linux&limit=2&sort=name%3Aasc"
    seen = []
    while True:
        seen += [image["id"] for image in page["images"]]
        if "next" not in page:
            break
        page = api.get(page["next"]).json
    assert len(seen) == 5
    assert set(seen) == made


def test_list_default_limit_and_maximum(make_api):
    api = make_api(limit_param_default=2, api_limit_max=3)
    for _ in range(4):
        api.create()
    assert len(api.ids()) == 2
    assert len(api.ids("?limit=100")) == 3
    assert api.get(f"{PATH}?limit=0").json["images"] == []


@pytest.mark.parametrize("query, expected", [
    ("name=b", "b"), ("name=in:a,c", "ac"), ('name=in:"a",b', "ab"), ("tag=t1", "ac"),
    ("tag=t1&tag=t2", "c"), ("os=linux", "a"), ("protected=true", "c"), ("min_ram=7", "b"),
    ("disk_format=in:qcow2,iso", "b"), ("visibility=private", "a"), ("status=queued", "abc"),
    ("status=active", ""), ("created_at=gt:2020-01-01T00:00:00Z", "abc"),
    ("created_at=lt:2020-01-01T00:00:00Z", ""), ("owner=alpha", "abc"), ("os_hidden=true", "h"),
    ("size_min=1", ""),
])
def test_list_filters(api, query, expected):
    api.create(name="a", tags=["t1"], os="linux", visibility="private")
    api.create(name="b", min_ram=7, disk_format="qcow2")
    api.create(name="c", tags=["t1", "t2"], protected=True)
    api.create(name="h", os_hidden=True)
    response = api.get(f"{PATH}?sort=name:asc&{query}")
    assert response.status_int == 200, response.text
    assert "".join(image["name"] for image in response.json["images"]) == expected


@pytest.mark.parametrize("query, word", [
    ("limit=x", "limit"), ("limit=-1", "limit"), ("limit=" + "9" * 30, "limit"),
    ("marker=nothing", "marker"), ("sort_key=colour", "sort_key"), ("sort_dir=up", "sort_dir"),
    ("sort=name:up", "sort_dir"), ("sort=name&sort_key=name", "sort"),
    ("sort=name,name", "sort_key"), ("visibility=secret", "visibility"),
    ("member_status=maybe", "member_status"), ("size_min=x", "size_min"),
    ("protected=maybe", "protected"), ("created_at=yesterday", "created_at"),
    ("created_at=near:2020-01-01T00:00:00Z", "created_at"), ("name=in:", "name"),
    ('name=in:"a', "name"), ("updated_at=gt:9999-12-31T23:59:59-12:00", "updated_at"),
    ("name=%00", "name"), ("name=%ff", "UTF-8"), ("min_ram=99999999999999999999", "min_ram"),
    ("sort_key=name&sort_dir=asc&sort_dir=desc", "sort_dir"),
])
def test_list_refuses(api, query, word):
    response = api.get(f"{PATH}?{query}")
    assert response.status_int == 400
    assert word in response.json["error"]["message"]


def test_several_sort_keys(api):
    for name, ram in (("a", 1), ("b", 1), ("c", 0)):
        api.create(name=name, min_ram=ram)
    found = api.get(f"{PATH}?sort_key=min_ram&sort_key=name&sort_dir=asc&sort_dir=desc").json
    assert [image["name"] for image in found["images"]] == ["c", "b", "a"]


# Patching


def test_patch_adds_replaces_removes(api):
    image = api.create(name="old", a="1", b="2", tags=["x"])
    response = api.patch(image["id"], ("replace", "/name", "new"), ("remove", "/a"),
                         ("replace", "/b", "3"), ("add", "/c~1d", "4"),
                         ("replace", "/tags", ["y", "z"]), ("replace", "/min_ram", 5),
                         ("add", "/visibility", "private"))
    assert response.status_int == 200, response.text
    changed = response.json
    assert changed == api.show(image["id"])
    assert (changed["name"], changed["b"], changed["c/d"]) == ("new", "3", "4")
    assert "a" not in changed
    assert (changed["tags"], changed["min_ram"]) == (["y", "z"], 5)
    assert changed["visibility"] == "private"


@pytest.mark.parametrize("operation, status, word", [
    (("replace", "/id", "x"), 403, "id"), (("replace", "/status", "active"), 403, "status"),
    (("replace", "/size", 1), 403, "size"), (("replace", "/checksum", "x"), 403, "checksum"),
    (("add", "/locations/-", {"url": "file:///etc/passwd", "metadata": {}}), 403, "locations"),
    (("add", "/location", "file:///etc/passwd"), 403, "location"),
    (("add", "/os_glance_x", "y"), 403, "os_glance_x"),
    (("replace", "/deleted", True), 403, "deleted"), (("remove", "/name"), 403, "name"),
    (("remove", "/nothing"), 409, "nothing"), (("replace", "/nothing", "x"), 409, "nothing"),
    (("replace", "/name", 5), 400, "name"), (("replace", "/tags/0", "x"), 400, "path"),
    (("add", "name", "x"), 400, "path"), (("add", "/a~2", "x"), 400, "path"),
    (("add", "/", "x"), 400, "path"), (("move", "/a", "x"), 400, "op"),
    (("replace", "/name"), 400, "value"), (("replace", "/min_disk", None), 400, "min_disk"),
    (("replace", "/visibility", "public"), 403, "publicize_image"),
    (("replace", "/owner", "beta"), 403, "set_owner"),
    (("add", "/x", {"y": "z"}), 400, "x"),
])
def test_patch_refuses_and_changes_nothing(api, operation, status, word):
    image = api.create(a="1")
    response = api.patch(image["id"], ("replace", "/name", "changed"), operation)
    assert response.status_int == status, response.text
    assert word in response.json["error"]["message"]
    assert api.show(image["id"]) == image


def test_patch_with_the_older_media_type(api):
    image = api.create(a="1")
    response = api.call("PATCH", f"{PATH}/{image['id']}",
                        [{"replace": "/name", "value": "x"}, {"remove": "/a"}],
                        {"Content-Type": "application/openstack-images-v2.0-json-patch"})
    assert response.status_int == 200
    assert response.json["name"] == "x"
    assert "a" not in response.json


def test_patch_needs_its_media_type(api):
    image = api.create()
    response = api.call("PATCH", f"{PATH}/{image['id']}", [])
    assert response.status_int == 415
    assert "v2.1-json-patch" in response.headers["Accept-Patch"]


@pytest.mark.parametrize("body", [b"{}", b"[5]", b"[{}]", b"null", b'[{"op": [], "path": {}}]'])
def test_patch_refuses_malformed_documents(api, body):
    image = api.create()
    response = api.call("PATCH", f"{PATH}/{image['id']}", body,
                        {"Content-Type": "application/openstack-images-v2.1-json-patch"})
    assert response.status_int == 400


def test_formats_are_fixed_once_there_is_data(api):
    image = api.active()
    assert api.patch(image["id"], ("replace", "/disk_format", "iso")).status_int == 403
    assert api.patch(image["id"], ("replace", "/disk_format", "raw")).status_int == 200


def test_concurrent_patches_both_count(api, monkeypatch):
    """A change that comes between reading and writing is not lost."""
    image = api.create()
    real = api.service.registry.update_image
    intruded = []

    def update_image(context, image_id, values, **conditions):
        if not intruded:
            intruded.append(True)
            real(context, image_id, {"properties": {"b": "2"}})
        return real(context, image_id, values, **conditions)

    monkeypatch.setattr(api.service.registry, "update_image", update_image)
    assert api.patch(image["id"], ("add", "/a", "1")).status_int == 200
    shown = api.show(image["id"])
    assert (shown["a"], shown["b"]) == ("1", "2")


# Deleting, tags, the rest


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
def test_no_id_is_no_image(api, method):
    """An empty id is not the collection: a client's mistake must not list, or worse."""
    assert api.call(method, f"{PATH}/").status_int == 404


def test_delete(api):
    image = api.create()
    response = api.call("DELETE", f"{PATH}/{image['id']}")
    assert response.status_int == 204
    assert response.body == b""
    assert api.get(f"{PATH}/{image['id']}").status_int == 404
    assert api.call("DELETE", f"{PATH}/{image['id']}").status_int == 404
    assert api.ids() == []


def test_protected_image_is_not_deleted(api, admin):
    image = api.active(protected=True)
    assert api.call("DELETE", f"{PATH}/{image['id']}").status_int == 403
    assert admin.call("DELETE", f"{PATH}/{image['id']}").status_int == 403
    api.patch(image["id"], ("replace", "/protected", False))
    assert api.call("DELETE", f"{PATH}/{image['id']}").status_int == 204


def test_tags(api):
    image = api.create()
    for tag in ("plain", "with%20space", "a/b", "%C3%A6"):
        assert api.call("PUT", f"{PATH}/{image['id']}/tags/{tag}").status_int == 204
    assert api.show(image["id"])["tags"] == ["a/b", "plain", "with space", "æ"]
    assert api.call("DELETE", f"{PATH}/{image['id']}/tags/a/b").status_int == 204
    assert api.call("DELETE", f"{PATH}/{image['id']}/tags/a/b").status_int == 404
    assert api.call("PUT", f"{PATH}/{image['id']}/tags/{'x' * 256}").status_int == 400


@pytest.mark.parametrize("name", ["image", "images", "member", "members"])
def test_schemas(api, name):
    schema = api.get(f"/v2/schemas/{name}").json
    assert schema["name"] == name
    jsonschema.Draft4Validator.check_schema(schema)


def test_info(api, admin):
    assert api.get("/v2/info/stores").json == {"stores": [{"id": "file", "default": "true"}]}
    assert api.get("/v2/info/stores/detail").status_int == 403
    detail = admin.get("/v2/info/stores/detail").json
    assert detail["stores"][0]["type"] == "filesystem"
    assert "/" not in str(detail)
    assert api.get("/v2/info/import").json["import-methods"]["value"] == [
        "glance-direct", "web-download", "copy-image", "glance-download"]


def test_info_usage(make_api):
    api = make_api(image_count_total=5, image_size_total=3 << 20)
    api.active(b"x" * (1 << 20))
    api.create()
    assert api.get("/v2/info/usage").json["usage"] == {
        "image_stage_total": {"limit": -1, "usage": 0},
        "image_count_total": {"limit": 5, "usage": 2},
        "image_size_total": {"limit": 3, "usage": 1},
        "image_count_uploading": {"limit": 100, "usage": 0}}
