# SPDX-License-Identifier: Apache-2.0
"""Dispatch, errors and bodies of the WSGI layer, with a resource of the test's own."""

import io
import json

import pytest
import webob
from oslo_config import cfg

from nova import exception, policy
from nova.api.openstack.auth import NoAuth
from nova.api.openstack.faults import compute_fault, network_fault
from nova.api.openstack.request_log import RequestLog
from nova.api.openstack.validation import (
    BOOLEAN,
    MAX_DEPTH,
    NAME,
    Schema,
    as_bool,
    integer,
    is_uuid,
    obj,
    parse_json,
    string,
)
from nova.api.openstack.wsgi import Answer, Application, Resource, action, route

policy.register("test:operators", policy.ADMIN, "For the test")


class Things(Resource):
    """What the tests ask."""

    @route("GET", "/things/{thing_id}")
    def show(self, req, thing_id):
        return {"thing": {"id": thing_id, "base": req.base, "query": req.query}}

    @route("POST", "/things", status=201, body=Schema(obj({"thing": obj(
        {"name": NAME, "size": integer(1, 5)}, ("name",))}, ("thing",))))
    def create(self, req, body):
        return Answer(body, headers={"Location": "/there"})

    @route("DELETE", "/things/{thing_id}", status=204, policy="test:operators")
    def delete(self, req, thing_id):
        return None

    @route("PUT", "/things/{thing_id}")
    def boom(self, req, thing_id):
        raise {"key": KeyError("secret"), "gone": exception.NotFound(),
               "hyper": exception.HypervisorError(action="start", reason="secret")}[thing_id]

    @action("/things/{thing_id}/action", "kick", body=Schema(obj({"hard": BOOLEAN})))
    def kick(self, req, thing_id, body):
        return None


class Root(Resource):
    @route("GET", "/", public=True)
    def index(self, req):
        return {"versions": []}


def make(write_fault=compute_fault):
    cfg.CONF([], project="nova", default_config_files=[], default_config_dirs=[])
    policy.reset()
    return RequestLog(NoAuth(Application(
        [Things()], write_fault=write_fault, prefixes=("/v2.1", "/v2"), roots=[Root()],
        project_in_path=True, body_limit=1000)))


def ask(method, path, body=None, token="u:p", app=None, **headers):
    req = webob.Request.blank(path, method=method)
    if body is not None:
        req.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        req.content_type = "application/json"
    if token:
        req.headers["X-Auth-Token"] = token
    for name, value in headers.items():
        req.headers[name.replace("_", "-")] = value
    return req.get_response(app or make())


def test_dispatch_and_links():
    thing = ask("GET", "/v2.1/things/5?a=1&a=%C3%A9").json["thing"]
    assert thing == {"id": "5", "base": "http://localhost/v2.1", "query": {"a": ["1", "\u00e9"]}}
    assert ask("GET", "/v2/p/things/5").json["thing"]["base"] == "http://localhost/v2/p"
    response = ask("POST", "/v2/things", {"thing": {"name": "a"}})
    assert (response.status_int, response.headers["Location"]) == (201, "http://localhost/there")
    assert ask("HEAD", "/v2/things/5").body == b""
    assert ask("GET", "/", token=None).json == {"versions": []}


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/v2/q/things/5", 404), ("GET", "/v2/nope", 404), ("GET", "/v9/things/5", 404),
    ("GET", "/v2/things/5/", 404), ("PATCH", "/v2/things/5", 405), ("GET", "/v2/things", 405),
    ("GET", "/v2/things/5/action", 405), ("GET", "/v2/things/%ff", 400),
    ("GET", "/v2/things/%00", 400), ("GET", "/v2/things/5?a=%ff", 400),
    ("GET", "/v2/things/5?a=%00", 400), ("GET", "/v2/things/5?" + "a&" * 2000, 400),
    ("DELETE", "/v2/things/5", 403), ("POST", "/v2/things", 400)])
def test_refusals(method, path, status):
    response = ask(method, path)
    assert response.status_int == status
    [fault] = response.json.values()
    assert fault["code"] == status and fault["message"]


def test_405_says_what_is_allowed():
    assert ask("PATCH", "/v2/things/5").headers["Allow"] == "DELETE, GET, HEAD, PUT"
    assert ask("GET", "/v2/things/5/action").headers["Allow"] == "POST"


def test_nobody_is_told_to_authenticate_before_anything_else():
    for path in ("/v2/things/5", "/v2/nope", "/v2/q/things/5"):
        assert ask("GET", path, token=None).status_int == 401
    assert ask("POST", "/v2/things", b"\xff", token=None).status_int == 401


def test_every_answer_carries_a_request_id():
    for path in ("/", "/v2/things/5", "/v2/nope", "/v2/things/%ff"):
        headers = ask("GET", path).headers
        assert headers["x-openstack-request-id"] == headers["x-compute-request-id"]
        assert headers["x-openstack-request-id"].startswith("req-")


@pytest.mark.parametrize("thing", ["key", "hyper"])
def test_what_is_unexpected_is_a_500_that_tells_only_the_id(thing, caplog):
    response = ask("PUT", f"/v2/things/{thing}")
    assert response.status_int == 500 and "secret" not in response.text
    assert response.headers["x-openstack-request-id"] in response.json["computeFault"]["message"]
    assert "secret" in caplog.text


def test_a_filter_that_fails_is_a_500_with_an_id():
    def broken(environ, start_response):
        raise RuntimeError("secret")
    response = webob.Request.blank("/").get_response(RequestLog(broken))
    assert response.status_int == 500 and "secret" not in response.text
    assert response.headers["x-openstack-request-id"] in response.text


def test_the_network_writes_its_errors_differently():
    body = ask("PUT", "/v2/things/gone", app=make(network_fault)).json
    assert body == {"NeutronError": {"type": "NotFound", "detail": "",
                                     "message": "The resource could not be found."}}


def test_media_types():
    ok = {"thing": {"name": "a"}}
    assert ask("POST", "/v2/things", ok, Content_Type="application/json; charset=utf-8"
               ).status_int == 201
    assert ask("POST", "/v2/things", b"a=b", Content_Type="text/plain").status_int == 415
    for accept, status in (("*/*", 200), ("application/*;q=0.5", 200), ("text/html", 406),
                           ("text/html, application/json", 200), ("", 200)):
        assert ask("GET", "/v2/things/5", Accept=accept).status_int == status


def test_body_limits_with_and_without_a_length():
    big = json.dumps({"thing": {"name": "a" * 2000}}).encode()
    assert ask("POST", "/v2/things", big).status_int == 413
    environ = webob.Request.blank("/v2/things", method="POST").environ
    environ.update({"wsgi.input": io.BytesIO(big), "HTTP_TRANSFER_ENCODING": "chunked",
                    "HTTP_X_AUTH_TOKEN": "u:p", "CONTENT_TYPE": "application/json"})
    environ.pop("CONTENT_LENGTH", None)
    assert webob.Request(environ).get_response(make()).status_int == 413
    small = json.dumps({"thing": {"name": "a"}}).encode()
    environ["wsgi.input"] = io.BytesIO(small)
    assert webob.Request(environ).get_response(make()).status_int == 201
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(small), "900"
    assert webob.Request(environ).get_response(make()).status_int == 400
    for length in ("-1", "x", "9" * 30, "\u0661"):
        environ["CONTENT_LENGTH"] = length
        assert webob.Request(environ).get_response(make()).status_int in (400, 413)


@pytest.mark.parametrize(("body", "says"), [
    ({}, "thing is required"), ([], "not of type object"), ({"thing": {}}, "name is required"),
    ({"thing": {"name": "a", "more": 1}}, "thing: unknown field more"),
    ({"thing": {"name": ""}}, "thing.name"), ({"thing": {"name": " "}}, "thing.name"),
    ({"thing": {"name": "a\tb"}}, "thing.name"), ({"thing": {"name": 5}}, "thing.name"),
    ({"thing": {"name": "a", "size": 6}}, "thing.size"),
    ({"thing": {"name": "a", "size": "6"}}, "thing.size"),
    ({"thing": {"name": "a", "size": "x"}}, "thing.size"),
    ({"thing": {"name": "a", "size": True}}, "thing.size"),
    ({"thing": {"name": "a" * 300}}, "thing.name: a value of length 300")])
def test_messages_name_the_field(body, says):
    response = ask("POST", "/v2/things", body)
    assert response.status_int == 400 and says in response.json["badRequest"]["message"]


def test_actions():
    assert ask("POST", "/v2/things/5/action", {"kick": {}}).status_int == 202
    for body in ({"fly": {}}, {}, {"kick": {}, "x": 1}, [], "kick", None, {"kick": {"soft": 1}}):
        assert ask("POST", "/v2/things/5/action", body).status_int == 400


@pytest.mark.parametrize("raw", [
    b"", b"\xff", b"{", b"NaN", b"[Infinity]", b"1" * 5000, b'"\\ud800"', b'"\\u0000"',
    b'{"a\\u0000": 1}', b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), b"[" * 90000,
    b'{"a":' * 50])
def test_json_that_is_refused(raw):
    with pytest.raises(exception.BadRequest):
        parse_json(raw)


def test_json_that_is_not():
    assert parse_json(b'["\\u00e9", "\\ud83d\\ude00", "\\\\u0000"]') \
        == ["\u00e9", "\U0001f600", "\\u0000"]
    assert parse_json(b'"' + b"[" * 1000 + b'"') == "[" * 1000
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert len(parse_json(json.dumps([[]] * 500).encode())) == 500


def test_formats():
    for text, good in (("0f5b9d1c-9a53-4d0c-8f5a-3c1f3e0a7a11", True), ("x", False),
                       ("0F5B9D1C9A534D0C8F5A3C1F3E0A7A11", True), (5, False),
                       ("{f5b9d1c-9a53-4d0c-8f5a-3c1f3e0a7a1}", False)):
        assert is_uuid(text) is good
    schema = Schema(string(format="base64"))
    schema.check("aGk=\n")
    for text in ("%", "a", "\u00e9"):
        with pytest.raises(exception.BadRequest):
            schema.check(text)
    assert [as_bool(v) for v in (True, "yes", "TRUE", "1", False, "no", None, "")] \
        == [True] * 4 + [False] * 4
