# SPDX-License-Identifier: Apache-2.0
"""Guests, instance directories and base images of a host against the rows of its instances."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial

from nova import config
from nova.audit import Finding, lasting
from nova.compute.evacuation import leftover_removed
from nova.compute.power import GUEST_MISSING
from nova.compute.reconciler import known_deleted
from nova.compute.request import BuildRequest
from nova.compute.states import PowerState, VmState
from nova.db import instances, volume_attachments
from nova.db.models import Instance
from nova.exception import InstanceNotFound, InvalidState, NotSupported
from nova.virt.driver import ComputeDriver, Problem, load_driver
from nova.volume.states import AttachStatus

CONF = config.CONF


def problems(host: str, driver: ComputeDriver) -> list[Problem]:
    """Return what does not fit, looked at once."""
    rows = instances.get_all({"host": host})
    return [*driver.audit([row.id for row in rows if expects_guest(row)],
                          [row.id for row in rows if not expects_guest(row)]),
            *volume_problems(rows, driver)]


def volume_problems(rows: Sequence[Instance], driver: ComputeDriver) -> list[Problem]:
    """Compare the volumes that running guests have open with the rows of attachments."""
    in_use = driver.volumes_in_use()
    guests = driver.list_instances()
    attached = volume_attachments.get_of_instances({*in_use, *(row.id for row in rows)})
    found = []
    for instance_id, volumes in sorted(in_use.items()):
        known = {one.volume_id for one in attached.get(instance_id, ())
                 if one.status != AttachStatus.RESERVED}
        found += [Problem("volume", one, f"guest {instance_id} has it and no attachment says so")
                  for one in sorted(volumes.keys() - known)]
    for row in rows:
        if row.id in guests and guests[row.id].running:
            wanted = {one.volume_id for one in attached.get(row.id, ())
                      if one.status == AttachStatus.ATTACHED}
            found += [Problem("volume", one, f"it is attached and guest {row.id} has it not")
                      for one in sorted(wanted - in_use.get(row.id, {}).keys())]
    return found


def expects_guest(row: Instance) -> bool:
    """Tell whether a row says that there is a guest: not while it is built, deleted or failed."""
    return row.task_state is None and row.vm_state in (VmState.ACTIVE, VmState.STOPPED)


@contextlib.contextmanager
def nobody_else(_instance_id: str) -> Iterator[bool]:
    """Hold an instance where there is no worker to share it with."""
    yield True


def check(host: str, repair: bool, driver: ComputeDriver | None = None,
          holding: Callable[[str], AbstractContextManager[bool]] = nobody_else,
          ) -> Iterator[Finding]:
    """Yield what did not fit at two looks.

    ``repair`` removes what is left of instances whose deletion, or evacuation from here, the
    database knows, and puts instances without a guest into ERROR; nothing else is touched.
    """
    if driver is None and host != CONF.host:
        raise NotSupported(what=f"Looking at the guests of {host} from {CONF.host}")
    driver = driver or load_driver(host)
    for one in lasting(partial(problems, host, driver)):
        repaired = False
        if repair and one.kind in ("guest", "instance-directory"):
            with holding(one.id) as held:
                repaired = held and _repair(host, driver, one)
        yield Finding("guests", one.kind, one.id, one.problem, repaired)


def _repair(host: str, driver: ComputeDriver, one: Problem) -> bool:
    """Put one thing right if that costs nobody anything; tell whether it was."""
    row = instances.get_many([one.id]).get(one.id)
    if row is None:
        if known_deleted(one.id):
            driver.destroy(one.id)
        return known_deleted(one.id)
    if row.host != host:
        leftover = host in BuildRequest.of(row.build_request).evacuated_from
        if leftover:
            driver.destroy(one.id)
            leftover_removed(row, host)
        return leftover
    if not expects_guest(row) or one.id in driver.list_instances():
        return False        # its files are not right: that is for the operator to judge
    try:
        instances.transition(row.id, from_vm=row.vm_state, from_task=None, from_host=host,
                             vm_state=VmState.ERROR, power_state=PowerState.NOSTATE)
        instances.add_fault(row.id, 500, GUEST_MISSING, host=host)
    except (InvalidState, InstanceNotFound):
        return False
    return True
