# SPDX-License-Identifier: Apache-2.0
"""Errors as the two APIs write them: one function per dialect, each ``(Fault) -> dict``.

:class:`Fault` is what a client may know of an error.  :func:`fault_of` makes one of any
exception: our own say what is wrong, all others become a 500 that tells nothing but the request
id (an outside exception's text may hold secrets).
"""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from nova import exception

CODES = {
    HTTPStatus.BAD_REQUEST: "badRequest",
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "itemNotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "badMethod",
    HTTPStatus.NOT_ACCEPTABLE: "notAcceptable",
    HTTPStatus.CONFLICT: "conflictingRequest",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "overLimit",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "badMediaType",
    HTTPStatus.TOO_MANY_REQUESTS: "overLimit",
    HTTPStatus.INTERNAL_SERVER_ERROR: "computeFault",
    HTTPStatus.NOT_IMPLEMENTED: "notImplemented",
    HTTPStatus.SERVICE_UNAVAILABLE: "serviceUnavailable",
}


class Unauthorized(exception.NovaError):
    """No valid token came with the request."""

    status = HTTPStatus.UNAUTHORIZED
    code = "unauthorized"
    template = "Authentication required."


class MethodNotAllowed(exception.NovaError):
    """The path exists, the method does not; ``details['allow']`` lists those that do."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "badMethod"
    template = "Method {method} is not allowed here; allowed are {allow}."


class NotAcceptable(exception.NovaError):
    status = HTTPStatus.NOT_ACCEPTABLE
    code = "notAcceptable"
    template = "The only media type offered is application/json; the Accept header excludes it."


class UnsupportedMediaType(exception.NovaError):
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "badMediaType"
    template = "The body has to be application/json; the Content-Type header says otherwise."


class BodyTooLarge(exception.NovaError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "overLimit"
    template = "The request body is larger than {limit} bytes."


@dataclass(frozen=True)
class Fault:
    """What a client is told about an error."""

    status: int
    code: str
    kind: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)
    expected: bool = True


def fault_of(error: Exception, request_id: str | None) -> Fault:
    """Return the fault for any exception; ``expected`` is false when it is a bug of ours."""
    if isinstance(error, exception.NovaError) \
            and error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
        headers = {}
        if isinstance(error, MethodNotAllowed):
            headers["Allow"] = str(error.details["allow"])
        return Fault(int(error.status), error.code, type(error).__name__, str(error), headers)
    return Fault(
        int(HTTPStatus.INTERNAL_SERVER_ERROR), "computeFault", "HTTPInternalServerError",
        "An unexpected error prevented the server from fulfilling your request. "
        f"Its log tells more under request id {request_id}.", expected=False)


def compute_fault(fault: Fault) -> dict[str, Any]:
    """Return the body of an error as the Compute API writes it."""
    return {fault.code: {"code": fault.status, "message": fault.message}}


def network_fault(fault: Fault) -> dict[str, Any]:
    """Return the body of an error as the Network API writes it."""
    return {"NeutronError": {"type": fault.kind, "message": fault.message, "detail": ""}}
