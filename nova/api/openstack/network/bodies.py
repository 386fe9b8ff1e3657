# SPDX-License-Identifier: Apache-2.0
"""Bodies of the Network API: one thing or a list of them, and what all of them have."""

import datetime
from collections.abc import Callable
from typing import Any

from nova import exception, policy
from nova.api.openstack.validation import Schema, obj, string
from nova.api.openstack.wsgi import Request

MAX_BULK = 100

NAME = string(255)
DESCRIPTION = string(255)
OPTIONAL_ID = {"type": ["string", "null"], "maxLength": 255}
FLAG = {"type": ["boolean", "string", "integer"], "enum": [
    True, False, 1, 0, "true", "false", "True", "False", "1", "0"]}
OWNER = {"project_id": string(255, 1), "tenant_id": string(255, 1)}


def create(single: str, plural: str, properties: dict[str, Any],
           required: tuple[str, ...] = ()) -> Schema:
    """Return the schema of a POST: ``{single: {...}}``, or ``{plural: [{...}, ...]}``."""
    one = obj(properties, required)
    return Schema({**obj({single: one, plural: {
        "type": "array", "minItems": 1, "maxItems": MAX_BULK, "items": one}}),
        "minProperties": 1, "maxProperties": 1})


def update(single: str, properties: dict[str, Any]) -> Schema:
    """Return the schema of a PUT."""
    return Schema(obj({single: obj(properties)}, (single,)))


def make(body: dict[str, Any], single: str, plural: str,
         one: Callable[[dict[str, Any]], dict[str, Any]],
         undo: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Make what a POST asks for; of a list all, or on the first error none."""
    if single in body:
        return {single: one(body[single])}
    made: list[dict[str, Any]] = []
    try:
        for values in body[plural]:
            made.append(one(values))
    except exception.NovaError:
        for view in reversed(made):
            undo(view)
        raise
    return {plural: made}


def truth(value: Any) -> bool:
    """Return what a value that passed :data:`FLAG` says."""
    return value in (True, 1) or (isinstance(value, str) and value.lower() in ("true", "1"))


def owner_of(req: Request, values: dict[str, Any], rule: str) -> str:
    """Return whose a new thing is: the caller's, unless ``rule`` lets it name another project."""
    named = {values.pop(name) for name in ("project_id", "tenant_id") if name in values}
    if len(named) > 1:
        raise exception.BadRequest("tenant_id: differs from project_id.")
    own = str(req.context.project_id)
    wanted = named.pop() if named else own
    if wanted != own:
        policy.authorize(req.context, rule)
    return wanted


def only(values: dict[str, Any], name: str, *allowed: Any, what: str | None = None) -> None:
    """Take a field that may say only what is the case anyway; else NotSupported."""
    if name in values:
        value = values.pop(name)
        if value not in allowed or (isinstance(value, bool) and not any(
                value is one for one in allowed)):
            raise exception.NotSupported(what=what or f"{name} = {value!r}"[:80])


def moment(value: datetime.datetime | None) -> str | None:
    """Return a time as the Network API writes it."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if value else None


def times(row: Any) -> dict[str, Any]:
    """Return a row's two moments."""
    return {"created_at": moment(row.created_at),
            "updated_at": moment(row.updated_at or row.created_at)}
