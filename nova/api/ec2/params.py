# SPDX-License-Identifier: Apache-2.0
"""Parameters of a query, ``Filter.1.Value.2=x``, read by the shape they have to have.

Everything that does not fit is refused by its name: a parameter the shape does not know, one that
is there twice, a text that is no number.
"""

import base64
import binascii
import datetime
import re
from collections.abc import Mapping
from typing import Any

from botocore.model import ListShape, Shape, StructureShape
from dateutil import parser as dates

from nova.api.ec2.errors import Ec2Error, invalid

MAX_PARAMETERS = 2000
MAX_DEPTH = 12
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_INDEX = re.compile(r"[1-9][0-9]{0,5}\Z|0\Z")
_FLOAT = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?\Z")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RANGES = {"integer": 1 << 31, "long": 1 << 63}


def parse(params: Mapping[str, str], shape: StructureShape | None) -> dict[str, Any]:
    """Return the input of an operation, keyed by the members' names; Ec2Error names what is wrong.

    Integers, floats, booleans, bytes (of a blob) and aware datetimes are what they are in botocore.
    """
    if len(params) > MAX_PARAMETERS:
        raise Ec2Error("InvalidRequest", f"More than {MAX_PARAMETERS} parameters.")
    tree: dict[str, Any] = {}
    for name, value in params.items():
        _plant(tree, name, value)
    if shape is None:
        if tree:
            raise _unknown(next(iter(params)))
        return {}
    return _structure(tree, shape, "")


def _unknown(name: str) -> Ec2Error:
    return Ec2Error("UnknownParameter",
                    f"The parameter {ascii(name[:128])[1:-1]} is not recognized")


def _plant(tree: dict[str, Any], name: str, value: str) -> None:
    parts = name.split(".")
    if len(parts) > MAX_DEPTH or not all(parts):
        raise _unknown(name)
    for part in parts[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise _unknown(name)
    if parts[-1] in tree:
        raise _unknown(name)
    tree[parts[-1]] = value


def wire_name(name: str, member: Shape) -> str:
    """Return what a member is called in a query."""
    if "queryName" in member.serialization:
        return str(member.serialization["queryName"])
    if "name" in member.serialization:
        given = str(member.serialization["name"])
        return given[0].upper() + given[1:]
    return name


def _structure(tree: Mapping[str, Any], shape: StructureShape, path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    by_wire = {wire_name(name, member): (name, member) for name, member in shape.members.items()}
    for key, value in tree.items():
        if key not in by_wire:
            raise _unknown(path + key)
        name, member = by_wire[key]
        found[name] = _any(value, member, path + key)
    for name in shape.required_members:
        if name not in found:
            raise Ec2Error("MissingParameter", "The request must contain the parameter "
                           f"{path}{wire_name(name, shape.members[name])}")
    return found


def _any(value: Any, shape: Shape, path: str) -> Any:
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            raise invalid(path, value, "It has parts of its own.")
        return _structure(value, shape, path + ".")
    if isinstance(shape, ListShape):
        return _list(value, shape, path)
    if isinstance(value, dict):
        raise _unknown(f"{path}.{next(iter(value))}")
    return _scalar(value, shape.type_name, path)


def _list(value: Any, shape: ListShape, path: str) -> list[Any]:
    if not isinstance(value, dict):
        # One element without a number; an empty text is the empty list.
        return [] if value == "" else [_any(value, shape.member, path)]
    for key in value:
        if not _INDEX.match(key):
            raise _unknown(f"{path}.{key}")
    return [_any(value[key], shape.member, f"{path}.{key}") for key in sorted(value, key=int)]


def _scalar(text: str, kind: str, path: str) -> Any:
    if kind == "string":
        if _NOT_IN_XML.search(text):
            raise invalid(path, text, "It has characters that no XML can carry.")
        return text
    if kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise invalid(path, text, "It is neither true nor false.")
        return text.lower() == "true"
    if kind in _RANGES:
        if not _INTEGER.match(text) or not -_RANGES[kind] <= int(text) < _RANGES[kind]:
            raise invalid(path, text, "It is not an integer.")
        return int(text)
    if kind in ("float", "double"):
        if not _FLOAT.match(text):
            raise invalid(path, text, "It is not a number.")
        return float(text)
    if kind == "blob":
        try:
            return base64.b64decode(re.sub(r"\s", "", text), validate=True)
        except (binascii.Error, ValueError):
            raise invalid(path, text, "It is not base64.") from None
    if kind == "timestamp":
        return timestamp(text, path)
    raise _unknown(path)


def timestamp(text: str, path: str) -> datetime.datetime:
    """Return a moment written as ISO 8601, in UTC."""
    try:
        found = dates.isoparse(text)
        return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).astimezone(
            datetime.UTC)
    except (ValueError, OverflowError):
        raise invalid(path, text, "It is not a date.") from None
