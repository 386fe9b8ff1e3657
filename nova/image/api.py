# SPDX-License-Identifier: Apache-2.0
"""Images, as compute sees them: the only door from nova to the image service.

A front end asks with its caller's token, so the image service decides what the caller may see.
A worker has no token and asks with the service's own account (``[glance]`` options).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nova.context import RequestContext
from nova.exception import BadRequest
from nova.image.model import Image
from nova.image.transport import Transport, sorting

_COLUMNS = frozenset({
    "id", "name", "status", "size", "disk_format", "container_format", "checksum", "min_disk",
    "min_ram", "owner", "visibility", "protected", "created_at", "updated_at"})
# What the Image API says of an image and is neither a column above nor somebody's property.
_NOT_PROPERTIES = frozenset({
    "os_hash_algo", "os_hash_value", "tags", "self", "file", "schema", "virtual_size",
    "os_hidden", "locations", "direct_url", "stores"})


def image_of(record: Mapping[str, Any]) -> Image:
    """Turn a record of Image API v2 into an image."""
    columns = {name: record[name] for name in _COLUMNS if record.get(name) is not None}
    return Image(
        **columns,
        hash_algorithm=record.get("os_hash_algo"), hash_value=record.get("os_hash_value"),
        tags=tuple(record.get("tags") or ()),
        properties={name: value for name, value in record.items()
                    if name not in _COLUMNS and name not in _NOT_PROPERTIES})


class API:
    """Show, list, remove and download images.

    ImageNotFound also for an image the caller may not see, ImageServiceError when the service
    cannot be reached or fails.
    """

    def __init__(self) -> None:
        self.transport = Transport()

    def get(self, context: RequestContext | None, image_id: str) -> Image:
        """Return one image; without a context, as the service's own account sees it."""
        with self.transport.calling(context, image_id) as client:
            return image_of(client.get_image(image_id))

    def list(self, context: RequestContext, filters: Mapping[str, Any] | None = None, *,
             marker: str | None = None, limit: int | None = None,
             sort: Sequence[tuple[str, str]] = ()) -> "list[Image]":
        """Return one page of the images the caller may see, newest first unless sorted.

        ``filters`` are those of Image API v2 (``name``, ``status``, ``visibility``, ...).
        """
        with self.transport.calling(context, marker or "") as client:
            return [image_of(record) for record in client.list_images(
                limit=limit, sort=sorting(sort), marker=marker, **(filters or {}))]

    def delete(self, context: RequestContext, image_id: str) -> None:
        """Remove an image; Forbidden when it is protected or not the caller's to remove."""
        with self.transport.calling(context, image_id) as client:
            client.delete(image_id)

    def set_properties(self, context: RequestContext, image_id: str,
                       values: Mapping[str, str], remove: Sequence[str] = ()) -> Image:
        """Set and remove custom properties; return the image as it is then.

        BadRequest for a name that is one of an image's own columns.
        """
        for name in (*values, *remove):
            if name in _COLUMNS or name in _NOT_PROPERTIES:
                raise BadRequest(f"metadata: {name!r} is not a property of one's own choosing")
        with self.transport.calling(context, image_id) as client:
            return image_of(client.update(image_id, remove=list(remove), **values))

    def download(self, image_id: str) -> Iterator[bytes]:
        """Yield the bytes of an image, read with the service's own account.

        The bytes are not checked here: whoever keeps them compares with the image's hash.
        """
        return self.transport.pieces(image_id)

    def may_use(self, image: Image, project_id: str) -> bool:
        """Tell whether a project may boot from an image, asked with the service's account."""
        if image.visibility in ("public", "community") or image.owner == project_id:
            return True
        with self.transport.calling(None, image.id) as client:
            return any(member.get("member_id") == project_id
                       for member in client.members(image.id))
