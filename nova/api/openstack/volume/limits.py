# SPDX-License-Identifier: Apache-2.0
"""Limits and quotas of volumes: what a project may have, and what of it is taken."""

from typing import Any

from nova import exception, quota
from nova.api.openstack.validation import Schema, as_bool, integer, obj
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import quotas

RESOURCES = ("volumes", "snapshots", "gigabytes")
# What these limit cannot be had in this cloud, or has no limit.
_OTHERS = {"per_volume_gigabytes": -1, "backups": 0, "backup_gigabytes": 0, "groups": 0}
UPDATE = Schema(obj({"quota_set": obj(
    {**{name: integer(-1) for name in (*RESOURCES, *_OTHERS)}, "tenant_id": {"type": "string"},
     "skip_validation": {"type": ["boolean", "string"]}}, minProperties=1)}, ("quota_set",)))


class Limits(Resource):
    """``/limits``"""

    @route("GET", "/limits", policy="volume:limits:show")
    def show(self, req: Request) -> dict[str, Any]:
        project_id = req.last("project_id") or req.last("tenant_id") or req.project_id
        if project_id != req.project_id and not req.context.is_admin:
            raise exception.Forbidden()
        allowed, used = quota.limits(project_id), quota.usage(project_id)
        return {"limits": {"rate": [], "absolute": {
            "maxTotalVolumes": allowed["volumes"],
            "maxTotalVolumeGigabytes": allowed["gigabytes"],
            "maxTotalSnapshots": allowed["snapshots"], "maxTotalBackups": 0,
            "maxTotalBackupGigabytes": 0, "totalVolumesUsed": used["volumes"],
            "totalGigabytesUsed": used["gigabytes"], "totalSnapshotsUsed": used["snapshots"],
            "totalBackupsUsed": 0, "totalBackupGigabytesUsed": 0}}}


class QuotaSets(Resource):
    """``/os-quota-sets/PROJECT``"""

    @staticmethod
    def _mine_or_admins(req: Request, project_id: str) -> None:
        if project_id != req.project_id and not req.context.is_admin:
            raise exception.Forbidden()

    @route("GET", "/os-quota-sets/{project_id}", policy="volume:quota_sets:show")
    def show(self, req: Request, project_id: str) -> dict[str, Any]:
        self._mine_or_admins(req, project_id)
        limits = {**_OTHERS, **_of(quota.limits(project_id))}
        if not as_bool(req.last("usage", "")):
            return {"quota_set": {"id": project_id, **limits}}
        used = quota.usage(project_id)
        return {"quota_set": {"id": project_id, **{
            name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0, "allocated": 0}
            for name, limit in limits.items()}}}

    @route("GET", "/os-quota-sets/{project_id}/defaults", policy="volume:quota_sets:show")
    def defaults(self, req: Request, project_id: str) -> dict[str, Any]:
        return {"quota_set": {"id": project_id, **_OTHERS, **_of(quota.defaults())}}

    @route("PUT", "/os-quota-sets/{project_id}", body=UPDATE, policy="volume:quota_sets:change")
    def update(self, req: Request, project_id: str, body: dict[str, Any]) -> dict[str, Any]:
        if len(project_id) > 255:
            raise exception.BadRequest("project_id: is longer than 255 characters.")
        asked = body["quota_set"]
        for name, limit in _OTHERS.items():
            if int(asked.get(name, limit)) != limit:
                raise exception.NotSupported(what=f"A quota of {name}")
        quotas.set_limits(project_id, {name: int(asked[name]) for name in RESOURCES
                                       if name in asked})
        return {"quota_set": {**_OTHERS, **_of(quota.limits(project_id))}}

    @route("DELETE", "/os-quota-sets/{project_id}", policy="volume:quota_sets:change")
    def delete(self, req: Request, project_id: str) -> None:
        quotas.forget_limits(project_id, RESOURCES)


def _of(limits: dict[str, int]) -> dict[str, int]:
    return {name: limits[name] for name in RESOURCES}
