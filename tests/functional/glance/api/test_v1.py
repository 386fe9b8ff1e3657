# SPDX-License-Identifier: Apache-2.0
"""Image API v1: metadata in headers, data in bodies, members, paging."""

import hashlib
import io

import pytest

DATA = bytes(range(256)) * 9000
OCTETS = "application/octet-stream"


def meta(**fields):
    return {f"X-Image-Meta-{name.replace('_', '-')}": str(value)
            for name, value in fields.items()}


def create(api, data=None, **fields):
    headers = meta(**{"name": "x", "disk_format": "raw", "container_format": "bare", **fields})
    if data is not None:
        headers["Content-Type"] = OCTETS
    return api.call("POST", "/v1/images", data, headers)


def test_create_upload_show_in_one(api):
    response = create(api, DATA, property_os_distro="linux", min_ram=5,
                      name="Ubuntu æ".encode().decode("latin-1"))
    assert response.status_int == 201, response.text
    image = response.json["image"]
    assert response.headers["ETag"] == image["checksum"] == hashlib.md5(DATA).hexdigest()
    assert response.headers["Location"].endswith(f"/v1/images/{image['id']}")
    assert (image["status"], image["size"], image["is_public"]) == ("active", len(DATA), False)
    assert image["properties"] == {"os_distro": "linux"}
    assert image["name"] == "Ubuntu æ"
    assert "location" not in image
    head = api.call("HEAD", f"/v1/images/{image['id']}")
    assert head.status_int == 200
    assert head.body == b""
    assert head.headers["X-Image-Meta-Name"].encode("latin-1").decode() == "Ubuntu æ"
    assert head.headers["X-Image-Meta-Size"] == str(len(DATA))
    assert head.headers["x-image-meta-is_public"] == "False"
    assert head.headers["x-image-meta-property-os_distro"] == "linux"
    got = api.get(f"/v1/images/{image['id']}")
    assert got.status_int == 200
    assert got.body == DATA
    assert got.headers["ETag"] == image["checksum"]
    assert got.headers["Content-Type"] == OCTETS


def test_create_then_upload(api):
    image = create(api).json["image"]
    assert (image["status"], image["size"], image["checksum"]) == ("queued", 0, None)
    assert api.get(f"/v1/images/{image['id']}").status_int == 404
    response = api.call("PUT", f"/v1/images/{image['id']}", io.BytesIO(DATA),
                        {**meta(property_a="b"), "Content-Type": OCTETS})
    assert response.status_int == 200, response.text
    assert response.json["image"]["status"] == "active"
    assert response.json["image"]["properties"] == {"a": "b"}
    again = api.call("PUT", f"/v1/images/{image['id']}", b"more", {"Content-Type": OCTETS})
    assert again.status_int == 409
    assert api.get(f"/v1/images/{image['id']}").body == DATA


def test_update_purges_properties_unless_told_not_to(api):
    image = create(api, property_a="1", property_b="2").json["image"]
    path = f"/v1/images/{image['id']}"
    kept = api.call("PUT", path, headers={**meta(property_c="3"),
                                          "X-Glance-Registry-Purge-Props": "false"})
    assert kept.json["image"]["properties"] == {"a": "1", "b": "2", "c": "3"}
    purged = api.call("PUT", path, headers=meta(property_d="4", name="new", min_disk=7))
    assert purged.json["image"]["properties"] == {"d": "4"}
    assert (purged.json["image"]["name"], purged.json["image"]["min_disk"]) == ("new", 7)
    assert purged.json["image"]["disk_format"] == "raw"


def test_update_does_not_touch_what_this_version_cannot_say(api):
    """An image that is private, or a community's, is still that after an update."""
    image = api.create(visibility="private")
    api.call("PUT", f"/v1/images/{image['id']}", headers=meta(name="y", is_public="False"))
    assert api.show(image["id"])["visibility"] == "private"


def test_checksum_and_size_are_held_to(api, image_files):
    response = create(api, DATA, checksum="0" * 32)
    assert response.status_int == 400
    assert "checksum" in response.json["error"]["message"]
    response = create(api, DATA, size=5)
    assert response.status_int == 400
    assert "x-image-meta-size" in response.json["error"]["message"]
    assert create(api, DATA, checksum=hashlib.md5(DATA).hexdigest(),
                  size=len(DATA)).status_int == 201
    assert len(image_files()) == 1
    assert len(api.get("/v1/images").json["images"]) == 1  # killed ones are not listed


def test_refused_upload_leaves_no_image(make_api):
    api = make_api(image_size_cap=100)
    assert create(api, DATA).status_int == 413
    assert api.ids() == []


@pytest.mark.parametrize("fields, status, word", [
    ({"disk_format": "zip"}, 400, "disk_format"), ({"min_ram": "x"}, 400, "min_ram"),
    ({"id": "7"}, 400, "id"), ({"colour": "red"}, 400, "colour"),
    ({"protected": "maybe"}, 400, "protected"), ({"name": "x" * 300}, 400, "name"),
    ({"name": "\xff"}, 400, "name"), ({"container_format": "ami"}, 400, "container_format"),
    ({"property_id": "x"}, 400, "name is that of a field"), ({"owner": "beta"}, 403, "set_owner"),
    ({"is_public": "true"}, 403, "publicize_image"), ({"size": "-1"}, 400, "size"),
])
def test_create_refuses(api, fields, status, word):
    response = create(api, **fields)
    assert response.status_int == status, response.text
    assert word in response.json["error"]["message"]


def test_body_must_be_declared_as_bytes(api):
    response = api.call("POST", "/v1/images", b"x", meta(name="x"))
    assert response.status_int == 400
    assert "Content-Type" in response.json["error"]["message"]
    assert api.ids() == []


def test_lists_filters_and_pages(api, admin):
    made = [create(api, name=f"i{number}", property_os="linux" if number % 2 else "bsd",
                   min_ram=number).json["image"]["id"] for number in range(5)]
    brief = api.get("/v1/images").json["images"]
    assert [image["id"] for image in brief] == made[::-1]
    assert set(brief[0]) == {"id", "name", "size", "disk_format", "container_format", "checksum"}
    detail = api.get("/v1/images/detail?sort_key=name&sort_dir=asc&limit=2").json["images"]
    assert [image["name"] for image in detail] == ["i0", "i1"]
    assert not detail[0]["created_at"].endswith("Z")
    rest = api.get(f"/v1/images?sort_key=name&sort_dir=asc&marker={detail[1]['id']}").json
    assert [image["name"] for image in rest["images"]] == ["i2", "i3", "i4"]
    for query, names in (("property-os=linux", ["i1", "i3"]), ("name=i2", ["i2"]),
                         ("min_ram=4", ["i4"]), ("status=active", []), ("size_min=1", []),
                         ("size_max=9", [])):
        found = api.get(f"/v1/images?sort_key=name&sort_dir=asc&{query}").json["images"]
        assert [image["name"] for image in found] == names, query
    admin.create(name="public", visibility="public")
    assert len(api.get("/v1/images?is_public=true").json["images"]) == 6
    assert len(admin.get("/v1/images?is_public=true").json["images"]) == 1
    assert len(admin.get("/v1/images?is_public=None").json["images"]) == 6
    assert len(admin.get("/v1/images?is_public=false").json["images"]) == 5


@pytest.mark.parametrize("query", [
    "limit=x", "sort_key=colour", "sort_dir=up", "size_min=x", "colour=red", "is_public=maybe",
    "marker=00000000-0000-0000-0000-000000000000"])
def test_lists_refuse(api, query):
    response = api.get(f"/v1/images?{query}")
    assert response.status_int == 400
    assert query.partition("=")[0] in response.json["error"]["message"]


def test_delete(api, image_files):
    image = create(api, DATA).json["image"]
    response = api.call("DELETE", f"/v1/images/{image['id']}")
    assert (response.status_int, response.body) == (200, b"")
    assert api.call("HEAD", f"/v1/images/{image['id']}").status_int == 404
    assert image_files() == []


def test_members(api, bob):
    image = create(api).json["image"]
    path = f"/v1/images/{image['id']}/members"
    assert api.call("PUT", f"{path}/beta").status_int == 204
    assert api.call("PUT", f"{path}/gamma", {"member": {"can_share": True}}).status_int == 204
    assert api.get(path).json == {"members": [{"member_id": "beta", "can_share": False},
                                              {"member_id": "gamma", "can_share": True}]}
    assert bob.get("/v1/shared-images/beta").json == {"shared_images": []}
    bob.call("PUT", f"/v2/images/{image['id']}/members/beta", {"status": "accepted"})
    assert bob.get("/v1/shared-images/beta").json == {
        "shared_images": [{"image_id": image["id"], "can_share": False}]}
    assert bob.get("/v1/shared-images/gamma").status_int == 403
    assert bob.call("PUT", f"{path}/delta").status_int == 403
    assert api.as_("c:gamma").call("PUT", f"{path}/delta").status_int == 204
    assert api.call("DELETE", f"{path}/beta").status_int == 204
    assert api.call("DELETE", f"{path}/beta").status_int == 404
    assert api.call("PUT", path, {"memberships": [{"member_id": "eta"}]}).status_int == 204
    assert [member["member_id"] for member in api.get(path).json["members"]] == ["eta"]
    for body in ({}, [], {"memberships": 5}, {"memberships": [5]}, {"memberships": [{}]}):
        assert api.call("PUT", path, body).status_int == 400
    assert api.call("PUT", f"{path}/x", {"member": 5}).status_int == 400


def test_odd_names_make_no_headers_of_their_own(api):
    """A value set through v2 cannot start a header line, nor a name be one."""
    image = api.create(name="a\r\nSet-Cookie: b", **{"odd name:": "x", "fine": "y\nz"})
    head = api.call("HEAD", f"/v1/images/{image['id']}")
    assert head.headers["x-image-meta-name"] == "a  Set-Cookie: b"
    assert head.headers["x-image-meta-property-fine"] == "y z"
    assert "Set-Cookie" not in head.headers
    assert not [name for name in head.headers if "odd" in name]


def test_security_q26_limit_on_images_per_project(make_api):
    """Q26: v1 has the limits of v2."""
    api = make_api(image_count_total=1)
    assert create(api).status_int == 201
    assert create(api).status_int == 413
    assert create(api.as_("bob:beta")).status_int == 201
