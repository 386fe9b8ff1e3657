# SPDX-License-Identifier: Apache-2.0
"""Places volumes: takes those that wait for a host, claims room for each, says so.

As with instances the choice is a wish and the claim the decision; see
:mod:`nova.scheduler.manager`.
"""

import logging
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from nova import metrics
from nova.context import RequestContext, admin_context
from nova.db import services, volume_hosts, volume_snapshots, volume_types, volumes
from nova.db.models import utcnow
from nova.db.volume_models import Volume
from nova.exception import (
    ClaimFailed,
    InvalidVolume,
    NovaError,
    NoValidHost,
    RpcUnavailable,
    VolumeHostNotFound,
    VolumeNotFound,
    VolumeTypeNotFound,
)
from nova.scheduler.volume_hosts import VolumeHostState, VolumePlacement, select
from nova.volume.giving_up import give_up_volume
from nova.volume.request import VolumeRequest, with_refusal
from nova.volume.states import VolumeStatus

LOG = logging.getLogger(__name__)
CONF = cfg.CONF
CONF.import_opt("message_patience", "nova.config")


class VolumeScheduler:
    """The scheduler's half that deals with volumes; ``worker`` is a client of topic ``volume``."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker

    def schedule(self, context: RequestContext, volume_ids: Sequence[str]) -> None:
        """Find and claim a host for each of the volumes that still wants one."""
        waiting = [row for row in volumes.get_many(volume_ids).values()
                   if row.status == VolumeStatus.CREATING and row.host is None]
        if not waiting:
            return
        hosts = hosts_now(CONF.service_down_time)
        for row in sorted(waiting, key=lambda one: (one.created_at, one.id)):
            try:
                self._place(context, row, hosts)
            except (InvalidVolume, VolumeNotFound) as error:
                LOG.info("Volume %s wants no host any more: %s", row.id, error)
            except NoValidHost as error:
                if _only_down(hosts, error) and _age(row) < CONF.scheduler.patience:
                    LOG.warning("Volume %s waits for a volume service to come up", row.id)
                else:
                    self._fail(row, error)

    def _place(self, context: RequestContext, row: Volume,
               hosts: list[VolumeHostState]) -> None:
        candidates = select(hosts, placement_of(row))
        for host in candidates:
            try:
                volumes.claim(row.id, host.host, host.availability_zone)
            except (ClaimFailed, VolumeHostNotFound) as error:
                # Somebody was faster than our snapshot.
                LOG.info("Volume %s: claim on %s failed: %s", row.id, host.host, error)
                continue
            host.used_gb += row.claimed_gb
            LOG.info("Volume %s goes to %s", row.id, host.host)
            try:
                self.worker.cast(context, "create_volume", host=host.host, volume_id=row.id)
            except RpcUnavailable as error:
                # The row is claimed: the worker finds it when the deadline is over.
                LOG.warning("%s was not told of %s: %s", host.host, row.id, error)
            return
        raise NoValidHost(reason=f"Each of {len(candidates)} hosts refused the claim.",
                          refusals={"Claim": len(candidates)},
                          operator=", ".join(host.host for host in candidates))

    def _fail(self, row: Volume, error: NoValidHost) -> None:
        """Put the volume into error; what hosts said before is part of the operator's reason."""
        for name, hosts in (error.details.get("refusals") or {}).items():
            metrics.REFUSED.labels(name).inc(hosts)
        refusals = VolumeRequest.of(row.request).refusals
        text = str(error)
        if refusals:
            text += f" {len(refusals)} tried before and failed."
        LOG.warning("Volume %s: %s %s", row.id, text, "; ".join(
            [str(error.details.get("operator") or ""),
             *(f"{one.host} refused: {one.reason}" for one in refusals)]))
        try:
            volumes.transition(row.id, from_status=VolumeStatus.CREATING, from_host=None,
                               status=VolumeStatus.ERROR, fault=text[:255])
        except (InvalidVolume, VolumeNotFound) as lost:
            LOG.info("Volume %s is not put into error: %s", row.id, lost)

    # -- what nobody else would do -----------------------------------------------------------

    def recover(self) -> None:
        """Schedule everything that waits: messages in memory died with the last process."""
        for row in volumes.get_all({"status": VolumeStatus.CREATING, "host": None}):
            self.schedule(context_of(row), [row.id])

    def housekeeping(self) -> None:
        """Take up volumes that have no worker to take them up.

        Those past the deadline of scheduling, those being made on a host that is down, and those
        being deleted that no host has.
        """
        for row in volumes.overdue([VolumeStatus.CREATING], host=None,
                                   begun=CONF.message_patience):
            LOG.info("Volume %s waited too long for a host", row.id)
            try:
                self.schedule(context_of(row), [row.id])
            except NovaError:
                raise
            except Exception as error:  # one broken row must not keep the others waiting
                LOG.exception("Volume %s cannot be placed", row.id)
                if row.deadline is not None and row.deadline < utcnow():
                    give_up_volume(row.id, None, f"{type(error).__name__}: {error}")
        self._take_from_hosts_down()
        for row in volumes.overdue([VolumeStatus.DELETING], host=None,
                                   begun=CONF.message_patience):
            volumes.delete_row(row.id, from_host=None)

    def _take_from_hosts_down(self) -> None:
        """Let new volumes begun on a host that is down be made elsewhere; copies have to wait.

        Such a volume was never available, so nobody has data in it.  Should the host come back,
        its transition fails, and what it made is removed.
        """
        overdue = [row for row in volumes.overdue([VolumeStatus.CREATING],
                                                  begun=CONF.message_patience)
                   if row.host is not None]
        if not overdue:
            return
        up = {row.host for row in services.get_all(topic="volume")
              if services.is_up(row, CONF.service_down_time)}
        for row in overdue:
            if row.host in up or row.snapshot_id or row.source_volume_id:
                continue
            LOG.warning("Volume %s is taken from %s, which is down", row.id, row.host)
            try:
                volumes.transition(
                    row.id, from_status=VolumeStatus.CREATING, from_host=row.host, host=None,
                    status=VolumeStatus.CREATING,
                    request=with_refusal(row.request, str(row.host), "host is down"))
            except NovaError as error:
                LOG.info("Volume %s stays where it is: %s", row.id, error)
                continue
            self.schedule(context_of(row), [row.id])


def hosts_now(down_after: float) -> list[VolumeHostState]:
    """Return every volume host, usage counted from rows; three queries however many there are."""
    by_host = {row.host: row for row in services.get_all(topic="volume")}
    used = volume_hosts.claimed_by_host()
    found = []
    for row in volume_hosts.get_all():
        service = by_host.get(row.host)
        found.append(VolumeHostState(
            host=row.host, up=service is not None and services.is_up(service, down_after),
            disabled=service is not None and service.disabled,
            availability_zone=service.availability_zone if service else "nova",
            driver=row.driver, backend_name=row.backend_name,
            limit_gb=volume_hosts.capacity(row), used_gb=used.get(row.host, 0)))
    return found


def placement_of(row: Volume) -> VolumePlacement:
    """Return what a row asks of a host."""
    source: str | None = None
    if row.snapshot_id is not None:
        snapshot = volume_snapshots.get_many([row.snapshot_id]).get(row.snapshot_id)
        source = (snapshot.host if snapshot else None) or ""
    elif row.source_volume_id is not None:
        volume = volumes.get_many([row.source_volume_id]).get(row.source_volume_id)
        source = (volume.host if volume else None) or ""
    specs: dict[str, str] = {}
    if row.volume_type_id is not None:
        try:
            specs = volume_types.get(row.volume_type_id).extra_specs or {}
        except VolumeTypeNotFound:
            LOG.warning("Volume %s is of a type that is gone", row.id)
    request = VolumeRequest.of(row.request)
    return VolumePlacement(
        volume_id=row.id, size_gb=row.claimed_gb, availability_zone=request.zone,
        source_host=source, extra_specs=specs,
        refused_hosts=frozenset(one.host for one in request.refusals))


def context_of(row: Volume) -> RequestContext:
    """Return a context under the request id the volume was asked for with."""
    request_id = VolumeRequest.of(row.request).request_id
    if request_id is None:
        return admin_context()
    return RequestContext(user_id=row.user_id, project_id=row.project_id, is_admin=True,
                          request_id=request_id, overwrite=False)


def _only_down(hosts: Sequence[VolumeHostState], error: NoValidHost) -> bool:
    """Tell whether there would be hosts if those that are down were up."""
    return (set(error.details.get("refusals") or ()) == {"VolumeUp"}
            and any(not host.up and not host.disabled for host in hosts))


def _age(row: Volume) -> float:
    return (utcnow() - row.created_at).total_seconds()
