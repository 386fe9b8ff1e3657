# SPDX-License-Identifier: Apache-2.0
"""Guests, instance directories and base images of a host against the rows of its instances."""

import time
from collections.abc import Iterator, Sequence

from nova import config
from nova.audit import Finding
from nova.compute.reconciler import known_deleted
from nova.compute.states import VmState
from nova.db import instances, volume_attachments
from nova.db.models import Instance
from nova.exception import NotSupported
from nova.virt.driver import ComputeDriver, Problem, load_driver
from nova.volume.states import AttachStatus

CONF = config.CONF

SECOND_LOOK = 3.0     # seconds; what is not wrong any more then was in the middle of something


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


def check(host: str, repair: bool, driver: ComputeDriver | None = None) -> Iterator[Finding]:
    """Yield what did not fit at two looks.

    ``repair`` removes guests of instances whose deletion the log knows; nothing else is touched.
    """
    if driver is None and host != CONF.host:
        raise NotSupported(what=f"Looking at the guests of {host} from {CONF.host}")
    driver = driver or load_driver(host)
    if not (first := set(problems(host, driver))):
        return
    time.sleep(SECOND_LOOK)
    for one in problems(host, driver):
        if one not in first:
            continue
        repaired = False
        if repair and one.kind == "guest" and _removable(one.id):
            driver.destroy(one.id)
            repaired = True
        yield Finding("guests", one.kind, one.id, one.problem, repaired)


def _removable(instance_id: str) -> bool:
    return not instances.get_many([instance_id]) and known_deleted(instance_id)
