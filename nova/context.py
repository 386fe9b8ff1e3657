# SPDX-License-Identifier: Apache-2.0
"""Who asks, for whom, and under which request id; travels with every call through nova."""

from typing import Any

from oslo_context import context


class RequestContext(context.RequestContext):
    """Identity and request id of one request.

    ``user_id``, ``project_id`` and ``roles`` come from the validated token; ``is_admin`` is set
    by whoever builds the context and means "may see every project".  The token itself never
    leaves the front end: :meth:`to_wire` drops it.
    """

    def to_wire(self) -> dict[str, Any]:
        """Return what crosses the message bus: JSON types only and no secret."""
        return {
            "user_id": self.user_id, "project_id": self.project_id, "roles": list(self.roles),
            "is_admin": bool(self.is_admin), "request_id": self.request_id,
        }

    @classmethod
    def from_wire(cls, values: dict[str, Any]) -> "RequestContext":
        """Rebuild a context from :meth:`to_wire`; unknown keys are ignored."""
        return cls(
            user_id=values.get("user_id"), project_id=values.get("project_id"),
            roles=values.get("roles") or [], is_admin=bool(values.get("is_admin")),
            request_id=values.get("request_id"), overwrite=False)


def admin_context() -> RequestContext:
    """Return a context for the cloud's own work: periodic tasks, reconcilers, command lines."""
    return RequestContext(is_admin=True, overwrite=False)
