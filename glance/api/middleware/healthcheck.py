# SPDX-License-Identifier: Apache-2.0
"""``GET /healthcheck``: is this process able to serve?  Answered before any authentication."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import webob

PATH = "/healthcheck"


class Healthcheck:
    """Answers 200 ``OK`` while the process runs; says nothing about its insides."""

    def __init__(self, app: Any) -> None:
        self.app = app

    @classmethod
    def factory(cls, _global_conf: dict[str, str], **_local_conf: str) -> Any:
        """For paste."""
        return cls

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != PATH or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self.app(environ, start_response)
        response = webob.Response(body=b"OK", content_type="text/plain", charset="UTF-8")
        return response(environ, start_response)
