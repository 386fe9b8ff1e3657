# SPDX-License-Identifier: Apache-2.0
"""From a WSGI request to a resource's method and back; shared by the Compute and Network APIs.

A resource is a class with marked methods, one file each::

    class Flavors(Resource):

        @route("GET", "/flavors/{flavor_id}", policy="flavors:show")
        def show(self, req, flavor_id):
            return {"flavor": ...}                      # 200 and JSON

        @route("POST", "/flavors", status=202, body=CREATE, policy="flavors:create")
        def create(self, req, body):
            return Answer({"flavor": ...}, headers={"Location": ...})

        @action("/servers/{server_id}/action", "reboot", status=202, body=REBOOT, policy=...)
        def reboot(self, req, server_id, body): ...     # body is what stands under "reboot"

    app = Application([Flavors()], write_fault=compute_fault, prefixes=("/v2.1",))

What a handler can rely on: ``req.context`` is the caller (unless ``public``), the policy has
been asked, ``body`` fits its schema, every string is UTF-8 without NUL.  What a handler returns:
JSON types, an :class:`Answer`, a ``webob.Response`` or None for no body.  What it raises becomes
the API's own kind of error body.
"""

import json
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import routes
import webob
from oslo_log import log
from oslo_policy import policy as oslo_policy

from nova import exception, policy
from nova.api.openstack import faults
from nova.api.openstack.validation import Schema, parse_json
from nova.context import RequestContext

LOG = log.getLogger(__name__)

DEFAULT_BODY_LIMIT = 114688
MAX_QUERY_FIELDS = 1000
_JSON = "application/json"


@dataclass
class Answer:
    """A body with a status or headers of its own."""

    body: Any = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Mark:
    """What a decorator says of a handler."""

    method: str
    path: str
    status: int
    body: Schema | None
    policy: str | None
    public: bool
    action: str | None


class Request(webob.Request):
    """A request with the caller's context and a query string decoded once."""

    @property
    def context(self) -> RequestContext:
        """The caller; Unauthorized when no filter vouched for one."""
        context = self.environ.get("nova.context")
        if context is None:
            raise faults.Unauthorized()
        return context

    @property
    def project_id(self) -> str:
        """The caller's project."""
        return self.context.project_id or ""

    @property
    def user_id(self) -> str:
        """The caller."""
        return self.context.user_id or ""

    @property
    def query(self) -> dict[str, list[str]]:
        """The query string's values by name, in order; BadRequest when it cannot be decoded."""
        found = self.environ.get("nova.query")
        if found is None:
            found = self.environ["nova.query"] = _parse_query(
                self.environ.get("QUERY_STRING", ""))
        return found

    def last(self, name: str, default: str | None = None) -> str | None:
        """Return the last value of a query field."""
        values = self.query.get(name)
        return values[-1] if values else default

    @property
    def root(self) -> str:
        """The URL of the service; made once a request, a list has hundreds of links."""
        found = self.environ.get("nova.root")
        if found is None:
            found = self.environ["nova.root"] = self.application_url
        return found

    @property
    def base(self) -> str:
        """The URL of the API version the client used, to build links on."""
        return self.root + self.environ.get("nova.prefix", "")


def _utf8(text: str) -> str:
    return text.encode("latin-1").decode("utf-8")


def _parse_query(raw: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if not raw:
        return found
    try:
        # As bytes in the guise of Latin-1, like all of a WSGI environment, and decoded after.
        pairs = urllib.parse.parse_qsl(raw, keep_blank_values=True, encoding="latin-1",
                                       max_num_fields=MAX_QUERY_FIELDS)
        for name, value in pairs:
            found.setdefault(_utf8(name), []).append(_utf8(value))
    except ValueError:
        raise exception.BadRequest(
            f"The query string is not UTF-8, or has over {MAX_QUERY_FIELDS} fields.") from None
    if "%00" in raw or "\0" in raw:
        raise exception.BadRequest("The query string contains a NUL character.")
    return found


def route(method: str, path: str, *, status: int = HTTPStatus.OK, body: Schema | None = None,
          policy: str | None = None, public: bool = False) -> Callable[[Callable], Callable]:
    """Mark a method of a resource as the handler of ``method`` on ``path``."""
    return _mark(Mark(method, path, int(status), body, policy, public, None))


def action(path: str, name: str, *, status: int = HTTPStatus.ACCEPTED, body: Schema | None = None,
           policy: str | None = None) -> Callable[[Callable], Callable]:
    """Mark a method as the handler of POST ``path`` with the one key ``name`` in its body."""
    return _mark(Mark("POST", path, int(status), body, policy, False, name))


def _mark(mark: Mark) -> Callable[[Callable], Callable]:
    def decorate(function: Callable) -> Callable:
        marks = getattr(function, "marks", [])
        marks.append(mark)
        function.marks = marks  # type: ignore[attr-defined]
        return function
    return decorate


class Resource:
    """Base of all resources."""

    def handlers(self) -> Iterable[tuple[Mark, Callable]]:
        """Return every marked method, bound, with its marks."""
        for name in dir(type(self)):
            for mark in getattr(getattr(type(self), name), "marks", ()):
                yield mark, getattr(self, name)


class _Path:
    """The handlers of one path pattern, by method and by action."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.methods: dict[str, tuple[Mark, Callable]] = {}
        self.actions: dict[str, tuple[Mark, Callable]] = {}

    def add(self, mark: Mark, handler: Callable) -> None:
        table, key = (self.actions, mark.action) if mark.action else (self.methods, mark.method)
        if key in table:
            raise ValueError(f"two handlers for {mark.method} {mark.path} {mark.action or ''}")
        table[key] = mark, handler

    def find(self, method: str) -> tuple[Mark, Callable] | None:
        """Return a method's handler, None for POST where the body's key decides."""
        found = self.methods.get("GET" if method == "HEAD" else method)
        if found is None and not (method == "POST" and self.actions):
            allow = set(self.methods) | ({"POST"} if self.actions else set())
            if "GET" in allow:
                allow.add("HEAD")
            raise faults.MethodNotAllowed(method=method, allow=", ".join(sorted(allow)))
        return found


class Application:
    """A WSGI application made of resources.

    ``prefixes`` are the version paths under which all resources appear, with and (when
    ``project_in_path``) without the caller's project id behind the prefix; ``roots`` holds the
    resources whose paths are absolute.  ``check`` is called with every request that is not
    public before anything else is done with it.
    """

    def __init__(self, resources: Sequence[Resource], *,
                 write_fault: Callable[[faults.Fault], dict[str, Any]], prefixes: Sequence[str],
                 roots: Sequence[Resource] = (), project_in_path: bool = False,
                 check: Callable[[Request], None] | None = None,
                 body_limit: int = DEFAULT_BODY_LIMIT) -> None:
        self._write_fault = write_fault
        self._prefixes = tuple(prefixes)
        self._project_in_path = project_in_path
        self._check = check
        self._body_limit = body_limit
        self._paths: list[_Path] = []
        self._collections: set[str] = set()
        self._map = self._build(resources)
        self._root_map = self._build(roots)

    def _build(self, resources: Sequence[Resource]) -> routes.Mapper:
        mapper = routes.Mapper(explicit=True)
        mapper.minimization = False
        by_path: dict[str, _Path] = {}
        for resource in resources:
            for mark, handler in resource.handlers():
                if mark.path not in by_path:
                    by_path[mark.path] = _Path(mark.path)
                    self._paths.append(by_path[mark.path])
                    mapper.connect(None, mark.path, target=str(len(self._paths) - 1))
                    self._collections.add(mark.path.split("/")[1])
                by_path[mark.path].add(mark, handler)
        mapper.create_regs([])
        return mapper

    def routes(self) -> list[Mark]:
        """Return every mark served; tests enumerate them."""
        return [mark for path in self._paths
                for mark, _ in (*path.methods.values(), *path.actions.values())]

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        req = Request(environ)
        try:
            response = self._dispatch(req)
        except Exception as error:  # the one boundary: any error becomes this API's error body
            response = self._fault(error, req)
        if req.method == "HEAD":
            length = response.content_length
            response.body = b""
            response.content_length = length
        return response(environ, start_response)

    def _fault(self, error: Exception, req: Request) -> webob.Response:
        if isinstance(error, oslo_policy.PolicyNotAuthorized):
            error = exception.Forbidden()
        fault = faults.fault_of(error, req.environ.get("openstack.request_id"))
        if not fault.expected:
            LOG.error("Unexpected error in %s %s", req.method,
                      ascii(req.environ.get("PATH_INFO", ""))[:512], exc_info=error)
        return _respond(self._write_fault(fault), fault.status, fault.headers)

    def _dispatch(self, req: Request) -> webob.Response:
        path, match = self._match(req)
        found = path.find(req.method)
        public = found is not None and found[0].public
        if not public and req.environ.get("nova.context") is None:
            raise faults.Unauthorized()
        _check_accept(req)
        if self._check is not None and not public:
            self._check(req)
        if found is None:
            mark, handler, arguments = self._find_action(req, path)
        else:
            mark, handler = found
            arguments = {}
            if mark.body is not None:
                arguments["body"] = self._read_body(req)
        if mark.policy is not None:
            policy.authorize(req.context, mark.policy)
        if mark.body is not None:
            mark.body.check(arguments["body"])
        return _answer(handler(req, **match, **arguments), mark.status)

    def _match(self, req: Request) -> tuple[_Path, dict[str, str]]:
        path = _decode_path(req.environ.get("PATH_INFO", ""))
        found = self._root_map.match(path.rstrip("/") or "/")
        if found is None:
            found = self._map.match(self._below_prefix(req, path))
        if found is None:
            if req.environ.get("nova.context") is None:
                raise faults.Unauthorized()
            raise exception.NotFound()
        match = {name: value for name, value in found.items() if name != "target"}
        path_found = self._paths[int(found["target"])]
        req.environ["nova.route"] = path_found.pattern      # counted by it: see nova.metrics
        return path_found, match

    def _below_prefix(self, req: Request, path: str) -> str:
        """Return the path without version and project; NotFound for somebody else's project."""
        for prefix in self._prefixes:
            if path.startswith(prefix + "/"):
                break
        else:
            raise exception.NotFound()
        req.environ["nova.prefix"] = prefix
        rest = path[len(prefix):]
        if not self._project_in_path:
            return rest
        first, _, tail = rest[1:].partition("/")
        if first in self._collections:
            return rest
        if first != req.context.project_id:
            raise exception.NotFound()
        req.environ["nova.prefix"] = f"{prefix}/{urllib.parse.quote(first)}"
        return "/" + tail

    def _read_body(self, req: Request) -> Any:
        raw = _read(req, self._body_limit)
        content_type = (req.environ.get("CONTENT_TYPE") or _JSON).partition(";")[0]
        if raw and content_type.strip().lower() != _JSON:
            raise faults.UnsupportedMediaType()
        if not raw:
            raise exception.BadRequest("The request has no body; a JSON body is required.")
        return parse_json(raw)

    def _find_action(self, req: Request, path: _Path) -> tuple[Mark, Callable, dict[str, Any]]:
        body = self._read_body(req)
        if not isinstance(body, dict) or len(body) != 1:
            raise exception.BadRequest(
                "The request body has to be an object with one field: the action's name.")
        name, value = next(iter(body.items()))
        if name not in path.actions:
            raise exception.BadRequest(f"There is no such action: {name[:80]!r}.")
        mark, handler = path.actions[name]
        return mark, handler, ({} if mark.body is None else {"body": value})


def _decode_path(raw: str) -> str:
    try:
        path = _utf8(raw)
    except UnicodeError:
        raise exception.BadRequest("The path is not UTF-8.") from None
    if "\0" in path:
        raise exception.BadRequest("The path contains a NUL character.")
    return path


def _read(req: Request, limit: int) -> bytes:
    """Return the body, at most ``limit`` bytes of it, whether its length was announced or not."""
    announced = req.environ.get("CONTENT_LENGTH")
    chunked = "chunked" in req.environ.get("HTTP_TRANSFER_ENCODING", "").lower() \
        or req.environ.get("wsgi.input_terminated")
    if announced:
        if not announced.isascii() or not announced.isdigit():
            raise exception.BadRequest("The Content-Length header is not a number.")
        length = int(announced[:12])
    elif chunked:
        length = limit + 1
    else:
        return b""
    if announced and length > limit:
        raise faults.BodyTooLarge(limit=limit)
    raw = req.environ["wsgi.input"].read(length)
    if len(raw) > limit:
        raise faults.BodyTooLarge(limit=limit)
    if announced and len(raw) < length:
        raise exception.BadRequest("The request body ended before its announced length.")
    return raw


def _check_accept(req: Request) -> None:
    """Refuse only when an Accept header is there and JSON is not in it.

    Split by hand: a header's parser must not backtrack.
    """
    accept = req.environ.get("HTTP_ACCEPT")
    if not accept or _JSON in accept or "*/*" in accept:
        return
    for item in accept.split(","):
        kind = item.partition(";")[0].strip().lower()
        if kind in (_JSON, "application/*", "*"):
            return
    raise faults.NotAcceptable()


def _answer(result: Any, status: int) -> webob.Response:
    if isinstance(result, webob.Response):
        return result
    if isinstance(result, Answer):
        return _respond(result.body, result.status or status, result.headers)
    return _respond(result, status, {})


def _respond(body: Any, status: int, headers: dict[str, str]) -> webob.Response:
    raw = b"" if body is None else json.dumps(body).encode("ascii")
    response = webob.Response(raw, status=status)
    if body is None:
        response.headers.pop("Content-Type", None)
    else:
        response.content_type = _JSON
    response.headers.update(headers)
    return response
