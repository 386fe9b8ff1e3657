# SPDX-License-Identifier: Apache-2.0
"""Two sides measured in turns: what the machine does beside it changes by the minute, and a daemon
that polls takes the caches from whoever is measured, so the other side is stopped meanwhile."""
import contextlib
import os
import signal
import statistics
import sys
from collections.abc import Callable, Iterator

from stacklib.status import family

from .measures import Figures
from .target import Target


@contextlib.contextmanager
def stopped(one: Target | None) -> Iterator[None]:
    """A side's processes do nothing in here."""
    members = [] if one is None else [
        member.pid for leader in {*one.meter.leaders(), *one.daemons()}
        for member in family(leader)]
    try:
        for pid in members:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def measure(one: Target, other: Target | None, rounds: int,
            figures_of: Callable[[Target], Figures]) -> tuple[Figures, Figures | None]:
    """The medians of `rounds` for both sides; None for one that is not there."""
    sides = [one] if other is None else [one, other]
    taken: list[list[Figures]] = [[] for _ in sides]
    for number in range(rounds):
        for side, mine in zip(sides, taken, strict=True):
            os.sync()                # or a side writes down what the other one left in memory
            with stopped(other if side is one else one):
                mine.append(figures_of(side))
            print(f"round {number + 1} of {rounds}: {side.name}", file=sys.stderr)
    medians = [_medians(mine) for mine in taken]
    return medians[0], (medians[1] if other is not None else None)


def _medians(taken: list[Figures]) -> Figures:
    return {name: statistics.median(figures[name] for figures in taken) for name in taken[0]}
