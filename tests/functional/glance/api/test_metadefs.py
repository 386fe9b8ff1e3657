# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions: namespaces and what is in them, in process and through the registry."""

import jsonschema
import pytest

from glance import config, wsgi
from glance.api.v2 import metadef_schemas
from glance.registry.client.rest import RestClient

BASE = "/v2/metadefs/namespaces"
PROPERTY = {"name": "cpu", "title": "CPUs", "type": "integer", "minimum": 1}


@pytest.fixture(params=["sql", "rest"])
def admin(request, make_api, make_conf, serve):
    api = make_api(token="root:ops:admin")
    if request.param == "rest":
        conf = make_conf("glance-registry", paste_deploy={"flavor": "trusted"})
        application = config.load_app(conf, "glance-registry")
        url = serve(wsgi.WithEnviron(application, {wsgi.REGISTRY_KEY: api.service.registry}))
        api.service.registry = RestClient(url)
    return api


def make(admin, name="hardware", status=201, **more):
    response = admin.call("POST", BASE, {"namespace": name, "visibility": "public", **more})
    assert response.status_int == status, response.text
    return response.json


def test_a_namespace_with_everything_in_it(admin):
    made = make(admin, description="d", properties={"cpu": {"title": "CPUs", "type": "integer"}},
                objects=[{"name": "o", "properties": {"p": {"title": "P", "type": "string"}}}],
                tags=[{"name": "t"}], resource_type_associations=[{"name": "X::Image",
                                                                  "prefix": "hw_"}])
    assert made["self"] == f"{BASE}/hardware"
    assert made["owner"] == "ops"
    shown = admin.get(f"{BASE}/hardware?resource_type=X::Image").json
    assert list(shown["properties"]) == ["hw_cpu"]
    assert shown["objects"][0]["name"] == "o"
    assert shown["tags"][0]["name"] == "t"
    assert shown["resource_type_associations"][0]["name"] == "X::Image"
    jsonschema.Draft4Validator(metadef_schemas.documents()["namespace"]).validate(
        {name: value for name, value in shown.items() if name != "id"})
    [listed] = admin.get(BASE).json["namespaces"]
    assert "properties" not in listed and listed["namespace"] == "hardware"
    assert admin.call("DELETE", f"{BASE}/hardware").status_int == 204
    assert admin.get(f"{BASE}/hardware").status_int == 404
    assert admin.get("/v2/metadefs/resource_types").json["resource_types"][0]["name"] == "X::Image"


def test_who_sees_and_who_changes(admin):
    make(admin)
    make(admin, "secret", visibility="private")
    make(admin, "given", visibility="private", owner="alpha")
    alice = admin.as_("alice:alpha")
    assert sorted(each["namespace"] for each in alice.get(BASE).json["namespaces"]) == [
        "given", "hardware"]
    assert len(admin.get(BASE).json["namespaces"]) == 3
    assert alice.get(f"{BASE}/secret").status_int == 404
    assert alice.get(f"{BASE}/hardware").status_int == 200
    for method, path, body in (
            ("POST", BASE, {"namespace": "x"}), ("PUT", f"{BASE}/hardware", {"namespace": "x"}),
            ("DELETE", f"{BASE}/given", None),
            ("POST", f"{BASE}/given/properties", PROPERTY),
            ("POST", f"{BASE}/given/tags/x", None), ("DELETE", f"{BASE}/given/objects", None),
            ("POST", f"{BASE}/given/resource_types", {"name": "x"})):
        assert alice.call(method, path, body).status_int == 403, (method, path)


def test_pages_and_filters(admin):
    for name in ("a", "b", "c"):
        make(admin, name, resource_type_associations=[{"name": f"T::{name}"}])
    page = admin.get(f"{BASE}?limit=2&sort_key=namespace&sort_dir=asc").json
    assert [each["namespace"] for each in page["namespaces"]] == ["a", "b"]
    assert [each["namespace"] for each in admin.get(page["next"]).json["namespaces"]] == ["c"]
    found = admin.get(f"{BASE}?resource_types=T::b,T::c&visibility=public").json["namespaces"]
    assert sorted(each["namespace"] for each in found) == ["b", "c"]
    for query in ("limit=x", "visibility=x", "sort_key=x", "sort_dir=x", "marker=nowhere"):
        assert admin.get(f"{BASE}?{query}").status_int == 400


def test_change_and_rename(admin):
    make(admin, tags=[{"name": "t"}], resource_type_associations=[{"name": "X"}])
    make(admin, "taken")
    response = admin.call("PUT", f"{BASE}/hardware", {
        "namespace": "renamed", "description": "new", "protected": True})
    assert response.status_int == 200
    assert response.json["tags"][0]["name"] == "t"
    assert admin.get(f"{BASE}/hardware").status_int == 404
    assert admin.call("DELETE", f"{BASE}/renamed").status_int == 403
    assert admin.call("DELETE", f"{BASE}/renamed/tags/t").status_int == 403
    assert admin.call("DELETE", f"{BASE}/renamed/resource_types/X").status_int == 403
    assert admin.call("PUT", f"{BASE}/renamed", {"namespace": "taken"}).status_int == 409
    assert admin.call("PUT", f"{BASE}/renamed", {"namespace": "renamed",
                                                 "protected": False}).status_int == 200
    assert admin.call("DELETE", f"{BASE}/renamed").status_int == 204


@pytest.mark.parametrize("collection, body", [
    ("properties", PROPERTY), ("objects", {"name": "cpu", "properties": {}}),
    ("tags", {"name": "cpu"})])
def test_five_verbs(admin, collection, body):
    make(admin)
    path = f"{BASE}/hardware/{collection}"
    made = admin.call("POST", f"{path}/cpu") if collection == "tags" else admin.call(
        "POST", path, body)
    assert (made.status_int, made.json["name"]) == (201, "cpu")
    again = admin.call("POST", f"{path}/cpu") if collection == "tags" else admin.call(
        "POST", path, body)
    assert again.status_int == 409
    assert admin.get(f"{path}/cpu").json["name"] == "cpu"
    assert len(admin.get(path).json[collection]) == 1
    changed = admin.call("PUT", f"{path}/cpu", {**body, "name": "gpu"})
    assert (changed.status_int, changed.json["name"]) == (200, "gpu")
    assert admin.get(f"{path}/cpu").status_int == 404
    assert admin.call("DELETE", f"{path}/gpu").status_int == 204
    assert admin.call("DELETE", f"{path}/gpu").status_int == 404
    assert not admin.get(path).json[collection]
    assert admin.call("DELETE", path).status_int == 204


def test_tags_at_once(admin):
    make(admin)
    path = f"{BASE}/hardware/tags"
    def send(*names, **headers):
        return admin.call("POST", path, {"tags": [{"name": name} for name in names]}, headers)

    assert len(send("a", "b").json["tags"]) == 2
    assert [each["name"] for each in send("c").json["tags"]] == ["c"]
    response = send("d", **{"X-Openstack-Append": "True"})
    assert [each["name"] for each in response.json["tags"]] == ["c", "d"]
    assert send("a", "a").status_int == 409


def test_resource_types_of_a_namespace(admin):
    make(admin)
    path = f"{BASE}/hardware/resource_types"
    assert admin.call("POST", path, {"name": "X::Y", "prefix": "p_"}).status_int == 201
    assert admin.call("POST", path, {"name": "X::Y"}).status_int == 409
    assert admin.get(path).json["resource_type_associations"][0]["prefix"] == "p_"
    assert admin.call("DELETE", f"{path}/X::Y").status_int == 204
    assert admin.call("DELETE", f"{path}/X::Y").status_int == 404


@pytest.mark.parametrize("body", [
    {}, [], {"namespace": ""}, {"namespace": "x" * 81}, {"namespace": 5},
    {"namespace": "x", "visibility": "shared"}, {"namespace": "x", "color": "red"},
    {"namespace": "x", "properties": {"p": {"title": "no type"}}},
    {"namespace": "x", "properties": []}, {"namespace": "x", "tags": [{}]},
    {"namespace": "x", "properties": {"p": {"title": "t", "type": "integer", "minLength": -1}}},
    {"namespace": "x", "protected": "yes"}, {"namespace": "x", "owner": None}])
def test_documents_that_cannot_be(admin, body):
    assert admin.call("POST", BASE, body).status_int == 400
    assert admin.get(BASE).json["namespaces"] == []


def test_the_registry_calls_nothing_that_is_not_in_its_table(admin):
    from glance import exceptions
    from glance.context import RequestContext

    caller = RequestContext(user_id="u", project_id="p", roles=("member",))
    registry = admin.service.registry
    for method, args in (("_insert_item", {}), ("__class__", {}), ("list_items", {"what": 1}),
                         ("get_namespace", {})):
        with pytest.raises((exceptions.NotFound, exceptions.Invalid)):
            registry.metadefs(caller, method, **args)
