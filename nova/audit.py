# SPDX-License-Identifier: Apache-2.0
"""Checks that a host and the database say the same.

    def check(host: str, repair: bool) -> Iterator[Finding]:
        '''Guests without a row, rows without a guest.'''

A check looks first and twice: what is being made or removed in this moment is no finding.  With
``repair`` it puts right what it safely can and says so in the finding.  Checks of other rooms
are named in :data:`CHECKS` as ``module:function`` and imported when they run.
"""

import datetime
import importlib
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from oslo_config import cfg

from nova import rpc
from nova.compute.states import TASKS, PowerState, TaskState, VmState
from nova.context import admin_context
from nova.db import instances, services
from nova.db.models import Instance, utcnow
from nova.exception import InstanceNotFound, InvalidState, NovaError

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

HOST_MISSING = "The host it was on is not there any more."
SECOND_LOOK = 3.0       # seconds; what fits by then was being made or removed


@dataclass(frozen=True)
class Finding:
    """One thing without its row, or row without its thing."""

    check: str
    kind: str           # what the thing is: "instance", "guest", "tap", "bridge", "rule", ...
    thing: str          # its name or id
    what: str           # what is wrong, a sentence
    repaired: bool = False


Thing = TypeVar("Thing", bound=Hashable)


def lasting(look: Callable[[], Iterable[Thing]]) -> list[Thing]:
    """Return what two looks find, in the order of the second; the first may find nothing."""
    if not (first := set(look())):
        return []
    time.sleep(SECOND_LOOK)
    return [one for one in look() if one in first]


CHECKS: dict[str, str] = {
    "tasks": "nova.audit:check_tasks",
    "places": "nova.audit:check_places",
    "guests": "nova.compute.audit:check",
    "network": "nova.audit:check_network",
    "volumes": "nova.volume.audit:check",
}


def run(host: str, *, repair: bool = False, only: Sequence[str] | None = None) -> list[Finding]:
    """Run the checks, all or those named; a check that fails is itself a finding.

    ValueError for a check there is not.
    """
    names = list(only or CHECKS)
    if unknown := [name for name in names if name not in CHECKS]:
        raise ValueError(f"--check: there is no {', '.join(unknown)}; there are "
                         f"{', '.join(CHECKS)}")
    findings: list[Finding] = []
    for name in names:
        module, _, function = CHECKS[name].partition(":")
        try:
            check = getattr(importlib.import_module(module), function)
            findings.extend(check(host, repair))
        except Exception as error:      # the other checks still have something to say
            LOG.exception("Check %s failed", name)
            findings.append(Finding(name, "check", name,
                                    f"it failed: {type(error).__name__}: {error}"))
    return findings


HOST_CHECKS: dict[str, str] = {
    "guests": "nova.compute.methods",
    "network": "nova.network.methods",
    "volumes": "nova.volume.methods",
}
"""Checks a worker of that method table does on its own host: ``audit_host(repair)``."""


def run_everywhere(*, host: str | None = None, repair: bool = False,
                   only: Sequence[str] | None = None) -> list[Finding]:
    """Run the checks of the database here, and have each worker look at its host.

    ``host`` lets only the workers there look.  A worker that is down, or does not answer, is a
    finding itself.  ValueError for a check there is not.
    """
    names = list(only or CHECKS)
    own = [name for name in names if name not in HOST_CHECKS]
    findings = run(CONF.host, repair=repair, only=own) if own else []
    for name in names:
        if name in HOST_CHECKS:
            findings.extend(_ask_workers(name, host, repair))
    return list(dict.fromkeys(findings))


def _ask_workers(name: str, host: str | None, repair: bool) -> Iterator[Finding]:
    table = importlib.import_module(HOST_CHECKS[name]).METHODS
    for row in services.get_all(host=host, topic=table.topic):
        if not services.is_up(row, CONF.service_down_time):
            yield Finding(name, "host", row.host, f"{row.binary} is down: nobody looked")
            continue
        try:
            for values in rpc.call(admin_context(), table, "audit_host", host=row.host,
                                   repair=repair):
                yield Finding(**{**values, "what": f"on {row.host}: {values['what']}"})
        except NovaError as error:
            yield Finding(name, "host", row.host, f"nobody looked: {error}")


def on_this_host(check: Iterator[Finding]) -> list[dict[str, Any]]:
    """Return what a check found as a worker's answer to ``audit_host``."""
    return [asdict(finding) for finding in check]


def check_tasks(host: str, repair: bool) -> Iterator[Finding]:
    """Nothing is in a task past twice its time while the worker that owns the task is up."""
    now = utcnow()
    for row in instances.overdue(list(TASKS), limit=1000):
        task = TASKS[TaskState(row.task_state or "")]
        late = (now - (row.task_deadline or now)).total_seconds()
        if late > task.deadline:
            yield Finding("tasks", "instance", row.id,
                          f"has been in task {row.task_state} {late:.0f} s past its deadline")


def check_places(host: str, repair: bool) -> Iterator[Finding]:
    """Every instance that was built is on a host that there is.

    ``repair`` puts the others into ERROR with a fault, and lets those whose deletion was asked
    for be removed without their host.
    """
    known = {row.host for row in services.get_all(topic="compute")}
    for row in _all_rows():
        if row.host is None and row.task_state == TaskState.DELETING:
            continue        # the scheduler removes it
        if row.host is None and row.vm_state in (VmState.ACTIVE, VmState.STOPPED):
            what = f"is {row.vm_state} on no host"
        elif row.host is not None and row.host not in known:
            what = f"is on {row.host}, which is no host"
        else:
            continue
        if row.vm_state == VmState.ERROR and row.task_state is None:
            continue        # it says so itself
        yield Finding("places", "instance", row.id, what, repair and _settle(row))


def _settle(row: Instance) -> bool:
    """Write down that an instance has no host; False when it moved meanwhile."""
    try:
        if row.task_state == TaskState.DELETING:
            instances.transition(row.id, from_task=TaskState.DELETING, from_host=row.host,
                                 host=None)     # the scheduler removes it
            return True
        instances.transition(
            row.id, from_vm=row.vm_state, from_task=row.task_state, from_host=row.host,
            vm_state=VmState.ERROR, task_state=None, power_state=PowerState.NOSTATE,
            error=HOST_MISSING)
        instances.add_fault(row.id, 500, HOST_MISSING, host=row.host)
    except (InvalidState, InstanceNotFound):
        return False
    return True


def check_network(host: str, repair: bool, manager: Any = None) -> Iterator[Finding]:
    """Bridges, taps, DHCP servers, leases, rules and floating addresses are those of the rows.

    ``manager`` is the network worker of this host when it looks itself.
    """
    from nova.network import audit

    def look() -> set[tuple[str, str, str]]:
        if manager is None and CONF.network_driver == "fake":   # that has nothing on the host
            return set(audit.rows())
        return set(audit.audit(host, manager and manager.driver))

    first = look()
    if not first:
        return
    if repair:
        if manager is None:
            from nova.network.manager import NetworkManager
            manager = NetworkManager(host)
            manager.driver.init_host()
        manager.reconcile(orphan_age=datetime.timedelta(0))
    else:
        time.sleep(SECOND_LOOK)
    left = first & look()
    for kind, thing, what in sorted(first if repair else left):
        yield Finding("network", kind, thing, what, (kind, thing, what) not in left)


def _all_rows() -> Iterable[instances.Instance]:
    marker = None
    while page := instances.get_all(marker=marker, limit=500):
        yield from page
        marker = page[-1].id
