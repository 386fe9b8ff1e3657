# SPDX-License-Identifier: Apache-2.0
"""Errors of the image service: a class, an HTTP status and a sentence each.

The message is written for the caller: it names the field or the image and never holds host paths,
store addresses or credentials.  The API layer turns ``code`` into the answer in one place.
"""


class GlanceError(Exception):
    """Base of every error the service answers with; ``code`` is the HTTP status."""

    code = 500
    title = "Internal Server Error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(GlanceError):
    """The request is malformed; the message names the field."""

    code = 400
    title = "Bad Request"


class Unauthorized(GlanceError):
    """No valid identity came with the request."""

    code = 401
    title = "Unauthorized"


class Forbidden(GlanceError):
    """The caller may see the thing but not do this to it."""

    code = 403
    title = "Forbidden"


class NotFound(GlanceError):
    """The thing does not exist, or the caller may not know that it does."""

    code = 404
    title = "Not Found"


class Conflict(GlanceError):
    """The thing is in a state that does not allow this, or somebody else was first."""

    code = 409
    title = "Conflict"


class Duplicate(Conflict):
    """Something with this id or name exists already, or once did."""


class Gone(GlanceError):
    """The image was deleted while it was being worked on."""

    code = 410
    title = "Gone"


class LimitExceeded(GlanceError):
    """A configured limit or quota does not allow this much."""

    code = 413
    title = "Request Entity Too Large"


class StorageFull(LimitExceeded):
    """The store has no room left."""


class UnsupportedMediaType(GlanceError):
    """The body is of a type, or the image data of a format, that is not what was declared."""

    code = 415
    title = "Unsupported Media Type"


class RangeNotSatisfiable(GlanceError):
    """The asked-for range lies outside the image."""

    code = 416
    title = "Requested Range Not Satisfiable"


class NotSupported(GlanceError):
    """A call this service knows of but does not offer."""

    code = 501
    title = "Not Implemented"


class Unavailable(GlanceError):
    """The registry, the database or the store does not answer; trying again may help."""

    code = 503
    title = "Service Unavailable"


class ClientDisconnected(GlanceError):
    """The sender of image data went away, or stopped sending, before the end."""

    code = 400
    title = "Bad Request"


class CorruptData(GlanceError):
    """Bytes read from a store are not the bytes that were written."""

    code = 500
    title = "Corrupt Image Data"


class ConfigurationError(GlanceError):
    """The service cannot start like this; the message says which option is wrong."""


BY_CODE = {cls.code: cls for cls in (
    Invalid, Unauthorized, Forbidden, NotFound, Conflict, Gone, LimitExceeded,
    UnsupportedMediaType, RangeNotSatisfiable, NotSupported, Unavailable)}
