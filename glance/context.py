# SPDX-License-Identifier: Apache-2.0
"""Who is asking: the identity that travels with each request."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class RequestContext:
    """Identity of a caller, as the authentication filter established it.

    :ivar project_id: the tenant; owner of what the caller creates.  None for the service itself.
    :ivar roles: lower-case role names.
    :ivar is_admin: may see and change images of every project.
    :ivar token: the caller's own token, forwarded to a remote registry.
    :ivar internal: the service acts for itself (finishing an upload, cleaning up); never set from
        anything a request brought along.
    """

    user_id: str | None = None
    project_id: str | None = None
    roles: tuple[str, ...] = ()
    is_admin: bool = False
    token: str | None = dataclasses.field(default=None, repr=False)
    request_id: str | None = None
    internal: bool = False

    def credentials(self) -> dict[str, object]:
        """The view of this identity that policy rules are checked against."""
        return {"user_id": self.user_id, "project_id": self.project_id,
                "roles": list(self.roles), "is_admin": self.is_admin}

    def for_service(self) -> RequestContext:
        """The service's own identity, keeping the request id for the log."""
        return RequestContext(is_admin=True, internal=True, request_id=self.request_id,
                              roles=("admin", "service"))


def service_context(request_id: str | None = None) -> RequestContext:
    """The identity of the service itself, outside any request."""
    return RequestContext(request_id=request_id).for_service()
