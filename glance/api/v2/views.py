# SPDX-License-Identifier: Apache-2.0
"""Registry dictionaries as the documents of API v2."""

from __future__ import annotations

from typing import Any

from glance import wsgi
from glance.registry.types import Image, Member

_FIELDS = ("name", "disk_format", "container_format", "visibility", "size", "virtual_size",
           "status", "checksum", "protected", "min_ram", "min_disk", "owner", "os_hidden",
           "os_hash_algo", "os_hash_value", "id", "created_at", "updated_at", "tags")
IMAGE_SCHEMA = "/v2/schemas/image"


def image(found: Image, request: wsgi.Request) -> dict[str, Any]:
    """One image: custom properties beside the fields, never over them."""
    document: dict[str, Any] = request.service.protections.visible(
        request.context, found["properties"])
    document.update(request.service.locations.view(request.context, found))
    for name in _FIELDS:
        document[name] = found[name]
    path = f"/v2/images/{found['id']}"
    document["self"] = path
    document["file"] = f"{path}/file"
    document["schema"] = IMAGE_SCHEMA
    return document


def member(found: Member) -> dict[str, Any]:
    """One membership."""
    return {"image_id": found["image_id"], "member_id": found["member"],
            "status": found["status"], "created_at": found["created_at"],
            "updated_at": found["updated_at"], "schema": "/v2/schemas/member"}
