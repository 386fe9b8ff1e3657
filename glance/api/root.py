# SPDX-License-Identifier: Apache-2.0
"""Hands each request to the application of its version."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from glance import exceptions, wsgi


class Root:
    """Dispatches on the first piece of the path, which becomes SCRIPT_NAME."""

    def __init__(self, apps: dict[str, Any]) -> None:
        self.apps = apps

    @classmethod
    def factory(cls, loader: Any, _global_conf: dict[str, str], **local_conf: str) -> Root:
        """For paste: ``/v2 = name-of-app`` lines."""
        return cls({prefix: loader.get_app(name) for prefix, name in local_conf.items()
                    if prefix.startswith("/")})

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        prefix, slash, rest = path[1:].partition("/")
        app = self.apps.get("/" + prefix)
        if app is None:
            error = exceptions.NotFound("there is no such API version here")
            return wsgi.error_response(error, environ.get(wsgi.REQUEST_ID_KEY))(
                environ, start_response)
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + "/" + prefix
        environ["PATH_INFO"] = slash + rest
        return app(environ, start_response)
