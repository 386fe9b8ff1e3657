# SPDX-License-Identifier: Apache-2.0
"""The routes of Image API v2, as one table."""

from __future__ import annotations

import webob

from glance import exceptions, wsgi
from glance.api.v2 import (
    actions,
    cached_images,
    discovery,
    image_data,
    images,
    imports,
    locations,
    members,
    metadefs,
    schemas,
    tags,
    tasks,
)


def _unsupported(what: str) -> dict[str, wsgi.Handler]:
    def refuse(request: wsgi.Request, **_args: str) -> webob.Response:
        request.require_identity()
        raise exceptions.NotSupported(f"{what} is not supported by this service")

    return dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), refuse)


ROUTES: tuple[tuple[str, dict[str, wsgi.Handler]], ...] = (
    ("/images", {"GET": images.index, "POST": images.create}),
    ("/images/{image_id}",
     {"GET": images.show, "PATCH": images.update, "DELETE": images.delete}),
    ("/images/{image_id}/file", {"GET": image_data.download, "PUT": image_data.upload}),
    ("/images/{image_id}/actions/deactivate", {"POST": actions.deactivate}),
    ("/images/{image_id}/actions/reactivate", {"POST": actions.reactivate}),
    ("/images/{image_id}/tags/{tag:.+}", {"PUT": tags.update, "DELETE": tags.delete}),
    ("/images/{image_id}/members", {"GET": members.index, "POST": members.create}),
    ("/images/{image_id}/members/{member_id}",
     {"GET": members.show, "PUT": members.update, "DELETE": members.delete}),
    ("/images/{image_id}/stage", {"PUT": imports.stage}),
    ("/images/{image_id}/import", {"POST": imports.start}),
    ("/images/{image_id}/tasks", {"GET": tasks.of_image}),
    ("/images/{image_id}/locations", {"GET": locations.index, "POST": locations.create}),
    ("/stores/{store_id}/{image_id}", {"DELETE": locations.delete_from_store}),
    *((f"/schemas/{name}", {"GET": schemas.handler(name)}) for name in schemas.documents()),
    ("/schemas/{name}", _unsupported("this schema")),
    ("/info/stores", {"GET": discovery.stores}),
    ("/info/stores/detail", {"GET": discovery.stores_detail}),
    ("/info/import", {"GET": discovery.imports}),
    ("/info/usage", {"GET": discovery.usage}),
    ("/cache", {"GET": cached_images.index, "DELETE": cached_images.clear}),
    ("/cache/{image_id}", {"PUT": cached_images.enqueue, "DELETE": cached_images.delete}),
    ("/tasks", {"GET": tasks.index, "POST": tasks.create}),
    ("/tasks/{task_id}", {"GET": tasks.show}),
    *metadefs.ROUTES,
)


def app_factory(_global_conf: dict[str, str], **_local_conf: str) -> wsgi.Application:
    """For paste."""
    return wsgi.Application(ROUTES)
