# SPDX-License-Identifier: Apache-2.0
"""U1, U2, G7 to G9: who sets where data lies, to what, and what never changes by it."""

import hashlib

import pytest

from glance.image.audit import findings

DATA = b"bytes of an image " * 100
SHA512 = hashlib.sha512(DATA).hexdigest()


@pytest.fixture
def api(importing_api, web):
    web.files["/image"] = web.files["/same"] = DATA
    web.files["/other"] = DATA + b"x"
    return importing_api


@pytest.fixture
def admin(api):
    return api.as_("root:alpha:admin,member")


def test_members_neither_see_nor_set(api, web):
    """G8, G9: an owner cannot exchange the data of an image."""
    image = api.active(DATA)
    assert "locations" not in image and "file://" not in str(image)
    location = {"url": f"{web.url}/image", "metadata": {}}
    for operation in (("add", "/locations/-", location), ("replace", "/locations", [location]),
                      ("remove", "/locations/0")):
        assert api.patch(image["id"], operation).status_int == 403
    assert api.get(f"/v2/images/{image['id']}/locations").status_int == 403
    assert api.call("POST", f"/v2/images/{api.create()['id']}/locations",
                    {"url": location["url"]}).status_int == 403
    headers = {"X-Image-Meta-Location": location["url"], "X-Image-Meta-Disk-Format": "raw",
               "X-Image-Meta-Container-Format": "bare"}
    assert api.call("POST", "/v1/images", headers=headers).status_int == 403
    assert api.get(image["file"]).body == DATA


@pytest.mark.parametrize("url", [
    "file:///etc/passwd", "FILE:///etc/passwd", "filesystem:///etc/passwd", "s3+config://a/b/c",
    "swift+config://ref/c/o", "s3://key:secret@host/b/o", "cinder://v", "rbd://p/i",
    "http://169.254.169.254/x", "http://u:p@127.0.0.1/", "ftp://x/", "", None, 7])
def test_not_even_administrators_set_addresses_of_our_own_stores(admin, tmp_path, url):
    """U1, U2: only addresses of web servers, by an allow list."""
    canary = tmp_path / "canary"
    canary.write_text("secret")
    image = admin.create()
    assert admin.patch(image["id"], ("add", "/locations/-", {"url": url})).status_int == 400
    assert admin.call("POST", f"/v2/images/{image['id']}/locations",
                      {"url": url}).status_int == 400
    if isinstance(url, str) and url:
        headers = {"X-Image-Meta-Location": url, "X-Image-Meta-Disk-Format": "raw",
                   "X-Image-Meta-Container-Format": "bare"}
        assert admin.call("POST", "/v1/images", headers=headers).status_int == 400
    assert admin.show(image["id"])["status"] == "queued"
    admin.call("DELETE", f"/v2/images/{image['id']}")
    assert canary.exists()


def test_schemes_that_can_be_set(api):
    """U2: every scheme of every store, and which of them callers can use."""
    stores = list(api.service.stores)
    settable = {scheme for store in stores for scheme in store.schemes if store.read_only}
    assert settable == {"http", "https"}
    assert {scheme for store in stores for scheme in store.schemes} == {
        "file", "filesystem", "http", "https"}


def test_a_location_is_read_before_the_image_is_active(admin, web):
    image = admin.create()
    wrong = {"os_hash_algo": "sha512", "os_hash_value": "beefdead" * 16}
    path = f"/v2/images/{image['id']}/locations"
    url = f"{web.url}/image"
    assert admin.call("POST", path, {"url": url, "validation_data": wrong}).status_int == 202
    after = admin.show(image["id"])
    assert (after["status"], after["checksum"], after["os_hash_value"]) == ("queued", None, None)
    # the address that was no good can be seen, and is not read from
    assert (after["stores"], [place["url"] for place in after["locations"]]) == ("web", [url])
    assert admin.get(image["file"]).status_int == 204
    assert list(findings(admin.service)) == []
    assert admin.call("POST", path, {"url": url}).status_int == 202
    after = admin.show(image["id"])
    assert (after["status"], after["os_hash_value"], after["size"]) == (
        "active", SHA512, len(DATA))
    assert admin.get(path).json == [{"url": url, "metadata": {"store": "web"}}]
    assert admin.get(image["file"]).body == DATA
    assert admin.get(image["file"], headers={"Range": "bytes=3-7"}).body == DATA[3:8]
    assert admin.call("POST", path, {"url": url}).status_int == 409
    # what lies elsewhere stays there
    assert admin.call("DELETE", f"/v2/images/{image['id']}").status_int == 204
    assert list(findings(admin.service)) == []


@pytest.mark.parametrize("again", ["add", "replace", "upload", "delete"])
def test_an_address_that_was_no_good_hinders_nothing(admin, web, again):
    image = admin.create()
    path, place = f"/v2/images/{image['id']}", {"url": f"{web.url}/other", "metadata": {}}
    admin.call("POST", f"{path}/locations", {"url": f"{web.url}/image", "validation_data": {
        "os_hash_algo": "sha512", "os_hash_value": "0" * 128}})
    assert admin.show(image["id"])["stores"] == "web"
    if again == "delete":
        assert admin.call("DELETE", path).status_int == 204
    elif again == "upload":
        assert admin.upload(image["id"], DATA).status_int == 204
        assert admin.show(image["id"])["stores"] == "file"
        assert admin.get(image["file"]).body == DATA
    else:
        where = ("/locations/-", place) if again == "add" else ("/locations", [place])
        assert admin.patch(image["id"], (again, *where)).status_int == 200
        assert admin.show(image["id"])["locations"] == [place]
        assert admin.get(image["file"]).body == DATA + b"x"
    assert list(findings(admin.service)) == []


def test_data_is_taken_on_trust_where_the_site_wants_it(make_api, web):
    """Hashes are then those that were sent, or none."""
    web.files["/image"] = DATA
    api = make_api(
        enabled_backends="file:file,web:http", glance_store={"default_backend": "file"},
        do_secure_hash="false", import_filtering_opts={
            "allowed_networks": "127.0.0.0/8", "allowed_ports": web.server_port})
    api.service.importer.spawn = lambda function, *args: function(*args)
    admin = api.as_("root:alpha:admin,member")
    for sent in ({}, {"os_hash_algo": "sha512", "os_hash_value": "0" * 128}):
        image = admin.create()
        assert admin.call("POST", f"/v2/images/{image['id']}/locations", {
            "url": f"{web.url}/image", **({"validation_data": sent} if sent else {})
        }).status_int == 202
        after = admin.show(image["id"])
        assert (after["status"], after["size"], after["checksum"], after["os_hash_value"]) == (
            "active", len(DATA), None, sent.get("os_hash_value"))
        answer = admin.get(image["file"])
        assert answer.body == DATA and "Content-MD5" not in answer.headers
    assert list(findings(admin.service)) == []


@pytest.mark.parametrize("validation", [
    {"os_hash_algo": "sha512"}, {"os_hash_value": SHA512},
    {"os_hash_algo": "sha123", "os_hash_value": SHA512},
    {"os_hash_algo": "sha512", "os_hash_value": SHA512[:30]},
    {"os_hash_algo": "sha512", "os_hash_value": "x" * 128}, {"checksum": 5}, {"size": 1}, []])
def test_hashes_that_cannot_be(admin, web, validation):
    image = admin.create()
    url = f"{web.url}/image"
    assert admin.call("POST", f"/v2/images/{image['id']}/locations", {
        "url": url, "validation_data": validation}).status_int == (
            400 if validation != [] else 400)
    assert admin.patch(image["id"], ("add", "/locations/-", {
        "url": url, "validation_data": validation})).status_int == 400
    assert admin.show(image["id"])["status"] == "queued"


def test_data_that_changed_elsewhere_is_not_delivered_as_the_image(admin, web):
    image = admin.create()
    admin.call("POST", f"/v2/images/{image['id']}/locations", {"url": f"{web.url}/image"})
    web.files["/image"] = DATA[:-1] + b"X"
    with pytest.raises(OSError, match="cannot be completed"):
        _ = admin.get(image["file"]).body


def test_nothing_queues_an_image_again(admin, web):
    """G7: the last location stays, another replaces nothing, hashes are for ever."""
    image = admin.active(DATA)
    path = f"/v2/images/{image['id']}"
    assert admin.patch(image["id"], ("remove", "/locations/0")).status_int == 403
    assert admin.patch(image["id"], ("replace", "/locations", [])).status_int == 400
    assert admin.patch(image["id"], ("replace", "/locations", [
        {"url": f"{web.url}/same", "metadata": {}}])).status_int == 400
    assert admin.patch(image["id"], ("add", "/locations/-", {
        "url": f"{web.url}/other"})).status_int == 409
    assert admin.patch(image["id"], ("add", "/locations/-", {
        "url": f"{web.url}/same", "validation_data": {
            "os_hash_algo": "sha512", "os_hash_value": "0" * 128}})).status_int == 409
    assert admin.patch(image["id"], ("add", "/locations/-", {
        "url": f"{web.url}/same", "metadata": {"speed": "88mph"}})).status_int == 200
    assert len(admin.show(image["id"])["locations"]) == 2
    assert admin.patch(image["id"], ("remove", "/locations/0")).status_int == 200
    after = admin.show(image["id"])
    assert [place["url"] for place in after["locations"]] == [f"{web.url}/same"]
    for name in ("status", "checksum", "os_hash_value", "size"):
        assert after[name] == image[name]
    assert admin.upload(image["id"], b"other").status_int == 409
    assert admin.get(path + "/file").body == DATA
    assert list(findings(admin.service)) == []


def test_metadata_of_locations_can_be_replaced(admin, web):
    image = admin.create()
    place = {"url": f"{web.url}/image", "metadata": {"foo": "bar"}}
    assert admin.patch(image["id"], ("add", "/locations/-", place)).status_int == 200
    assert admin.show(image["id"])["locations"] == [place]
    assert admin.show(image["id"])["status"] == "active"
    other = {**place, "metadata": {"foo": "baz"}}
    assert admin.patch(image["id"], ("replace", "/locations", [other])).status_int == 200
    assert admin.show(image["id"])["locations"] == [other]
    for operation in (("add", "/locations/-", place), ("add", "/locations/9", {
            "url": f"{web.url}/same"}), ("add", "/locations/x", {"url": f"{web.url}/same"}),
            ("remove", "/locations"), ("add", "/locations", [place]),
            ("replace", "/locations/0", place),
            ("replace", "/locations", [{**place, "metadata": "x"}])):
        assert admin.patch(image["id"], operation).status_int == 400, operation
    assert admin.patch(image["id"], ("replace", "/locations", [other]),
                       ("replace", "/name", "x")).status_int == 400
