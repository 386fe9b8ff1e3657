# SPDX-License-Identifier: Apache-2.0
"""The fields of an image as one JSON schema: what the API documents is what it checks.

Field names and meanings are those of the Image service API v2.
"""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Collection, Mapping
from typing import Any

from glance import exceptions
from glance.image import states

MAX_INT = 2 ** 31 - 1
MAX_BIGINT = 2 ** 63 - 1
_TIME = {"type": "string", "readOnly": True}
_UUID = (r"^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}"
         r"-([0-9a-fA-F]){12}$")

#: fields that the service or the API itself establishes
READ_ONLY = frozenset({
    "status", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "created_at",
    "updated_at", "self", "file", "schema", "direct_url"})
#: names a caller may not use at all
RESERVED = frozenset({
    "location", "locations", "deleted", "deleted_at", "is_public", "stores"})
#: how the names of properties begin that only the service writes
RESERVED_PREFIX = "os_glance_"
#: fields a caller may set
WRITABLE = frozenset({
    "name", "visibility", "protected", "os_hidden", "tags", "disk_format", "container_format",
    "min_disk", "min_ram", "owner"})

BASE: dict[str, dict[str, Any]] = {
    "id": {"type": "string", "pattern": _UUID,
           "description": "An identifier for the image"},
    "name": {"type": ["null", "string"], "maxLength": 255,
             "description": "Descriptive name for the image"},
    "status": {"type": "string", "readOnly": True, "enum": list(states.STATUSES),
               "description": "Status of the image"},
    "visibility": {"type": "string", "enum": list(states.VISIBILITIES),
                   "description": "Scope of image accessibility"},
    "protected": {"type": "boolean",
                  "description": "If true, image will not be deletable."},
    "os_hidden": {"type": "boolean",
                  "description": "If true, image will not appear in default image list"},
    "checksum": {"type": ["null", "string"], "readOnly": True, "maxLength": 32,
                 "description": "md5 hash of image contents."},
    "os_hash_algo": {"type": ["null", "string"], "readOnly": True, "maxLength": 64,
                     "description": "Algorithm of os_hash_value"},
    "os_hash_value": {"type": ["null", "string"], "readOnly": True, "maxLength": 128,
                      "description": "Hexdigest of the image contents"},
    "owner": {"type": ["null", "string"], "maxLength": 255,
              "description": "Project the image belongs to"},
    "size": {"type": ["null", "integer"], "readOnly": True,
             "description": "Size of image file in bytes"},
    "virtual_size": {"type": ["null", "integer"], "readOnly": True,
                     "description": "Size of the disk in bytes"},
    "container_format": {"type": ["null", "string"],
                         "enum": [None, *states.CONTAINER_FORMATS],
                         "description": "Format of the container"},
    "disk_format": {"type": ["null", "string"], "enum": [None, *states.DISK_FORMATS],
                    "description": "Format of the disk"},
    "created_at": {**_TIME, "description": "Date and time of image registration"},
    "updated_at": {**_TIME, "description": "Date and time of the last image modification"},
    "tags": {"type": "array", "items": {"type": "string", "maxLength": 255},
             "description": "List of strings related to the image"},
    "min_ram": {"type": "integer", "minimum": 0, "maximum": MAX_INT,
                "description": "Amount of ram (in MB) required to boot image."},
    "min_disk": {"type": "integer", "minimum": 0, "maximum": MAX_INT,
                 "description": "Amount of disk space (in GB) required to boot image."},
    "self": {"type": "string", "readOnly": True, "description": "URL of this document"},
    "file": {"type": "string", "readOnly": True, "description": "URL of the image data"},
    "schema": {"type": "string", "readOnly": True, "description": "URL of this schema"},
}
#: what documents may say beside, of where data lies; clients look for it in the schema
_PLACES: dict[str, dict[str, Any]] = {
    "stores": {"type": "string", "readOnly": True,
               "description": "Stores the image data lies in, separated by commas"},
    "direct_url": {"type": "string", "readOnly": True,
                   "description": "URL of the image data, where it is shown"},
    "locations": {"type": "array", "description": "Where the image data lies, where it is shown",
                  "items": {"type": "object", "required": ["url", "metadata"], "properties": {
                      "url": {"type": "string", "maxLength": 2000},
                      "metadata": {"type": "object"},
                      "validation_data": {"type": "object"}}}},
}
#: what any further field has to look like
CUSTOM = {"type": "string", "maxLength": 65535}
MAX_NAME = 255


def image_schema() -> dict[str, Any]:
    """The schema of an image document."""
    return {"name": "image", "properties": {**BASE, **_PLACES},
            "additionalProperties": {"type": "string"},
            "links": [{"rel": "self", "href": "{self}"},
                      {"rel": "enclosure", "href": "{file}"},
                      {"rel": "describedby", "href": "{schema}"}]}


@functools.cache
def _validator() -> Any:
    import jsonschema  # 3 MB that an idle daemon does without

    return jsonschema.Draft4Validator({"type": "object", "properties": BASE,
                                       "additionalProperties": CUSTOM})


def refuse_reserved(name: str) -> None:
    """Raise `Forbidden` for a name that a caller may not set."""
    if name in READ_ONLY:
        raise exceptions.Forbidden(f"{name}: is read-only")
    if name in RESERVED or name.startswith(RESERVED_PREFIX):
        raise exceptions.Forbidden(f"{name[:64]}: this name is reserved")


def check(document: Mapping[str, Any]) -> None:
    """Raise `Invalid`, naming the field, unless every value is of its type and in its bounds."""
    for name in document:
        if not name or len(name) > MAX_NAME:
            raise exceptions.Invalid(
                f"{name[:64]!r}: a property name has 1 to {MAX_NAME} characters")
    for error in _validator().iter_errors(dict(document)):
        field = ".".join(str(part) for part in error.absolute_path) or "body"
        if error.validator in ("enum", "type"):
            wanted = ", ".join(str(item) for item in error.validator_value) if isinstance(
                error.validator_value, list) else error.validator_value
            raise exceptions.Invalid(
                f"{field[:280]}: {repr(error.instance)[:80]} is not "
                f"{'one of' if error.validator == 'enum' else 'of type'} {wanted}")
        raise exceptions.Invalid(f"{field[:280]}: {_reason(error)}")


def _reason(error: Any) -> str:
    if error.validator == "maxLength":
        return f"at most {error.validator_value} characters are allowed"
    if error.validator == "pattern":
        return f"{repr(error.instance)[:80]} does not have the right form"
    return error.message[:200]


def split(document: Mapping[str, Any]) -> dict[str, Any]:
    """A flat image document as the registry's values: fields, and ``properties`` apart."""
    values = {name: value for name, value in document.items() if name in BASE}
    values["properties"] = {name: value for name, value in document.items() if name not in BASE}
    return values


def canonical_id(text: str) -> str:
    """The one spelling of an image id; raises `Invalid` for what is not a UUID."""
    try:
        if not re.fullmatch(_UUID, text):
            raise ValueError
        return str(uuid.UUID(text))
    except ValueError:
        raise exceptions.Invalid(f"id: {text[:64]!r} is not a UUID") from None


def parse_boolean(name: str, text: str) -> bool:
    """``true`` or ``false`` in any case; anything else is `Invalid`."""
    lowered = text.lower()
    if lowered not in ("true", "false"):
        raise exceptions.Invalid(f"{name}: {text[:64]!r} is neither true nor false")
    return lowered == "true"


def parse_integer(name: str, text: str, maximum: int = MAX_BIGINT) -> int:
    """A decimal number from 0 to `maximum`."""
    if not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) > maximum:
        raise exceptions.Invalid(f"{name}: {text[:64]!r} is not a number from 0 to {maximum}")
    return int(text)


def parse_choice(name: str, text: str, choices: Collection[str]) -> str:
    """`text` if it is one of `choices`."""
    if text not in choices:
        raise exceptions.Invalid(f"{name}: {text[:64]!r} is not one of {', '.join(choices)}")
    return text
