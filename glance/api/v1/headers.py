# SPDX-License-Identifier: Apache-2.0
"""Image metadata in HTTP headers, both ways.

``x-image-meta-NAME`` for fields, ``x-image-meta-property-NAME`` for custom properties; names come
in lower case with underscores, an empty value is null, text is UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from glance import exceptions, wsgi
from glance.image import fields
from glance.registry.types import Image

_META = "HTTP_X_IMAGE_META_"
_PROPERTY = "PROPERTY_"
COPY_FROM = "x-glance-api-copy-from"
_TEXT = ("name", "disk_format", "container_format", "owner", "id")
_NUMBERS = ("min_ram", "min_disk")
_BOOLEANS = ("protected",)
# What clients of this version send back as they got it: nothing a caller can set.
_IGNORED = frozenset({
    "status", "created_at", "updated_at", "deleted_at", "deleted", "uri", "virtual_size"})
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_SHOWN = ("id", "name", "status", "size", "disk_format", "container_format", "checksum", "owner",
          "min_disk", "min_ram", "protected")


def _text(value: str, field: str) -> str:
    try:
        text = value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise exceptions.Invalid(f"x-image-meta-{field[:64]}: not valid UTF-8") from None
    wsgi.check_text(text, f"x-image-meta-{field[:64]}")
    return text


def _pairs(request: wsgi.Request) -> Iterator[tuple[str, str]]:
    for key, value in request.environ.items():
        if key.startswith(_META) and isinstance(value, str):
            name = key.removeprefix(_META).lower()
            yield name, _text(value, name)


def parse(request: wsgi.Request) -> tuple[dict[str, Any], dict[str, Any]]:
    """(image values, expectations): what to store, and ``size``, ``checksum`` and ``store``, which
    an upload is held to, or ``location`` and ``copy_from``, where the data is instead.

    :raises Invalid: naming the header.
    """
    values: dict[str, Any] = {}
    properties: dict[str, str] = {}
    expected: dict[str, Any] = {}
    for name, text in _pairs(request):
        prefix = _PROPERTY.lower()
        if name.startswith(prefix):
            properties[name.removeprefix(prefix)] = text
        elif name == "location":
            expected[name] = text or None
        elif name in _TEXT:
            values[name] = text or None
        elif name in _NUMBERS:
            values[name] = fields.parse_integer(name, text or "0", fields.MAX_INT)
        elif name in _BOOLEANS:
            values[name] = fields.parse_boolean(name, text or "false")
        elif name == "is_public":
            values["visibility"] = "public" if text.lower() == "true" else "shared"
        elif name == "size":
            expected["size"] = fields.parse_integer(name, text) if text else None
        elif name in ("checksum", "store"):
            expected[name] = text or None
        elif name not in _IGNORED:
            raise exceptions.Invalid(f"x-image-meta-{name[:64]}: no such field")
    copied = request.headers.get(COPY_FROM)
    if copied:
        expected["copy_from"] = _text(copied, COPY_FROM)
    if values.get("id") is None:
        values.pop("id", None)
    else:
        values["id"] = fields.canonical_id(values["id"])
    for name in properties:
        if name in fields.BASE:
            raise exceptions.Invalid(f"x-image-meta-property-{name}: this name is that of a field")
        fields.refuse_reserved(name)
    fields.check({**values, **properties})
    values["properties"] = properties
    return values, expected


# what this version knows nothing of, in its own words
_STATUSES = {"uploading": "queued", "importing": "saving"}


def document(image: Image, request: wsgi.Request) -> dict[str, Any]:
    """The image as this version shows it; where its data lies is nobody's business."""
    return {**{name: image[name] for name in _SHOWN},
            "status": _STATUSES.get(image["status"], image["status"]),
            "size": image["size"] or 0, "is_public": image["visibility"] == "public",
            "created_at": _time(image["created_at"]), "updated_at": _time(image["updated_at"]),
            "deleted_at": None, "deleted": False, "properties": request.service.protections.visible(
                request.context, image["properties"])}


def _time(value: str) -> str:
    return value.removesuffix("Z")


def _header(value: Any) -> str:
    """A value fit for a header: no control characters, bytes of UTF-8 as WSGI wants them."""
    if value is None:
        return ""
    return _CONTROL.sub(" ", str(value)).encode("utf-8").decode("latin-1")


def render(image: Image, request: wsgi.Request) -> dict[str, str]:
    """The headers that describe an image; properties whose names no header can have are left
    out."""
    found = document(image, request)
    properties = found.pop("properties")
    headers = {f"x-image-meta-{name}": _header(value) for name, value in found.items()}
    for name, value in properties.items():
        if _TOKEN.fullmatch(name):
            headers[f"x-image-meta-property-{name}"] = _header(value)
    return headers
