# SPDX-License-Identifier: Apache-2.0
"""Security rows of the image APIs; those of stores, formats and the registry are in their rooms'
tests."""

import ast
import io
import logging
import pathlib
import time
import uuid

import pytest

import glance
from glance import wsgi
from glance.api.v1 import router as v1
from glance.api.v2 import router as v2
from glance.context import service_context
from glance.registry import api as registry_api

SERVICE = service_context()
OCTETS = {"Content-Type": "application/octet-stream"}
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
SOURCES = sorted(pathlib.Path(glance.__file__).parent.rglob("*.py"))


def every_call(image_id, member="beta"):
    """(method, path, body, headers) for each route of both APIs, on one image."""
    for version, table in (("/v2", v2.ROUTES), ("/v1", v1.ROUTES)):
        for path, methods in table:
            if "{image_id}" not in path or path.startswith("/cache"):
                continue  # the cache is for administrators, whatever the image
            path = path.replace("{image_id}", image_id).replace("{member_id}", member)
            path = path.replace("{tag:.+}", "x").replace("{store_id}", "file")
            for method in methods:
                body, headers = None, {}
                if method == "PATCH":
                    body, headers = [{"op": "replace", "path": "/name", "value": "x"}], PATCH
                elif method == "PUT" and version == "/v1" and path.endswith(image_id):
                    headers = {"X-Image-Meta-Name": "stolen"}
                elif path.endswith(("/file", "/stage")) and method == "PUT":
                    body, headers = b"bytes", OCTETS
                elif path.endswith("/import"):
                    body = {"method": {"name": "web-download", "uri": "http://example.com/"}}
                elif path.endswith("/locations"):
                    body = {"url": "http://example.com/"}
                elif path.endswith("/members") and method == "PUT":
                    body = {"memberships": [{"member_id": "beta"}]}
                elif path.endswith("/members"):
                    body = {"member": "beta"}
                elif method == "PUT" and version == "/v2" and "/members/" in path:
                    body = {"status": "accepted"}
                yield method, version + path, body if method not in ("GET", "HEAD") else None, \
                    headers


def masked(response, image_id):
    """Status and body of a refusal, without the id and the request's own id."""
    text = response.text.replace(image_id, "ID")
    if response.body:
        document = response.json
        document["error"].pop("request_id")
        return response.status_int, str(document).replace(image_id, "ID")
    return response.status_int, text


def test_foreign_images_answer_as_if_they_never_existed(api, bob, image_files):
    """T2, T16, G1: each route, each way, same status and same words; and nothing happens."""
    image = api.active(visibility="private")
    queued = api.create(visibility="private")
    before = (api.show(image["id"]), api.show(queued["id"]), image_files())
    missing = str(uuid.uuid4())
    routes = 0
    for target in (image["id"], queued["id"]):
        for (method, path, body, headers), (_, other, _, _) in zip(
                every_call(target), every_call(missing), strict=True):
            found = bob.call(method, path, body, dict(headers))
            absent = bob.call(method, other, body, dict(headers))
            assert masked(found, target) == masked(absent, missing), (method, path)
            assert found.status_int in (404, 501), (method, path)
            routes += 1
    assert routes >= 40
    assert (api.show(image["id"]), api.show(queued["id"]), image_files()) == before


@pytest.mark.parametrize("visibility", ["public", "community", "shared"])
def test_seeing_an_image_is_not_changing_it(api, bob, admin, image_files, visibility):
    """T2, T14, G16: readers of an image change neither it, its tags nor its members."""
    if visibility == "public":
        image = admin.active(visibility="public")
    else:
        image = api.active(visibility=visibility)
    if visibility == "shared":
        api.call("POST", f"/v2/images/{image['id']}/members", {"member": "beta"})
        api.call("POST", f"/v2/images/{image['id']}/members", {"member": "gamma"})
    before = (admin.show(image["id"]), image_files(),
              admin.get(f"/v2/images/{image['id']}/members").json)
    for method, path, body, headers in every_call(image["id"], member="gamma"):
        if method in ("GET", "HEAD"):
            continue
        response = bob.call(method, path, body, dict(headers))
        assert response.status_int in (403, 404, 409, 501), (method, path, response.text)
    assert (admin.show(image["id"]), image_files(),
            admin.get(f"/v2/images/{image['id']}/members").json) == before
    assert bob.get(f"/v2/images/{image['id']}/members/gamma").status_int == 404


@pytest.mark.parametrize("protected", [False, True])
def test_foreign_delete_does_not_reach_the_store(api, bob, image_files, protected):
    """T2: the owner is checked before a byte is touched."""
    image = api.active(visibility="community", protected=protected)
    for version in ("/v1", "/v2"):
        assert bob.call("DELETE", f"{version}/images/{image['id']}").status_int == 403
    assert image_files() == [image["id"]]


def test_only_administrators_make_images_public(api):
    """T23: by no way in."""
    image = api.create()
    assert api.call("POST", "/v2/images", {"visibility": "public"}).status_int == 403
    assert api.patch(image["id"], ("replace", "/visibility", "public")).status_int == 403
    for method, path in (("POST", "/v1/images"), ("PUT", f"/v1/images/{image['id']}")):
        assert api.call(method, path, headers={"X-Image-Meta-Is-Public": "true"}).status_int == 403
    assert api.show(image["id"])["visibility"] == "shared"


@pytest.mark.parametrize("fields", [
    {"status": "queued"}, {"status": "active"}, {"deleted": "true"}, {"size": "5"},
    {"checksum": "0" * 32}, {"created_at": "2000-01-01T00:00:00"}, {"updated_at": "x"}])
def test_v1_headers_do_not_move_the_status_machine(api, fields):
    """G6: an owner cannot put an image back to queued and upload other bytes."""
    image = api.active(b"the first bytes")
    headers = {f"X-Image-Meta-{name.replace('_', '-')}": value for name, value in fields.items()}
    response = api.call("PUT", f"/v1/images/{image['id']}", headers=headers)
    assert response.status_int == 200
    after = api.show(image["id"])
    assert {**after, "updated_at": ""} == {**image, "updated_at": ""}
    assert api.upload(image["id"], b"other bytes").status_int == 409
    assert api.call("PUT", f"/v1/images/{image['id']}", b"other", OCTETS).status_int == 409
    assert api.get(image["file"]).body == b"the first bytes"


@pytest.mark.parametrize("url", [
    "file:///etc/passwd", "FILE:///etc/passwd", "filesystem:///etc/passwd",
    "swift+config://ref/c/o", "s3://key:secret@host/b/o", "cinder://v", "rbd://p/i",
    "http://127.0.0.1/", "https://169.254.169.254/latest", "ftp://x/"])
def test_locations_and_copies_from_elsewhere_are_refused(api, url):
    """U1, U2, U4, G7, G8: no caller sets where data lies, in either API."""
    image = api.create()
    for operation in (("add", "/locations/-", {"url": url, "metadata": {}}),
                      ("replace", "/locations", [{"url": url, "metadata": {}}]),
                      ("add", "/location", url)):
        assert api.patch(image["id"], operation).status_int == 403
    assert api.call("POST", "/v2/images", {"locations": [{"url": url}]}).status_int == 403
    for name in ("X-Image-Meta-Location", "X-Image-Meta-Copy-From", "X-Glance-Api-Copy-From"):
        headers = {name: url, "X-Image-Meta-Name": "x", "X-Image-Meta-Disk-Format": "raw",
                   "X-Image-Meta-Container-Format": "bare"}
        if name.endswith("Api-Copy-From") and url.startswith("http"):
            continue  # refused when the host is looked at: tests/functional/glance/image
        assert api.call("POST", "/v1/images", headers=headers).status_int in (400, 403)
        assert api.call("PUT", f"/v1/images/{image['id']}", headers=headers).status_int in (
            400, 403)
    assert api.show(image["id"])["status"] == "queued"


def test_answers_never_say_where_data_lies(api, admin, tmp_path):
    """L3: neither version, no caller, header or field."""
    image = api.active()
    for caller in (api, admin):
        for method, path in (("GET", "/v2/images"), ("GET", f"/v2/images/{image['id']}"),
                             ("GET", "/v1/images/detail"), ("HEAD", f"/v1/images/{image['id']}"),
                             ("GET", f"/v1/images/{image['id']}"),
                             ("GET", "/v2/info/stores/detail")):
            response = caller.call(method, path)
            said = str(response.headers) + response.text
            assert str(tmp_path) not in said
            assert "file://" not in said
            assert "x-image-meta-location" not in said.lower()


def test_deactivated_images_by_every_door(api, bob):
    """G1: what v2 refuses is not to be had through v1, whole or in parts."""
    image = api.active(visibility="community")
    assert bob.get(f"/v1/images/{image['id']}").status_int == 200
    api.call("POST", f"/v2/images/{image['id']}/actions/deactivate")
    for path in (f"/v1/images/{image['id']}", f"/v2/images/{image['id']}/file"):
        for headers in ({}, {"Range": "bytes=0-1"}):
            assert bob.get(path, headers=headers).status_int == 403


def test_download_needs_the_right_to_download(make_api, tmp_path):
    """G1: the policy is asked for each download, in either version."""
    rules = tmp_path / "policy.yaml"
    rules.write_text('"download_image": "role:admin"\n')
    api = make_api(oslo_policy={"policy_file": rules})
    image = api.active()
    for path in (f"/v1/images/{image['id']}", f"/v2/images/{image['id']}/file"):
        response = api.get(path)
        assert response.status_int == 403
        assert "download_image" in response.json["error"]["message"]
        assert api.as_("root:ops:admin").get(path).status_int == 200
    queued = api.create()
    assert api.get(queued["file"]).status_int == 403


def test_every_policy_rule_that_is_asked_exists():
    """T8, T15: a rule nobody registered would fail open elsewhere; here it stops the request."""
    from glance import policy

    known = {rule.name for rule in policy.RULES}
    asked = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            asks = isinstance(node.func, ast.Attribute) and node.func.attr in (
                "check", "allows", "check_mutable") and ast.unparse(node.func.value) != "schemas"
            if asks:
                asked |= {argument.value for argument in node.args
                          if isinstance(argument, ast.Constant)
                          and isinstance(argument.value, str)}
            if isinstance(node.func, ast.Name) and node.func.id == "_call" \
                    and isinstance(node.args[1], ast.Constant):
                asked.add(node.args[1].value)
    assert {"add_image", "delete_image", "get_metadef_namespace"} <= asked <= known


def test_no_check_is_an_assert():
    """X9: nothing is lost under python -O."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}"


def test_one_way_out():
    """U7, X11: only the registry and store clients and glance.client speak HTTP, to places that the
    operator named, and one room fetches from anywhere else; nobody evaluates text or starts a
    shell."""
    may_speak = {"requests": {"glance/registry/client/rest.py", "glance/store/swift.py",
                              "glance/client.py"},
                 "boto3": {"glance/store/s3.py"}, "urllib3": {"glance/outbound.py"},
                 # qemu-img, an argument list; and the module's exception, made catchable
                 "subprocess": {"glance/image/conversion.py", "glance/concurrency.py"}}
    banned = {"urllib.request", "http.client", "pickle", "httplib2"}
    for path in SOURCES:
        name = "glance/" + str(path.relative_to(pathlib.Path(glance.__file__).parent))
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for module in modules:
                assert module not in banned, f"{name} imports {module}"
                assert name in may_speak.get(module, {name}), f"{name} imports {module}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile"), f"{name}:{node.lineno}"


def forget_auth_plugin():
    """keystoneauth leaves its plug-in's options required for every later use of the process."""
    from keystoneauth1 import loading
    from oslo_config import cfg

    cfg.CONF.reset()
    cfg.CONF.unregister_opts(loading.get_auth_plugin_conf_options("password"),
                             group="keystone_authtoken")


def test_forged_identity_headers_get_nowhere(make_conf, tmp_path, request):
    """K13: behind auth_token, nobody is who they say; the pipeline of production, no Keystone."""
    from oslo_config import cfg

    from glance.api import app

    conf = make_conf(paste_deploy={"flavor": "keystone"})
    settings = tmp_path / "authtoken.conf"
    settings.write_text("[keystone_authtoken]\n"
                        "www_authenticate_uri = http://127.0.0.1:1/v3\n"
                        "auth_url = http://127.0.0.1:1/v3\nauth_type = password\n")
    cfg.CONF(["--config-file", str(settings)], project="glance")  # where auth_token looks
    request.addfinalizer(forget_auth_plugin)
    pipeline = app.load(conf, "glance-api", None)
    forged = {"X-Identity-Status": "Confirmed", "X-User-Id": "root", "X-Project-Id": "ops",
              "X-Roles": "admin", "X-Service-Roles": "service", "X-Is-Admin-Project": "True",
              "X-Image-Service": "yes"}
    for path in ("/v2/images", "/v1/images", "/v2/info/stores", "/v2/schemas/image"):
        response = wsgi.Request.blank(path, headers=forged).get_response(pipeline)
        assert response.status_int == 401, path
    assert wsgi.Request.blank("/").get_response(pipeline).status_int == 300
    assert wsgi.Request.blank("/healthcheck").get_response(pipeline).status_int == 200


def test_noauth_and_trusted_pipelines_do_not_mix(api):
    """K13: the headers a trusted registry believes mean nothing to the API."""
    image = api.create(visibility="private")
    response = api.as_("eve:omega").get(f"/v2/images/{image['id']}", headers={
        "X-Roles": "admin", "X-Project-Id": "alpha", "X-Image-Service": "yes"})
    assert response.status_int == 404


@pytest.mark.parametrize("suggested, kept", [
    ("req-12345678-1234-1234-1234-123456789abc", True), ("req-" + "a" * 65, False),
    ("x" * 10000, False), ("req-1\nERROR forged line", False)])
def test_request_ids_of_callers(api, caplog, suggested, kept):
    """G17: only a well-formed id of bounded length gets into the log."""
    caplog.set_level(logging.INFO, "glance.request")
    response = api.call("GET", "/v2/images", environ={"HTTP_X_OPENSTACK_REQUEST_ID": suggested})
    own = response.headers["X-Openstack-Request-Id"]
    assert own != suggested
    response.app_iter.close()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert own in lines[0]
    assert (suggested in lines[0]) is kept


def test_one_line_of_log_per_request_without_secrets(api, caplog):
    """L9: who, what, how long; no token, no query."""
    caplog.set_level(logging.DEBUG, "glance")
    response = api.as_("carol:gamma").get("/v2/images?name=s3cret%0aforged")
    response.app_iter.close()
    [line] = [record.getMessage() for record in caplog.records
              if record.name == "glance.request"]
    for word in ("carol", "gamma", "GET /v2/images", "status: 200", "time: "):
        assert word in line
    assert "s3cret" not in caplog.text
    assert "carol:gamma" not in caplog.text


def test_a_filter_that_fails_is_answered_with_an_id(caplog):
    """L11: also where the APIs' own boundary is not reached."""
    from glance.api.middleware.request_log import RequestLog

    def broken(_environ, _start_response):
        raise RuntimeError("secret of a filter")

    response = wsgi.Request.blank("/v2/images").get_response(RequestLog(broken))
    assert response.status_int == 500
    assert "secret" not in response.text
    request_id = response.headers["X-Openstack-Request-Id"]
    assert response.json["error"]["request_id"] == request_id
    assert request_id in caplog.text


PARSED = {
    "Range": ["bytes=" + "0-1," * 2000, "bytes=" + " " * 8000, "bytes=" + "9" * 8000],
    "Content-Range": ["bytes " + "9" * 8000, "bytes 0-0/" + " " * 8000],
    "Accept": ["application/vnd.openstack.images-v" + "1" * 8000, 'a/b;q="' + "\\" * 8000],
    "Content-Type": ["a/" + "b" * 8000, ";" * 8000],
    "X-Image-Meta-Id": ["-" * 8000, "0" * 8000],
    "X-Image-Meta-Size": ["9" * 8000], "X-Image-Meta-Name": ["\xe6" * 8000],
    "X-Openstack-Request-Id": ["req-" + "0" * 8000],
    "X-Auth-Token": [":" * 8000],
}


@pytest.mark.parametrize("header", PARSED)
def test_no_header_takes_long(api, header):
    """X5, X10: 8 KiB of anything in any header we parse, in at most 50 ms of CPU."""
    image = api.active()
    for value in PARSED[header]:
        for path in ("/", f"/v2/images/{image['id']}/file", f"/v1/images/{image['id']}"):
            for method in ("GET", "PUT"):
                environ = {"HTTP_" + header.upper().replace("-", "_"): value}
                assert min(cpu_time(api, method, path, environ) for _ in range(3)) < 0.05, \
                    (header, method, path)


def cpu_time(api, method, path, environ):
    started = time.process_time()
    assert api.call(method, path, environ=dict(environ)).status_int < 500
    return time.process_time() - started


def test_deletes_again_and_again_do_not_free_quota_early(make_api, image_files, monkeypatch):
    """G2: fifty uploads deleted at half time, in a quota of one."""
    monkeypatch.setattr("glance.image.upload.BEAT_INTERVAL", 0.0)
    api = make_api(image_size_total=3 << 20)

    class HalfWay(io.BytesIO):
        reads = 0

        def read(self, size=-1):
            self.reads += 1
            if self.reads == 2:
                api.call("DELETE", f"/v2/images/{image['id']}")
                assert api.service.registry.usage(SERVICE, "alpha").bytes <= 3 << 20
            return super().read(size)

    for _ in range(50):
        image = api.create()
        assert api.upload(image["id"], HalfWay(bytes(2 << 20))).status_int == 410
        assert image_files() == []
    usage = api.get("/v2/info/usage").json["usage"]
    assert usage["image_size_total"]["usage"] == 0
    assert usage["image_count_total"]["usage"] == 0


def test_registry_gives_callers_no_service_rights(make_conf, database_url):
    """G6, T25: with a user's identity, its REST API sets none of the service's fields."""
    from glance import config
    from glance.registry.client.sql import SqlClient
    from glance.registry.db.session import Database

    registry = SqlClient(Database(database_url))
    conf = make_conf("glance-registry", paste_deploy={"flavor": "trusted"})
    pipeline = wsgi.WithEnviron(config.load_app(conf, "glance-registry"),
                                {wsgi.REGISTRY_KEY: registry})

    def call(method, path, body=None, **headers):
        request = wsgi.Request.blank(path, method=method, headers={
            "X-User-Id": "alice", "X-Project-Id": "alpha", "X-Roles": "member", **headers})
        if body is not None:
            request.json = body
        return request.get_response(pipeline)

    image_id = str(uuid.uuid4())
    assert call("POST", "/images", {"image": {"id": image_id}}).status_int == 200
    for values in ({"status": "active"}, {"size": 1}, {"locations": [
            {"store": "file", "url": "file:///etc/passwd"}]}, {"upload_token": "x"}):
        assert call("PUT", f"/images/{image_id}", {"image": values}).status_int == 403
    for method, path in (("GET", "/transient"), ("PUT", f"/images/{image_id}/beat"),
                         ("DELETE", f"/images/{image_id}?final=true"),
                         ("GET", "/usage?owner=beta")):
        assert call(method, path, {}).status_int == 403, path
    for values in ({"owner": "beta"}, {"status": "active"}):
        assert call("POST", "/images", {"image": {
            "id": str(uuid.uuid4()), **values}}).status_int == 403
    assert {path for path, _ in registry_api.ROUTES} >= {"/", "/images", "/images/detail"}
    registry.database.close()
