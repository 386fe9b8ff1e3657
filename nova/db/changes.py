# SPDX-License-Identifier: Apache-2.0
"""Who is told, after the commit, what a transaction did to the states of an instance or volume.

:mod:`nova.db.instances`, :mod:`nova.db.volumes` and their neighbours note every change in the
transaction that makes it; what is rolled back is told to nobody.  Nothing is read and nothing
kept while nobody watches.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from nova.db.models import Instance
from nova.db.volume_models import Volume, VolumeSnapshot

Watched = Instance | Volume | VolumeSnapshot
Row = TypeVar("Row", Instance, Volume, VolumeSnapshot)
States = tuple[str | None, ...]
"""The columns of STATES, in their order."""

STATES: dict[type[Watched], tuple[str, ...]] = {
    Instance: ("vm_state", "task_state", "host"), Volume: ("status", "host"),
    VolumeSnapshot: ("status", "host")}
_KEY = "nova.changes"


@dataclass(frozen=True)
class Change:
    """What one transaction did to an instance, volume or snapshot.

    ``before`` None: it was made.  ``gone``: it was removed, and ``row`` is as it was last.
    ``about`` is what more a watcher may want to know.
    """

    before: States | None
    row: Watched
    gone: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)


_watcher: Callable[[Change], None] | None = None


def watch(watcher: Callable[[Change], None] | None) -> None:
    """Have a function called after each commit that changed states; None for nobody.

    It must not raise, nor wait.  A change whose commit's answer got lost is not told.
    """
    global _watcher
    _watcher = watcher


def states_of(session: Session, kind: type[Watched], row_id: str) -> States | None:
    """Return how a row is, locked until the transaction ends; None if nobody watches."""
    if _watcher is None:
        return None
    found = session.execute(select(*(getattr(kind, name) for name in STATES[kind])).where(
        kind.id == row_id).with_for_update()).one_or_none()
    return None if found is None else tuple(found)


def states_in(row: Watched) -> States:
    """Return the states a row has."""
    return tuple(getattr(row, name) for name in STATES[type(row)])


def last_row(session: Session, kind: type[Row], row_id: str) -> Row | None:
    """Return a row that is about to be removed; None if nobody watches."""
    row = None if _watcher is None else session.get(kind, row_id)
    if row is not None:
        session.expunge(row)
    return row


def note(session: Session, before: States | None, row: Watched,
         about: Mapping[str, Any] | None = None) -> None:
    """Tell of a change when, and if, this transaction is committed."""
    if _watcher is not None:
        session.info.setdefault(_KEY, []).append(Change(before, row, about=about or {}))


def note_gone(session: Session, last: Watched | None) -> None:
    """Tell that a row (see :func:`last_row`) is removed when this transaction is committed."""
    if _watcher is not None and last is not None:
        session.info.setdefault(_KEY, []).append(Change(states_in(last), last, gone=True))


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    for change in session.info.pop(_KEY, ()):
        if _watcher is not None:
            _watcher(change)


@event.listens_for(Session, "after_rollback")
def _rolled_back(session: Session) -> None:
    session.info.pop(_KEY, None)
