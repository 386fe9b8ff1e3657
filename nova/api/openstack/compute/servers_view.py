# SPDX-License-Identifier: Apache-2.0
"""How a server looks in the Compute API.

:func:`detailed` writes any number of servers with a fixed number of queries: all that does not
stand in the rows themselves is fetched for the whole page at once.
"""

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nova.api.openstack.compute.links import bookmark, both, seconds
from nova.api.openstack.wsgi import Request
from nova.compute.api import API
from nova.compute.states import VmState, api_status
from nova.db import compute_nodes, instances, services
from nova.db.models import Instance, InstanceFault
from nova.db.volume_models import VolumeAttachment

_AFTER_UPDATE = {
    "id", "name", "status", "image", "flavor", "fault", "hostId", "tenant_id", "user_id",
    "created", "updated", "progress", "metadata", "links", "addresses", "accessIPv4",
    "accessIPv6", "OS-DCF:diskConfig"}
_WITH_PROGRESS = ("ACTIVE", "BUILD")


def host_id(instance: Instance) -> str:
    """Return a project's own name for a host: equal for its servers on one host, else opaque."""
    if not instance.host:
        return ""
    return hashlib.sha224(f"{instance.project_id}{instance.host}".encode()).hexdigest()


@dataclass
class _Around:
    """What belongs to a page of servers and does not stand in their rows."""

    addresses: Mapping[str, Any]
    groups: Mapping[str, Sequence[str]]
    faults: Mapping[str, InstanceFault]
    zones: Mapping[str, str]
    volumes: Mapping[str, Sequence[VolumeAttachment]]
    hypervisors: Mapping[str, str] = field(default_factory=dict)


def _around(req: Request, rows: Sequence[Instance], compute: API) -> _Around:
    network = compute.network
    ids = [row.id for row in rows]
    failed = [row.id for row in rows if row.vm_state == VmState.ERROR]
    hosts = {row.host for row in rows if row.host}
    context = req.context
    return _Around(
        addresses=network.addresses_for_instances(context, ids) if ids else {},
        groups=network.security_groups_of_instances(context, ids) if ids else {},
        faults=instances.latest_faults(failed) if failed else {},
        zones=services.zones_of(hosts) if hosts else {},
        volumes=compute.attachments.of(ids) if ids else {},
        hypervisors=compute_nodes.hypervisors_of(hosts) if hosts and context.is_admin else {})


def basic(req: Request, row: Instance) -> dict[str, Any]:
    """Return what a list shows of a server."""
    return {"id": row.id, "name": row.display_name, "links": both(req, f"servers/{row.id}")}


def detailed(req: Request, rows: Sequence[Instance], compute: API) -> list[dict[str, Any]]:
    """Return all of each server, as the caller may see it."""
    around = _around(req, rows, compute)
    return [_one(req, row, around) for row in rows]


def updated(req: Request, row: Instance, compute: API) -> dict[str, Any]:
    """Return what the answer to an update shows of a server: less than a look at it does."""
    [shown] = detailed(req, [row], compute)
    return {name: value for name, value in shown.items() if name in _AFTER_UPDATE}


def addresses(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return a server's addresses by network; ``found`` is what the network API says."""
    return {name: [{
        "addr": one["addr"], "version": one["version"], "OS-EXT-IPS:type": one["type"],
        "OS-EXT-IPS-MAC:mac_addr": one["mac"]} for one in those]
        for name, those in found.items()}


def _one(req: Request, row: Instance, around: _Around) -> dict[str, Any]:
    status = api_status(row.vm_state, row.task_state)
    answer = {
        "id": row.id, "name": row.display_name, "status": status,
        "tenant_id": row.project_id, "user_id": row.user_id,
        "metadata": row.metadata_ or {}, "hostId": host_id(row),
        "image": {"id": row.image_id, "links": bookmark(req, f"images/{row.image_id}")}
        if row.image_id else "",
        "flavor": {"id": row.flavor_id, "links": bookmark(req, f"flavors/{row.flavor_id}")},
        "created": seconds(row.created_at),
        "updated": seconds(row.updated_at or row.created_at),
        "addresses": addresses(around.addresses.get(row.id, {})),
        "accessIPv4": row.access_ip_v4 or "", "accessIPv6": row.access_ip_v6 or "",
        "links": both(req, f"servers/{row.id}"),
        "OS-DCF:diskConfig": (row.build_request or {}).get("disk_config", "MANUAL"),
        "OS-EXT-AZ:availability_zone":
            around.zones.get(row.host or "") or row.availability_zone or "",
        "config_drive": "True" if row.config_drive else "",
        "key_name": row.key_name,
        "OS-SRV-USG:launched_at": _micros(row.launched_at),
        "OS-SRV-USG:terminated_at": None,
        "OS-EXT-STS:task_state": row.task_state, "OS-EXT-STS:vm_state": row.vm_state,
        "OS-EXT-STS:power_state": row.power_state,
        "os-extended-volumes:volumes_attached": [
            {"id": one.volume_id} for one in around.volumes.get(row.id, ())],
    }
    if status in _WITH_PROGRESS:
        answer["progress"] = row.progress
    groups = around.groups.get(row.id)
    if groups:
        answer["security_groups"] = [{"name": name} for name in groups]
    elif row.host is None and row.vm_state == VmState.BUILDING:
        wanted = (row.build_request or {}).get("security_group_names") or ["default"]
        answer["security_groups"] = [{"name": name} for name in wanted]
    if row.vm_state == VmState.ERROR and row.id in around.faults:
        answer["fault"] = _fault(around.faults[row.id], bool(req.context.is_admin))
    if req.context.is_admin:
        answer["OS-EXT-SRV-ATTR:host"] = row.host
        answer["OS-EXT-SRV-ATTR:instance_name"] = f"instance-{row.id}"
        answer["OS-EXT-SRV-ATTR:hypervisor_hostname"] = around.hypervisors.get(row.host or "")
    return answer


def _micros(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")


def _fault(fault: InstanceFault, admin: bool) -> dict[str, Any]:
    """Details are an administrator's, except of a refusal (a code below 500)."""
    answer = {"code": fault.code, "created": seconds(fault.created_at), "message": fault.message}
    if fault.details and (admin or fault.code < 500):
        answer["details"] = fault.details
    return answer
