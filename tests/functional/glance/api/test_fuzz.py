# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent, no answer is a 500, and a refusal names the field it refuses."""

import json
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glance import exceptions
from glance.api.v2 import patch
from glance.image import fields, regions

# The same examples each time, so that a change is judged by what it changed; raise max_examples
# and drop derandomize to search for new ones.
FUZZ = settings(max_examples=150, deadline=None, derandomize=True,
                suppress_health_check=[HealthCheck.function_scoped_fixture,
                                       HealthCheck.too_slow])
FEW = settings(FUZZ, max_examples=60)

text = st.text(max_size=30)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([2 ** 31, 2 ** 63, -2 ** 70])
    | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6)
names = st.sampled_from(sorted([*fields.BASE, *fields.RESERVED, "os_distro", ""])) | text
query_names = st.sampled_from([
    "limit", "marker", "sort", "sort_key", "sort_dir", "visibility", "member_status", "name",
    "status", "size_min", "size_max", "created_at", "updated_at", "tag", "owner", "id",
    "protected", "os_hidden", "min_ram", "property-x", "is_public", "changes-since",
    "prefer"]) | text
query_values = text | st.sampled_from([
    "in:a,b", 'in:"', "gt:2020-01-01T00:00:00Z", "lt:0001-01-01T00:00:00+23:59", "-1", "0", "1e9",
    "9" * 40, "name:asc", "a:b:c", "none", "true", "١٢"])
header_text = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=40)


def check(response):
    """Not a 500; and a refusal says something, with the id of the request."""
    assert response.status_int < 500 or response.status_int == 501, response.text
    if response.status_int >= 400 and response.body:
        error = response.json["error"]
        assert error["message"]
        assert error["request_id"] == response.headers["X-Openstack-Request-Id"]
    return response


def body(value):
    return json.dumps(value).encode("utf-8", "surrogatepass")


@pytest.fixture
def queued(api):
    return api.create(a="1")["id"]


@FUZZ
@given(document=st.dictionaries(names, junk, max_size=4) | junk)
def test_create(api, document):
    check(api.call("POST", "/v2/images", body(document), {"Content-Type": "application/json"}))


@FUZZ
@given(name=st.sampled_from(sorted(fields.WRITABLE)), value=junk)
def test_a_refused_value_is_named(api, name, value):
    response = check(api.call("POST", "/v2/images", body({name: value}),
                              {"Content-Type": "application/json"}))
    if response.status_int == 400:
        assert response.json["error"]["message"].startswith((name, "a name in " + name))


@FUZZ
@given(document=st.lists(st.fixed_dictionaries({}, optional={
    "op": st.sampled_from(["add", "replace", "remove", "move"]) | junk,
    "path": st.builds("/{}".format, names) | st.sampled_from(["/tags/-", "/locations/0", "/a~1b"])
    | junk, "value": junk, "add": junk, "replace": st.builds("/{}".format, names)}), max_size=4)
    | junk, media_type=st.sampled_from(patch.MEDIA_TYPES))
def test_patch(api, queued, document, media_type):
    check(api.call("PATCH", f"/v2/images/{queued}", body(document),
                   {"Content-Type": media_type}))


@FUZZ
@given(pairs=st.lists(st.tuples(query_names, query_values), max_size=4),
       path=st.sampled_from(["/v2/images", "/v1/images", "/v1/images/detail"]))
def test_queries(api, pairs, path):
    from urllib.parse import urlencode

    query = urlencode([(name.encode("utf-8", "surrogatepass"),
                        value.encode("utf-8", "surrogatepass")) for name, value in pairs])
    check(api.get(f"{path}?{query}"))


@FEW
@given(query=st.text(string.printable, max_size=60))
def test_raw_query_strings(api, query):
    check(api.call("GET", "/v2/images", environ={"QUERY_STRING": query}))


@FUZZ
@given(pieces=st.lists(st.binary(max_size=12), min_size=1, max_size=4),
       method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "X"]),
       root=st.sampled_from(["", "/v1", "/v2", "/v2/images", "/v1/images", "/v2/images/x/tags"]))
def test_paths(api, pieces, method, root):
    path = root + "/" + "/".join(piece.decode("latin-1") for piece in pieces)
    check(api.call(method, "/", environ={"PATH_INFO": path}))


@FUZZ
@given(headers=st.dictionaries(
    st.sampled_from(["NAME", "ID", "STORE", "DISK_FORMAT", "CONTAINER_FORMAT", "SIZE", "CHECKSUM",
                     "IS_PUBLIC", "MIN_RAM", "MIN_DISK", "OWNER", "PROTECTED", "STATUS", "DELETED",
                     "PROPERTY_OS", "PROPERTY_", "PROPERTY_NAME", "COLOUR", "LOCATION"]),
    header_text | st.sampled_from(["raw", "bare", "1", "true", ""]), max_size=5),
    data=st.none() | st.binary(max_size=20), update=st.booleans())
def test_v1_headers(api, queued, headers, data, update):
    environ = {f"HTTP_X_IMAGE_META_{name}": value for name, value in headers.items()}
    if data is not None:
        environ["CONTENT_TYPE"] = "application/octet-stream"
    path = f"/v1/images/{queued}" if update else "/v1/images"
    response = check(api.call("PUT" if update else "POST", path, data, environ=environ))
    if response.status_int < 300:
        image_id = response.json["image"]["id"]
        assert api.call("HEAD", f"/v1/images/{image_id}").status_int == 200


@FEW
@given(name=st.sampled_from(["RANGE", "CONTENT_RANGE", "X_IMAGE_META_STORE", "TRANSFER_ENCODING",
                             "ACCEPT", "X_OPENSTACK_REQUEST_ID", "X_AUTH_TOKEN", "HOST"]),
       value=header_text | st.sampled_from([
           "bytes=0-", "bytes=-1", "bytes=2-1", "bytes 0-1/2", "chunked", "file", ":::"]))
def test_other_headers(api, name, value):
    image = api.active(b"0123456789")
    for path in (f"/v2/images/{image['id']}/file", f"/v1/images/{image['id']}", "/"):
        check(api.call("GET", path, environ={f"HTTP_{name}": value}))


@FEW
@given(document=junk, method=st.sampled_from(["POST", "PUT"]),
       path=st.sampled_from(["members", "members/beta", "tags/x", "actions/deactivate"]))
def test_member_bodies(api, queued, document, method, path):
    check(api.call(method, f"/v2/images/{queued}/{path}", body(document),
                   {"Content-Type": "application/json"}))
    check(api.call("PUT", f"/v1/images/{queued}/members", body({"memberships": document}),
                   {"Content-Type": "application/json"}))


@FEW
@given(data=st.binary(max_size=600), disk_format=st.sampled_from(
    ["raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso"]),
    magic=st.sampled_from([b"", b"QFI\xfb", b"KDMV", b"# Disk DescriptorFile\n", b"conectix",
                           b"vhdxfile", b"<<< Oracle VM", b"QED\0", b"LUKS\xba\xbe\0\2"]))
def test_data(api, data, disk_format, magic):
    image = api.create(disk_format=disk_format)
    response = check(api.upload(image["id"], magic + data))
    assert response.status_int in (204, 415)


@FEW
@given(token=st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=60))
def test_tokens(api, token):
    check(api.as_(None).call("GET", "/v2/images", environ={"HTTP_X_AUTH_TOKEN": token}))


@FUZZ
@given(document=junk | st.dictionaries(st.sampled_from(
    [*fields.BASE, "is_public", "properties", "locations", "upload_bytes"]), junk, max_size=3),
    filters=junk | st.lists(st.tuples(names, st.sampled_from(["eq", "gt", "in"]), junk),
                            max_size=2), sort=text, limit=text)
def test_registry(make_registry_app, document, filters, sort, limit):
    from urllib.parse import urlencode

    import webob

    def call(method, path, data=None):
        request = webob.Request.blank(path, method=method, headers={
            "X-Project-Id": "alpha", "X-Roles": "member", "X-Image-Service": "yes",
            "Content-Type": "application/json"})
        if data is not None:
            request.body = data
        return check(request.get_response(make_registry_app))

    call("POST", "/images", body({"image": document}))
    call("PUT", "/images/00000000-0000-0000-0000-000000000000", body({"image": document}))
    call("PUT", "/images/00000000-0000-0000-0000-000000000000/beat", body({"beat": document}))
    query = urlencode({"filters": json.dumps(filters), "sort": sort.encode(
        "utf-8", "surrogatepass"), "limit": limit.encode("utf-8", "surrogatepass")})
    call("GET", f"/images/detail?{query}")


@pytest.mark.parametrize("places", [None, 5, {}, [5], [{}], [{"store": 5, "url": "x"}], [
    {"store": "a", "url": "x", "crc32": -1}], [{"store": "a", "url": "x"}] * 2])
def test_bug_locations_that_are_no_list_broke_the_registry(make_registry_app, places):
    import webob

    request = webob.Request.blank(
        "/images/00000000-0000-0000-0000-000000000000", method="PUT",
        headers={"X-Project-Id": "alpha", "X-Image-Service": "yes",
                 "Content-Type": "application/json"})
    request.body = body({"image": {"locations": places}})
    response = check(request.get_response(make_registry_app))
    assert response.status_int == 400
    assert response.json["error"]["message"].startswith(("locations", "crc32"))


@pytest.fixture
def make_registry_app(make_conf, database_url):
    """A glance-registry's application, with the row the fuzzer works on."""
    from glance import config, wsgi
    from glance.context import service_context
    from glance.registry.client.sql import SqlClient
    from glance.registry.db.session import Database

    registry = SqlClient(Database(database_url))
    registry.create_image(service_context(), {
        "id": "00000000-0000-0000-0000-000000000000", "status": "queued", "owner": "alpha",
        "visibility": "shared", "min_disk": 0, "min_ram": 0, "protected": False,
        "os_hidden": False})
    conf = make_conf("glance-registry", paste_deploy={"flavor": "trusted"})
    yield wsgi.WithEnviron(config.load_app(conf, "glance-registry"),
                           {wsgi.REGISTRY_KEY: registry})
    registry.database.close()


@pytest.fixture
def everything(importing_api, tmp_path):
    """An administrator's service with several stores and a cache."""
    from glance.cache import ImageCache

    importing_api.service.cache = ImageCache(tmp_path / "cache")
    return importing_api.as_("root:ops:admin,member")


places = st.fixed_dictionaries({}, optional={
    "url": junk | st.sampled_from(["http://127.0.0.1:1/x", "file:///etc/passwd", "http://[::1"]),
    "metadata": junk, "validation_data": junk | st.dictionaries(st.sampled_from(
        ["checksum", "os_hash_algo", "os_hash_value"]), junk, max_size=3)})


@FEW
@given(document=junk | st.fixed_dictionaries({}, optional={
    "method": junk | st.fixed_dictionaries({"name": st.sampled_from(
        ["glance-direct", "web-download", "copy-image", "location", "glance-download"])}, optional={
            "uri": junk | st.just("http://127.0.0.1:1/x"), "glance_region": junk,
            "glance_image_id": junk | st.just("00000000-0000-0000-0000-000000000000"),
            "glance_service_interface": junk}),
    "stores": junk | st.just(["file"]), "all_stores": junk,
    "all_stores_must_succeed": junk}), place=junk | places)
def test_imports_and_locations(everything, document, place):
    """U1, U4: whatever is asked for, in bodies of imports, tasks and locations."""
    image_id = everything.create()["id"]
    json_type = {"Content-Type": "application/json"}
    check(everything.call("POST", f"/v2/images/{image_id}/import", body(document), json_type))
    check(everything.call("POST", "/v2/tasks", body({"type": "import", "input": document}),
                          json_type))
    check(everything.call("POST", f"/v2/images/{image_id}/locations", body(place), json_type))
    for operation, path in (("add", "/locations/-"), ("replace", "/locations")):
        check(everything.call("PATCH", f"/v2/images/{image_id}", body(
            [{"op": operation, "path": path, "value": [place] if path == "/locations" else place}]),
            {"Content-Type": patch.V21}))
    assert everything.show(image_id)["status"] == "queued"


@FEW
@given(document=st.dictionaries(st.sampled_from(
    ["disk_format", "container_format", "hw_x", "trait:y", "os_type", "size", "name"]) | text,
    junk, max_size=6), catalog=junk.map(json.dumps) | text)
def test_what_other_regions_say(document, catalog):
    """Nothing another image service or a catalog says gets further than a refusal."""
    regions.endpoint(catalog, "north", "public")
    taken = regions.Regions(["hw_", "trait:", "os_type"])
    try:
        changes = taken.changes(document, lambda _name: True)
    except exceptions.Invalid as error:
        assert error.message
        return
    assert set(changes) == {"disk_format", "container_format", "properties"}
    assert all(isinstance(value, str) for value in changes["properties"].values())


@FEW
@given(url=header_text | st.sampled_from(["http://127.0.0.1:1/x", "file:///x", "http://a@b/"]))
def test_v1_copies_from_elsewhere(everything, url):
    for name in ("HTTP_X_GLANCE_API_COPY_FROM", "HTTP_X_IMAGE_META_LOCATION"):
        check(everything.call("POST", "/v1/images", environ={
            name: url, "HTTP_X_IMAGE_META_DISK_FORMAT": "raw",
            "HTTP_X_IMAGE_META_CONTAINER_FORMAT": "bare"}))


@FEW
@given(document=junk | st.dictionaries(st.sampled_from(
    ["namespace", "name", "title", "type", "properties", "objects", "tags", "visibility", "owner",
     "protected", "prefix", "resource_type_associations", "enum", "minimum", "default"]),
    junk | st.just("x"), max_size=5), collection=st.sampled_from(
        ["", "/x/properties", "/x/objects", "/x/tags", "/x/resource_types"]), name=names)
def test_metadefs(everything, document, collection, name):
    from urllib.parse import quote

    json_type = {"Content-Type": "application/json"}
    base = "/v2/metadefs/namespaces"
    everything.call("POST", base, {"namespace": "x"})
    check(everything.call("POST", base + collection, body(document), json_type))
    one = f"{base}{collection}/{quote(name.encode('utf-8', 'surrogatepass'), safe='')}"
    for method in ("GET", "PUT", "POST", "DELETE"):
        check(everything.call(method, one, body(document) if method[0] == "P" else None,
                              json_type))


@FEW
@given(args=junk | st.dictionaries(st.sampled_from(
    ["namespace", "values", "contents", "kind", "body", "name", "bodies", "append", "marker",
     "limit", "visibility", "resource_types"]), junk, max_size=3), task=junk | st.dictionaries(
        st.sampled_from(["id", "type", "status", "input", "expires_at", "worker", "message"]),
        junk, max_size=4))
def test_registry_methods(make_registry_app, args, task):
    import webob

    from glance.registry.metadefs import METHODS

    def call(method, path, document):
        request = webob.Request.blank(path, method=method, headers={
            "X-Project-Id": "alpha", "X-Roles": "member", "Content-Type": "application/json",
            "X-Image-Service": "yes" if "tasks" in path else "no"})
        request.body = body(document)
        return check(request.get_response(make_registry_app))

    for name in METHODS:
        call("POST", f"/metadefs/{name}", {"args": args})
    call("POST", "/tasks", {"task": task})
    call("PUT", "/tasks/x", {"task": task, "from_status": args})
