# SPDX-License-Identifier: Apache-2.0
"""Network quotas: other names for some of the limits every part of nova shares."""

from typing import Any

from nova import exception, policy, quota
from nova.api.openstack.validation import Schema, integer, obj
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import quotas

RESOURCES = {"network": "networks", "port": "ports", "floatingip": "floating_ips",
             "security_group": "security_groups", "security_group_rule": "security_group_rules"}
# A network has at most one subnet of a kind, so its own limit is theirs; the rest is not there.
_OTHERS = {"subnet": -1, "router": 0, "subnetpool": 0, "rbac_policy": 0, "trunk": 0}
_LIMIT = integer(-1)
UPDATE = Schema(obj({"quota": obj(
    {**dict.fromkeys((*RESOURCES, *_OTHERS), _LIMIT), "force": {}, "check_limit": {},
     "tenant_id": {}, "project_id": {}})}, ("quota",)))


def _limits(limits: dict[str, int]) -> dict[str, int]:
    return {**{name: limits[own] for name, own in RESOURCES.items()}, **_OTHERS}


class Quotas(Resource):
    """``/quotas``"""

    @route("GET", "/quotas/tenant", policy="network:quotas:show")
    @route("GET", "/quotas/project", policy="network:quotas:show")
    def whose(self, req: Request) -> dict[str, Any]:
        return {"tenant": {"tenant_id": req.context.project_id}}

    @route("GET", "/quotas/{project_id}", policy="network:quotas:show")
    def show(self, req: Request, project_id: str) -> dict[str, Any]:
        _own(req, project_id)
        return {"quota": _limits(quota.limits(project_id))}

    @route("GET", "/quotas/{project_id}/default", policy="network:quotas:show")
    def default(self, req: Request, project_id: str) -> dict[str, Any]:
        _own(req, project_id)
        return {"quota": _limits(quota.defaults())}

    @route("GET", "/quotas/{project_id}/details", policy="network:quotas:show")
    @route("GET", "/quotas/{project_id}/details.json", policy="network:quotas:show")
    def details(self, req: Request, project_id: str) -> dict[str, Any]:
        _own(req, project_id)
        limits, used = quota.limits(project_id), quota.usage(project_id)
        shown = {name: {"limit": limits[own], "used": used[own], "reserved": 0}
                 for name, own in RESOURCES.items()}
        return {"quota": shown | {name: {"limit": limit, "used": 0, "reserved": 0}
                                  for name, limit in _OTHERS.items()}}

    @route("PUT", "/quotas/{project_id}", body=UPDATE, policy="network:quotas:change")
    def update(self, req: Request, project_id: str, body: dict[str, Any]) -> dict[str, Any]:
        if len(project_id) > 255:
            raise exception.BadRequest("project_id: is longer than 255 characters.")
        asked = body["quota"]
        for name, limit in _OTHERS.items():
            if int(asked.get(name, limit)) != limit:
                raise exception.NotSupported(what=f"A quota of {name}")
        quotas.set_limits(project_id, {own: int(asked[name]) for name, own in RESOURCES.items()
                                       if name in asked})
        return {"quota": _limits(quota.limits(project_id))}

    @route("DELETE", "/quotas/{project_id}", status=204, policy="network:quotas:change")
    def delete(self, req: Request, project_id: str) -> None:
        quotas.forget_limits(project_id, RESOURCES.values())


def _own(req: Request, project_id: str) -> None:
    if project_id != req.context.project_id:
        policy.authorize(req.context, "network:quotas:change")
