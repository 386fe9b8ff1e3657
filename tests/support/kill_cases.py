# SPDX-License-Identifier: Apache-2.0
"""The cases of the kill matrix: found by doing an operation once, then played one by one.

    cases = cases_of(cloud, "create")
    wrong = failure_of(cloud, cases[0])     # None, or what is wrong

For the tests of the matrix alone.  The environment variable ``KILL_CASES`` holds a part of the
names of those that are to be played; a case's name is what is printed of it.
"""

import os
import threading
import time
from dataclasses import dataclass

from kill_operations import OPERATIONS, SETTLE, attempt, clean, subject

RECOVERY = 30.0     # seconds from the restart of the daemon that died to everything settled


@dataclass(frozen=True)
class Case:
    operation: str
    daemon: str
    point: str
    number: int

    def __str__(self):
        return f"{self.operation}: {self.daemon} dies at {self.point} ({self.number})"


def warm_up(cloud):
    """Have made what is made once, by whoever is first: the project's default group."""
    one = subject()
    OPERATIONS["delete"].prepare(cloud, one)
    clean(cloud, one)


def trace_of(cloud, name):
    """Do an operation once, undisturbed; return the steps it takes."""
    operation, one = OPERATIONS[name], subject()
    cloud.wait_up()
    operation.prepare(cloud, one)
    cloud.wait_quiet()

    def undisturbed():
        status = attempt(operation, cloud, one)
        assert status is not None and status < 300, (name, status)
        assert cloud.wait_until(lambda: operation.state(cloud, one) == operation.after, SETTLE), \
            (name, operation.state(cloud, one))
        assert cloud.wait_until(lambda: not cloud.unsettled(), SETTLE), cloud.unsettled()

    trace = cloud.trace(undisturbed)
    clean(cloud, one)
    return trace


def cases_of(cloud, name):
    """Return a case for each step of an operation, less those KILL_CASES does not name."""
    cases = [Case(name, *step) for step in trace_of(cloud, name)]
    return [case for case in cases if os.environ.get("KILL_CASES", "") in str(case)]


def failure_of(cloud, case):
    """Play one case; return what is wrong, None when nothing is."""
    operation, one = OPERATIONS[case.operation], subject()
    operation.prepare(cloud, one)
    cloud.wait_quiet()
    cloud.arm(case.daemon, case.point, case.number)
    answers = []
    asker = threading.Thread(target=lambda: answers.append(attempt(operation, cloud, one)))
    asker.start()
    if not cloud.died(case.daemon):
        cloud.disarm(case.daemon)
        asker.join(SETTLE)
        clean(cloud, one)
        # A message that was repeated when it was noted need not be repeated again.
        return None if case.number > 1 else "it never came to that point"
    # What another try would be told must not change what becomes of this one.
    cloud.start(*case.daemon.split("-"))
    restarted = time.monotonic()
    asker.join(SETTLE)
    status = answers[0] if answers else None
    if status is not None and status >= 500 and status != 503:
        return f"the answer was {status}"
    allowed = {operation.after} if status is not None and status < 300 \
        else {operation.before, operation.after}

    def settled():
        return operation.state(cloud, one) in allowed and not cloud.unsettled()

    ended = cloud.wait_until(settled, restarted + RECOVERY - time.monotonic())
    wrong = None if ended else (f"answered {status}, is {operation.state(cloud, one)}: "
                                f"{cloud.unsettled()}")
    cloud.wait_port()
    clean(cloud, one)
    return wrong


def play(clouds, cases, say):
    """Play cases; return {name of a case: what is wrong} of those that went wrong.

    ``clouds`` gives the cloud and, after a failure, a fresh one: what is left of one failure is
    not to be found again by every case after it.  ``say`` is told of each case when it is over.
    """
    failures = {}
    for number, case in enumerate(cases, 1):
        started = time.monotonic()
        cloud = clouds.get()
        try:
            wrong = failure_of(cloud, case)
        except AssertionError as error:     # in what comes before or after: the others still run
            wrong = f"{error}; {cloud.unsettled()}"
        if wrong:
            failures[str(case)] = wrong
            clouds.spoilt(str(case))
        say(f"case {number} of {len(cases)}, {case}: {f'FAILED: {wrong}' if wrong else 'settled'}, "
            f"{time.monotonic() - started:.1f} s")
    return failures


def summary(properties):
    """Return the line about all operations that were played, from what each test recorded.

    ``properties`` are dictionaries with ``cases``, ``failures`` and ``seconds``.
    """
    total = {name: sum(one[name] for one in properties)
             for name in ("cases", "failures", "seconds")}
    return (f"kill matrix: {len(properties)} operations, {total['cases']} cases, "
            f"{total['failures']} failures, {total['seconds']:.0f} s of playing")
