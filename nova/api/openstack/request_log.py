# SPDX-License-Identifier: Apache-2.0
"""The outermost filter: a request id on every answer, one log line per request."""

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from oslo_log import log

from nova import metrics

LOG = log.getLogger(__name__)

_GLOBAL_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_LOGGED_PATH = 512


class RequestLog:
    """Names each request, and writes who asked what, how it ended and how long it took.

    Neither headers nor bodies are logged: they hold secrets.
    """

    def __init__(self, app: Callable, service: str = "compute") -> None:
        self._app = app
        self._service = service
        self._header = f"x-{service}-request-id"

    @classmethod
    def factory(cls, _global_conf: dict[str, str], service: str = "compute",
                **_local: str) -> Callable:
        """Return a filter, as paste.deploy wants it; ``service`` goes into a header's name."""
        return lambda app: cls(app, service)

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        request_id = environ["openstack.request_id"] = f"req-{uuid.uuid4()}"
        given = environ.get("HTTP_X_OPENSTACK_REQUEST_ID", "")
        environ["openstack.global_request_id"] = given if _GLOBAL_ID.match(given) else None
        started = time.monotonic()
        seen: list[Any] = ["-", "-"]

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            seen[0] = status[:3]
            seen[1] = next((v for k, v in headers if k.lower() == "content-length"), "-")
            headers.append(("x-openstack-request-id", request_id))
            headers.append((self._header, request_id))
            return start_response(status, headers, *rest)

        try:
            return self._app(environ, start)
        except Exception:  # a filter below failed: the client still gets an answer with an id
            LOG.exception("%s failed before it reached a resource", request_id)
            body = json.dumps({"computeFault": {
                "code": 500, "message": f"An unexpected error: see request id {request_id}."}})
            start("500 Internal Server Error", [("Content-Type", "application/json"),
                                                ("Content-Length", str(len(body)))])
            return [body.encode()]
        finally:
            seconds = time.monotonic() - started
            metrics.API_REQUESTS.labels(
                self._service, metrics.known_method(environ.get("REQUEST_METHOD", "")),
                environ.get("nova.route", ""), seen[0]).observe(seconds)
            self._line(environ, request_id, seen, seconds)

    @staticmethod
    def _line(environ: dict[str, Any], request_id: str, seen: list[Any], seconds: float) -> None:
        context = environ.get("nova.context")
        path = environ.get("PATH_INFO", "")
        if environ.get("QUERY_STRING"):
            path += "?" + environ["QUERY_STRING"]
        LOG.info('%s %s "%s %s" %s %s %.4fs user=%s project=%s', request_id,
                 environ.get("REMOTE_ADDR", "-"), environ.get("REQUEST_METHOD", "-")[:16],
                 ascii(path[:_LOGGED_PATH])[1:-1], seen[0], seen[1], seconds,
                 context.user_id if context else "-", context.project_id if context else "-")
