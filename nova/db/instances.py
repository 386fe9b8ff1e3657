# SPDX-License-Identifier: Apache-2.0
"""Rows of instances: made, found, counted, and moved from state to state.

:func:`transition` and :func:`begin_task` are the only ways to change ``vm_state`` and
``task_state`` (:func:`claim` is a transition with a host's capacity in it).
"""

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, cast, delete, func, or_, select, update
from sqlalchemy.orm import Session, defer

from nova.compute.states import TASKS, TaskState, VmState
from nova.db import actions as log_of_actions
from nova.db import changes, paging
from nova.db.compute_nodes import capacity_of
from nova.db.models import (
    ComputeNode,
    Instance,
    InstanceAction,
    InstanceFault,
    new_id,
    utcnow,
)
from nova.db.paging import equals, one_of
from nova.db.session import affected, again, deed, reader, retry, writer
from nova.exception import (
    BadRequest,
    ClaimFailed,
    HostNotFound,
    InstanceNotFound,
    InvalidState,
)


class _Any:
    def __repr__(self) -> str:
        return "ANY"


ANY: Any = _Any()
"""Default of the ``from_`` arguments: whatever the row says."""

# Written by transitions and claims alone.
_STATE_COLUMNS = {"vm_state", "task_state", "task_deadline", "transition_id"}
_SORT_COLUMNS = {
    name: getattr(Instance, name) for name in (
        "created_at", "id", "display_name", "host", "vm_state", "launched_at", "updated_at",
        "project_id", "user_id", "availability_zone", "image_id", "flavor_id", "key_name",
        "power_state", "task_state", "access_ip_v4", "access_ip_v6", "reservation_id")}
_EQUAL_FILTERS = (
    "project_id", "user_id", "host", "vm_state", "task_state", "image_id", "flavor_id",
    "reservation_id", "availability_zone", "key_name", "power_state", "desired_state", "locked",
    "hostname", "access_ip_v4", "access_ip_v6", "launch_index", "config_drive", "kernel_id",
    "ramdisk_id", "progress", "display_name", "id")


@dataclass(frozen=True)
class Usage:
    """What a set of instances takes: numbers of instances and CPUs, MiB of memory, GiB of disk."""

    instances: int = 0
    vcpus: int = 0
    memory_mb: int = 0
    disk_gb: int = 0


def disk_gb(instance: Instance) -> int:
    """Return the GiB of local disk an instance may fill."""
    return instance.root_gb + instance.ephemeral_gb + -(-instance.swap_mb // 1024)


# ---------------------------------------------------------------- making and finding

def create(instances: Sequence[Instance], *, actions: Iterable[InstanceAction] = (),
           guard: Callable[[Session], None] | None = None,
           also: Callable[[Session], None] | None = None) -> list[Instance]:
    """Add new instances, all or none, and the log entries that go with them.

    ``guard`` runs in the same transaction before anything is added, ``also`` after it; what they
    raise (OverQuota) undoes it.  A task state they start with gets its deadline.
    """
    now = utcnow()
    for position, instance in enumerate(instances):
        # One request's instances keep their order in every listing.
        instance.created_at = now + datetime.timedelta(microseconds=position)
        instance.task_deadline = _deadline(instance.task_state)

    @retry
    def add() -> list[Instance]:
        with writer() as session:
            if again() and session.get(Instance, instances[0].id) is not None:
                # The try before this one was committed and its answer got lost.
                return [_get(session, instance.id) for instance in instances]
            if guard is not None:
                guard(session)
            # Merged, so that another try starts from the same objects.
            made = [session.merge(instance) for instance in instances]
            for instance in made:
                changes.note(session, None, instance)
            for action in actions:
                session.merge(action)
            session.flush()
            for instance in made:
                log_of_actions.moved(session, instance, None)
            if also is not None:
                also(session)
        return made

    return add()


@retry
def get(instance_id: str, project_id: str | None = None) -> Instance:
    """Return one instance; InstanceNotFound when there is none or it is another project's."""
    with reader() as session:
        return _get(session, instance_id, project_id)


def _get(session: Session, instance_id: str, project_id: str | None = None,
         lock: bool = False) -> Instance:
    found = session.get(Instance, instance_id, with_for_update=lock or None)
    if found is None or (project_id is not None and found.project_id != project_id):
        raise InstanceNotFound(instance_id=instance_id)
    return found


@retry
def get_many(instance_ids: Collection[str]) -> dict[str, Instance]:
    """Return those of the instances that exist, by id."""
    found: dict[str, Instance] = {}
    ids = list(instance_ids)
    with reader() as session:
        for start in range(0, len(ids), 500):
            part = ids[start:start + 500]
            for row in session.scalars(select(Instance).where(Instance.id.in_(part))):
                found[row.id] = row
    return found


@retry
def get_all(filters: Mapping[str, Any] | None = None, *, marker: str | None = None,
            limit: int | None = None, sort: Sequence[tuple[str, str]] = (("created_at", "desc"),),
            with_user_data: bool = False) -> list[Instance]:
    """Return instances, newest first, one page of them at a time.

    ``filters`` maps a column to a value, to a list of values (any of them) or to None; besides
    columns it knows ``name`` (part of the display name, case ignored), ``changes_since`` and
    ``changes_before`` (naive UTC) and ``ids``.  ``sort`` is (column, "asc" or "desc") pairs; ``id``
    always settles ties.  ``marker`` is the id of the last instance of the page before.
    BadRequest names what is wrong with them.
    """
    keys = paging.sort_keys(_SORT_COLUMNS, sort)
    query = select(Instance)
    if not with_user_data:
        query = query.options(defer(Instance.user_data, raiseload=True))
    for condition in _conditions(filters or {}):
        query = query.where(condition)
    with reader() as session:
        owner = (filters or {}).get("project_id")
        mine = [] if owner is None else _conditions({"project_id": owner})
        query = paging.page(session, query, keys, marker=marker, limit=limit, mine=mine)
        return list(session.scalars(query))


def _conditions(filters: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for name, value in filters.items():
        if name in _EQUAL_FILTERS:
            column = getattr(Instance, name)
            if value is None:
                found.append(column.is_(None))
            elif isinstance(value, (list, tuple, set, frozenset)):
                found.append(one_of(column, value))
            else:
                found.append(column == value)
        elif name == "ids":
            found.append(Instance.id.in_(list(value)))
        elif name == "name":
            found.append(Instance.display_name.icontains(value, autoescape=True))
        elif name == "changes_since":
            found.append(func.coalesce(Instance.updated_at, Instance.created_at) >= value)
        elif name == "changes_before":
            found.append(func.coalesce(Instance.updated_at, Instance.created_at) <= value)
        else:
            raise BadRequest(f"{name}: not a filter for servers")
    return found


# ---------------------------------------------------------------- changing

def transition(instance_id: str, *, from_vm: Any = ANY, from_task: Any = ANY,
               from_host: Any = ANY, verb: str | None = None,
               log: InstanceAction | None = None, error: str | None = None,
               detail: str | None = None, **values: Any) -> Instance:
    """Move an instance in one conditional UPDATE; return it as it is then.

    It must be in (one of) ``from_vm``, ``from_task`` and ``from_host`` - a value or a collection,
    None being a value - or InvalidState says where it is instead; InstanceNotFound when it is
    gone.  A new ``task_state`` sets its deadline.  In the same transaction ``log``, what is asked
    for, is written and, with the task, the step of the log that ends: well, or with ``error``,
    which is fit for the owner, and ``detail``, which is the operator's.
    """
    conditions = [
        equals(column, expected) for column, expected in (
            (Instance.vm_state, from_vm), (Instance.task_state, from_task),
            (Instance.host, from_host)) if expected is not ANY]
    return _move(instance_id, conditions, verb or str(values.get("task_state") or "update"),
                 log, values, (error, detail))


def begin_task(instance_id: str, task: TaskState, *, from_host: Any = ANY,
               verb: str | None = None, log: InstanceAction | None = None,
               **values: Any) -> Instance:
    """Start a task on an instance if the table of tasks lets it start from where the row is."""
    by_task: dict[TaskState | None, list[VmState]] = {}
    for vm, old in TASKS[task].starts_from:
        by_task.setdefault(old, []).append(vm)
    starts = [and_(equals(Instance.task_state, old), Instance.vm_state.in_(vms))
              for old, vms in by_task.items()]
    conditions = [or_(*starts)]
    if from_host is not ANY:
        conditions.append(equals(Instance.host, from_host))
    return _move(instance_id, conditions, verb or task.value, log,
                 {**values, "task_state": task})


def _deadline(task: str | None) -> datetime.datetime | None:
    if task is None:
        return None
    return utcnow() + datetime.timedelta(seconds=TASKS[TaskState(task)].deadline)


def _move(instance_id: str, conditions: list[ColumnElement[bool]], verb: str,
          log: InstanceAction | None, values: dict[str, Any],
          outcome: tuple[str | None, str | None] = (None, None)) -> Instance:
    values = {**values, "transition_id": new_id()}
    if "task_state" in values:
        values["task_deadline"] = _deadline(values["task_state"])
    return _move_once(instance_id, conditions, verb, log, values, outcome)


@retry
def _move_once(instance_id: str, conditions: list[ColumnElement[bool]], verb: str,
               log: InstanceAction | None, values: dict[str, Any],
               outcome: tuple[str | None, str | None]) -> Instance:
    if "task_state" in values:
        deed(f"to-{values['task_state'] or values.get('vm_state')}")
    with writer() as session:
        before = changes.states_of(session, Instance, instance_id)
        moved = affected(
            session, update(Instance).where(Instance.id == instance_id, *conditions).values(values))
        instance = _get(session, instance_id)
        if moved and before is not None:
            changes.note(session, before, instance)
        if moved and "task_state" in values:
            log_of_actions.moved(session, instance, log, *outcome)
        elif moved and log is not None:
            session.merge(log)
        if not moved and instance.transition_id != values["transition_id"]:
            raise _invalid(instance, verb)
        return instance     # moved now, or by a try whose answer got lost


def hold(session: Session, instance_id: str, host: str, verb: str) -> None:
    """Lock the row of an instance within a transaction that gives it something.

    InvalidState unless it is on the host and nobody deletes it; InstanceNotFound.  What begins
    its deletion comes after that transaction, and so will find what it was given.
    """
    row = _get(session, instance_id, lock=True)
    if row.host != host or row.task_state == TaskState.DELETING:
        raise _invalid(row, verb)


def _invalid(instance: Instance, verb: str) -> InvalidState:
    return InvalidState(action=verb, instance_id=instance.id, vm_state=instance.vm_state,
                        task_state=instance.task_state)


@retry
def modify(instance_id: str, change: Callable[[Instance], None]) -> Instance:
    """Let ``change`` alter the columns of a locked row (name, metadata...), never its states."""
    with writer() as session:
        instance = _get(session, instance_id, lock=True)
        states = [getattr(instance, name) for name in sorted(_STATE_COLUMNS)]
        change(instance)
        if states != [getattr(instance, name) for name in sorted(_STATE_COLUMNS)]:
            raise ValueError("states are changed by transition() alone")
        return instance


def update_columns(instance_id: str, **values: Any) -> Instance:
    """Set columns other than the states whatever state the instance is in."""
    if wrong := _STATE_COLUMNS & values.keys():
        raise ValueError(f"{sorted(wrong)} are changed by transition() alone")
    return transition(instance_id, **values)


@retry
def delete_row(instance_id: str, *, from_task: Any = TaskState.DELETING,
               from_host: Any = ANY) -> bool:
    """Remove the row of an instance whose things are gone; False when it was gone already.

    InvalidState when it is not (any more) in the task or on the host expected.
    """
    conditions = [equals(column, expected) for column, expected in (
        (Instance.task_state, from_task), (Instance.host, from_host)) if expected is not ANY]
    with writer() as session:
        last = changes.last_row(session, Instance, instance_id)
        gone = affected(
            session, delete(Instance).where(Instance.id == instance_id, *conditions))
        if gone:
            changes.note_gone(session, last)
            log_of_actions.end(session, instance_id)
            return True
        still = session.get(Instance, instance_id)
        if still is not None:
            raise _invalid(still, "delete")
        return False


# ---------------------------------------------------------------- placing

def claim(instance_id: str, host: str, *, from_vm: Any = VmState.BUILDING,
          from_task: Any = TaskState.SCHEDULING, task_state: TaskState = TaskState.NETWORKING,
          **values: Any) -> Instance:
    """Put an instance on a host if what the host has left is enough for it.

    One transaction that first of all writes the host's ``generation``: the row lock makes claims
    on one host follow each other, so what is counted then is what is there.  ClaimFailed names
    the resource that is short, InvalidState says that the instance is not waiting for a host any
    more, HostNotFound that there is no such hypervisor.
    """
    return _claim(
        instance_id, host,
        [equals(Instance.vm_state, from_vm), equals(Instance.task_state, from_task)],
        {**values, "host": host, "task_state": task_state,
         "task_deadline": _deadline(task_state), "transition_id": new_id()})


@retry
def _claim(instance_id: str, host: str, conditions: list[ColumnElement[bool]],
           values: dict[str, Any]) -> Instance:
    deed(f"to-{values['task_state']}")
    with writer() as session:
        known = affected(
            session, update(ComputeNode).where(ComputeNode.host == host)
            .values(generation=ComputeNode.generation + 1))
        if not known:
            raise HostNotFound(host=host)
        node = session.scalars(select(ComputeNode).where(ComputeNode.host == host)).one()
        instance = _get(session, instance_id)
        if instance.transition_id == values["transition_id"]:
            return instance     # by a try whose answer got lost
        before = (instance.vm_state, instance.task_state, instance.host)
        _check_capacity(node, _usage(session, Instance.host == host, Instance.id != instance_id),
                        instance)
        moved = affected(session, update(Instance).where(
            Instance.id == instance_id, *conditions).values(values))
        session.refresh(instance)
        if not moved:
            raise _invalid(instance, "claim")
        changes.note(session, before, instance)
        log_of_actions.moved(session, instance, None)
        return instance


def capacity(node: ComputeNode) -> Usage:
    """Return what may be placed on a host in all: what it has, less reserves, times ratios."""
    vcpus, memory_mb, gigabytes = capacity_of(
        node.vcpus, node.cpu_allocation_ratio,
        node.memory_mb - node.reserved_memory_mb, node.ram_allocation_ratio,
        node.local_gb - node.reserved_disk_gb, node.disk_allocation_ratio)
    return Usage(vcpus=vcpus, memory_mb=memory_mb, disk_gb=gigabytes)


def _check_capacity(node: ComputeNode, used: Usage, instance: Instance) -> None:
    total = capacity(node)
    for resource, asked, taken, limit in (
            ("vcpus", instance.vcpus, used.vcpus, total.vcpus),
            ("memory_mb", instance.memory_mb, used.memory_mb, total.memory_mb),
            ("disk_gb", disk_gb(instance), used.disk_gb, total.disk_gb)):
        if taken + asked > limit:
            raise ClaimFailed(host=node.host, resource=resource, requested=asked,
                              free=max(0, limit - taken))


# ---------------------------------------------------------------- counting

# Cast: a sum is a decimal to MariaDB, and reading one costs as much as three integers.
_SUMS = (
    func.count(Instance.id), cast(func.coalesce(func.sum(Instance.vcpus), 0), BigInteger),
    cast(func.coalesce(func.sum(Instance.memory_mb), 0), BigInteger),
    cast(func.coalesce(func.sum(Instance.root_gb + Instance.ephemeral_gb
                                + (Instance.swap_mb + 1023) // 1024), 0), BigInteger))


def _usage(session: Session, *conditions: ColumnElement[bool]) -> Usage:
    number, vcpus, memory_mb, gigabytes = session.execute(select(*_SUMS).where(*conditions)).one()
    return Usage(number, vcpus, memory_mb, gigabytes)


@retry
def usage_of_project(project_id: str) -> Usage:
    """Return what a project's instances take, counted from their rows."""
    with reader() as session:
        return _usage(session, Instance.project_id == project_id)


@retry
def usage_of_host(host: str) -> Usage:
    """Return what the instances on one host take, counted from their rows."""
    with reader() as session:
        return _usage(session, Instance.host == host)


@retry
def usage_by_host() -> dict[str, Usage]:
    """Return what the instances on each host take; hosts without instances are not in it."""
    with reader() as session:
        rows = session.execute(select(Instance.host, *_SUMS).where(
            Instance.host.is_not(None)).group_by(Instance.host)).all()
    return {host: Usage(number, vcpus, memory_mb, gigabytes)
            for host, number, vcpus, memory_mb, gigabytes in rows if host is not None}


@retry
def count_states() -> dict[tuple[str, str], int]:
    """Return how many instances there are by vm_state and task_state ("" for none)."""
    with reader() as session:
        rows = session.execute(select(
            Instance.vm_state, Instance.task_state, func.count()).group_by(
                Instance.vm_state, Instance.task_state)).all()
    return {(vm_state, task_state or ""): number for vm_state, task_state, number in rows}


@retry
def ids_on_host(host: str) -> list[str]:
    """Return the ids of all instances whose host this is."""
    with reader() as session:
        return list(session.scalars(select(Instance.id).where(Instance.host == host)))


@retry
def overdue(tasks: Collection[TaskState], *, host: Any = ANY, limit: int = 100,
            begun: float | None = None) -> list[Instance]:
    """Return instances whose task in ``tasks`` is past its deadline, the longest overdue first.

    With ``begun`` those whose task was begun more than so many seconds ago.
    """
    now = utcnow()
    if begun is None:
        late = and_(Instance.task_state.in_(list(tasks)), Instance.task_deadline < now)
    else:
        late = or_(*(and_(
            Instance.task_state == task, Instance.task_deadline
            < now + datetime.timedelta(seconds=TASKS[task].deadline - begun)) for task in tasks))
    query = select(Instance).where(late)
    if host is not ANY:
        query = query.where(equals(Instance.host, host))
    with reader() as session:
        return list(session.scalars(query.order_by(Instance.task_deadline).limit(limit)))


# ---------------------------------------------------------------- faults

@retry
def add_fault(instance_id: str, code: int, message: str, *, details: str | None = None,
              host: str | None = None) -> None:
    """Record why an instance failed; nothing happens when it is gone meanwhile."""
    with writer() as session:
        if session.get(Instance, instance_id, with_for_update=True) is not None:
            session.add(InstanceFault(
                instance_id=instance_id, code=code, message=message[:255], details=details,
                host=host))


@retry
def latest_faults(instance_ids: Collection[str]) -> dict[str, InstanceFault]:
    """Return the newest fault of each of the instances that has one."""
    newest = select(func.max(InstanceFault.id)).where(
        InstanceFault.instance_id.in_(list(instance_ids))).group_by(InstanceFault.instance_id)
    with reader() as session:
        rows = session.scalars(select(InstanceFault).where(InstanceFault.id.in_(newest)))
        return {row.instance_id: row for row in rows}
