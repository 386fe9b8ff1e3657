# SPDX-License-Identifier: Apache-2.0
"""The registry's REST API: the routes of 2011, and what the service needs beyond them.

As in 2011: ``GET /``, ``/images``, ``/images/detail``, ``/images/ID``, ``POST /images``,
``PUT /images/ID`` (``X-Glance-Registry-Purge-Props``), ``DELETE /images/ID``,
``/images/ID/members[/M]``, ``/shared-images/M``.  An image document has ``is_public`` and
``location`` beside today's fields.

New are conditions on ``PUT /images/ID``, in headers: ``X-Glance-Registry-From-Status`` (comma
separated), ``X-Glance-Registry-Upload-Token``, ``X-Glance-Registry-Version``; the parameters
``filters`` (a JSON list of triples), ``visibility``, ``member_status`` and ``sort`` of lists; and
``/images/ID/tags/T``, ``/images/ID/beat``, ``/transient``, ``/usage``, ``/tasks[/ID]`` and
``POST /metadefs/METHOD``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import webob

from glance import exceptions, wsgi
from glance.image import fields, states
from glance.registry import query, tasks
from glance.registry.client.base import RegistryClient
from glance.registry.types import COLUMNS, OPERATORS, UPLOAD_COLUMNS, Image, ImageQuery, Member

_DEFAULT_LIMIT = 25
_MAX_LIMIT = 1000
_BRIEF = ("id", "name", "size", "disk_format", "container_format", "checksum")
_ACCEPTED = frozenset({*COLUMNS, *UPLOAD_COLUMNS, "id", "properties", "tags", "locations"})
# parts of an image document that follow from the others, so writing them back is harmless
_DERIVED = frozenset({"location", "created_at", "updated_at", "deleted_at", "deleted", "version"})


def _registry(request: wsgi.Request) -> RegistryClient:
    return request.environ[wsgi.REGISTRY_KEY]


def _image_view(image: Image) -> dict[str, Any]:
    places = image["locations"]
    return {**image, "is_public": image["visibility"] == "public",
            "location": places[0]["url"] if places else None}


def _member_view(member: Member) -> dict[str, Any]:
    return {**member, "member_id": member["member"]}


def _object(request: wsgi.Request, name: str) -> dict[str, Any]:
    document = request.json_object()
    found = document.get(name) if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise exceptions.Invalid(f"{name}: an object of this name is needed")
    return found


def _image_values(document: Mapping[str, Any]) -> dict[str, Any]:
    """What to write, from an image document; refuses unknown names and values of wrong type."""
    values = {name: value for name, value in document.items() if name not in _DERIVED}
    if "is_public" in values:
        values.setdefault("visibility", "public" if values.pop("is_public") else "private")
    unknown = set(values) - _ACCEPTED
    if unknown:
        raise exceptions.Invalid(f"image: unknown field {sorted(unknown)[0][:64]}")
    fields.check({name: value for name, value in values.items() if name in fields.BASE})
    properties = values.get("properties", {})
    if not isinstance(properties, dict) or not all(
            value is None or isinstance(value, str) for value in properties.values()):
        raise exceptions.Invalid("properties: must be an object of strings")
    _check_locations(values.get("locations", []))
    if any(not 0 < len(name) <= fields.MAX_NAME for name in properties):
        raise exceptions.Invalid(f"properties: a name has 1 to {fields.MAX_NAME} characters")
    for name in ("upload_token", "upload_worker"):
        if not isinstance(values.get(name), (str, type(None))):
            raise exceptions.Invalid(f"{name}: must be a text")
    _check_count("upload_bytes", values.get("upload_bytes") or 0)
    return values


def _check_locations(places: Any) -> None:
    if not isinstance(places, list):
        raise exceptions.Invalid("locations: must be a list")
    for place in places:
        if not isinstance(place, dict) or not all(
                isinstance(place.get(name), str) and 0 < len(place[name]) <= fields.MAX_NAME * 8
                for name in ("store", "url")) or len(place["store"]) > fields.MAX_NAME:
            raise exceptions.Invalid("locations: each needs the texts store and url")
        _check_count("crc32", place.get("crc32") or 0)
        if not isinstance(place.get("metadata", {}), dict):
            raise exceptions.Invalid("locations: metadata must be an object")
    if len({place["url"] for place in places}) != len(places):
        raise exceptions.Invalid("locations: an address may be there only once")


def _check_count(name: str, value: Any) -> None:
    if type(value) is not int or not 0 <= value <= fields.MAX_BIGINT:
        raise exceptions.Invalid(f"{name}: must be a number of bytes")


def index(request: wsgi.Request) -> webob.Response:
    """GET / and /images: the brief list."""
    return wsgi.json_response({"images": [
        {name: image[name] for name in _BRIEF} for image in _list(request)]})


def detail(request: wsgi.Request) -> webob.Response:
    """GET /images/detail: whole documents."""
    return wsgi.json_response({"images": [_image_view(image) for image in _list(request)]})


def _list(request: wsgi.Request) -> list[Image]:
    pairs = request.query_pairs()
    named = dict(pairs)
    if "filters" in named:
        wanted = _query(named)
    else:
        wanted = query.parse(pairs, is_admin=request.context.is_admin,
                             default_limit=_DEFAULT_LIMIT, max_limit=_MAX_LIMIT)
    return _registry(request).list_images(request.context, wanted)


def _query(named: Mapping[str, str]) -> ImageQuery:
    try:
        triples = json.loads(named["filters"])
    except ValueError:
        raise exceptions.Invalid("filters: not valid JSON") from None
    if not isinstance(triples, list) or not all(
            isinstance(triple, list) and len(triple) == 3 and isinstance(triple[0], str)
            and triple[1] in OPERATORS for triple in triples):
        raise exceptions.Invalid("filters: must be a list of [field, operator, value]")
    wsgi.check_document(triples, "filters", 0)
    for field, comparison, value in triples:
        values = value if comparison == "in" else [value]
        if not isinstance(values, list) or not all(
                item is None or isinstance(item, (str, int, bool)) for item in values):
            raise exceptions.Invalid(f"filters: {field[:64]} has a value of the wrong type")
    order = []
    for part in filter(None, named.get("sort", "").split(",")):
        key, _, direction = part.partition(":")
        order.append((key, fields.parse_choice("sort", direction, ("asc", "desc"))))
    visibility = named.get("visibility")
    if visibility is not None:
        fields.parse_choice("visibility", visibility, (*states.VISIBILITIES, "all"))
    limit = named.get("limit")
    return ImageQuery(
        filters=tuple((field, comparison, value) for field, comparison, value in triples),
        visibility=visibility,
        member_status=fields.parse_choice("member_status", named.get("member_status", "accepted"),
                                          (*states.MEMBER_STATUSES, "all")),
        sort=tuple(order) or (("created_at", "desc"),), marker=named.get("marker"),
        limit=None if limit is None else fields.parse_integer("limit", limit))


def show(request: wsgi.Request, image_id: str) -> webob.Response:
    """GET /images/ID."""
    image = _registry(request).get_image(request.context, image_id)
    return wsgi.json_response({"image": _image_view(image)})


def create(request: wsgi.Request) -> webob.Response:
    """POST /images {image: {...}}."""
    values = _image_values(_object(request, "image"))
    defaults = {"name": None, "status": states.QUEUED, "visibility": "private",
                "disk_format": None, "container_format": None, "min_disk": 0, "min_ram": 0,
                "protected": False, "os_hidden": False, "owner": request.context.project_id}
    values = {**defaults, **values}
    values["id"] = fields.canonical_id(str(values.get("id")))
    context = request.context
    if not context.is_admin and (values["owner"] != context.project_id
                                 or values["status"] != states.QUEUED):
        raise exceptions.Forbidden("owner, status: only the image service itself sets these")
    image = _registry(request).create_image(context, values)
    return wsgi.json_response({"image": _image_view(image)})


def update(request: wsgi.Request, image_id: str) -> webob.Response:
    """PUT /images/ID {image: {...}}, under the conditions in the headers."""
    values = _image_values(_object(request, "image"))
    values.pop("id", None)
    headers = request.headers
    purge = headers.get("X-Glance-Registry-Purge-Props", "false")
    from_status = headers.get("X-Glance-Registry-From-Status")
    version = headers.get("X-Glance-Registry-Version")
    image = _registry(request).update_image(
        request.context, image_id, values,
        purge_props=fields.parse_boolean("X-Glance-Registry-Purge-Props", purge),
        from_status=None if from_status is None else from_status.split(","),
        upload_token=headers.get("X-Glance-Registry-Upload-Token"),
        version=None if version is None else fields.parse_integer(
            "X-Glance-Registry-Version", version))
    return wsgi.json_response({"image": _image_view(image)})


def delete(request: wsgi.Request, image_id: str) -> webob.Response:
    """DELETE /images/ID, with ``?final=true`` once its bytes are gone; answers what it was."""
    final = fields.parse_boolean("final", request.query().get("final", "false"))
    image = _registry(request).delete_image(request.context, image_id, final=final)
    return wsgi.json_response({"image": _image_view(image)})


def restore(request: wsgi.Request, image_id: str) -> webob.Response:
    """PUT /images/ID/restore."""
    _require_service(request)
    return wsgi.json_response({"image": _image_view(
        _registry(request).restore_image(request.context, image_id))})


def beat(request: wsgi.Request, image_id: str) -> webob.Response:
    """PUT /images/ID/beat {beat: {upload_token, received}}."""
    _require_service(request)
    document = _object(request, "beat")
    token, received = document.get("upload_token"), document.get("received")
    if not isinstance(token, str):
        raise exceptions.Invalid("upload_token: must be a text")
    _check_count("received", received)
    _registry(request).beat(request.context, image_id, token, int(received or 0))
    return wsgi.empty_response(204)


def transient(request: wsgi.Request) -> webob.Response:
    """GET /transient: images somebody has to finish saving or deleting."""
    _require_service(request)
    found = _registry(request).list_transient(request.context)
    return wsgi.json_response({"images": [_image_view(image) for image in found]})


def _require_service(request: wsgi.Request) -> None:
    if not request.context.internal:
        raise exceptions.Forbidden("only the image service itself may ask this")


def usage(request: wsgi.Request) -> webob.Response:
    """GET /usage?owner=PROJECT."""
    used = _registry(request).usage(request.context, request.query().get("owner"))
    return wsgi.json_response({"usage": {"images": used.images, "uploads": used.uploads,
                                         "bytes": used.bytes, "staged": used.staged}})


def _limit(request: wsgi.Request) -> int:
    limit = request.query().get("limit")
    return -1 if limit is None else fields.parse_integer("limit", limit)


def put_tag(request: wsgi.Request, image_id: str, tag: str) -> webob.Response:
    """PUT /images/ID/tags/T."""
    if len(tag) > fields.MAX_NAME:
        raise exceptions.Invalid(f"tag: at most {fields.MAX_NAME} characters are allowed")
    _registry(request).set_tag(request.context, image_id, tag, True, _limit(request))
    return wsgi.empty_response(204)


def delete_tag(request: wsgi.Request, image_id: str, tag: str) -> webob.Response:
    """DELETE /images/ID/tags/T."""
    _registry(request).set_tag(request.context, image_id, tag, False, -1)
    return wsgi.empty_response(204)


def members(request: wsgi.Request, image_id: str) -> webob.Response:
    """GET /images/ID/members."""
    found = _registry(request).list_members(request.context, image_id)
    return wsgi.json_response({"members": [_member_view(member) for member in found]})


def replace_members(request: wsgi.Request, image_id: str) -> webob.Response:
    """PUT /images/ID/members {memberships: [{member_id, can_share}]}."""
    document = request.json_object()
    wanted = document.get("memberships") if isinstance(document, dict) else None
    if not isinstance(wanted, list):
        raise exceptions.Invalid("memberships: a list of this name is needed")
    entries = [{"member": _member_id(entry.get("member_id")),
                "can_share": entry.get("can_share") is True}
               for entry in wanted if isinstance(entry, dict)]
    if len(entries) != len(wanted):
        raise exceptions.Invalid("memberships: each must be an object")
    _registry(request).replace_members(request.context, image_id, entries, _limit(request))
    return wsgi.empty_response(204)


def _member_id(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= fields.MAX_NAME:
        raise exceptions.Invalid("member_id: must be a project id")
    return value


def put_member(request: wsgi.Request, image_id: str, member_id: str) -> webob.Response:
    """PUT /images/ID/members/M [{member: {can_share, status, create}}]."""
    document: dict[str, Any] = {}
    if request.content_length:
        document = _object(request, "member")
    can_share, status = document.get("can_share"), document.get("status")
    if status is not None:
        fields.parse_choice("status", str(status), states.MEMBER_STATUSES)
    _registry(request).set_member(
        request.context, image_id, _member_id(member_id),
        can_share=None if can_share is None else can_share is True, status=status,
        create=document.get("create", True) is True, limit=_limit(request))
    return wsgi.empty_response(204)


def delete_member(request: wsgi.Request, image_id: str, member_id: str) -> webob.Response:
    """DELETE /images/ID/members/M."""
    _registry(request).delete_member(request.context, image_id, member_id)
    return wsgi.empty_response(204)


def shared_images(request: wsgi.Request, member_id: str) -> webob.Response:
    """GET /shared-images/M."""
    found = _registry(request).shared_images(request.context, member_id)
    return wsgi.json_response({"shared_images": [_member_view(member) for member in found]})


_TASK_TEXTS = ("id", "type", "status", "owner", "user_id", "request_id", "image_id", "message",
               "worker", "expires_at")
_TASK_OBJECTS = ("input", "result")
_TASK_LENGTHS = {"id": 36, "image_id": 36, "type": 30, "status": 30, "request_id": 64,
                 "message": 1000}
_TASK_QUERY = {"image_id": str, "statuses": list, "kind": str, "marker": str, "limit": int}


def _task_values(document: dict[str, Any]) -> dict[str, Any]:
    for name, value in document.items():
        wanted = str if name in _TASK_TEXTS else dict if name in _TASK_OBJECTS else ()
        if not isinstance(value, (wanted, type(None))) or wanted == ():
            raise exceptions.Invalid(f"task: {name[:64]} is unknown or of the wrong type")
        if isinstance(value, str) and len(value) > _TASK_LENGTHS.get(name, fields.MAX_NAME):
            raise exceptions.Invalid(f"task: {name} is too long")
    return tasks.parse_times(document)


def create_task(request: wsgi.Request) -> webob.Response:
    """POST /tasks {task: {...}}."""
    _require_service(request)
    values = _task_values(_object(request, "task"))
    if not values.get("id") or not values.get("type"):
        raise exceptions.Invalid("task: needs an id and a type")
    return wsgi.json_response({"task": _registry(request).create_task(request.context, values)})


def show_task(request: wsgi.Request, task_id: str) -> webob.Response:
    """GET /tasks/ID."""
    return wsgi.json_response({"task": _registry(request).get_task(request.context, task_id)})


def list_tasks(request: wsgi.Request) -> webob.Response:
    """GET /tasks?wanted={...}."""
    try:
        wanted = json.loads(request.query().get("wanted", "{}"))
    except ValueError:
        raise exceptions.Invalid("wanted: not valid JSON") from None
    if not isinstance(wanted, dict) or not all(
            isinstance(value, (_TASK_QUERY.get(name, ()), type(None)))
            for name, value in wanted.items()):
        raise exceptions.Invalid(f"wanted: must be an object of {', '.join(_TASK_QUERY)}")
    found = _registry(request).list_tasks(request.context, **wanted)
    return wsgi.json_response({"tasks": found})


def update_task(request: wsgi.Request, task_id: str) -> webob.Response:
    """PUT /tasks/ID {task: {...}, from_status: [...]}."""
    _require_service(request)
    document = request.json_object()
    values = document.get("task") if isinstance(document, dict) else None
    if not isinstance(values, dict):
        raise exceptions.Invalid("task: an object of this name is needed")
    values = _task_values(values)
    states_wanted = document.get("from_status") or ["pending", "processing"]
    if not isinstance(states_wanted, list):
        raise exceptions.Invalid("from_status: must be a list")
    changed = _registry(request).update_task(request.context, task_id, values, states_wanted)
    return wsgi.json_response({"changed": changed})


def metadefs(request: wsgi.Request, method: str) -> webob.Response:
    """POST /metadefs/METHOD {args: {...}}."""
    args = _object(request, "args")
    return wsgi.json_response(
        {"result": _registry(request).metadefs(request.context, method, **args)})


ROUTES: tuple[tuple[str, dict[str, wsgi.Handler]], ...] = (
    ("/", {"GET": index}),
    ("/images", {"GET": index, "POST": create}),
    ("/images/detail", {"GET": detail}),
    ("/images/{image_id}", {"GET": show, "PUT": update, "DELETE": delete}),
    ("/images/{image_id}/beat", {"PUT": beat}),
    ("/images/{image_id}/restore", {"PUT": restore}),
    ("/images/{image_id}/tags/{tag:.+}", {"PUT": put_tag, "DELETE": delete_tag}),
    ("/images/{image_id}/members", {"GET": members, "PUT": replace_members}),
    ("/images/{image_id}/members/{member_id}", {"PUT": put_member, "DELETE": delete_member}),
    ("/shared-images/{member_id}", {"GET": shared_images}),
    ("/transient", {"GET": transient}),
    ("/usage", {"GET": usage}),
    ("/tasks", {"GET": list_tasks, "POST": create_task}),
    ("/tasks/{task_id}", {"GET": show_task, "PUT": update_task}),
    ("/metadefs/{method}", {"POST": metadefs}),
)


def app_factory(_global_conf: dict[str, str], **_local_conf: str) -> wsgi.Application:
    """For paste."""
    return wsgi.Application(ROUTES)
