# SPDX-License-Identifier: Apache-2.0
"""``/v1/images/ID/members`` and ``/v1/shared-images/M``."""

from __future__ import annotations

from typing import Any

import webob

from glance import exceptions, wsgi
from glance.image import fields
from glance.registry.types import Member


def _view(member: Member) -> dict[str, Any]:
    return {"member_id": member["member"], "can_share": member["can_share"]}


def _member_id(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= fields.MAX_NAME:
        raise exceptions.Invalid("member_id: must be a project id")
    return value


def index(request: wsgi.Request, image_id: str) -> webob.Response:
    """GET /v1/images/ID/members."""
    found = request.service.list_members(request.context, image_id)
    return wsgi.json_response({"members": [_view(member) for member in found]})


def replace(request: wsgi.Request, image_id: str) -> webob.Response:
    """PUT /v1/images/ID/members {memberships: [{member_id, can_share}]}: the whole list."""
    document = request.json_object()
    wanted = document.get("memberships") if isinstance(document, dict) else None
    if not isinstance(wanted, list) or not all(isinstance(entry, dict) for entry in wanted):
        raise exceptions.Invalid("memberships: a list of objects of this name is needed")
    request.service.replace_members(request.context, image_id, [
        {"member": _member_id(entry.get("member_id")), "can_share": entry.get("can_share") is True}
        for entry in wanted])
    return wsgi.empty_response(204)


def update(request: wsgi.Request, image_id: str, member_id: str) -> webob.Response:
    """PUT /v1/images/ID/members/M [{member: {can_share}}]: add, or change what it may."""
    can_share = None
    if request.content_length:
        document = request.json_object()
        member = document.get("member") if isinstance(document, dict) else None
        if not isinstance(member, dict):
            raise exceptions.Invalid("member: an object of this name is needed")
        can_share = member.get("can_share") is True
    request.service.add_member(request.context, image_id, _member_id(member_id),
                               can_share=can_share)
    return wsgi.empty_response(204)


def delete(request: wsgi.Request, image_id: str, member_id: str) -> webob.Response:
    """DELETE /v1/images/ID/members/M."""
    request.service.delete_member(request.context, image_id, member_id)
    return wsgi.empty_response(204)


def shared_images(request: wsgi.Request, member_id: str) -> webob.Response:
    """GET /v1/shared-images/M: images M accepted."""
    found = request.service.registry.shared_images(request.context, member_id)
    return wsgi.json_response({"shared_images": [
        {"image_id": member["image_id"], "can_share": member["can_share"]} for member in found]})
