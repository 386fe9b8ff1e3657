# SPDX-License-Identifier: Apache-2.0
"""Version documents and negotiation: what clients look at before they have a token."""

import pytest


@pytest.mark.parametrize("path, status", [
    ("/", 300), ("/versions", 200), ("/v2", 300), ("/v2/", 300),
    ("/versions/", 200), ("/v9/images", 300), ("/nothing", 300)])
def test_list_of_versions(api, path, status):
    response = api.get(path, base_url="http://images.example:9292")
    assert response.status_int == status
    versions = response.json["versions"]
    assert [version["status"] for version in versions].count("CURRENT") == 1
    assert versions[0]["status"] == "CURRENT"
    assert versions[0]["links"] == [{"rel": "self", "href": "http://images.example:9292/v2/"}]
    assert {version["id"] for version in versions} >= {"v2.0", "v2.1", "v1.0", "v1.1"}


@pytest.mark.parametrize("path", ["/v2/images", "/v2.0/images", "/v2.1/images"])
def test_minor_versions_lead_to_the_same_api(api, path):
    assert api.get(path).json["schema"] == "/v2/schemas/images"


def test_version_by_accept_header(api):
    accept = {"Accept": "application/vnd.openstack.images-v2"}
    assert api.get("/images", headers=accept).json["schema"] == "/v2/schemas/images"
    accept = {"Accept": "application/vnd.openstack.images-v1.1"}
    assert api.get("/images", headers=accept).json == {"images": []}
    assert api.get("/images", headers={"Accept": "text/html"}).status_int == 300


def test_healthcheck_needs_no_token(api):
    assert api.get("/healthcheck").text == "OK"


def test_public_endpoint_is_used_in_links(make_api):
    api = make_api(public_endpoint="https://cloud.example/image")
    versions = api.get("/").json["versions"]
    assert versions[0]["links"][0]["href"] == "https://cloud.example/image/v2/"


def test_unknown_path_and_method(api):
    assert api.get("/v2/nothing").status_int == 404
    response = api.call("PUT", "/v2/images")
    assert response.status_int == 405
    assert response.headers["Allow"] == "GET, POST"
    assert "request_id" in response.json["error"]


@pytest.mark.parametrize("method, path", [("GET", "/v2/schemas/punchcard")])
def test_what_is_not_supported_says_so(api, method, path):
    assert api.call(method, path).status_int == 501
