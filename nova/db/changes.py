# SPDX-License-Identifier: Apache-2.0
"""Who is told, after the commit, what a transaction did to the states of an instance.

:mod:`nova.db.instances` notes every change in the transaction that makes it; what is rolled back
is told to nobody.  Nothing is read and nothing kept while nobody watches.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from nova.db.models import Instance

States = tuple[str, str | None, str | None]
"""vm_state, task_state, host."""

_KEY = "nova.changes"


@dataclass(frozen=True)
class Change:
    """What one transaction did to an instance.

    ``before`` None: it was made.  ``gone``: it was removed, and ``row`` is as it was last.
    """

    before: States | None
    row: Instance
    gone: bool = False


_watcher: Callable[[Change], None] | None = None


def watch(watcher: Callable[[Change], None] | None) -> None:
    """Have a function called after each commit that changed states; None for nobody.

    It must not raise, nor wait.  A change whose commit's answer got lost is not told.
    """
    global _watcher
    _watcher = watcher


def states_of(session: Session, instance_id: str) -> States | None:
    """Return how an instance is, locked until the transaction ends; None if nobody watches."""
    if _watcher is None:
        return None
    found = session.execute(select(Instance.vm_state, Instance.task_state, Instance.host).where(
        Instance.id == instance_id).with_for_update()).one_or_none()
    return None if found is None else (found[0], found[1], found[2])


def last_row(session: Session, instance_id: str) -> Instance | None:
    """Return the row of an instance that is about to be removed; None if nobody watches."""
    row = None if _watcher is None else session.get(Instance, instance_id)
    if row is not None:
        session.expunge(row)
    return row


def note(session: Session, before: States | None, row: Instance, *, gone: bool = False) -> None:
    """Tell of a change when, and if, this transaction is committed."""
    if _watcher is not None:
        session.info.setdefault(_KEY, []).append(Change(before, row, gone))


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    for change in session.info.pop(_KEY, ()):
        if _watcher is not None:
            _watcher(change)


@event.listens_for(Session, "after_rollback")
def _rolled_back(session: Session) -> None:
    session.info.pop(_KEY, None)
