# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/tags/{tag}``."""

from __future__ import annotations

import webob

from glance import exceptions, wsgi

MAX_NAME = 255


def update(request: wsgi.Request, image_id: str, tag: str) -> webob.Response:
    """PUT: the image has the tag from now on."""
    if len(tag) > MAX_NAME:
        raise exceptions.Invalid(f"tag: at most {MAX_NAME} characters are allowed")
    request.service.set_tag(request.context, image_id, tag, True)
    return wsgi.empty_response(204)


def delete(request: wsgi.Request, image_id: str, tag: str) -> webob.Response:
    """DELETE: 404 when the image has no such tag."""
    request.service.set_tag(request.context, image_id, tag, False)
    return wsgi.empty_response(204)
