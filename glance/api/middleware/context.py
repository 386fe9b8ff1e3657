# SPDX-License-Identifier: Apache-2.0
"""Filters that turn what authentication found out into a `RequestContext`."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Any

from glance import exceptions, wsgi
from glance.context import RequestContext

_ALL_ROLES = ("admin", "member", "reader")


def _roles(text: str) -> tuple[str, ...]:
    return tuple(role.strip().lower() for role in text.split(",") if role.strip())


class _ContextFilter(abc.ABC):
    """Puts a context into the environment, or answers 401."""

    def __init__(self, app: Any) -> None:
        self.app = app

    @classmethod
    def factory(cls, _global_conf: dict[str, str], **_local_conf: str) -> Any:
        """For paste."""
        return cls

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            environ[wsgi.CONTEXT_KEY] = self.make_context(environ)
        except exceptions.GlanceError as error:
            response = wsgi.error_response(error, environ.get(wsgi.REQUEST_ID_KEY))
            return response(environ, start_response)
        return self.app(environ, start_response)

    @abc.abstractmethod
    def make_context(self, environ: dict[str, Any]) -> RequestContext:
        """Return who calls; raise Unauthorized or Forbidden."""


class KeystoneContext(_ContextFilter):
    """Behind keystonemiddleware's auth_token, which removed forged identity headers.

    A token without a project is refused: everything here belongs to one.
    """

    def make_context(self, environ: dict[str, Any]) -> RequestContext:
        if environ.get("HTTP_X_IDENTITY_STATUS") != "Confirmed":
            raise exceptions.Unauthorized("authentication is required")
        roles = _roles(environ.get("HTTP_X_ROLES", ""))
        project = environ.get("HTTP_X_PROJECT_ID")
        if not project and "admin" not in roles:
            raise exceptions.Forbidden("the token is not scoped to a project")
        return RequestContext(
            user_id=environ.get("HTTP_X_USER_ID"), project_id=project, roles=roles,
            is_admin="admin" in roles, token=environ.get("HTTP_X_AUTH_TOKEN"),
            request_id=environ.get(wsgi.REQUEST_ID_KEY))


class RegistryKeystoneContext(KeystoneContext):
    """For glance-registry: a token with the role ``service`` or ``admin`` may speak for the image
    service itself."""

    def make_context(self, environ: dict[str, Any]) -> RequestContext:
        context = super().make_context(environ)
        if not {"service", "admin"}.intersection(context.roles):
            return context
        if environ.get("HTTP_X_IMAGE_SERVICE") != "yes":
            return context
        return RequestContext(user_id=context.user_id, request_id=context.request_id,
                              roles=("admin", "service"), is_admin=True, internal=True)


class NoAuthContext(_ContextFilter):
    """For tests and the one-machine cloud without Keystone: anybody is who they say.

    The token is ``user:project`` or ``user:project:role,role``.  Without roles, a user called
    ``admin`` is an administrator and everybody else a member; without a token the caller is
    ``admin`` of project ``admin``.
    """

    def make_context(self, environ: dict[str, Any]) -> RequestContext:
        token = environ.get("HTTP_X_AUTH_TOKEN", "")
        user, _, rest = (token or "admin:admin").partition(":")
        project, _, named = rest.partition(":")
        if named:
            roles = _roles(named)
        else:
            roles = _ALL_ROLES if user == "admin" else _ALL_ROLES[1:]
        for part in (user, project):
            wsgi.check_text(part, "X-Auth-Token")
        return RequestContext(user_id=user, project_id=project or user, roles=roles,
                              is_admin="admin" in roles, token=token or None,
                              request_id=environ.get(wsgi.REQUEST_ID_KEY))


class TrustedContext(_ContextFilter):
    """For a glance-registry that only glance-api can reach: the API says who asks.

    Whoever can reach this port can be anybody; bind it to loopback or a private network.
    """

    def make_context(self, environ: dict[str, Any]) -> RequestContext:
        roles = _roles(environ.get("HTTP_X_ROLES", ""))
        return RequestContext(
            user_id=environ.get("HTTP_X_USER_ID"), project_id=environ.get("HTTP_X_PROJECT_ID"),
            roles=roles, is_admin="admin" in roles,
            internal=environ.get("HTTP_X_IMAGE_SERVICE") == "yes",
            request_id=environ.get(wsgi.REQUEST_ID_KEY))
