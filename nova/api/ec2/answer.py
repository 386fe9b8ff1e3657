# SPDX-License-Identifier: Apache-2.0
"""Answers as XML, written by the shape that the version asked for gives them."""

import base64
import datetime
import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from botocore.model import ListShape, OperationModel, Shape, StructureShape

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def text_of(value: str) -> str:
    """Return a text for an element; what XML cannot carry becomes the replacement character."""
    return escape(_NOT_IN_XML.sub("\ufffd", value), {"\r": "&#13;"})


def render(operation: OperationModel, version: str, request_id: str,
           answer: Mapping[str, Any] | None, strict: bool = False) -> bytes:
    """Return the document of an answer.

    Without an output shape it is ``<return>true</return>``.  A member the shape does not have (an
    older version's) is left out; with ``strict`` it is a KeyError.
    """
    name = f"{operation.name}Response"
    parts = [f'{_HEAD}<{name} xmlns="http://ec2.amazonaws.com/doc/{version}/">'
             f"<requestId>{text_of(request_id)}</requestId>"]
    shape = operation.output_shape
    if shape is None:
        parts.append("<return>true</return>")
    else:
        _members(parts, answer or {}, shape, strict)
    parts.append(f"</{name}>")
    return "".join(parts).encode("utf-8")


def render_error(code: str, message: str, request_id: str) -> bytes:
    """Return the document of a refusal."""
    return (f"{_HEAD}<Response><Errors><Error><Code>{text_of(code)}</Code>"
            f"<Message>{text_of(message)}</Message></Error></Errors>"
            f"<RequestID>{text_of(request_id)}</RequestID></Response>").encode()


def _members(parts: list[str], values: Mapping[str, Any], shape: StructureShape,
             strict: bool) -> None:
    for name, value in values.items():
        member = shape.members.get(name)
        if member is None:
            if strict:
                raise KeyError(f"{shape.name} has no {name}")
            continue
        if value is not None:
            _element(parts, str(member.serialization.get("name", name)), value, member, strict)


def _element(parts: list[str], tag: str, value: Any, shape: Shape, strict: bool) -> None:
    if isinstance(shape, ListShape):
        inner = str(shape.member.serialization.get("name", "item"))
        flat = shape.serialization.get("flattened")
        if not flat:
            parts.append(f"<{tag}>")
        for one in value:
            _element(parts, tag if flat else inner, one, shape.member, strict)
        if not flat:
            parts.append(f"</{tag}>")
        return
    parts.append(f"<{tag}>")
    if isinstance(shape, StructureShape):
        _members(parts, value, shape, strict)
    else:
        parts.append(text_of(_scalar(value, shape.type_name)))
    parts.append(f"</{tag}>")


def _scalar(value: Any, kind: str) -> str:
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        moment: datetime.datetime = value
        if moment.tzinfo is not None:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
        return moment.isoformat(timespec="milliseconds") + "Z"
    if kind == "blob":
        return base64.b64encode(value).decode("ascii")
    return str(value)
