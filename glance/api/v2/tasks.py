# SPDX-License-Identifier: Apache-2.0
"""``/v2/tasks`` and ``/v2/images/{id}/tasks``: work that went on after the answer."""

from __future__ import annotations

from typing import Any

import webob

from glance import exceptions, wsgi
from glance.image import fields
from glance.image.orders import DOWNLOAD, Order
from glance.registry.types import Task

_BRIEF = ("id", "type", "status", "owner", "image_id", "user_id", "request_id", "created_at",
          "updated_at", "expires_at")
_STATUSES = ("pending", "processing", "success", "failure")
_TYPES = ("import", "api_image_import", "location_import", "location_delete")
TASK = {"name": "task", "properties": {
    **{name: {"type": ["string", "null"], "readOnly": True} for name in _BRIEF},
    "type": {"type": "string", "enum": list(_TYPES)},
    "status": {"type": "string", "enum": list(_STATUSES), "readOnly": True},
    "input": {"type": "object"}, "result": {"type": ["object", "null"], "readOnly": True},
    "message": {"type": "string", "readOnly": True},
    "self": {"type": "string", "readOnly": True}, "schema": {"type": "string", "readOnly": True}}}


def _brief(task: Task) -> dict[str, Any]:
    return {**{name: task[name] for name in _BRIEF}, "self": f"/v2/tasks/{task['id']}",
            "schema": "/v2/schemas/task"}


def _whole(task: Task) -> dict[str, Any]:
    shown = {name: value for name, value in (task["input"] or {}).items() if name != "order"}
    return {**_brief(task), "input": shown, "result": task["result"],
            "message": task["message"]}


def index(request: wsgi.Request) -> webob.Response:
    """GET /v2/tasks: one page, newest first."""
    request.service.policy.check(request.context, "tasks_api_access")
    query, limits = request.query(), request.service.limits
    limit = min(fields.parse_integer("limit", query.get("limit", str(limits.page_default))),
                limits.page_max)
    wanted: dict[str, Any] = {"limit": limit, "marker": query.get("marker")}
    if "status" in query:
        wanted["statuses"] = [fields.parse_choice("status", query["status"], _STATUSES)]
    if "type" in query:
        wanted["kind"] = fields.parse_choice("type", query["type"], _TYPES)
    found = request.service.registry.list_tasks(request.context, **wanted)
    document: dict[str, Any] = {"tasks": [_brief(task) for task in found], "first": "/v2/tasks",
                                "schema": "/v2/schemas/tasks"}
    if found and len(found) == limit:
        document["next"] = f"/v2/tasks?marker={found[-1]['id']}&limit={limit}"
    return wsgi.json_response(document)


def show(request: wsgi.Request, task_id: str) -> webob.Response:
    """GET /v2/tasks/{id}."""
    request.service.policy.check(request.context, "tasks_api_access")
    return wsgi.json_response(_whole(
        request.service.registry.get_task(request.context, task_id)))


def create(request: wsgi.Request) -> webob.Response:
    """POST {"type": "import", "input": {"import_from", "image_properties"}}: makes an image and
    has its data fetched, by the same rules as any import; 201 with the task."""
    context = request.context
    request.service.policy.check(context, "tasks_api_access")
    document = request.json_object()
    given = document.get("input") if isinstance(document, dict) else None
    if not isinstance(given, dict) or document.get("type") != "import":
        raise exceptions.Invalid("type: must be import, with an input")
    uri, properties = given.get("import_from"), given.get("image_properties")
    if not isinstance(uri, str) or not isinstance(properties, dict):
        raise exceptions.Invalid("input: needs import_from and image_properties")
    for name in properties:
        fields.refuse_reserved(name)
    fields.check(properties)
    values = fields.split(properties)
    for name in ("disk_format", "container_format"):
        if not values.get(name):
            raise exceptions.Invalid(f"image_properties.{name}: is needed")
    importer = request.service.importer
    importer.fetcher.check(uri)
    image = request.service.create(context, values)
    try:
        task = importer.start(context, image["id"], Order(DOWNLOAD, importer.stores(None, False),
                                                          uri), given, "import")
    except exceptions.GlanceError:
        request.service.delete(context.for_service(), image["id"])
        raise
    return wsgi.json_response(_whole(task), 201, {
        "Location": wsgi.absolute_url(request, f"/v2/tasks/{task['id']}")})


def of_image(request: wsgi.Request, image_id: str) -> webob.Response:
    """GET /v2/images/{id}/tasks: for whom may see the image and made the tasks."""
    image = request.service.get(request.context, image_id)
    found = request.service.registry.list_tasks(request.context, image_id=image["id"])
    return wsgi.json_response({"tasks": [_whole(task) for task in found]})
