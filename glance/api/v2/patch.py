# SPDX-License-Identifier: Apache-2.0
"""JSON patch documents (RFC 6902: add, replace, remove) on an image, in both media types.

``application/openstack-images-v2.1-json-patch`` writes ``{"op": "replace", "path": "/name",
"value": "x"}``, the older ``v2.0`` one ``{"replace": "/name", "value": "x"}``.
"""

from __future__ import annotations

from typing import Any

from glance import exceptions
from glance.image import fields
from glance.registry.types import Image

V21 = "application/openstack-images-v2.1-json-patch"
V20 = "application/openstack-images-v2.0-json-patch"
MEDIA_TYPES = (V21, V20)
_OPERATIONS = ("add", "replace", "remove")
_MAX_CHANGES = 1000


def _decode_pointer(pointer: Any) -> str:
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise exceptions.Invalid(
            f"path: {str(pointer)[:64]!r} is not a JSON pointer; it starts with a slash")
    pieces = pointer[1:].split("/")
    if pieces[0] == "locations" and len(pieces) <= 2:
        return pointer[1:]
    if pieces[0] in fields.RESERVED:
        raise exceptions.Forbidden(f"{pieces[0]}: this name is reserved")
    if len(pieces) > 1:
        raise exceptions.Invalid(f"path: {pointer[:64]!r} goes deeper than the fields of an image")
    piece = pieces[0]
    if "~" in piece.replace("~0", "").replace("~1", ""):
        raise exceptions.Invalid(f"path: {pointer[:64]!r}: ~ is written ~0, / is written ~1")
    name = piece.replace("~1", "/").replace("~0", "~")
    if not name or len(name) > fields.MAX_NAME:
        raise exceptions.Invalid(f"path: a name has 1 to {fields.MAX_NAME} characters")
    return name


def _parse_change(change: Any, media_type: str) -> tuple[str, str, Any]:
    if not isinstance(change, dict):
        raise exceptions.Invalid("body: each operation must be an object")
    if media_type == V21:
        operation, pointer = change.get("op"), change.get("path")
        if operation not in _OPERATIONS:
            raise exceptions.Invalid(
                f"op: {str(operation)[:64]!r} is not one of {', '.join(_OPERATIONS)}")
    else:
        named = [name for name in _OPERATIONS if name in change]
        if len(named) != 1:
            raise exceptions.Invalid(
                f"body: each operation must have one of {', '.join(_OPERATIONS)}")
        operation = named[0]
        pointer = change[operation]
    name = _decode_pointer(pointer)
    if operation != "remove" and "value" not in change:
        raise exceptions.Invalid(f"value: is missing for {name[:64]}")
    return operation, name, change.get("value")


def is_location(path: str) -> bool:
    """Whether an operation is on the locations of an image, not on a field."""
    return path.partition("/")[0] == "locations"


def parse(document: Any, media_type: str) -> list[tuple[str, str, Any]]:
    """The (operation, field, value) triples of a patch."""
    if not isinstance(document, list):
        raise exceptions.Invalid("body: must be a list of operations")
    if len(document) > _MAX_CHANGES:
        raise exceptions.LimitExceeded(f"body: at most {_MAX_CHANGES} operations")
    return [_parse_change(change, media_type) for change in document]


def apply(image: Image, changes: list[tuple[str, str, Any]]) -> dict[str, Any]:
    """What the registry has to change so that `image` becomes what the patch asks for.

    :raises Forbidden: for fields a caller may not set.
    :raises Conflict: for a property that is not there to replace or remove.
    :raises Invalid: for a value of the wrong kind.
    """
    properties = dict(image["properties"])
    values: dict[str, Any] = {}
    for operation, name, value in changes:
        if name == "id":
            raise exceptions.Forbidden("id: is read-only")
        fields.refuse_reserved(name)
        if name in fields.WRITABLE:
            if operation == "remove":
                raise exceptions.Forbidden(f"{name}: cannot be removed, only replaced")
            values[name] = value
        elif operation == "remove":
            if properties.pop(name, None) is None:
                raise exceptions.Conflict(f"{name[:64]}: the image has no such property")
        elif operation == "replace" and name not in properties:
            raise exceptions.Conflict(f"{name[:64]}: the image has no such property to replace")
        else:
            properties[name] = value
    fields.check({**properties, **values})
    if properties != image["properties"]:
        values["properties"] = properties
    return values
