# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/actions``."""

from __future__ import annotations

import webob

from glance import wsgi


def deactivate(request: wsgi.Request, image_id: str) -> webob.Response:
    """POST: nobody but an administrator can download the image from now on."""
    request.service.set_active(request.context, image_id, False)
    return wsgi.empty_response(204)


def reactivate(request: wsgi.Request, image_id: str) -> webob.Response:
    """POST: take back a deactivate."""
    request.service.set_active(request.context, image_id, True)
    return wsgi.empty_response(204)
