# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs``: the catalog of what metadata means, for those who write user interfaces."""

from __future__ import annotations

import functools
import urllib.parse
from collections.abc import Mapping
from typing import Any

import webob

from glance import exceptions, wsgi
from glance.api.v2 import metadef_schemas as schemas
from glance.image import fields
from glance.registry.metadefs import SORT_KEYS

_PREFIX = "/v2/metadefs/namespaces"
_SCHEMAS = "/v2/schemas/metadefs"
#: kind -> name of its collection, in paths and documents
COLLECTIONS = {"property": "properties", "object": "objects", "tag": "tags"}


def _call(request: wsgi.Request, rule: str, method: str, **args: Any) -> Any:
    request.service.policy.check(request.context, rule)
    return request.service.registry.metadefs(request.context, method, **args)


def _path(*pieces: str) -> str:
    return "/".join([_PREFIX, *(urllib.parse.quote(piece, safe="") for piece in pieces)])


def _item_view(namespace: str, kind: str, item: Mapping[str, Any]) -> dict[str, Any]:
    if kind in ("tag", "property"):  # clients take every member of a property for the property's
        return dict(item)
    return {**item, "self": _path(namespace, COLLECTIONS[kind], item["name"]),
            "schema": f"{_SCHEMAS}/{kind}"}


def _namespace_view(found: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    name = found["namespace"]
    document = {key: value for key, value in found.items() if key not in COLLECTIONS}
    if found.get("property"):
        document["properties"] = {
            prefix + each["name"]: {key: value for key, value in each.items() if key != "name"}
            for each in found["property"]}
    for kind in ("object", "tag"):
        if found.get(kind):
            document[COLLECTIONS[kind]] = [_item_view(name, kind, each) for each in found[kind]]
    return {**document, "self": _path(name), "schema": f"{_SCHEMAS}/namespace"}


# Namespaces


def index(request: wsgi.Request) -> webob.Response:
    """GET /v2/metadefs/namespaces: one page."""
    query = request.query()
    limits = request.service.limits
    limit = min(fields.parse_integer("limit", query.get("limit", str(limits.page_default))),
                limits.page_max)
    wanted: dict[str, Any] = {"limit": limit, "marker": query.get("marker")}
    if "visibility" in query:
        wanted["visibility"] = fields.parse_choice("visibility", query["visibility"],
                                                   ("public", "private"))
    if "resource_types" in query:
        wanted["resource_types"] = query["resource_types"].split(",")[:100]
    wanted["sort_key"] = fields.parse_choice("sort_key", query.get("sort_key", "created_at"),
                                             SORT_KEYS)
    wanted["sort_dir"] = fields.parse_choice("sort_dir", query.get("sort_dir", "desc"),
                                             ("asc", "desc"))
    found = _call(request, "get_metadef_namespaces", "list_namespaces", **wanted)
    kept = [(name, value) for name, value in request.query_pairs() if name != "marker"]
    document: dict[str, Any] = {
        "namespaces": [_namespace_view(each) for each in found],
        "first": _link(kept), "schema": f"{_SCHEMAS}/namespaces"}
    if found and len(found) == limit:
        document["next"] = _link([*kept, ("marker", found[-1]["namespace"])])
    return wsgi.json_response(document)


def _link(pairs: list[tuple[str, str]]) -> str:
    return f"{_PREFIX}?{urllib.parse.urlencode(pairs)}" if pairs else _PREFIX


def create(request: wsgi.Request) -> webob.Response:
    """POST /v2/metadefs/namespaces: a namespace, with contents if there are any."""
    values = schemas.check("namespace", request.json_object())
    contents = {
        "resource_type_associations": [schemas.check("association", each) for each in
                                       values.pop("resource_type_associations", ())],
        "property": [schemas.check("property", {"name": name, **body})
                     for name, body in values.pop("properties", {}).items()],
        "object": [schemas.check("object", each) for each in values.pop("objects", ())],
        "tag": [schemas.check("tag", each) for each in values.pop("tags", ())]}
    found = _call(request, "add_metadef_namespace", "create_namespace", values=values,
                  contents=contents)
    return wsgi.json_response(_namespace_view(found), 201, {
        "Location": wsgi.absolute_url(request, _path(found["namespace"]))})


def show(request: wsgi.Request, namespace: str) -> webob.Response:
    """GET one namespace with everything in it; ``resource_type`` asks for the names that its
    properties have there."""
    found = _call(request, "get_metadef_namespace", "get_namespace", namespace=namespace)
    wanted = request.query().get("resource_type")
    prefix = next((each["prefix"] or "" for each in found["resource_type_associations"]
                   if each["name"] == wanted), "")
    return wsgi.json_response(_namespace_view(found, prefix))


def update(request: wsgi.Request, namespace: str) -> webob.Response:
    """PUT: fields of a namespace; what is in it has addresses of its own."""
    values = schemas.check("namespace", request.json_object())
    for name in ("resource_type_associations", "properties", "objects", "tags"):
        values.pop(name, None)
    return wsgi.json_response(_namespace_view(_call(
        request, "modify_metadef_namespace", "update_namespace", namespace=namespace,
        values=values)))


def delete(request: wsgi.Request, namespace: str) -> webob.Response:
    """DELETE a namespace with everything in it; a protected one is refused."""
    _call(request, "delete_metadef_namespace", "delete_namespace", namespace=namespace)
    return wsgi.empty_response(204)


# Resource types


def resource_types(request: wsgi.Request) -> webob.Response:
    """GET /v2/metadefs/resource_types."""
    found = _call(request, "list_metadef_resource_types", "list_resource_types")
    return wsgi.json_response({"resource_types": found})


def associations(request: wsgi.Request, namespace: str) -> webob.Response:
    """GET the resource types of a namespace."""
    found = _call(request, "get_metadef_resource_type", "list_associations", namespace=namespace)
    return wsgi.json_response({"resource_type_associations": found})


def associate(request: wsgi.Request, namespace: str) -> webob.Response:
    """POST {"name", "prefix", "properties_target"}: 201."""
    values = schemas.check("association", request.json_object())
    found = _call(request, "add_metadef_resource_type_association", "add_association",
                  namespace=namespace, values=values)
    return wsgi.json_response(found, 201)


def dissociate(request: wsgi.Request, namespace: str, name: str) -> webob.Response:
    """DELETE: the namespace is not for that resource type any more."""
    _call(request, "remove_metadef_resource_type_association", "remove_association",
          namespace=namespace, name=name)
    return wsgi.empty_response(204)


# Properties, objects and tags: the same five verbs


def _list(kind: str, request: wsgi.Request, namespace: str) -> webob.Response:
    """GET the definitions of one kind."""
    query = request.query()
    limit = query.get("limit")
    found = _call(request, f"get_metadef_{COLLECTIONS[kind]}", "list_items", namespace=namespace,
                  kind=kind, marker=query.get("marker"),
                  limit=None if limit is None else fields.parse_integer(
                      "limit", limit, request.service.limits.page_max))
    views = [_item_view(namespace, kind, each) for each in found]
    name = COLLECTIONS[kind]
    document: dict[str, Any] = {name: views, "schema": f"{_SCHEMAS}/{name}"}
    if kind == "property":
        document = {name: {each["name"]: each for each in views}}
    return wsgi.json_response(document)


def _create(kind: str, request: wsgi.Request, namespace: str) -> webob.Response:
    """POST a definition: 201."""
    body = schemas.check(kind, request.json_object())
    found = _call(request, f"add_metadef_{kind}", "create_item", namespace=namespace, kind=kind,
                  body=body)
    return wsgi.json_response(_item_view(namespace, kind, found), 201)


def _show(kind: str, request: wsgi.Request, namespace: str, name: str) -> webob.Response:
    """GET one definition."""
    found = _call(request, f"get_metadef_{kind}", "get_item", namespace=namespace, kind=kind,
                  name=name)
    return wsgi.json_response(_item_view(namespace, kind, found))


def _update(kind: str, request: wsgi.Request, namespace: str, name: str) -> webob.Response:
    """PUT one definition anew."""
    body = schemas.check(kind, request.json_object())
    found = _call(request, f"modify_metadef_{kind}", "update_item", namespace=namespace,
                  kind=kind, name=name, body=body)
    return wsgi.json_response(_item_view(namespace, kind, found))


def _remove(kind: str, request: wsgi.Request, namespace: str, name: str) -> webob.Response:
    """DELETE one definition."""
    _call(request, f"delete_metadef_{kind}", "delete_item", namespace=namespace, kind=kind,
          name=name)
    return wsgi.empty_response(204)


def _clear(kind: str, request: wsgi.Request, namespace: str) -> webob.Response:
    """DELETE all definitions of one kind."""
    _call(request, f"delete_metadef_{kind}", "replace_items", namespace=namespace, kind=kind,
          bodies=[])
    return wsgi.empty_response(204)


def create_tags(request: wsgi.Request, namespace: str) -> webob.Response:
    """POST {"tags": [{"name"}]}: all the tags there are, or with ``X-Openstack-Append: True``
    further ones."""
    bodies = schemas.check("tags", request.json_object())["tags"]
    if len({each["name"] for each in bodies}) != len(bodies):
        raise exceptions.Duplicate("tags: a name is there twice")
    found = _call(request, "add_metadef_tags", "replace_items", namespace=namespace, kind="tag",
                  bodies=[schemas.check("tag", each) for each in bodies],
                  append=request.headers.get("X-Openstack-Append", "").lower() == "true")
    return wsgi.json_response({"tags": found}, 201)


def create_tag(request: wsgi.Request, namespace: str, name: str) -> webob.Response:
    """POST /tags/NAME: 201."""
    body = schemas.check("tag", {"name": name})
    found = _call(request, "add_metadef_tag", "create_item", namespace=namespace, kind="tag",
                  body=body)
    return wsgi.json_response(found, 201)


def _routes() -> tuple[tuple[str, dict[str, wsgi.Handler]], ...]:
    table: list[tuple[str, dict[str, wsgi.Handler]]] = [
        ("/metadefs/resource_types", {"GET": resource_types}),
        ("/metadefs/namespaces", {"GET": index, "POST": create}),
        ("/metadefs/namespaces/{namespace}", {"GET": show, "PUT": update, "DELETE": delete}),
        ("/metadefs/namespaces/{namespace}/resource_types",
         {"GET": associations, "POST": associate}),
        ("/metadefs/namespaces/{namespace}/resource_types/{name}", {"DELETE": dissociate})]
    for kind, collection in COLLECTIONS.items():
        path = f"/metadefs/namespaces/{{namespace}}/{collection}"
        one: dict[str, wsgi.Handler] = {
            method: functools.partial(handler, kind) for method, handler in
            (("GET", _show), ("PUT", _update), ("DELETE", _remove))}
        if kind == "tag":
            one["POST"] = create_tag
        table += [
            (path, {"GET": functools.partial(_list, kind),
                    "POST": create_tags if kind == "tag" else functools.partial(_create, kind),
                    "DELETE": functools.partial(_clear, kind)}),
            (f"{path}/{{name}}", one)]
    return tuple(table)


ROUTES = _routes()
