# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of metadata definitions: what is documented is what is checked."""

from __future__ import annotations

import functools
from typing import Any

from glance import exceptions

_NAME = {"type": "string", "minLength": 1, "maxLength": 80}
_TEXT = {"type": "string", "maxLength": 500}
_TIME = {"type": "string", "readOnly": True, "format": "date-time"}
_URL = {"type": "string", "readOnly": True}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 2 ** 31 - 1}
_STRINGS = {"type": "array", "items": {"type": "string", "maxLength": 255}, "maxItems": 1000}
_READ_ONLY = {"created_at": _TIME, "updated_at": _TIME, "self": _URL, "schema": _URL}

_PROPERTY: dict[str, Any] = {
    "name": _NAME, "title": {"type": "string", "maxLength": 255}, "description": _TEXT,
    "type": {"type": "string",
             "enum": ["array", "boolean", "integer", "number", "object", "string", None]},
    "operators": _STRINGS, "default": {}, "enum": {"type": "array", "maxItems": 1000},
    "minimum": {"type": "number"}, "maximum": {"type": "number"}, "minLength": _COUNT,
    "maxLength": _COUNT, "pattern": {"type": "string", "maxLength": 1000},
    "minItems": _COUNT, "maxItems": _COUNT, "uniqueItems": {"type": "boolean"},
    "additionalItems": {"type": "boolean"}, "readonly": {"type": "boolean"},
    "confidential": {"type": "boolean"}, "required": _STRINGS,
    "items": {"type": "object", "properties": {"type": {"type": "string"},
                                               "enum": {"type": "array", "maxItems": 1000}}},
    **_READ_ONLY}
_ASSOCIATION: dict[str, Any] = {
    "name": _NAME, "prefix": {"type": ["string", "null"], "maxLength": 80},
    "properties_target": {"type": ["string", "null"], "maxLength": 80}, **_READ_ONLY}
_INNER = {"type": "object", "additionalProperties": {
    "type": "object", "properties": _PROPERTY, "required": ["title", "type"]}}
_OBJECT: dict[str, Any] = {
    "name": _NAME, "description": _TEXT, "required": _STRINGS, "properties": _INNER, **_READ_ONLY}
_TAG: dict[str, Any] = {"name": _NAME, **_READ_ONLY}
_NAMESPACE: dict[str, Any] = {
    "namespace": _NAME, "display_name": {"type": ["string", "null"], "maxLength": 80},
    "description": {"type": ["string", "null"], "maxLength": 500},
    "visibility": {"type": "string", "enum": ["public", "private"]},
    "protected": {"type": "boolean"}, "owner": {"type": "string", "maxLength": 255},
    "resource_type_associations": {"type": "array", "maxItems": 100, "items": {
        "type": "object", "properties": _ASSOCIATION, "required": ["name"],
        "additionalProperties": False}},
    "properties": _INNER,
    "objects": {"type": "array", "maxItems": 1000, "items": {
        "type": "object", "properties": _OBJECT, "required": ["name"]}},
    "tags": {"type": "array", "maxItems": 1000, "items": {
        "type": "object", "properties": _TAG, "required": ["name"],
        "additionalProperties": False}},
    **_READ_ONLY}

#: what may be sent of each thing
_CHECKED: dict[str, dict[str, Any]] = {
    name: {"type": "object", "properties": properties, "required": required,
           "additionalProperties": False}
    for name, properties, required in (
        ("namespace", _NAMESPACE, ["namespace"]), ("association", _ASSOCIATION, ["name"]),
        ("property", _PROPERTY, ["name", "title", "type"]), ("object", _OBJECT, ["name"]),
        ("tag", _TAG, ["name"]), ("tags", {"tags": _NAMESPACE["tags"]}, ["tags"]))}


def _list_of(name: str, item: dict[str, Any], as_object: bool = False) -> dict[str, Any]:
    inner = {"type": "object", "additionalProperties": item} if as_object else {
        "type": "array", "items": item}
    return {"name": name, "properties": {
        name: inner, "first": {"type": "string"}, "next": {"type": "string"},
        "schema": {"type": "string"}}}


def documents() -> dict[str, dict[str, Any]]:
    """Every schema by the name it has below ``/v2/schemas/metadefs/``."""
    def one(name: str, checked: str) -> dict[str, Any]:
        return {"name": name, "properties": _CHECKED[checked]["properties"],
                "required": _CHECKED[checked]["required"], "additionalProperties": False}

    named = {"namespace": one("namespace", "namespace"), "object": one("object", "object"),
             "property": one("property", "property"), "tag": one("tag", "tag"),
             "resource_type": one("resource_type_association", "association")}
    return {**named,
            "namespaces": _list_of("namespaces", named["namespace"]),
            "objects": _list_of("objects", named["object"]),
            "properties": _list_of("properties", named["property"], as_object=True),
            "tags": _list_of("tags", named["tag"]),
            "resource_types": _list_of("resource_type_associations", named["resource_type"])}


@functools.cache
def _validator(kind: str) -> Any:
    import jsonschema  # 3 MB that an idle daemon does without

    return jsonschema.Draft4Validator(_CHECKED[kind])


def check(kind: str, document: Any) -> dict[str, Any]:
    """The document without what only the service writes; `Invalid` names what is wrong."""
    for error in _validator(kind).iter_errors(document):
        field = ".".join(str(part) for part in error.absolute_path) or "body"
        raise exceptions.Invalid(f"{field[:280]}: {error.message[:200]}")
    return {name: value for name, value in document.items() if name not in _READ_ONLY}
