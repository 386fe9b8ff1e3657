# SPDX-License-Identifier: Apache-2.0
"""JSON bodies: parsing that survives anything, and schemas compiled once, at import.

    CREATE = Schema(obj({"flavor": obj({"name": NAME, "ram": integer(1)}, required=("name",))},
                        required=("flavor",)))

    @route("POST", "/flavors", body=CREATE)
    def create(self, req, body): ...
"""

import base64
import binascii
import ipaddress
import json
import re
import uuid
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError, best_match

from nova import exception

MAX_DEPTH = 32
MAX_INT = 0x7FFFFFFF
_SHOWN = 120

FORMATS = jsonschema.FormatChecker(formats=())


def is_uuid(value: object) -> bool:
    """Tell whether a string is a UUID, with or without its dashes."""
    if not isinstance(value, str) or len(value) not in (32, 36):
        return False
    try:
        return uuid.UUID(value).hex == value.replace("-", "").lower()
    except ValueError:
        return False


@FORMATS.checks("uuid")
def _uuid_format(value: object) -> bool:
    return not isinstance(value, str) or is_uuid(value)


@FORMATS.checks("ipv4", ValueError)
def _ipv4_format(value: object) -> bool:
    return not isinstance(value, str) or bool(ipaddress.IPv4Address(value))


@FORMATS.checks("ipv6", ValueError)
def _ipv6_format(value: object) -> bool:
    return not isinstance(value, str) or ("%" not in value and bool(ipaddress.IPv6Address(value)))


@FORMATS.checks("ip", ValueError)
def _ip_format(value: object) -> bool:
    return not isinstance(value, str) or ("%" not in value and bool(ipaddress.ip_address(value)))


@FORMATS.checks("base64", (ValueError, binascii.Error))
def _base64_format(value: object) -> bool:
    if isinstance(value, str):
        base64.b64decode(re.sub(r"\s", "", value), validate=True)
    return True


@FORMATS.checks("name")
def _name_format(value: object) -> bool:
    """Printable, and no white space at either end."""
    return not isinstance(value, str) or (value == value.strip() and value.isprintable())


@FORMATS.checks("stripped-name")
def _stripped_name_format(value: object) -> bool:
    """Printable and not only white space; what takes it strips the ends."""
    return not isinstance(value, str) or (bool(value.strip()) and value.strip().isprintable())


def obj(properties: dict[str, Any], required: tuple[str, ...] = (), *, more: Any = False,
        **limits: Any) -> dict[str, Any]:
    """Return the schema of an object; unknown keys are refused unless ``more`` allows them."""
    return {"type": "object", "properties": properties, "required": list(required),
            "additionalProperties": more, **limits}


def integer(minimum: int = 0, maximum: int = MAX_INT) -> dict[str, Any]:
    """Return the schema of an integer, or of its decimal text, within limits.

    A handler calls ``int`` on it.
    """
    return {"type": ["integer", "string"], "pattern": r"^-?[0-9]{1,10}\Z",
            "minimum": minimum, "maximum": maximum, "intLimits": [minimum, maximum]}


def string(maximum: int = 255, minimum: int = 0, **more: Any) -> dict[str, Any]:
    """Return the schema of a string with limits on its length."""
    return {"type": "string", "minLength": minimum, "maxLength": maximum, **more}


NAME = string(255, 1, format="stripped-name")
UUID = {"type": "string", "format": "uuid"}
BOOLEAN = {"enum": [True, False, "True", "true", "TRUE", "1", "ON", "On", "on", "YES", "Yes", "yes",
                    "y", "t", "False", "false", "FALSE", "0", "OFF", "Off", "off", "NO", "No",
                    "no", "n", "f"]}
METADATA = {"type": "object", "maxProperties": 1024, "additionalProperties": string(255),
            "propertyNames": string(255, 1, pattern=r"^[a-zA-Z0-9-_:. ]+\Z")}
NOTHING = {"type": ["object", "null"], "maxProperties": 0}


def as_bool(value: Any) -> bool:
    """Return the truth of a value that passed :data:`BOOLEAN`."""
    return value is True or (isinstance(value, str)
                             and value.lower() in ("true", "1", "on", "yes", "y", "t"))


def _int_limits(_validator: Any, limits: list[int], value: Any, _schema: Any) -> Any:
    if isinstance(value, str) and re.match(r"-?[0-9]{1,10}\Z", value) \
            and not limits[0] <= int(value) <= limits[1]:
        yield ValidationError(f"{value!r} is not between {limits[0]} and {limits[1]}")


_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {"intLimits": _int_limits})


class Schema:
    """A compiled JSON schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self._validator = _Validator(schema, format_checker=FORMATS)

    def check(self, value: Any) -> None:
        """Raise BadRequest that names the field, unless the value fits."""
        error = best_match(self._validator.iter_errors(value))
        if error is not None:
            raise exception.BadRequest(_sentence(error))


_REASONS = {
    "type": "{shown} is not of type {wanted}",
    "format": "{shown} is not a valid {wanted}",
    "pattern": "{shown} does not match {wanted}",
    "minLength": "{shown} is shorter than {wanted}",
    "maxLength": "{shown} is longer than {wanted}",
    "minimum": "{shown} is less than {wanted}",
    "maximum": "{shown} is greater than {wanted}",
    "enum": "{shown} is not one of {wanted}",
    "maxItems": "more than {wanted} items",
    "minItems": "fewer than {wanted} items",
    "maxProperties": "more than {wanted} fields",
    "minProperties": "fewer than {wanted} fields",
}


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _sentence(error: ValidationError) -> str:
    """One sentence with the field's name, and no more of its value than helps."""
    where = ".".join(str(part) for part in error.absolute_path) or "body"
    value = error.instance
    if isinstance(value, str | bytes | list | dict) and len(value) > 64:
        shown = f"a value of length {len(value)}"
    else:
        shown = _cut(repr(value))
    if error.validator == "additionalProperties" and isinstance(value, dict):
        known = error.schema.get("properties", ()) if isinstance(error.schema, dict) else ()
        extra = sorted(set(value) - set(known))
        return f"Invalid input for {_cut(where)}: unknown field {_cut(', '.join(extra))}."
    if error.validator == "required":
        wanted_names: Any = error.validator_value
        present: Any = value
        missing = [name for name in wanted_names if name not in present]
        return f"Invalid input for {_cut(where)}: field {', '.join(missing)} is required."
    reason = _REASONS.get(str(error.validator))
    if reason is None:
        return f"Invalid input for {_cut(where)}: {_cut(error.message)}."
    limit = error.validator_value
    wanted = " or ".join(limit) if error.validator == "type" and isinstance(limit, list) \
        else _cut(str(limit))
    return f"Invalid input for {_cut(where)}: {reason.format(shown=shown, wanted=wanted)}."


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def parse_json(raw: bytes) -> Any:
    """Return what a JSON body says, or raise BadRequest.

    Refused are, besides what is no JSON: bad UTF-8, NUL characters, lone surrogates, NaN, numbers
    of thousands of digits and nesting deeper than MAX_DEPTH - none of them can be stored, some
    would end the process.
    """
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(raw)
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise exception.BadRequest(
            f"The request body is not valid JSON in UTF-8: {_cut(str(error))}") from None
    if b"\\u" in raw:
        _check_characters(value)
    elif b"\0" in raw:
        raise exception.BadRequest("The request body contains a NUL character.")
    return value


_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def _check_depth(raw: bytes) -> None:
    depth = 0
    for found in _STRUCTURE.finditer(raw):
        first = found[0][:1]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise exception.BadRequest(
                    f"The request body is nested deeper than {MAX_DEPTH} levels.")
        elif first in b"]}":
            depth -= 1


def _check_characters(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise exception.BadRequest(
            "The request body contains half of a surrogate pair.") from None
    if "\\u0000" in text and "\0" in "".join(_strings(value)):
        raise exception.BadRequest("The request body contains a NUL character.")


def _strings(value: Any) -> list[str]:
    found: list[str] = []
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            todo.extend(item)
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return found
