# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/file``: the bytes of an image, in and out."""

from __future__ import annotations

import webob

from glance import exceptions, wsgi
from glance.api import ranges
from glance.api.data import OCTETS, announced_size, data_response


def upload(request: wsgi.Request, image_id: str) -> webob.Response:
    """PUT: 204 once the data is safe and the image active."""
    context = request.context
    if request.media_type != OCTETS:
        raise exceptions.UnsupportedMediaType(
            f"Content-Type: must be {OCTETS}, is {request.media_type[:80] or 'missing'}")
    store = request.headers.get("X-Image-Meta-Store")
    request.service.upload(context, image_id, request.environ["wsgi.input"],
                        announced_size(request), store_name=store)
    return wsgi.empty_response(204)


def download(request: wsgi.Request, image_id: str) -> webob.Response:
    """GET: 200, 206 for a range, 204 for an image without data.

    Of several copies, those in the stores that ``?prefer=NAME,NAME`` names are read first.
    """
    context = request.context
    prefer = [name for name in request.query().get("prefer", "").split(",") if name]
    for name in prefer:
        if request.service.stores.get(name) is None:
            raise exceptions.Invalid(f"prefer: there is no store {name[:64]!r}")
    image = request.service.get(context, image_id)
    if image["status"] in ("queued", "saving"):
        request.service.policy.check(context, "download_image", image)
        return wsgi.empty_response(204)
    size = image["size"] or 0
    part = ranges.requested(request, size)
    offset, length = (0, size) if part is None else part
    content = request.service.read_content(context, image, offset, length, prefer)
    headers = {"Content-Type": OCTETS, "Accept-Ranges": "bytes"}
    if part is None and image["checksum"]:  # data that lies elsewhere may have none
        headers["Content-MD5"] = image["checksum"]
    elif part is not None:
        headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{size}"
    return data_response(request, content.pieces, length, headers, 200 if part is None else 206,
                         f"download of image {image_id}")
