# SPDX-License-Identifier: Apache-2.0
"""The compute worker: what the row of an instance says is to be done, it does.

Every message about one instance comes down to :meth:`ComputeManager.advance`: hold the instance,
read its row, do the task it is in.  So it does not matter how often a message comes, or whether
it comes at all: the reconciler calls the same.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from oslo_config import cfg

from nova import rpc
from nova.audit import on_this_host
from nova.compute import audit, console
from nova.compute.build import Builder
from nova.compute.giving_up import give_up
from nova.compute.locks import InstanceLocks
from nova.compute.power import Power
from nova.compute.reconciler import Reconciler
from nova.compute.removal import Removal
from nova.compute.resources import Resources
from nova.compute.states import TaskState, VmState
from nova.compute.volumes import GONE, InstanceVolumes
from nova.compute.worker import LATER, Worker
from nova.context import RequestContext, admin_context
from nova.db import instances, volume_attachments
from nova.db.models import Instance
from nova.exception import HypervisorError, InstanceNotFound, NovaError
from nova.image import api as image_api
from nova.network import api as network_api
from nova.network.model import VIF
from nova.scheduler.methods import METHODS as SCHEDULER_METHODS
from nova.virt.driver import ComputeDriver, Problem, load_driver
from nova.volume import api as volume_api

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.IntOpt("reconcile_interval", default=30, min=1,
               help="Seconds between two comparisons of rows with guests."),
    cfg.IntOpt("resource_report_interval", default=60, min=1,
               help="Seconds between two reports of what this host offers."),
    cfg.IntOpt("image_cache_interval", default=2400, min=1,
               help="Seconds between two looks for base images nobody needs."),
]
CONF = cfg.CONF
CONF.import_opt("message_patience", "nova.config")
CONF.register_opts(OPTIONS)


# Whoever builds an instance deals with its volumes himself.
_BUILD = (TaskState.SCHEDULING, TaskState.NETWORKING, TaskState.SPAWNING)


class ComputeManager:
    """The endpoint of topic ``compute`` on one host."""

    def __init__(self, host: str, *, driver: ComputeDriver | None = None, images: Any = None,
                 network: Any = None, volumes: Any = None, scheduler: Any = None) -> None:
        self.host = host
        self.worker = Worker(
            host=host, driver=driver or load_driver(host), images=images or image_api.API(),
            network=network or network_api.API(rpc), volumes=volumes or volume_api.API(rpc),
            scheduler=scheduler or rpc.Client(SCHEDULER_METHODS))
        self.locks = InstanceLocks()
        self.resources = Resources(self.worker)
        self.volumes = InstanceVolumes(self.worker)
        self.reconciler = Reconciler(self.worker, self.advance, self.locks.held,
                                     self.advance_volume, self.locks.try_hold)
        power, removal = Power(self.worker), Removal(self.worker)
        self._tasks: dict[TaskState, Callable[[RequestContext, Instance], None]] = {
            TaskState.NETWORKING: Builder(self.worker).build,
            TaskState.SPAWNING: Builder(self.worker).build,
            TaskState.POWERING_OFF: power.stop,
            TaskState.POWERING_ON: power.start,
            TaskState.REBOOTING: power.reboot,
            TaskState.REBOOTING_HARD: power.reboot,
            TaskState.DELETING: removal.terminate,
        }
        self._stale: set[str] = set()       # busy when their rules were to be refreshed
        self._ready = False
        self._answers = True
        self._recovered = self._host_rebooted = False
        self._recovery = threading.Thread()
        self._starting = threading.Lock()

    # -- the service's side ------------------------------------------------------------------

    def start(self) -> None:
        """Get the hypervisor ready and, in the background, take up what was left undone.

        A hypervisor that does not answer yet is asked again by the reconciler; until then
        nothing is done to any instance and there is no heartbeat.
        """
        try:
            self._prepare()
        except HypervisorError as error:
            LOG.error("The hypervisor is not ready: %s", error)

    def _prepare(self) -> None:
        with self._starting:
            if self._ready:
                return
            self.worker.driver.init_host()
            self._host_rebooted = self.resources.rebooted()
            self.resources.report()
            self._recovery = threading.Thread(
                target=self.recover, args=(self._host_rebooted,), daemon=True,
                name="compute-recover")
            self._ready = True
        self._recovery.start()

    def recover(self, host_rebooted: bool = False) -> None:
        """Take up everything an earlier process left; when it fails, the next period does it."""
        try:
            self.reconciler.recover(host_rebooted)
            self._recovered = True
            self._refresh_all()
        except NovaError as error:
            LOG.error("Recovery is not complete: %s", error)
        except Exception:  # a thread's end: nobody else would say what happened
            LOG.exception("Recovery failed")

    def periodic_tasks(self) -> list[tuple[str, float, Callable[[], Any]]]:
        """Return (name, seconds, function) of what is to be done again and again."""
        return [("reconcile", CONF.reconcile_interval, self.reconcile),
                ("take-up", CONF.message_patience, self.take_up),
                ("resources", CONF.resource_report_interval, self.report_resources),
                ("image-cache", CONF.image_cache_interval, self.clean_image_cache)]

    def hypervisor_up(self) -> bool:
        """Tell whether the hypervisor answered when it was last asked; else the service is down."""
        return self._ready and self._answers

    def reconcile(self) -> None:
        """Compare rows with guests once."""
        if not self._ready:
            self._prepare()
            return
        with self._noting_answers():
            if self._recovered or self._recovery.is_alive():
                self.reconciler.once()
                self._refresh_all()
            else:
                self.recover(self._host_rebooted)

    def take_up(self) -> None:
        """Do what rows have asked for a while and no message has told us to."""
        if self._ready and self._recovered:
            self.reconciler.take_up(CONF.message_patience)

    def report_resources(self) -> None:
        """Write down what this host offers."""
        if self._ready:
            with self._noting_answers():
                self.resources.report()

    @contextmanager
    def _noting_answers(self) -> Iterator[None]:
        try:
            yield
        except HypervisorError:
            self._answers = False
            raise
        self._answers = True

    def clean_image_cache(self) -> None:
        """Remove base images nobody needs."""
        if self._ready and (removed := self.worker.driver.cleanup()):
            LOG.info("Base images removed: %s", ", ".join(removed))

    def audit(self) -> list[Problem]:
        """Compare this host's guests, directories and base images with its rows; looks only."""
        return audit.problems(self.host, self.worker.driver)

    def audit_host(self, context: RequestContext, repair: bool) -> list[dict[str, Any]]:
        """Compare this host with its rows; ``repair`` puts right what is safe to.  Findings."""
        return on_this_host(audit.check(self.host, repair, self.worker.driver,
                                        self.locks.try_hold))

    # -- one instance ------------------------------------------------------------------------

    def advance(self, context: RequestContext, instance_id: str) -> None:
        """Do the task an instance is in; nothing when it has none, is gone, or is not ours."""
        with self.locks.hold(instance_id):
            if not self._ready:
                LOG.warning("Instance %s waits for the hypervisor", instance_id)
                return
            try:
                row = instances.get(instance_id)
            except InstanceNotFound:
                LOG.info("Instance %s is gone", instance_id)
                self.worker.unwanted.discard(instance_id)
                self.worker.again.discard(instance_id)
                return
            if row.host != self.host:
                LOG.info("Instance %s is on %s, not here", instance_id, row.host or "no host")
                return
            self.worker.again.discard(instance_id)
            do = self._tasks.get(TaskState(row.task_state)) if row.task_state else None
            if do is not None:
                try:
                    do(context, row)
                except LATER as error:
                    LOG.warning("Task %s of %s waits: %s", row.task_state, instance_id, error)
                    self.worker.again.add(instance_id)
        if instance_id in self._stale:
            self.refresh_instance_network(context, [instance_id])

    def build_instance(self, context: RequestContext, instance_id: str) -> None:
        """Build an instance claimed for this host."""
        self.advance(context, instance_id)

    def terminate_instance(self, context: RequestContext, instance_id: str) -> None:
        """Remove an instance; whatever waits for its guest stops waiting."""
        self.worker.unwanted.add(instance_id)
        try:
            self.advance(context, instance_id)
        finally:
            self.worker.unwanted.discard(instance_id)

    def stop_instance(self, context: RequestContext, instance_id: str) -> None:
        """Power a guest off."""
        self.advance(context, instance_id)

    def start_instance(self, context: RequestContext, instance_id: str) -> None:
        """Power a guest on."""
        self.advance(context, instance_id)

    def reboot_instance(self, context: RequestContext, instance_id: str) -> None:
        """Reboot a guest, soft or hard as its task says."""
        self.advance(context, instance_id)

    def message_parked(self, context: RequestContext, method: str, args: Mapping[str, Any],
                       reason: str) -> None:
        """Give up the task a message was about that no worker survives: ERROR, with a fault."""
        if "instance_id" in args:
            give_up(args["instance_id"], self.host, f"{method}: {reason}")
        if "attachment_id" in args:
            self.volumes.abandon(context, args["attachment_id"], f"{method}: {reason}")

    # -- one volume of one instance ----------------------------------------------------------

    def advance_volume(self, context: RequestContext, attachment_id: str) -> None:
        """Do what an attachment is in the middle of; nothing when it is gone or not ours."""
        try:
            instance_id = volume_attachments.get(attachment_id).instance_id
            with self.locks.hold(instance_id):
                if not self._ready:
                    LOG.warning("Attachment %s waits for the hypervisor", attachment_id)
                    return
                attachment = volume_attachments.get(attachment_id)
                row = instances.get(instance_id)
                if row.host != self.host:
                    LOG.info("Instance %s is on %s, not here", row.id, row.host or "no host")
                elif row.task_state not in (TaskState.DELETING, *_BUILD):
                    self.volumes.advance(context, row, attachment)
        except (InstanceNotFound, *GONE) as error:
            LOG.info("Attachment %s is over: %s", attachment_id, error)

    def attach_volume(self, context: RequestContext, attachment_id: str) -> None:
        """Give a guest a volume that is reserved for it."""
        self.advance_volume(context, attachment_id)

    def detach_volume(self, context: RequestContext, attachment_id: str) -> None:
        """Take a volume away from a guest."""
        self.advance_volume(context, attachment_id)

    # -- looks and rules ---------------------------------------------------------------------

    def refresh_instance_network(self, context: RequestContext,
                                 instance_ids: list[str]) -> None:
        """Apply the rules of the instances that are here anew.

        One that is busy is done when it no longer is; one that fails does not stop the others.
        """
        rows = instances.get_many(instance_ids) if self._ready else {}
        here = [row.id for row in rows.values() if row.host == self.host]
        # Noted first: whoever holds one, he or we will see it when it is let go.
        self._stale.update(here)
        while here:
            with ExitStack() as stack:
                mine = [one for one in here if stack.enter_context(self.locks.try_hold(one))]
                self._stale.difference_update(mine)
                # Read while they are held: no older rules come after newer ones.
                self._refresh(self.worker.network.get_vifs_of_instances(context, mine)
                              if mine else {})
            here = [one for one in mine if one in self._stale]

    def _refresh(self, wanted: Mapping[str, Sequence[VIF]]) -> None:
        """Apply rules, of all instances in one step or, where that fails, one by one."""
        if not wanted:
            return
        try:
            self.worker.driver.refresh_network(wanted)
        except NovaError as error:
            if len(wanted) == 1:
                LOG.error("Rules of %s are not refreshed: %s", *wanted, error)
                return
            LOG.warning("Rules of %s instances are refreshed one by one: %s", len(wanted), error)
            for instance_id, vifs in wanted.items():
                self._refresh({instance_id: vifs})

    def _refresh_all(self) -> None:
        """Apply the rules of all guests here: groups may have changed and nobody here was told."""
        self.refresh_instance_network(admin_context(), [
            row.id for row in instances.get_all({"host": self.host},
                                                sort=(("created_at", "asc"),))
            if row.vm_state == VmState.ACTIVE and row.task_state is None])

    def get_console_output(self, context: RequestContext, instance_id: str,
                           lines: int | None = None) -> str:
        """Return the last lines of a guest's console; at most 100 KiB of text."""
        row = instances.get(instance_id)
        if row.host != self.host:
            raise InstanceNotFound(instance_id=instance_id)
        return console.text_of(
            self.worker.driver.get_console_output(instance_id, console.MAX_BYTES), lines)

    def host_uptime(self, context: RequestContext) -> str:
        """Return the uptime line of this host."""
        return self.worker.driver.host_uptime()
