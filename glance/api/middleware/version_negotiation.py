# SPDX-License-Identifier: Apache-2.0
"""Which API version a request is for: by path, else by ``Accept``; else the list of versions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import webob

from glance import wsgi
from glance.api import versions

_PATH = re.compile(r"/v(\d{1,3})(?:\.(\d{1,3}))?(?=/|$)")
_ACCEPT = re.compile(r"application/vnd\.openstack\.images-v(\d{1,3})(?:\.(\d{1,3}))?(?:[+;,]|$)")


class VersionNegotiation:
    """Rewrites ``/v2.5/...`` and ``Accept`` headers to ``/v2/...``; answers the version documents.

    Runs before authentication: clients look at the versions first.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    @classmethod
    def factory(cls, _global_conf: dict[str, str], **_local_conf: str) -> Any:
        """For paste."""
        return cls

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.rstrip("/") == "/versions":
            return self._list(environ, 200)(environ, start_response)
        match = _PATH.match(path)
        if match and match[1] == "2" and path[match.end():] in ("", "/"):
            return self._list(environ, 300)(environ, start_response)  # asked by discovery
        if match and versions.is_known(*match.groups()):
            environ["PATH_INFO"] = f"/v{match[1]}{path[match.end():]}"
            return self.app(environ, start_response)
        accepted = _ACCEPT.match(environ.get("HTTP_ACCEPT", "")[:200])
        if not match and accepted and versions.is_known(*accepted.groups()):
            environ["PATH_INFO"] = f"/v{accepted[1]}{path}"
            return self.app(environ, start_response)
        return self._list(environ, 300)(environ, start_response)

    @staticmethod
    def _list(environ: dict[str, Any], status: int) -> webob.Response:
        request = wsgi.Request(environ)
        return wsgi.json_response(versions.document(wsgi.absolute_url(request, "")), status)
