# SPDX-License-Identifier: Apache-2.0
"""What is in the bytes: JSON envelopes of requests and replies, and errors that cross the wire."""

import json
from dataclasses import dataclass, field
from typing import Any

from nova.exception import BY_NAME, NovaError, RemoteError

VERSION = 1
MAX_BYTES = 16 * 1024 * 1024
PING = "_ping"


class Malformed(ValueError):
    """The bytes are not an envelope; the message says why."""


@dataclass
class Request:
    """One call or cast."""

    method: str
    args: dict[str, Any]
    context: dict[str, Any]
    unique_id: str
    reply_to: str | None = None         # None for a cast
    timeout: float | None = None
    version: int = field(default=VERSION)

    def encode(self) -> bytes:
        """Return JSON; TypeError for arguments that are not JSON's, ValueError when too long."""
        return _encode({
            "version": self.version, "method": self.method, "args": self.args,
            "context": self.context, "message_id": self.unique_id if self.reply_to else None,
            "unique_id": self.unique_id, "reply_to": self.reply_to, "timeout": self.timeout})

    @classmethod
    def decode(cls, body: bytes) -> "Request":
        """Rebuild what :meth:`encode` gave, or raise Malformed."""
        values = _decode(body)
        for name, kinds in (("method", str), ("args", dict), ("context", dict),
                            ("unique_id", str), ("reply_to", (str, type(None)))):
            if not isinstance(values.get(name), kinds):     # type: ignore[arg-type]
                raise Malformed(f"{name} is missing or of the wrong type")
        if values.get("version") != VERSION:
            raise Malformed(f"version {values.get('version')!r} is not spoken here")
        return cls(values["method"], values["args"], values["context"], values["unique_id"],
                   values["reply_to"], values.get("timeout"))


def encode_result(message_id: str, result: Any) -> bytes:
    """Return the reply that carries a result, or, if that cannot travel, one that says so."""
    try:
        return _encode({"message_id": message_id, "result": result})
    except (TypeError, ValueError) as error:
        return encode_error(message_id, RemoteError(reason=f"its answer cannot travel: {error}"))


def encode_error(message_id: str, error: BaseException) -> bytes:
    """Return the reply that carries an error.

    Our own errors travel whole; of any other only the name of the class does: its text is for
    the worker's log.
    """
    if not isinstance(error, NovaError) or BY_NAME.get(type(error).__name__) is not type(error):
        error = RemoteError(reason=type(error).__name__)
    details = {key: value for key, value in error.details.items() if _is_json(value)}
    return _encode({"message_id": message_id, "error": {
        "class": type(error).__name__, "message": str(error), "details": details}})


def decode_reply(body: bytes) -> tuple[str, Any, NovaError | None]:
    """Return (message id, result, error) of a reply, or raise Malformed."""
    values = _decode(body)
    message_id = values.get("message_id")
    if not isinstance(message_id, str):
        raise Malformed("message_id is missing or of the wrong type")
    wire = values.get("error")
    if wire is None:
        return message_id, values.get("result"), None
    known = BY_NAME.get(str(wire.get("class"))) if isinstance(wire, dict) else None
    if known is None:
        return message_id, None, RemoteError(reason="it raised something unknown here")
    details = wire.get("details")
    return message_id, None, known(
        str(wire.get("message")), **(details if isinstance(details, dict) else {}))


def _encode(values: dict[str, Any]) -> bytes:
    body = json.dumps(values, separators=(",", ":")).encode()
    if len(body) > MAX_BYTES:
        raise ValueError(f"{len(body)} bytes are more than a message may have")
    return body


def _decode(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from None
    if not isinstance(values, dict):
        raise Malformed("not a JSON object")
    return values


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
