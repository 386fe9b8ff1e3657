# SPDX-License-Identifier: Apache-2.0
"""The outermost filter: a request id, and one line in the log when the answer is out."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from glance import exceptions, wsgi

LOG = logging.getLogger("glance.request")

# What a caller may suggest as an id: bounded, and nothing that could forge a log line.
_GLOBAL_ID = re.compile(r"req-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


class RequestLog:
    """Gives each request an id, answers it as ``X-Openstack-Request-Id``, and logs the request."""

    def __init__(self, app: Any) -> None:
        self.app = app

    @classmethod
    def factory(cls, _global_conf: dict[str, str], **_local_conf: str) -> Any:
        """For paste."""
        return cls

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        started = time.monotonic()
        request_id = f"req-{uuid.uuid4()}"
        environ[wsgi.REQUEST_ID_KEY] = request_id
        suggested = environ.get("HTTP_X_OPENSTACK_REQUEST_ID", "")
        parent = suggested if _GLOBAL_ID.fullmatch(suggested) else "-"
        state: dict[str, Any] = {"status": "000", "sent": 0}

        def on_start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            state["status"] = status[:3]
            headers.append(("X-Openstack-Request-Id", request_id))
            return start_response(status, headers, exc_info)

        try:
            body = self.app(environ, on_start)
        except Exception:  # a filter below failed: the caller still gets an answer with an id
            LOG.exception("%s failed", request_id)
            body = wsgi.error_response(
                exceptions.GlanceError("an unexpected error occurred; the log has it under this "
                                       "request's id"), request_id)(environ, on_start)
        return _LoggedBody(body, state, environ, request_id, parent, started)


class _LoggedBody:
    """Passes the body through; the line is written once the server is done with it."""

    def __init__(self, body: Iterable[bytes], state: dict[str, Any], environ: dict[str, Any],
                 request_id: str, parent: str, started: float) -> None:
        self._body = body
        self._state = state
        self._environ = environ
        self._ids = (request_id, parent)
        self._started = started

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            self._state["sent"] += len(piece)
            yield piece

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]  # servers ask only for lists

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._log()

    def _log(self) -> None:
        environ = self._environ
        context = environ.get(wsgi.CONTEXT_KEY)
        path = _UNPRINTABLE.sub("?", environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
        LOG.info('%s %s %s "%s %s" status: %s len: %d time: %.4f user: %s project: %s',
                 environ.get("REMOTE_ADDR", "-"), *self._ids, environ.get("REQUEST_METHOD"),
                 path[:500], self._state["status"],
                 self._state["sent"] + getattr(self._body, "beside", 0),
                 time.monotonic() - self._started,
                 getattr(context, "user_id", None) or "-",
                 getattr(context, "project_id", None) or "-")
