# SPDX-License-Identifier: Apache-2.0
"""HTTP in and out: a table of routes, JSON bodies, and one place where errors become answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import routes
import webob
from routes.util import RoutesException

from glance import concurrency, exceptions
from glance.context import RequestContext

if TYPE_CHECKING:
    from glance.image.service import ImageService

LOG = logging.getLogger(__name__)

#: environ keys of what the filters establish
CONTEXT_KEY = "glance.context"
REQUEST_ID_KEY = "openstack.request_id"
#: and of what the daemon was started with
SERVICE_KEY = "glance.service"
REGISTRY_KEY = "glance.registry"
PUBLIC_URL_KEY = "glance.public_url"
#: bytes a JSON body may have: an image document is far smaller
MAX_JSON = 1 << 20
MAX_DEPTH = 20
#: bytes of a piece that the server surely sends before it asks for the next
SENT_AT_ONCE = 1 << 14

Handler = Callable[..., webob.Response]


class Request(webob.Request):
    """A request with what the filters found out about it."""

    @property
    def context(self) -> RequestContext:
        """The identity of the caller; without one the request is refused."""
        context = self.environ.get(CONTEXT_KEY)
        if context is None:
            raise exceptions.Unauthorized("authentication is required")
        return context

    @property
    def service(self) -> ImageService:
        """The image service of this process."""
        return self.environ[SERVICE_KEY]

    def require_identity(self) -> None:
        """Refuse a caller nobody vouched for, where the handler has no other use for it."""
        if self.environ.get(CONTEXT_KEY) is None:
            raise exceptions.Unauthorized("authentication is required")

    @property
    def media_type(self) -> str:
        """The declared type of the body, without parameters, in lower case."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def query(self) -> dict[str, str]:
        """The query string as a dictionary; the last of several equal names wins."""
        return dict(self.query_pairs())

    def query_pairs(self) -> list[tuple[str, str]]:
        """The query string in order; refuses what is not UTF-8 or holds a NUL."""
        try:
            pairs = list(self.GET.items())
        except UnicodeDecodeError:
            raise exceptions.Invalid("query string: not valid UTF-8") from None
        for name, value in pairs:
            check_text(name, "query string")
            check_text(value, name[:64])
        return pairs

    def json_object(self, allowed: Iterable[str] = ("application/json", "")) -> Any:
        """The body, parsed; refuses other media types, too much, and what is not JSON."""
        if self.media_type not in allowed:
            raise exceptions.UnsupportedMediaType(
                f"Content-Type: {self.media_type[:80] or 'none'} is not supported here")
        body = read_limited(self, MAX_JSON)
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            raise exceptions.Invalid("body: not valid JSON") from None
        check_document(parsed, "body", 0)
        return parsed


def read_limited(request: webob.Request, limit: int) -> bytes:
    """The whole body; `LimitExceeded` when it is longer than `limit` bytes."""
    if (request.content_length or 0) > limit:
        raise exceptions.LimitExceeded(f"body: at most {limit} bytes are accepted")
    try:
        body = request.body_file.read(limit + 1)
    except (OSError, ValueError):
        raise exceptions.ClientDisconnected("body: could not be read to its end") from None
    if len(body) > limit:
        raise exceptions.LimitExceeded(f"body: at most {limit} bytes are accepted")
    return body


def check_text(value: str, field: str) -> None:
    """Raise `Invalid` for text that no database takes: NUL, lone surrogates."""
    if "\0" in value:
        raise exceptions.Invalid(f"{field}: may not contain a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise exceptions.Invalid(f"{field}: not valid Unicode text") from None


def check_document(value: Any, field: str, depth: int) -> None:
    """`check_text` for every string in a JSON document, and a bound on its depth."""
    if depth > MAX_DEPTH:
        raise exceptions.Invalid(f"{field[:120]}: nested too deeply")
    if isinstance(value, str):
        check_text(value, field[:120])
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise exceptions.Invalid(f"{field[:120]}: not a number JSON knows")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key, f"a name in {field[:120]}")
            check_document(item, f"{field}/{key}" if field != "body" else key, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_document(item, f"{field}/{index}", depth + 1)


def json_response(document: Any, status: int = 200,
                  headers: Mapping[str, str] | None = None) -> webob.Response:
    """An answer with a JSON document as body."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    response = webob.Response(body=body, status=status, content_type="application/json",
                              charset="UTF-8")
    if headers:
        response.headers.update(headers)
    return response


def empty_response(status: int = 204, headers: Mapping[str, str] | None = None) -> webob.Response:
    """An answer without a body."""
    response = webob.Response(status=status, headerlist=[])
    if status != 204:
        response.content_length = 0
    if headers:
        response.headers.update(headers)
    return response


def error_response(error: exceptions.GlanceError, request_id: str | None) -> webob.Response:
    """The answer to a failed request: what, why, and which request it was."""
    document = {"error": {"code": error.code, "title": error.title, "message": error.message,
                          "request_id": request_id}}
    response = json_response(document, error.code)
    if error.code == 503:
        response.headers["Retry-After"] = "5"
    return response


def absolute_url(request: webob.Request, path: str) -> str:
    """`path` as seen by the caller: on the configured public endpoint, or on the asked-for host."""
    return (request.environ.get(PUBLIC_URL_KEY) or request.host_url).rstrip("/") + path


class Application:
    """A WSGI application made of a table of routes.

    :param table: (path, {method: handler}) pairs; ``{name}`` in a path is a piece without a
        slash and becomes a keyword argument of the handler.
    """

    def __init__(self, table: Iterable[tuple[str, Mapping[str, Handler]]]) -> None:
        self._mapper = routes.Mapper(controller_scan=None, explicit=True)
        self._mapper.minimization = False
        self._handlers: dict[str, Mapping[str, Handler]] = {}
        for path, methods in table:  # routes keeps only strings, so the path stands for the rest
            self._handlers[path] = methods
            self._mapper.connect(None, path, table=path)
        self._mapper.create_regs()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        try:
            response = self._dispatch(request)
        except exceptions.GlanceError as error:
            if error.code >= 500 and error.code != 501:
                LOG.error("%s %s: %s", request.method, environ.get("PATH_INFO"), error.message)
            response = error_response(error, environ.get(REQUEST_ID_KEY))
        except Exception:  # the boundary of the service: whatever went wrong inside stays inside
            LOG.exception("%s %s failed", request.method, environ.get("PATH_INFO"))
            response = error_response(
                exceptions.GlanceError("an unexpected error occurred; the log has it under this "
                                       "request's id"), environ.get(REQUEST_ID_KEY))
        return response(environ, start_response)

    def _dispatch(self, request: Request) -> webob.Response:
        try:
            path = request.path_info
            check_text(path, "path")
        except UnicodeDecodeError:
            raise exceptions.Invalid("path: not valid UTF-8") from None
        try:
            match = self._mapper.match(path or "/")
        except RoutesException:
            match = None
        if match is None:
            raise exceptions.NotFound(f"there is nothing at {path[:200]}")
        methods = self._handlers[match.pop("table")]
        handler = methods.get(request.method)
        if handler is None:
            return self._wrong_method(request, methods)
        return handler(request, **match)

    @staticmethod
    def _wrong_method(request: Request, methods: Mapping[str, Handler]) -> webob.Response:
        error = exceptions.GlanceError(
            f"method: {request.method[:20]} is not possible here, only {', '.join(methods)}")
        error.code, error.title = 405, "Method Not Allowed"
        response = error_response(error, request.environ.get(REQUEST_ID_KEY))
        response.headers["Allow"] = ", ".join(methods)
        return response


class WithEnviron:
    """Adds what the daemon was started with to each request's environment."""

    def __init__(self, app: Any, values: Mapping[str, Any]) -> None:
        self.app = app
        self.values = dict(values)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ.update(self.values)
        return self.app(environ, start_response)


class LoggedIterator:
    """A body of bytes whose failure in mid-stream is logged and ends the connection.

    The status line is out by then; all that can still be said is that the body is not whole, which
    a missing tail says clearly.

    :param environ: of the request.  Pieces that can be transferred go past the server, if it has
        a way, once it has sent the first of them and with it the headers.
    """

    def __init__(self, pieces: Iterator[bytes], what: str, environ: dict[str, Any]) -> None:
        self._pieces = pieces
        self._what = what
        self._way_around = (concurrency.way_around(environ) if hasattr(pieces, "transfer")
                            else None)
        #: bytes that did not pass through the server
        self.beside = 0

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._pieces:
                yield piece
                if self._way_around is not None and len(piece) >= SENT_AT_ONCE:
                    self._way_around(self._transfer)
                    return
        except exceptions.GlanceError as error:
            LOG.error("%s broken off: %s", self._what, error.message)
            raise OSError("the body cannot be completed") from None

    def _transfer(self, sink: Callable[[memoryview], None]) -> None:
        def count(piece: memoryview) -> None:
            sink(piece)
            self.beside += len(piece)

        self._pieces.transfer(count)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Release what the body holds open; called by the server however the request ends."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
