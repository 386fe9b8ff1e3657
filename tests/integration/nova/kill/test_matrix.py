# SPDX-License-Identifier: Apache-2.0
"""P2, P3: every operation x every step x every daemon on the way: kill -9, restart, settled.

The steps are those the operation really takes: it is done once, undisturbed, and what each
daemon passes is noted - transitions of the tables of states, commits, messages.  Then once for
each of them the daemon dies right there.
"""

import random
import threading
import time
from dataclasses import dataclass

import pytest
from kill_cloud import DAEMONS, KillCloud
from kill_operations import OPERATIONS, SETTLE, attempt, clean, subject, uncovered

RECOVERY = 30.0     # seconds from the restart of the daemon that died to everything settled
SAMPLED = ("create", "delete-led", "stop", "associate")
SAMPLE = 12
SEED = 20101021


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


def cases_of(cloud, name):
    """Do an operation once; return a case for each step it takes."""
    operation, one = OPERATIONS[name], subject()
    operation.prepare(cloud, one)
    cloud.wait_quiet()

    def undisturbed():
        status = attempt(operation, cloud, one)
        assert status is not None and status < 300, (name, status)
        assert cloud.wait_until(lambda: operation.state(cloud, one) == operation.after, SETTLE)
        assert cloud.wait_until(lambda: not cloud.unsettled(), SETTLE), cloud.unsettled()

    trace = cloud.trace(undisturbed)
    clean(cloud, one)
    return [Case(name, *step) for step in trace]


def failure_of(cloud, case):
    """Run one case; return what is wrong, None when nothing is."""
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
    took = time.monotonic() - restarted
    wrong = None if ended else (f"answered {status}, is {operation.state(cloud, one)}: "
                                f"{cloud.unsettled()}")
    with open(cloud.directory / "cases.log", "a") as log:
        log.write(f"{case}: {status}, {operation.state(cloud, one)} after {took:.1f} s\n")
    cloud.wait_port()
    clean(cloud, one)
    return wrong


def run(cloud, cases):
    """Run cases; return {case: what is wrong} of those that went wrong."""
    failures = {}
    for case in cases:
        try:
            wrong = failure_of(cloud, case)
        except AssertionError as error:     # in what comes before or after: the others still run
            wrong = f"{error}; {cloud.unsettled()}"
        if wrong:
            failures[str(case)] = wrong
    return failures


@pytest.mark.timeout(300)
def test_some_cases_of_the_kill_matrix(kill_cloud):
    warm_up(kill_cloud)
    cases = [case for name in SAMPLED for case in cases_of(kill_cloud, name)]
    chosen = random.Random(SEED).sample(cases, SAMPLE)
    assert run(kill_cloud, chosen) == {}


@pytest.mark.kill
@pytest.mark.whole
@pytest.mark.timeout(3600)
def test_whole_kill_matrix(tmp_path, free_port, amqp_url, mysql_url, capsys):
    # The worker of volumes is where guests are: a file is attached on its own host.
    with KillCloud(tmp_path, free_port, transport=amqp_url, database=mysql_url,
                   daemons=(*DAEMONS, ("volume", "c1")), apis="compute,network,volume") as cloud:
        _whole(cloud, capsys)


def _whole(kill_cloud, capsys):
    warm_up(kill_cloud)
    traces = {name: cases_of(kill_cloud, name) for name in OPERATIONS}
    cases = [case for found in traces.values() for case in found]
    started = time.monotonic()
    failures = run(kill_cloud, cases)
    with capsys.disabled():
        print(f"\nkill matrix: {len(OPERATIONS)} operations, {len(cases)} cases, "
              f"{len(failures)} failures, {time.monotonic() - started:.0f} s")
    assert failures == {}
    assert uncovered([(case.daemon, case.point, case.number) for case in found]
                     for found in traces.values()) == []
