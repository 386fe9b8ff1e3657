# SPDX-License-Identifier: Apache-2.0
"""Checks that a host and the database say the same.

    def check(host: str, repair: bool) -> Iterator[Finding]:
        '''Guests without a row, rows without a guest.'''

A check looks first and twice: what is being made or removed in this moment is no finding.  With
``repair`` it puts right what it safely can and says so in the finding.  Checks of other rooms
are named in :data:`CHECKS` as ``module:function`` and imported when they run.
"""

import importlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from oslo_config import cfg

from nova.compute.states import TASKS, TaskState, VmState
from nova.db import instances, services
from nova.db.models import utcnow

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

SECOND_LOOK = 3.0       # seconds; what fits by then was being made or removed


@dataclass(frozen=True)
class Finding:
    """One thing without its row, or row without its thing."""

    check: str
    kind: str           # what the thing is: "instance", "guest", "tap", "bridge", "rule", ...
    thing: str          # its name or id
    what: str           # what is wrong, a sentence
    repaired: bool = False


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
    """Every instance that was built is on a host that there is."""
    known = {row.host for row in services.get_all(topic="compute")}
    for row in _all_rows():
        if row.host is None and row.vm_state in (VmState.ACTIVE, VmState.STOPPED):
            yield Finding("places", "instance", row.id, f"is {row.vm_state} on no host")
        elif row.host is not None and row.host not in known:
            yield Finding("places", "instance", row.id, f"is on {row.host}, which is no host")


def check_network(host: str, repair: bool) -> Iterator[Finding]:
    """Bridges, taps, DHCP servers, leases, rules and floating addresses are those of the rows."""
    from nova.network import audit
    if CONF.network_driver == "fake":       # that has nothing on the host
        return
    first = set(audit.audit(host))
    if not first:
        return
    if repair:
        from nova.network.manager import NetworkManager
        manager = NetworkManager(host)
        manager.driver.init_host()
        manager.reconcile()
    else:
        time.sleep(SECOND_LOOK)
    left = first & set(audit.audit(host))
    for kind, thing, what in sorted(first if repair else left):
        yield Finding("network", kind, thing, what, (kind, thing, what) not in left)


def _all_rows() -> Iterable[instances.Instance]:
    marker = None
    while page := instances.get_all(marker=marker, limit=500):
        yield from page
        marker = page[-1].id
