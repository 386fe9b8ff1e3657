# SPDX-License-Identifier: Apache-2.0
"""Limits and quotas: what a project may have, and what of it is taken."""

from typing import Any

from nova import exception, quota
from nova.api.openstack.compute.links import parse_time
from nova.api.openstack.validation import BOOLEAN, Schema, as_bool, integer, obj
from nova.api.openstack.wsgi import Request, Resource, route
from nova.db import instances, quotas
from nova.db.models import utcnow

# The API's name of a limit -> the resource it is a limit of.
_ABSOLUTE = {
    "maxTotalInstances": "instances", "maxTotalCores": "cores", "maxTotalRAMSize": "ram",
    "maxTotalFloatingIps": "floating_ips", "maxSecurityGroups": "security_groups",
    "maxSecurityGroupRules": "security_group_rules", "maxTotalKeypairs": "key_pairs",
    "maxServerMeta": "metadata_items", "maxImageMeta": "metadata_items",
    "maxPersonality": "injected_files", "maxPersonalitySize": "injected_file_content_bytes",
    "maxServerGroups": "server_groups", "maxServerGroupMembers": "server_group_members",
}
# What quota sets show, in the words of the API where they differ.
RESOURCES = (
    "instances", "cores", "ram", "floating_ips", "fixed_ips", "metadata_items", "injected_files",
    "injected_file_content_bytes", "injected_file_path_bytes", "security_groups",
    "security_group_rules", "key_pairs", "server_groups", "server_group_members")
# What these limit cannot be made in this cloud, so any limit holds; clients read and set them.
_NOT_MADE_HERE = {"fixed_ips": -1, "injected_files": 0, "injected_file_content_bytes": 0,
             "injected_file_path_bytes": 0, "server_groups": 0, "server_group_members": 0}
_LIMIT = integer(-1)
UPDATE = Schema(obj({"quota_set": obj({
    **{name: _LIMIT for name in RESOURCES}, "force": BOOLEAN, "tenant_id": {"type": "string"},
}, minProperties=1)}, ("quota_set",)))


def limits_of(project_id: str) -> dict[str, int]:
    """Return every limit of a project by resource; -1 is none."""
    own = {name: limit for name, limit in quotas.limits_of(project_id).items()
           if name in _NOT_MADE_HERE}
    return {**_NOT_MADE_HERE, **own, **quota.limits(project_id)}


def usage_of(project_id: str) -> dict[str, int]:
    """Return what a project uses, counted from rows."""
    return quota.usage(project_id)


class Limits(Resource):
    """``/limits``"""

    @route("GET", "/limits", policy="compute:limits:show")
    def show(self, req: Request) -> dict[str, Any]:
        project_id = req.project_id
        wanted = req.last("tenant_id")
        if wanted is not None and wanted != project_id:
            if not req.context.is_admin:
                raise exception.Forbidden()
            project_id = wanted
        limits = limits_of(project_id)
        used = usage_of(project_id)
        absolute = {name: limits.get(resource, -1) for name, resource in _ABSOLUTE.items()}
        absolute.update({
            "totalInstancesUsed": used.get("instances", 0),
            "totalCoresUsed": used.get("cores", 0), "totalRAMUsed": used.get("ram", 0),
            "totalFloatingIpsUsed": used.get("floating_ips", 0),
            "totalSecurityGroupsUsed": used.get("security_groups", 0),
            "totalServerGroupsUsed": 0})
        return {"limits": {"rate": [], "absolute": absolute}}


class QuotaSets(Resource):
    """``/os-quota-sets/PROJECT``"""

    @staticmethod
    def _mine_or_admins(req: Request, project_id: str) -> None:
        if project_id != req.project_id and not req.context.is_admin:
            raise exception.Forbidden()

    @route("GET", "/os-quota-sets/{project_id}", policy="compute:quota_sets:show")
    def show(self, req: Request, project_id: str) -> dict[str, Any]:
        self._mine_or_admins(req, project_id)
        limits = limits_of(project_id)
        return {"quota_set": {"id": project_id, **{name: limits.get(name, -1)
                                                   for name in RESOURCES}}}

    @route("GET", "/os-quota-sets/{project_id}/detail", policy="compute:quota_sets:show")
    def detail(self, req: Request, project_id: str) -> dict[str, Any]:
        self._mine_or_admins(req, project_id)
        limits = limits_of(project_id)
        used = usage_of(project_id)
        return {"quota_set": {"id": project_id, **{
            name: {"limit": limits.get(name, -1), "in_use": used.get(name, 0), "reserved": 0}
            for name in RESOURCES}}}

    @route("GET", "/os-quota-sets/{project_id}/defaults", policy="compute:quota_sets:defaults")
    def defaults(self, req: Request, project_id: str) -> dict[str, Any]:
        limits = {**_NOT_MADE_HERE, **quota.defaults()}
        return {"quota_set": {"id": project_id, **{name: limits.get(name, -1)
                                                   for name in RESOURCES}}}

    @route("PUT", "/os-quota-sets/{project_id}", body=UPDATE, policy="compute:quota_sets:update")
    def update(self, req: Request, project_id: str, body: dict[str, Any]) -> dict[str, Any]:
        wanted = dict(body["quota_set"])
        force = as_bool(wanted.pop("force", False))
        wanted.pop("tenant_id", None)
        limits = {name: int(value) for name, value in wanted.items()}
        if not force:
            used = usage_of(project_id)
            for name, limit in limits.items():
                if 0 <= limit < used.get(name, 0):
                    raise exception.BadRequest(
                        f"quota_set.{name}: {limit} is less than the {used[name]} in use.")
        if len(project_id) > 255:
            raise exception.BadRequest("The project's id is longer than 255 characters.")
        quotas.set_limits(project_id, limits)
        now = limits_of(project_id)
        return {"quota_set": {name: now.get(name, -1) for name in RESOURCES}}

    @route("DELETE", "/os-quota-sets/{project_id}", status=202, policy="compute:quota_sets:delete")
    def delete(self, req: Request, project_id: str) -> None:
        quotas.forget_limits(project_id, RESOURCES)


class SimpleTenantUsage(Resource):
    """``/os-simple-tenant-usage``: hours of what runs now; what was deleted is not counted."""

    @route("GET", "/os-simple-tenant-usage", policy="compute:usage:list")
    def index(self, req: Request) -> dict[str, Any]:
        detailed = req.last("detailed") == "1"
        by_project: dict[str, list[Any]] = {}
        for row in instances.get_all():
            by_project.setdefault(row.project_id, []).append(row)
        start, stop = _period(req)
        return {"tenant_usages": [_usage(project_id, rows, start, stop, detailed)
                                  for project_id, rows in sorted(by_project.items())]}

    @route("GET", "/os-simple-tenant-usage/{project_id}", policy="compute:usage:show")
    def show(self, req: Request, project_id: str) -> dict[str, Any]:
        if project_id != req.project_id and not req.context.is_admin:
            raise exception.Forbidden()
        start, stop = _period(req)
        rows = instances.get_all({"project_id": project_id})
        return {"tenant_usage": _usage(project_id, rows, start, stop, True)}


def _period(req: Request) -> tuple[Any, Any]:

    stop = parse_time(req.last("end") or "", "end") if req.last("end") else utcnow()
    start = parse_time(req.last("start") or "", "start") if req.last("start") \
        else stop.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if start > stop:
        raise exception.BadRequest("start: is after end.")
    return start, stop


def _usage(project_id: str, rows: list[Any], start: Any, stop: Any,
           detailed: bool) -> dict[str, Any]:

    now = utcnow()
    totals = {"total_hours": 0.0, "total_memory_mb_usage": 0.0, "total_vcpus_usage": 0.0,
              "total_local_gb_usage": 0.0}
    servers = []
    for row in rows:
        born = row.launched_at or row.created_at
        hours = max(0.0, (min(stop, now) - max(start, born)).total_seconds() / 3600)
        disk = row.root_gb + row.ephemeral_gb
        totals["total_hours"] += hours
        totals["total_memory_mb_usage"] += hours * row.memory_mb
        totals["total_vcpus_usage"] += hours * row.vcpus
        totals["total_local_gb_usage"] += hours * disk
        servers.append({
            "instance_id": row.id, "name": row.display_name, "tenant_id": row.project_id,
            "flavor": row.flavor_name, "vcpus": row.vcpus, "memory_mb": row.memory_mb,
            "local_gb": disk, "hours": hours, "state": row.vm_state,
            "started_at": born.isoformat(timespec="microseconds"), "ended_at": None,
            "uptime": int((now - born).total_seconds())})
    answer: dict[str, Any] = {
        "tenant_id": project_id, "start": start.isoformat(timespec="microseconds"),
        "stop": stop.isoformat(timespec="microseconds"), **totals}
    if detailed:
        answer["server_usages"] = servers
    return answer
