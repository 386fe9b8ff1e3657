# SPDX-License-Identifier: Apache-2.0
"""The object store as a daemon uses it: a proxy's pipeline in the daemon's own process.

Nobody is asked who they are here: the pipeline has no auth filter.
"""
from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import Any


class InternalClient:
    """Requests to an application; paths are real text, /v1/account/container/object."""

    def __init__(self, app: Any) -> None:
        self.app = app

    @classmethod
    def of(cls, conf: dict[str, str]) -> InternalClient:
        """By `internal_client_conf_path`; without, the proxy with the symlink filter."""
        # Imported here: daemons that share a process with this one do not need a proxy.
        from swift.common.middleware.symlink import Symlink
        from swift.proxy.server import Application
        path = conf.get("internal_client_conf_path")
        if path and os.path.exists(path):
            from swift.common.app_conf import load_app
            return cls(load_app(path))
        return cls(Symlink(Application({
            name: conf[name] for name in ("swift_dir", "node_timeout", "conn_timeout")
            if name in conf}), {}))

    def request(self, method: str, path: str, headers: dict[str, str] | None = None,
                query: str = "", body: Iterable[bytes] | None = None
                ) -> tuple[int, dict[str, str], Iterable[bytes]]:
        """(status, headers by lower-case name, pieces of the body, to be closed). With a `body`
        the headers say how long it is."""
        from swift.common.middleware.copy import SourceBody
        from swift.proxy.cached_info import subrequest
        env = {"SERVER_NAME": "localhost", "SERVER_PORT": "0", "wsgi.url_scheme": "http",
               "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
               "wsgi.input": io.BytesIO()}
        status, items, pieces = subrequest(
            env, self.app, method, path, headers, query,
            body=None if body is None else SourceBody(body))
        return status, {name.lower(): value for name, value in items}, pieces

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, query: str = "",
            body: Iterable[bytes] | None = None) -> tuple[int, dict[str, str], bytes]:
        """As `request`, with the whole body of an answer that is small."""
        status, found, pieces = self.request(method, path, headers, query, body)
        try:
            return status, found, b"".join(pieces)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
