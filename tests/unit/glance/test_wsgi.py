# SPDX-License-Identifier: Apache-2.0
"""Routes, JSON bodies, and errors as answers."""

import json

import pytest
import webob

from glance import exceptions, wsgi


def call(handler, method="GET", path="/things/x", **options):
    app = wsgi.Application([("/things/{name}", {"GET": handler, "PUT": handler})])
    request = webob.Request.blank(path, method=method, **options)
    request.environ[wsgi.REQUEST_ID_KEY] = "req-1"
    return request.get_response(app)


def test_pieces_of_the_path_are_arguments():
    def handler(_request, name):
        return wsgi.json_response({"name": name})

    assert call(handler).json == {"name": "x"}
    assert call(handler, path="/things/%C3%A6").json == {"name": "æ"}
    assert call(handler, path="/things/x/").status_int == 404
    assert call(handler, path="/things/x/y").status_int == 404
    assert call(handler, path="/things/").status_int == 404
    assert call(handler, method="POST").headers["Allow"] == "GET, PUT"


@pytest.mark.parametrize("kind", [
    kind for kind in vars(exceptions).values()
    if isinstance(kind, type) and issubclass(kind, exceptions.GlanceError)])
def test_errors_become_answers(kind):
    def handler(_request, name):
        raise kind("name: is wrong")

    response = call(handler)
    assert response.status_int == kind.code
    assert response.json["error"] == {"code": kind.code, "title": kind.title,
                                      "message": "name: is wrong", "request_id": "req-1"}


def test_what_goes_wrong_inside_stays_inside():
    """L11: an unexpected error says nothing but the request's id."""
    def handler(_request, name):
        raise RuntimeError("secret of the house")

    response = call(handler)
    assert response.status_int == 500
    assert "secret" not in response.text
    assert response.json["error"]["request_id"] == "req-1"


@pytest.mark.parametrize("body, status", [
    (b'{"a": 1}', 200), (b"", 400), (b"{", 400), (b'"\xff"', 400), (b'{"a": Infinity}', 400),
    (b'{"a": "\\u0000"}', 400), (b'{"\\ud800": 1}', 400), (b"[" * 25 + b"]" * 25, 400),
    (b"[" * 200000, 400), (b" " * ((1 << 20) + 1), 413)])
def test_json_bodies(body, status):
    def handler(request, name):
        return wsgi.json_response(request.json_object())

    response = call(handler, method="PUT", body=body, content_type="application/json")
    assert response.status_int == status, response.text


def test_names_in_nested_documents():
    with pytest.raises(exceptions.Invalid, match=r"^a/0/b: may not contain a NUL"):
        wsgi.check_document(json.loads('{"a": [{"b": "\\u0000"}]}'), "body", 0)


def test_without_an_identity_nothing_is_served():
    def handler(request, name):
        return wsgi.json_response(request.context.project_id)

    assert call(handler).status_int == 401
