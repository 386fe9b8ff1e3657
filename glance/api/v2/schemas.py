# SPDX-License-Identifier: Apache-2.0
"""``/v2/schemas/...``: the JSON schemas of this API's documents."""

from __future__ import annotations

from typing import Any

import webob

from glance import wsgi
from glance.api.v2 import metadef_schemas
from glance.api.v2.tasks import TASK
from glance.image import fields, states

_MEMBER: dict[str, Any] = {
    "name": "member",
    "properties": {
        "created_at": {"type": "string",
                       "description": "Date and time of image member creation"},
        "image_id": {"type": "string", "pattern": fields.BASE["id"]["pattern"],
                     "description": "An identifier for the image"},
        "member_id": {"type": "string",
                      "description": "An identifier for the image member (project)"},
        "status": {"type": "string", "enum": list(states.MEMBER_STATUSES),
                   "description": "The status of this image member"},
        "updated_at": {"type": "string",
                       "description": "Date and time of last modification of image member"},
        "schema": {"readOnly": True, "type": "string"},
    },
}


def _collection(name: str, item: str, schema: dict[str, Any], paged: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": name,
        "properties": {name: {"type": "array", "items": schema},
                       "schema": {"type": "string"}},
        "links": [{"rel": "describedby", "href": "{schema}"}],
    }
    if paged:
        document["properties"].update(first={"type": "string"}, next={"type": "string"})
        document["links"] += [{"rel": "first", "href": "{first}"},
                              {"rel": "next", "href": "{next}"}]
    return document


def documents() -> dict[str, dict[str, Any]]:
    """Every schema by its name."""
    image = fields.image_schema()
    return {"image": image, "images": _collection("images", "image", image, paged=True),
            "member": _MEMBER, "members": _collection("members", "member", _MEMBER, paged=False),
            "task": TASK, "tasks": _collection("tasks", "task", TASK, paged=True),
            **{f"metadefs/{name}": document
               for name, document in metadef_schemas.documents().items()}}


def handler(name: str) -> wsgi.Handler:
    """A handler that answers one schema."""

    def show(_request: wsgi.Request) -> webob.Response:
        return wsgi.json_response(documents()[name])

    return show
