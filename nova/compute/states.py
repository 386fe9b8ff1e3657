# SPDX-License-Identifier: Apache-2.0
"""The states of an instance: who moves it where, by when, and what a restart does with it.

``vm_state`` is what the instance is, ``task_state`` what is being done to it (None: nothing).
``desired_state`` is what its owner wants and is written by the API alone.  Every transition is
one conditional UPDATE (:func:`nova.db.instances.transition`) that starts from the states listed
here; losing it means somebody else was first, and the loser stops.

The table :data:`TASKS` is the whole truth about transient states::

    API        BUILDING/scheduling --> scheduler --> BUILDING/networking --> BUILDING/spawning
                                            |                                       |
                                            v no host                               v
                                          ERROR/-                                ACTIVE/-
    ACTIVE/powering-off --> STOPPED/-       STOPPED/powering-on --> ACTIVE/-
    any/deleting --> (row gone)
    ACTIVE, STOPPED or ERROR of a host that is down --> BUILDING/scheduling   (evacuate)
    any/any --> ERROR/-     when whoever does it dies of it, or breaks, every time

A host that refuses a build gives it back: BUILDING/networking or /spawning --> BUILDING/scheduling
with no host and one refusal more in ``build_request``.  A build that fails for good is ERROR/- and
on no host, unless something of it could not be removed.
"""

from dataclasses import dataclass
from enum import StrEnum


class VmState(StrEnum):
    """What an instance is."""

    BUILDING = "building"
    ACTIVE = "active"
    STOPPED = "stopped"
    ERROR = "error"


class TaskState(StrEnum):
    """What is being done to an instance."""

    SCHEDULING = "scheduling"
    NETWORKING = "networking"
    SPAWNING = "spawning"
    POWERING_OFF = "powering-off"
    POWERING_ON = "powering-on"
    REBOOTING = "rebooting"
    REBOOTING_HARD = "rebooting_hard"
    DELETING = "deleting"


class Desired(StrEnum):
    """What the owner wants."""

    ACTIVE = "active"
    STOPPED = "stopped"
    DELETED = "deleted"


class PowerState:
    """What the hypervisor says, in the numbers of the Compute API."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


class Recovery(StrEnum):
    """What is done with an instance found in a task nobody is working on any more."""

    RESUME = "resume"        # do the task again; it is idempotent
    RESCHEDULE = "reschedule"  # cast to the scheduler again
    SETTLE = "settle"        # look at the hypervisor and write down what is there


@dataclass(frozen=True)
class Task:
    """One row of the table of transient states."""

    owner: str               # the worker that must finish it: "scheduler" or "compute"
    starts_from: frozenset[tuple[VmState, TaskState | None]]
    ends_in: frozenset[VmState | None]   # None: the row is gone
    deadline: int            # seconds after which a reconciler takes it up
    recovery: Recovery


def _idle(*states: VmState) -> frozenset[tuple[VmState, TaskState | None]]:
    return frozenset((state, None) for state in states)


_EVERY_STATE: frozenset[tuple[VmState, TaskState | None]] = frozenset(
    (vm, task) for vm in VmState for task in (None, *TaskState) if task is not TaskState.DELETING)

# After a power task the instance is what its guest is: running, off, or not there at all.
_JUDGED: frozenset[VmState | None] = frozenset({VmState.ACTIVE, VmState.STOPPED, VmState.ERROR})

# What an instance can be in when its host dies and it is to be built elsewhere.
_EVACUABLE: frozenset[tuple[VmState, TaskState | None]] = frozenset(
    (vm, task) for vm in (VmState.ACTIVE, VmState.STOPPED, VmState.ERROR)
    for task in (None, TaskState.POWERING_OFF, TaskState.POWERING_ON, TaskState.REBOOTING,
                 TaskState.REBOOTING_HARD))

TASKS: dict[TaskState, Task] = {
    TaskState.SCHEDULING: Task(
        "scheduler",
        _EVACUABLE | {(VmState.BUILDING, TaskState.NETWORKING),
                      (VmState.BUILDING, TaskState.SPAWNING)},
        frozenset({VmState.ERROR, VmState.BUILDING}), 60, Recovery.RESCHEDULE),
    TaskState.NETWORKING: Task(
        "compute", frozenset({(VmState.BUILDING, TaskState.SCHEDULING)}),
        frozenset({VmState.BUILDING, VmState.ERROR}), 120, Recovery.RESUME),
    TaskState.SPAWNING: Task(
        "compute", frozenset({(VmState.BUILDING, TaskState.NETWORKING)}),
        frozenset({VmState.ACTIVE, VmState.ERROR}), 900, Recovery.RESUME),
    TaskState.POWERING_OFF: Task(
        "compute", _idle(VmState.ACTIVE, VmState.ERROR),
        _JUDGED, 120, Recovery.RESUME),
    TaskState.POWERING_ON: Task(
        "compute", _idle(VmState.STOPPED),
        _JUDGED, 120, Recovery.RESUME),
    TaskState.REBOOTING: Task(
        "compute", _idle(VmState.ACTIVE), _JUDGED, 180, Recovery.RESUME),
    TaskState.REBOOTING_HARD: Task(
        "compute",
        _idle(VmState.ACTIVE, VmState.STOPPED, VmState.ERROR)
        | {(VmState.ACTIVE, TaskState.REBOOTING)},
        _JUDGED, 180, Recovery.RESUME),
    TaskState.DELETING: Task(
        "compute", _EVERY_STATE, frozenset({None, VmState.ERROR}), 120, Recovery.RESUME),
}


_STATUS = {VmState.BUILDING: "BUILD", VmState.ACTIVE: "ACTIVE", VmState.STOPPED: "SHUTOFF",
           VmState.ERROR: "ERROR"}
_STATUS_OF_TASK = {TaskState.REBOOTING: "REBOOT", TaskState.REBOOTING_HARD: "HARD_REBOOT"}


def api_status(vm_state: str, task_state: str | None) -> str:
    """Return the ``status`` word of the Compute API for a pair of states."""
    return (_STATUS_OF_TASK.get(TaskState(task_state)) if task_state else None) \
        or _STATUS[VmState(vm_state)]
