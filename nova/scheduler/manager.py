# SPDX-License-Identifier: Apache-2.0
"""The scheduler: takes instances in task scheduling, finds each a host, claims it, says so.

The choice is made on a snapshot and is only a wish; the claim is one conditional transaction and
is the decision.  Any number of schedulers may be told of the same instance: one claim wins.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from nova import config, metrics, rpc
from nova.compute import block_devices
from nova.compute.giving_up import give_up
from nova.compute.methods import METHODS as COMPUTE_METHODS
from nova.compute.request import BuildRequest, build_age, left_behind
from nova.compute.states import TaskState, VmState
from nova.context import RequestContext, admin_context
from nova.db import actions, instances, services
from nova.db.models import Instance, utcnow
from nova.exception import (
    ClaimFailed,
    HostNotFound,
    InstanceNotFound,
    InvalidState,
    NovaError,
    NoValidHost,
    RpcUnavailable,
)
from nova.network import api as network_api
from nova.scheduler import drivers, snapshot
from nova.scheduler.host_state import HostState, PlacementRequest
from nova.scheduler.volumes import VolumeScheduler
from nova.volume import api as volume_front
from nova.volume.giving_up import give_up_volume
from nova.volume.methods import METHODS as VOLUME_METHODS

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.StrOpt("driver", default="host_aware",
               help="How hosts are chosen: host_aware (filters, then weighers), chance, or the "
                    "dotted name of a class."),
    cfg.IntOpt("patience", default=120, min=0,
               help="Seconds an instance is kept waiting when it finds no host only because "
                    "compute services are down; after a restart they come up one by one."),
    cfg.IntOpt("housekeeping_interval", default=10, min=1,
               help="Seconds between two looks for instances nobody works on."),
]
CONF = config.CONF
CONF.register_opts(OPTIONS, "scheduler")

MAX_BATCH = 200      # instances placed with one snapshot


class SchedulerManager:
    """The endpoint of topic ``scheduler``."""

    RECOVERY_DELAY = 5.0     # seconds

    def __init__(self, host: str, *, driver: drivers.SchedulerDriver | None = None,
                 compute: Any = None, network: Any = None, volume: Any = None,
                 volume_api: Any = None) -> None:
        self.host = host
        self.driver = driver or drivers.load(CONF.scheduler.driver)
        self.compute = compute or rpc.Client(COMPUTE_METHODS)
        self.network = network or network_api.API(rpc)
        self.volume_api = volume_api or volume_front.API(rpc)
        self.volumes = VolumeScheduler(volume or rpc.Client(VOLUME_METHODS))
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to take up, in the background, what was waiting when we went down."""
        threading.Thread(target=self._recover, daemon=True, name="scheduler-recover").start()

    def stop(self) -> None:
        """Take up nothing any more."""
        self._stopped.set()

    def _recover(self) -> None:
        # Messages in memory died with the last process.  Workers are given time to show up.
        if self._stopped.wait(self.RECOVERY_DELAY):
            return
        try:
            for row in instances.get_all({"task_state": TaskState.SCHEDULING},
                                         sort=(("created_at", "asc"),)):
                self.schedule_instances(_context_of(row), [row.id])
            self.volumes.recover()
        except NovaError as error:
            LOG.warning("Recovery is left to housekeeping: %s", error)

    def periodic_tasks(self) -> list[tuple[str, float, Callable[[], Any]]]:
        """Return (name, seconds, function) of what is to be done again and again."""
        return [("housekeeping", CONF.scheduler.housekeeping_interval, self.housekeeping)]

    # -- placing -----------------------------------------------------------------------------

    def schedule_instances(self, context: RequestContext, instance_ids: list[str]) -> None:
        """Find and claim a host for each of the instances that still wants one.

        The others - gone, claimed by somebody else, being deleted - are passed over.
        """
        for start in range(0, len(instance_ids), MAX_BATCH):
            rows = instances.get_many(instance_ids[start:start + MAX_BATCH])
            waiting = [row for row in rows.values()
                       if row.task_state == TaskState.SCHEDULING
                       and row.vm_state == VmState.BUILDING]
            self._place(context, sorted(waiting, key=lambda row: (row.created_at, row.id)))

    def schedule_volumes(self, context: RequestContext, volume_ids: list[str]) -> None:
        """Find and claim a volume host for each of the volumes that still wants one."""
        self.volumes.schedule(context, volume_ids)

    def _place(self, context: RequestContext, rows: Sequence[Instance]) -> None:
        if not rows:
            return
        hosts = snapshot.hosts(CONF.service_down_time)
        for row, request in zip(rows, snapshot.requests(rows), strict=True):
            try:
                self._place_one(context, row, request, hosts)
            except (InvalidState, InstanceNotFound) as error:
                LOG.info("Instance %s wants no host any more: %s", row.id, error)
            except NoValidHost as error:
                if _only_down(hosts, error) and build_age(row) < CONF.scheduler.patience:
                    LOG.warning("Instance %s waits for a compute service to come up", row.id)
                else:
                    self._fail(context, row, error)

    def _place_one(self, context: RequestContext, row: Instance, request: PlacementRequest,
                   hosts: list[HostState]) -> None:
        """Claim the best host; a host whose claim fails is out, and the next best is tried."""
        candidates = self.driver.select(hosts, request)
        for host in candidates:
            try:
                instances.claim(row.id, host.host)
            except (ClaimFailed, HostNotFound) as error:
                # Somebody was faster than our snapshot.
                LOG.info("Instance %s: claim on %s failed: %s", row.id, host.host, error)
                actions.refused(row.id, "scheduler_claim", str(error), host.host)
                continue
            host.consume(request)
            metrics.SCHEDULED.inc()
            LOG.info("Instance %s goes to %s", row.id, host.host)
            self._tell(context, host.host, row.id)
            return
        raise NoValidHost(
            reason=f"Each of {len(candidates)} hosts refused the claim.",
            refusals={"Claim": len(candidates)},
            operator=", ".join(host.host for host in candidates))

    def _tell(self, context: RequestContext, host: str, instance_id: str) -> None:
        try:
            self.compute.cast(context, "build_instance", host=host, instance_id=instance_id)
        except RpcUnavailable as error:
            # The row is claimed: the worker finds it when the deadline is over.
            LOG.warning("%s was not told of %s: %s", host, instance_id, error)

    def _fail(self, context: RequestContext, row: Instance, error: NoValidHost) -> None:
        """Put the instance into ERROR; what hosts said before is part of the reason."""
        metrics.NO_HOST.inc()
        for name, hosts in (error.details.get("refusals") or {}).items():
            metrics.REFUSED.labels(name).inc(hosts)
        refusals = BuildRequest.of(row.build_request).refusals
        text = str(error)
        if refusals:
            text += f" {len(refusals)} tried before and failed."
        operator = [str(error.details.get("operator") or ""),
                    *(f"{one.host} refused: {one.reason}" for one in refusals)]
        LOG.warning("Instance %s: %s %s", row.id, text, "; ".join(operator))
        try:
            self._free_ports(context, row)
        except NovaError as left:
            LOG.warning("Instance %s is put into ERROR later: %s", row.id, left)
            return
        instances.add_fault(row.id, int(error.status), text,
                            details="\n".join(line for line in operator if line), host=self.host)
        try:
            instances.transition(
                row.id, from_vm=VmState.BUILDING, from_task=TaskState.SCHEDULING,
                vm_state=VmState.ERROR, task_state=None, error=text,
                detail="\n".join([text, *filter(None, operator)]))
        except (InvalidState, InstanceNotFound) as lost:
            LOG.info("Instance %s is not put into ERROR: %s", row.id, lost)

    def _free_ports(self, context: RequestContext, row: Instance) -> None:
        """Take away what a build that was taken from a dead host may have been given since."""
        if not BuildRequest.of(row.build_request).evacuated_at \
                and self.network.ports_of_instance(admin_context(), row.id):
            self.network.deallocate_for_instance(context, row.id, "")

    # -- what nobody else would do -----------------------------------------------------------

    def housekeeping(self) -> None:
        """Take up instances that have no worker to take them up.

        Those that wait for a host and whose message may be lost, those building on a host that is
        down, those being deleted that no host has, and volumes in the same situations.
        """
        self._schedule_overdue()
        self._take_from_hosts_down()
        self._remove_hostless()
        self.volumes.housekeeping()

    def message_parked(self, context: RequestContext, method: str, args: Mapping[str, Any],
                       reason: str) -> None:
        """Give up placing what a message was about that no scheduler survives."""
        for instance_id in args.get("instance_ids", ()):
            give_up(instance_id, None, f"{method}: {reason}")
        for volume_id in args.get("volume_ids", ()):
            give_up_volume(volume_id, None, f"{method}: {reason}")

    def _schedule_overdue(self) -> None:
        for row in instances.overdue([TaskState.SCHEDULING], begun=CONF.message_patience):
            LOG.info("Instance %s waited too long for a host", row.id)
            try:
                self.schedule_instances(_context_of(row), [row.id])
            except NovaError:
                raise
            except Exception as error:      # one broken row must not keep the others waiting
                LOG.exception("Instance %s cannot be placed", row.id)
                if row.task_deadline is not None and row.task_deadline < utcnow():
                    give_up(row.id, None, f"{type(error).__name__}: {error}")

    def _take_from_hosts_down(self) -> None:
        """Let builds begun on a host that is down go on elsewhere.

        Such an instance has never been ACTIVE, so nobody has data in it.  Should the host come
        back, its transitions fail, and it removes what it made.
        """
        rows = instances.overdue([TaskState.NETWORKING, TaskState.SPAWNING],
                                 begun=CONF.message_patience)
        if not rows:
            return
        up = {row.host for row in services.get_all(topic="compute")
              if services.is_up(row, CONF.service_down_time)}
        for row in rows:
            if row.host is None or row.host in up:
                continue
            LOG.warning("Instance %s is taken from %s, which is down", row.id, row.host)
            context = _context_of(row)
            try:
                # Its ports stay: the host may be alive, and just now be done with it.
                instances.transition(
                    row.id, from_vm=VmState.BUILDING, from_task=row.task_state,
                    from_host=row.host, host=None, task_state=TaskState.SCHEDULING,
                    error=f"{row.host} is down",
                    build_request=left_behind(row.build_request, row.host))
            except NovaError as error:
                LOG.info("Instance %s stays where it is: %s", row.id, error)
                continue
            self.schedule_instances(context, [row.id])

    def _remove_hostless(self) -> None:
        for row in instances.overdue([TaskState.DELETING], host=None,
                                     begun=CONF.message_patience):
            try:
                block_devices.end(_context_of(row), self.volume_api, row)
                self.network.deallocate_for_instance(_context_of(row), row.id)
                instances.delete_row(row.id, from_task=TaskState.DELETING, from_host=None)
            except NovaError as error:
                LOG.warning("Instance %s cannot be removed yet: %s", row.id, error)


def _only_down(hosts: Sequence[HostState], error: NoValidHost) -> bool:
    """Tell whether there would be hosts if those that are down were up."""
    return (set(error.details.get("refusals") or ()) == {"ComputeUp"}
            and any(not host.up and not host.disabled for host in hosts))


def _context_of(row: Instance) -> RequestContext:
    """Return a context under the request id the instance was asked for with."""
    request_id = BuildRequest.of(row.build_request).request_id
    if request_id is None:
        return admin_context()
    return RequestContext(user_id=row.user_id, project_id=row.project_id, is_admin=True,
                          request_id=request_id, overwrite=False)
