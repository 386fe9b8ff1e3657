# SPDX-License-Identifier: Apache-2.0
"""Database against hypervisor: on start and on a period, nothing is left half done.

Four kinds of difference, and what is done about each:

* A row with a task nobody works on.  On start that is every one of this host, later those past
  their deadline.  The task is done again from the row, as its message would have had it done.
* A row without a task and a guest that is not what the row says.  The row is corrected, also back
  out of ERROR when a guest that had vanished is there again; after a reboot of the host, guests
  that should run are started.  A hypervisor that does not answer says nothing about its guests.
* An attachment of a volume on its way in or out that nobody works on.  It goes on; that of an
  instance that is gone ends.
* A guest without a row here.  It is removed when the log shows that its instance was deleted;
  else it is reported and left alone: recovery never costs anybody's data.
"""

import datetime
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

from oslo_config import cfg

from nova.compute.evacuation import leftover_removed
from nova.compute.giving_up import give_up
from nova.compute.power import GUEST_MISSING, state_of
from nova.compute.request import BuildRequest
from nova.compute.states import TASKS, Desired, PowerState, TaskState, VmState
from nova.compute.volumes import InstanceVolumes
from nova.compute.worker import CONF, Worker, recovery_context
from nova.context import RequestContext, admin_context
from nova.db import actions, instances, volume_attachments, volumes
from nova.db.models import Instance, InstanceAction, utcnow
from nova.db.volume_models import VolumeAttachment
from nova.exception import InstanceNotFound, InvalidState, NovaError
from nova.virt.driver import GuestInfo
from nova.volume.states import AttachStatus

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.BoolOpt("resume_guests_on_host_boot", default=True,
                help="Start guests again that were running when their host went down."),
]
CONF.register_opts(OPTIONS)
CONF.import_opt("max_deliveries", "nova.rpc.broker", group="rpc")

DIED = "compute_died"       # event of the log: a task was begun by a process that is gone

HINT_TIME = datetime.timedelta(seconds=10)      # a message is on its way no longer than this
MOVING = (AttachStatus.ATTACHING, AttachStatus.DETACHING)


class Reconciler:
    """Reconciles one host.  ``advance`` does the task of a row: the manager's own way."""

    def __init__(self, worker: Worker,
                 advance: Callable[[RequestContext, str], None],
                 busy: Callable[[str], bool],
                 advance_volume: Callable[[RequestContext, str], None],
                 holding: Callable[[str], AbstractContextManager[bool]]) -> None:
        self.worker = worker
        self.advance = advance
        self.busy = busy
        self.advance_volume = advance_volume
        self.holding = holding
        self.volumes = InstanceVolumes(worker)

    def recover(self, host_rebooted: bool) -> None:
        """Take up everything an earlier process of ours left; called once, at the start.

        Several instances at a time, and each for sure: one that is busy just now is waited for.
        """
        rows, guests = self._look()
        with ThreadPoolExecutor(CONF.max_concurrent_builds) as pool:
            for row in rows:
                pool.submit(self._safely, self._recover_one, row, guests.get(row.id),
                            host_rebooted)
        self._attachments(rows, utcnow())
        self._strays(rows, guests)

    def once(self) -> None:
        """Take up what is past its deadline or has to be tried again; correct what has changed."""
        now = utcnow()
        rows, guests = self._look()
        for row in rows:
            late = row.task_deadline is None or row.task_deadline < now
            if not self.busy(row.id):
                self._safely(self._one, row, guests.get(row.id),
                             late or row.id in self.worker.again, False)
        self._attachments(rows, now - HINT_TIME)
        self._strays(rows, guests)

    def take_up(self, seconds: float) -> None:
        """Begin the tasks that were begun so long ago and that nobody here works on."""
        owned = [task for task, entry in TASKS.items() if entry.owner == "compute"]
        for row in instances.overdue(owned, host=self.worker.host, begun=seconds):
            if not self.busy(row.id):
                LOG.info("Instance %s: %s is begun without a message", row.id, row.task_state)
                threading.Thread(
                    target=self._safely, args=(self._one, row, None, True, False), daemon=True,
                    name="compute-take-up").start()

    def _look(self) -> tuple[list[Instance], dict[str, GuestInfo]]:
        rows = instances.get_all({"host": self.worker.host}, sort=(("created_at", "asc"),))
        # Listed after the rows were read: a guest without a row is looked up again.
        return rows, self.worker.driver.list_instances()

    def _safely(self, function: Callable[..., None], row: Instance, *args: Any) -> None:
        try:
            function(row, *args)
        except (InvalidState, InstanceNotFound) as error:
            LOG.info("Instance %s moved meanwhile: %s", row.id, error)
        except NovaError as error:
            LOG.error("Instance %s is left as it is: %s", row.id, error)
            self.worker.again.add(row.id)
        except Exception as error:  # one broken row must not keep the others from being looked at
            LOG.exception("Instance %s cannot be reconciled", row.id)
            if row.task_deadline is not None and row.task_deadline < utcnow():
                give_up(row.id, self.worker.host, f"{type(error).__name__}: {error}")

    def _recover_one(self, row: Instance, guest: GuestInfo | None, host_rebooted: bool) -> None:
        """As :meth:`_one`, but a task that workers die of is given up in the end."""
        if row.task_state is not None:
            deaths = actions.count_events(row.id, DIED)
            if deaths >= CONF.rpc.max_deliveries:
                give_up(row.id, self.worker.host, f"{deaths} workers died of {row.task_state}")
                return
            actions.refused(row.id, DIED, f"The worker died, or was ended, in {row.task_state}.",
                            self.worker.host)
        self._one(row, guest, True, host_rebooted)

    def _one(self, row: Instance, guest: GuestInfo | None, due: bool,
             host_rebooted: bool) -> None:
        if row.task_state is not None:
            if due:
                LOG.info("Instance %s: %s is taken up again", row.id, row.task_state)
                self.advance(recovery_context(row), row.id)
            return
        if row.vm_state == VmState.ERROR and guest is not None:
            self._found_again(row)
        if row.vm_state not in (VmState.ACTIVE, VmState.STOPPED):
            return
        # Between the reading of the row and the listing of the guests much may have happened.
        vm_state, power_state = state_of(guest)
        if (vm_state, power_state) == (row.vm_state, row.power_state):
            return
        if (host_rebooted and row.vm_state == VmState.ACTIVE and vm_state == VmState.STOPPED
                and row.desired_state == Desired.ACTIVE and CONF.resume_guests_on_host_boot):
            self._start_again(row)
            return
        self._correct(row)

    def _found_again(self, row: Instance) -> None:
        """Take an instance out of ERROR whose only trouble was that its guest had vanished."""
        fault = instances.latest_faults([row.id]).get(row.id)
        if fault is not None and fault.message == GUEST_MISSING:
            self._correct(row)

    def _start_again(self, row: Instance) -> None:
        LOG.info("Instance %s ran when its host went down: it is started", row.id)
        context = admin_context()
        instances.transition(
            row.id, from_vm=VmState.ACTIVE, from_task=None, from_host=self.worker.host,
            vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN)
        instances.begin_task(
            row.id, TaskState.POWERING_ON, from_host=self.worker.host,
            log=InstanceAction(instance_id=row.id, project_id=row.project_id,
                               action="start", request_id=context.request_id))
        self.advance(context, row.id)

    def _correct(self, row: Instance) -> None:
        """Write down what the hypervisor says now, if the row is still without a task."""
        try:
            guest = self.worker.driver.get_info(row.id)
        except InstanceNotFound:
            guest = None
        vm_state, power_state = state_of(guest)
        if (vm_state, power_state) == (row.vm_state, row.power_state):
            return
        instances.transition(
            row.id, from_vm=row.vm_state, from_task=None, from_host=self.worker.host,
            vm_state=vm_state, power_state=power_state)
        LOG.warning("Instance %s was %s and its guest is %s: it is %s now", row.id, row.vm_state,
                    power_state, vm_state)
        if guest is None:
            instances.add_fault(row.id, 500, GUEST_MISSING, host=self.worker.host)

    def _attachments(self, rows: Sequence[Instance], before: datetime.datetime) -> None:
        """Go on with attachments nobody works on; those reserved since ``before`` are expected.
        """
        for instance_id, found in volume_attachments.get_of_instances(
                [row.id for row in rows]).items():
            for one in found:
                waiting = one.status in MOVING or (
                    one.status == AttachStatus.RESERVED and one.created_at < before)
                if waiting and not self.busy(instance_id):
                    self._volume_safely(self._take_up_volume, one)
        here = volume_attachments.get_of_host(self.worker.host)
        known = instances.get_many({one.instance_id for one in here})
        for instance_id in sorted({one.instance_id for one in here}):
            row = known.get(instance_id)
            if row is None or row.host != self.worker.host:
                LOG.warning("The volumes of instance %s, which is not here any more, are "
                            "released", instance_id)
                self._volume_safely(self._release, instance_id)

    def _take_up_volume(self, attachment: VolumeAttachment) -> None:
        try:
            self.advance_volume(admin_context(), attachment.id)
        except NovaError:
            raise
        except Exception as error:      # what nobody expected may be over by the deadline
            volume = volumes.get(attachment.volume_id)
            if volume.deadline is not None and volume.deadline < utcnow():
                self.volumes.abandon(admin_context(), attachment.id,
                                     f"{type(error).__name__}: {error}")
            raise

    def _release(self, instance_id: str) -> None:
        # Whether a guest has them or not, no row says that it may.
        for one in volume_attachments.get_of_instance(instance_id):
            if one.host == self.worker.host:
                self.worker.driver.detach_volume(instance_id, one.volume_id,
                                                 CONF.volume_detach_timeout)
        self.volumes.release(admin_context(), instance_id)

    @staticmethod
    def _volume_safely(function: Callable[..., None], *args: Any) -> None:
        try:
            function(*args)
        except NovaError as error:
            LOG.error("Volume work waits: %s", error)
        except Exception:  # one broken row must not keep the others from being looked at
            LOG.exception("Volume work cannot be done")

    def _strays(self, rows: Sequence[Instance], guests: Mapping[str, GuestInfo]) -> None:
        strays = guests.keys() - {row.id for row in rows}
        if not strays:
            return
        elsewhere = instances.get_many(strays)
        for instance_id in strays:
            row = elsewhere.get(instance_id)
            if row is not None:
                if self.worker.host in BuildRequest.of(row.build_request).evacuated_from:
                    self._remove_leftover(row)
                elif row.host != self.worker.host:
                    LOG.error("A guest of instance %s is here, and the instance on %s: it is left "
                              "alone", instance_id, row.host or "no host")
                continue
            if not known_deleted(instance_id):
                LOG.error("A guest carries our label and is of no known instance: %s is left "
                          "alone", instance_id)
                continue
            LOG.warning("The guest of deleted instance %s is removed", instance_id)
            try:
                self.worker.driver.destroy(instance_id)
            except NovaError as error:
                LOG.error("Guest %s cannot be removed yet: %s", instance_id, error)


    def _remove_leftover(self, row: Instance) -> None:
        """Remove what this host still has of an instance that was taken from it while it was down.

        Its new guest is on another host, where this driver does not reach; ports and addresses
        are the new one's.
        """
        with self.holding(row.id) as held:
            current = instances.get(row.id)
            if not held or current.host == self.worker.host:
                return      # it has come back here: its build removes what was left
            LOG.warning("Instance %s was taken from here: its guest is removed", row.id)
            try:
                self.worker.driver.destroy(row.id)
                leftover_removed(row, self.worker.host)
            except NovaError as error:
                LOG.error("Guest %s cannot be removed yet: %s", row.id, error)


def known_deleted(instance_id: str) -> bool:
    """Tell whether the log says of an instance without a row that its deletion was asked for."""
    return any(one.action == "delete" for one in actions.of_instance(instance_id))
