# SPDX-License-Identifier: Apache-2.0
"""Filters that say who calls: they put a :class:`RequestContext` into ``nova.context``.

Neither refuses a request: a route without a context answers 401 by itself unless it is public
(version documents are).  So keystonemiddleware runs with ``delay_auth_decision = true``; it still
adds the WWW-Authenticate header to our 401.
"""

import abc
from collections.abc import Callable, Iterable
from typing import Any

from nova.context import RequestContext

_IDENTITY_HEADERS = ("HTTP_X_USER", "HTTP_X_ROLE", "HTTP_X_TENANT", "HTTP_X_PROJECT",
                     "HTTP_X_DOMAIN", "HTTP_X_IS_ADMIN_PROJECT", "HTTP_X_IDENTITY_STATUS",
                     "HTTP_X_SERVICE_")
MAX_TOKEN_LENGTH = 16384


class _Filter(abc.ABC):
    def __init__(self, app: Callable) -> None:
        self._app = app

    @classmethod
    def factory(cls, _global_conf: dict[str, str], **_local: str) -> Callable:
        """Return a filter, as paste.deploy wants it."""
        return cls

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        environ.pop("nova.context", None)
        context = self.identify(environ)
        if context is not None:
            environ["nova.context"] = context
        return self._app(environ, start_response)

    @abc.abstractmethod
    def identify(self, environ: dict[str, Any]) -> RequestContext | None:
        """Return who calls, or None."""


class KeystoneContext(_Filter):
    """Makes a context of what keystonemiddleware's auth_token found out.

    The headers are believed only when that filter ran on this very request: it leaves its own
    object in the environment, which no client can.
    """

    def identify(self, environ: dict[str, Any]) -> RequestContext | None:
        if "keystone.token_auth" not in environ \
                or environ.get("HTTP_X_IDENTITY_STATUS") != "Confirmed":
            return None
        project_id = environ.get("HTTP_X_PROJECT_ID")
        if not project_id:
            return None
        roles = [role.strip() for role in environ.get("HTTP_X_ROLES", "").split(",")
                 if role.strip()]
        return RequestContext(
            auth_token=environ.get("HTTP_X_AUTH_TOKEN"),
            user_id=environ.get("HTTP_X_USER_ID"), project_id=project_id, roles=roles,
            user_name=environ.get("HTTP_X_USER_NAME"),
            project_name=environ.get("HTTP_X_PROJECT_NAME"),
            user_domain_id=environ.get("HTTP_X_USER_DOMAIN_ID"),
            project_domain_id=environ.get("HTTP_X_PROJECT_DOMAIN_ID"),
            is_admin=any(role.lower() == "admin" for role in roles),
            request_id=environ.get("openstack.request_id"),
            global_request_id=environ.get("openstack.global_request_id"))


class NoAuth(_Filter):
    """For tests and a cloud without accounts: the token ``user:project`` is believed.

    User ``admin`` is an admin.  Identity headers from outside are removed all the same.
    """

    def identify(self, environ: dict[str, Any]) -> RequestContext | None:
        for name in [n for n in environ if n.startswith(_IDENTITY_HEADERS)]:
            del environ[name]
        token = environ.get("HTTP_X_AUTH_TOKEN")
        if not token or len(token) > MAX_TOKEN_LENGTH:
            return None
        try:
            user, _, project = token.encode("latin-1").decode("utf-8").partition(":")
        except UnicodeError:
            return None
        admin = user == "admin"
        return RequestContext(
            auth_token=token, user_id=user[:64] or "user", project_id=(project or user)[:64],
            roles=["admin", "member", "reader"] if admin else ["member", "reader"],
            is_admin=admin, request_id=environ.get("openstack.request_id"),
            global_request_id=environ.get("openstack.global_request_id"))
