# SPDX-License-Identifier: Apache-2.0
"""The states of a floating address: what its row says is to be done, by whom, and how soon.

No column holds them: a state is what ``project_id``, ``port_id`` and ``host`` make together (see
:mod:`nova.db.floating_ips`), each written by one side alone, so they cannot contradict::

    free --> allocated --> leading --> live --> withdrawing --> allocated | free
                              +--> allocated          (nobody had begun)

The message is a hint; the network worker's reconciler finds what is leading or withdrawing, and
what it does for it may be done twice.
"""

from dataclasses import dataclass
from enum import StrEnum


class FloatingState(StrEnum):
    """What a floating address is, or what is being done to it."""

    FREE = "free"                   # nobody's, on no wire
    ALLOCATED = "allocated"         # a project's, leads nowhere
    LEADING = "leading"             # has a port, is on no wire yet
    LIVE = "live"                   # has a port, and a network host answers for it
    WITHDRAWING = "withdrawing"     # has no port any more, and a host still answers for it


@dataclass(frozen=True)
class Task:
    """One row of the table of states in between; each is done again from the row alone."""

    owner: str                      # who must finish it: "network"
    starts_from: frozenset[FloatingState]
    ends_in: frozenset[FloatingState]
    deadline: str                   # the option with the seconds after which it is taken up


FLOATING_TASKS: dict[FloatingState, Task] = {
    FloatingState.LEADING: Task(
        "network", frozenset({FloatingState.ALLOCATED, FloatingState.WITHDRAWING}),
        frozenset({FloatingState.LIVE, FloatingState.ALLOCATED}), "network_reconcile_interval"),
    FloatingState.WITHDRAWING: Task(
        "network", frozenset({FloatingState.LIVE}),
        frozenset({FloatingState.ALLOCATED, FloatingState.FREE}), "network_reconcile_interval"),
}


def state_of(project_id: str | None, port_id: str | None, host: str | None) -> FloatingState:
    """Return the state the columns of a floating address make.

    One that is led to a port on another host than it is live on counts as live: it moves.
    """
    if port_id is not None:
        return FloatingState.LIVE if host is not None else FloatingState.LEADING
    if host is not None:
        return FloatingState.WITHDRAWING
    return FloatingState.FREE if project_id is None else FloatingState.ALLOCATED
