# SPDX-License-Identifier: Apache-2.0
"""What registry, clients and database hand each other.

An image is a plain dictionary, the same over REST and in process::

    {"id", "name", "status", "visibility", "disk_format", "container_format", "size",
     "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "owner", "min_disk", "min_ram",
     "protected", "os_hidden", "created_at", "updated_at", "deleted_at", "deleted", "version",
     "upload_bytes", "properties": {name: value}, "tags": [str], "locations": [location]}

A location is ``{"store", "url", "crc32", "metadata"}``, a member ``{"image_id", "member",
"can_share", "status", "created_at", "updated_at"}``.  Times are ISO 8601 in UTC, to the second,
with a ``Z``.
"""

from __future__ import annotations

import dataclasses
from typing import Any

Image = dict[str, Any]
Member = dict[str, Any]
#: ``{"id", "type", "status", "owner", "user_id", "request_id", "image_id", "input", "result",
#: "message", "worker", "created_at", "updated_at", "expires_at"}``; input and result are objects
Task = dict[str, Any]

OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "in")
SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at",
             "updated_at", "min_disk", "min_ram", "owner")
#: what an image update may carry besides ``properties``, ``tags`` and ``locations``
COLUMNS = ("name", "status", "visibility", "disk_format", "container_format", "size",
           "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "owner", "min_disk",
           "min_ram", "protected", "os_hidden")
#: set by the upload machinery only
UPLOAD_COLUMNS = ("upload_token", "upload_worker", "upload_bytes")
#: what an upload or a delete establishes; a caller's own update never touches these
SERVICE_FIELDS = frozenset({
    "id", "status", "size", "checksum", "os_hash_algo", "os_hash_value", "virtual_size",
    "locations", "deleted", "deleted_at", "created_at", "updated_at", "version", "upload_token",
    "upload_worker", "upload_beat", "upload_bytes"})


@dataclasses.dataclass(frozen=True)
class ImageQuery:
    """Which images to list, in which order.

    :ivar filters: (field, operator, value) triples, all of which must hold; a field is a column,
        ``tag``, or ``property:NAME``; the value of ``in`` is a list.
    :ivar visibility: one of the four, ``all`` for everything the caller may see, or None for
        the default: everything but other projects' community images.
    :ivar member_status: status a membership must have for the image to be listed, or ``all``.
    :ivar marker: id of the last image of the previous page.
    """

    filters: tuple[tuple[str, str, Any], ...] = ()
    visibility: str | None = None
    member_status: str = "accepted"
    sort: tuple[tuple[str, str], ...] = (("created_at", "desc"),)
    marker: str | None = None
    limit: int | None = None


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a project takes up: images, uploads under way, bytes stored and on their way, bytes
    staged for an import."""

    images: int
    uploads: int
    bytes: int
    staged: int = 0
