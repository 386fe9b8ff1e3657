# SPDX-License-Identifier: Apache-2.0
"""Stop, start, reboot: what the row's task says is done to the guest, then written down."""

import logging
from collections.abc import Callable

from nova.compute.states import PowerState, TaskState, VmState
from nova.compute.volumes import InstanceVolumes
from nova.compute.worker import CONF, LATER, Worker, fault_text, spec_of
from nova.context import RequestContext
from nova.db import instances
from nova.db.models import Instance
from nova.exception import InstanceNotFound, InvalidState, NovaError
from nova.virt.driver import GuestInfo, InstanceSpec, RebootType

LOG = logging.getLogger(__name__)

GUEST_MISSING = "The guest is not on its host any more."


def state_of(info: GuestInfo | None) -> tuple[VmState, int]:
    """Return what an instance is, judged by its guest alone."""
    if info is None:
        return VmState.ERROR, PowerState.NOSTATE
    return (VmState.ACTIVE if info.running else VmState.STOPPED), info.power_state


class Power:
    """Does the power tasks of instances on this host."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.volumes = InstanceVolumes(worker)

    def stop(self, context: RequestContext, row: Instance) -> None:
        """Finish POWERING_OFF: the guest is asked to go, and after a while made to."""
        self._do(context, row, lambda: self.worker.driver.power_off(
            row.id, CONF.shutdown_timeout, self.worker.wanted(row.id)))

    def start(self, context: RequestContext, row: Instance) -> None:
        """Finish POWERING_ON."""
        def act() -> None:
            self.worker.driver.power_on(self._spec(context, row))
            self.volumes.started(row)
        self._do(context, row, act)

    def reboot(self, context: RequestContext, row: Instance) -> None:
        """Finish REBOOTING or REBOOTING_HARD."""
        kind = RebootType.SOFT if row.task_state == TaskState.REBOOTING else RebootType.HARD
        wanted = self.worker.wanted(row.id)

        def act() -> None:
            self.worker.driver.reboot(self._spec(context, row), kind, CONF.reboot_timeout, wanted)
            if wanted():
                self.volumes.started(row)
        self._do(context, row, act)

    def _spec(self, context: RequestContext, row: Instance) -> InstanceSpec:
        return spec_of(row, self.worker.vifs(context, row.id),
                       volumes=self.volumes.connect(context, row))

    def _do(self, context: RequestContext, row: Instance, act: Callable[[], None]) -> None:
        """Act, then write down what the hypervisor says came of it, good or bad."""
        failure: Exception | None = None
        try:
            act()
        except LATER as error:
            LOG.warning("Task %s of %s waits: %s", row.task_state, row.id, error)
            self.worker.again.add(row.id)
            return
        except NovaError as error:
            LOG.warning("Task %s of %s failed: %s", row.task_state, row.id, error)
            failure = error
        if row.id in self.worker.unwanted:
            return
        info: GuestInfo | None
        try:
            info = self.worker.driver.get_info(row.id)
        except InstanceNotFound:
            info, failure = None, failure or InstanceNotFound(instance_id=row.id)
        except NovaError as error:
            # Nobody knows how it is: the reconciler asks again.
            LOG.error("Instance %s cannot be looked at: %s", row.id, error)
            self.worker.again.add(row.id)
            return
        self._settle(context, row, info, failure)

    def _settle(self, context: RequestContext, row: Instance, info: GuestInfo | None,
                failure: Exception | None) -> None:
        vm_state, power_state = state_of(info)
        message = None
        if failure is not None:
            code, message = fault_text(failure)
            if info is None:
                message = GUEST_MISSING
            instances.add_fault(row.id, code, message, details=str(failure),
                                host=self.worker.host)
        try:
            instances.transition(
                row.id, from_task=row.task_state, from_host=self.worker.host,
                vm_state=vm_state, task_state=None, power_state=power_state, error=message,
                detail=str(failure) if failure else None)
        except (InvalidState, InstanceNotFound) as lost:
            LOG.info("Task %s of %s was overtaken: %s", row.task_state, row.id, lost)
