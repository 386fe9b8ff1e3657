# SPDX-License-Identifier: Apache-2.0
"""The scheduler's one look at the database: all hosts in two queries, however many there are."""

from collections.abc import Collection, Sequence
from typing import Any

from nova.compute.request import BuildRequest
from nova.db import hosts as offered
from nova.db import instances
from nova.db.compute_nodes import capacity_of
from nova.db.models import Instance
from nova.scheduler.host_state import HostState, PlacementRequest

MAX_HINT_IDS = 100
"""Hints beyond this many instances are not looked at: a hint must not become a scan."""


def hosts(down_after: float) -> list[HostState]:
    """Return every host there is a hypervisor on, usage counted from rows."""
    used = instances.usage_by_host()
    nothing = instances.Usage()
    found = []
    for offer in offered.offers(down_after):
        taken = used.get(offer.host, nothing)
        vcpus, memory_mb, disk_gb = capacity_of(
            offer.vcpus, offer.cpu_ratio, offer.memory_mb, offer.ram_ratio, offer.local_gb,
            offer.disk_ratio)
        found.append(HostState(
            host=offer.host, up=bool(offer.up), disabled=bool(offer.disabled),
            availability_zone=offer.zone or "nova", hypervisor_type=offer.hypervisor_type,
            hypervisor_version=offer.hypervisor_version, cpu_arch=offer.cpu_arch,
            vcpus_limit=vcpus, memory_mb_limit=memory_mb, disk_gb_limit=disk_gb,
            vcpus_used=taken.vcpus, memory_mb_used=taken.memory_mb, disk_gb_used=taken.disk_gb,
            instances=taken.instances))
    return found


def requests(rows: Sequence[Instance]) -> list[PlacementRequest]:
    """Turn rows into requests; the instances all their hints name are looked up in one query."""
    built = [BuildRequest.of(row.build_request) for row in rows]
    hints = [{name: _ids(one.scheduler_hints.get(name)) for name in ("same_host", "different_host")}
             for one in built]
    named = {instance_id for hint in hints for ids in hint.values() for instance_id in ids or ()}
    neighbours = instances.get_many(named) if named else {}
    return [
        PlacementRequest(
            instance_id=row.id, project_id=row.project_id, vcpus=row.vcpus,
            memory_mb=row.memory_mb, disk_gb=instances.disk_gb(row),
            availability_zone=row.availability_zone, forced_host=request.forced_host,
            image_properties=request.image_properties,
            extra_specs=row.flavor_extra_specs or {},
            refused_hosts=frozenset(one.host for one in request.refusals),
            same_host=_hosts_of(hint["same_host"], neighbours, row.project_id),
            different_host=_hosts_of(hint["different_host"], neighbours, row.project_id))
        for row, request, hint in zip(rows, built, hints, strict=True)]


def _ids(value: Any) -> list[str] | None:
    if value is None:
        return None
    return [str(one) for one in (value if isinstance(value, list) else [value])][:MAX_HINT_IDS]


def _hosts_of(ids: Collection[str] | None, rows: dict[str, Instance],
              project_id: str) -> frozenset[str] | None:
    # Another project's instance is as good as none: a hint must not tell where it runs.
    if ids is None:
        return None
    return frozenset(
        row.host for row in (rows.get(one) for one in ids)
        if row is not None and row.host is not None and row.project_id == project_id)
