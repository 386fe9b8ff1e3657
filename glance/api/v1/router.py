# SPDX-License-Identifier: Apache-2.0
"""The routes of Image API v1, as one table."""

from __future__ import annotations

from glance import wsgi
from glance.api.v1 import images, members

ROUTES: tuple[tuple[str, dict[str, wsgi.Handler]], ...] = (
    ("/", {"GET": images.index}),
    ("/images", {"GET": images.index, "POST": images.create}),
    ("/images/detail", {"GET": images.detail}),
    ("/images/{image_id}", {"HEAD": images.head, "GET": images.show, "PUT": images.update,
                            "DELETE": images.delete}),
    ("/images/{image_id}/members", {"GET": members.index, "PUT": members.replace}),
    ("/images/{image_id}/members/{member_id}",
     {"PUT": members.update, "DELETE": members.delete}),
    ("/shared-images/{member_id}", {"GET": members.shared_images}),
)


def app_factory(_global_conf: dict[str, str], **_local_conf: str) -> wsgi.Application:
    """For paste."""
    return wsgi.Application(ROUTES)
