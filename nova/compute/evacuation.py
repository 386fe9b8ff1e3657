# SPDX-License-Identifier: Apache-2.0
"""Taking an instance from a host that is down: built elsewhere, from its image, under its id.

Nothing of the old host is needed: ports and addresses are rows, and stay; what was on its disks
is lost with it.  The row remembers where it was (``evacuated_from`` in ``build_request``) until
that host, back again, has removed what it still has of it: only that word lets it.
"""

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg

from nova.compute.request import BuildRequest, left_behind
from nova.compute.states import VmState
from nova.db import instances, services
from nova.db.models import Instance, utcnow
from nova.exception import BadRequest, InvalidState

CONF = cfg.CONF
CONF.import_opt("service_down_time", "nova.config")


def check(row: Instance, target: str | None) -> None:
    """May this instance be taken from its host?  BadRequest, InvalidState say why not."""
    # An evacuation that failed has nothing on the host it failed on.
    failed = row.vm_state == VmState.ERROR and BuildRequest.of(row.build_request).evacuated_at
    if row.vm_state not in (VmState.ACTIVE, VmState.STOPPED, VmState.ERROR) or (
            row.host is None and not failed):
        raise InvalidState(action="evacuate", instance_id=row.id, vm_state=row.vm_state,
                           task_state=row.task_state)
    rows = {one.host: one for one in services.get_all(topic="compute")}
    if not failed and row.host in rows and services.is_up(rows[row.host], CONF.service_down_time):
        raise BadRequest(f"Compute service of {row.host} is still in use.")
    if target is not None and (target == row.host or target not in rows):
        raise BadRequest(f"host: {target[:255]!r} is no other compute host.")


def request_of(row: Instance, target: str | None, request_id: str | None) -> dict[str, Any]:
    """Return the build request with which an instance is built again, on ``target`` or any."""
    values = left_behind(row.build_request, row.host) if row.host else row.build_request or {}
    return {**values, "forced_host": target, "refusals": [], "request_id": request_id,
            "evacuated_at": utcnow().isoformat()}


def settled(row: Instance) -> dict[str, Any]:
    """Return the build request of an instance that is built: no evacuation is going on."""
    return {name: value for name, value in (row.build_request or {}).items()
            if name != "evacuated_at"}


def leftover_removed(row: Instance, host: str) -> None:
    """Note that a host has nothing any more of an instance that was taken from it."""
    def forget(current: Instance) -> None:
        values: Mapping[str, Any] = current.build_request or {}
        left = [one for one in values.get("evacuated_from") or () if one != host]
        current.build_request = {**values, "evacuated_from": left}
    instances.modify(row.id, forget)
