# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/members``: who an image is shared with."""

from __future__ import annotations

import webob

from glance import exceptions, wsgi
from glance.api.v2 import views
from glance.image import states

MAX_NAME = 255


def _object(request: wsgi.Request) -> dict[str, object]:
    document = request.json_object()
    if not isinstance(document, dict):
        raise exceptions.Invalid("body: must be a JSON object")
    return document


def index(request: wsgi.Request, image_id: str) -> webob.Response:
    """GET: all members for the owner, its own membership for a member."""
    found = request.service.list_members(request.context, image_id)
    return wsgi.json_response({"members": [views.member(member) for member in found],
                               "schema": "/v2/schemas/members"})


def create(request: wsgi.Request, image_id: str) -> webob.Response:
    """POST {"member": PROJECT}: share the image with a project."""
    member = _object(request).get("member")
    if not isinstance(member, str) or not 0 < len(member) <= MAX_NAME:
        raise exceptions.Invalid(f"member: must be a project id of 1 to {MAX_NAME} characters")
    context = request.context
    image = request.service.get(context, image_id)
    if image["visibility"] != "shared":
        raise exceptions.Forbidden(
            f"image {image_id} is {image['visibility']}; only shared images have members")
    if any(found["member"] == member
           for found in request.service.list_members(context, image_id)):
        raise exceptions.Duplicate(f"member: {member[:64]!r} is a member already")
    return wsgi.json_response(
        views.member(request.service.add_member(context, image_id, member)))


def show(request: wsgi.Request, image_id: str, member_id: str) -> webob.Response:
    """GET one membership."""
    return wsgi.json_response(views.member(
        request.service.get_member(request.context, image_id, member_id)))


def update(request: wsgi.Request, image_id: str, member_id: str) -> webob.Response:
    """PUT {"status": pending|accepted|rejected}: the member's decision."""
    status = _object(request).get("status")
    if status not in states.MEMBER_STATUSES:
        raise exceptions.Invalid(
            f"status: {str(status)[:64]!r} is not one of {', '.join(states.MEMBER_STATUSES)}")
    request.service.get_member(request.context, image_id, member_id)
    return wsgi.json_response(views.member(request.service.set_member_status(
        request.context, image_id, member_id, str(status))))


def delete(request: wsgi.Request, image_id: str, member_id: str) -> webob.Response:
    """DELETE: stop sharing with this project."""
    request.service.delete_member(request.context, image_id, member_id)
    return wsgi.empty_response(204)
