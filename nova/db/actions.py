# SPDX-License-Identifier: Apache-2.0
"""The log of what was asked of instances and, step by step, what became of it.

An action is a line, each task it brings an instance into is an event of it.  Both are written in
the transaction that moves the instance, so the log never says anything but what the row says:
functions that take a session are called by :mod:`nova.db.instances` alone.
"""

import datetime
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.orm import Session

from nova.compute.states import TASKS, TaskState
from nova.db.models import Instance, InstanceAction, InstanceActionEvent, Moment, utcnow
from nova.db.session import affected, reader, retry, writer

SUCCESS, ERROR = "Success", "Error"


def event_name(task: str) -> str:
    """Return what a task is called in the log: who does it and what, in snake case."""
    return f"{TASKS[TaskState(task)].owner}_{task}".replace("-", "_")


def moved(session: Session, instance: Instance, log: InstanceAction | None,
          error: str | None = None, detail: str | None = None) -> None:
    """Note that an instance is in another task, or in none, from now on.

    The step it was in ends, with ``error`` (the operator reads ``detail``) or well.  So does, when
    nothing is being done any more, the action; when ``log`` is what is asked for now, that has
    overtaken what was.
    """
    if log is not None:
        error = error or f"Overtaken by {log.action}."
        end(session, instance.id, error)
        session.merge(log)
        session.flush()
    else:
        _end_steps(session, instance.id, detail or error)
        if instance.task_state is None:
            _end_actions(session, instance.id, error)
    if instance.task_state is not None:
        _begin_step(session, instance)


def end(session: Session, instance_id: str, error: str | None = None) -> None:
    """Note that nothing is being done to an instance any more."""
    _end_steps(session, instance_id, error)
    _end_actions(session, instance_id, error)


def _end_steps(session: Session, instance_id: str, error: str | None) -> None:
    affected(session, update(InstanceActionEvent).where(
        InstanceActionEvent.instance_id == instance_id,
        InstanceActionEvent.finished_at.is_(None),
    ).values(finished_at=utcnow(), result=ERROR if error else SUCCESS, message=error))


def _end_actions(session: Session, instance_id: str, error: str | None) -> None:
    affected(session, update(InstanceAction).where(
        InstanceAction.instance_id == instance_id, InstanceAction.finished_at.is_(None),
    ).values(finished_at=utcnow(), message=error))


def _begin_step(session: Session, instance: Instance) -> None:
    """Add the step an instance is in to its newest action that goes on; to none if none does."""
    values: dict[str, Any] = {
        "instance_id": literal(instance.id), "event": literal(event_name(str(instance.task_state))),
        "host": literal(instance.host), "started_at": literal(utcnow(), Moment)}
    session.execute(insert(InstanceActionEvent).from_select(
        ["action_id", *values],
        select(func.max(InstanceAction.id), *values.values())
        .where(InstanceAction.instance_id == instance.id, InstanceAction.finished_at.is_(None))
        .having(func.max(InstanceAction.id).is_not(None))))


@retry
def add(action: InstanceAction) -> None:
    """Write one line of the log; its ``finished_at`` may be set already."""
    with writer() as session:
        session.merge(action)


@retry
def refused(instance_id: str, event: str, message: str, host: str | None = None) -> None:
    """Add a step that took no time and failed to what is being done to an instance."""
    now = utcnow()
    with writer() as session:
        action_id = session.scalar(select(func.max(InstanceAction.id)).where(
            InstanceAction.instance_id == instance_id, InstanceAction.finished_at.is_(None)))
        if action_id is not None:
            session.add(InstanceActionEvent(
                action_id=action_id, instance_id=instance_id, event=event, host=host,
                started_at=now, finished_at=now, result=ERROR, message=message))


@retry
def of_instance(instance_id: str, project_id: str | None = None) -> list[InstanceAction]:
    """Return what was asked of an instance, newest first, also of one that is gone."""
    query = select(InstanceAction).where(InstanceAction.instance_id == instance_id)
    if project_id is not None:
        query = query.where(InstanceAction.project_id == project_id)
    with reader() as session:
        return list(session.scalars(query.order_by(InstanceAction.id.desc())))


@retry
def events_of(action_id: int) -> Sequence[InstanceActionEvent]:
    """Return the steps of an action, in order."""
    with reader() as session:
        return list(session.scalars(
            select(InstanceActionEvent).where(InstanceActionEvent.action_id == action_id)
            .order_by(InstanceActionEvent.id)))


@retry
def count_events(instance_id: str, event: str) -> int:
    """Return how often a step is in what is being done to an instance."""
    with reader() as session:
        return int(session.scalar(
            select(func.count(InstanceActionEvent.id))
            .join(InstanceAction, InstanceAction.id == InstanceActionEvent.action_id)
            .where(InstanceActionEvent.instance_id == instance_id,
                   InstanceActionEvent.event == event,
                   InstanceAction.finished_at.is_(None))) or 0)


@retry
def purge(before: datetime.datetime) -> int:
    """Forget actions begun before a moment whose instance is gone; return how many."""
    with writer() as session:
        return affected(
            session, delete(InstanceAction).where(
                InstanceAction.started_at < before,
                ~select(Instance.id).where(Instance.id == InstanceAction.instance_id).exists()))
