# SPDX-License-Identifier: Apache-2.0
"""P2, P3: every operation x every step x every daemon on the way: kill -9, restart, settled.

The steps are those the operation really takes: it is done once, undisturbed, and what each
daemon passes is noted - transitions of the tables of states, commits, messages.  Then once for
each of them the daemon dies right there.

One operation, or one case, again::

    tools/run_tests kill -- -k 'matrix and attach'
    KILL_CASES='attach: compute-c1 dies at to-volume-in-use:after' tools/run_tests kill -- -k matrix
"""

import random
import sys
import time

import pytest
from kill_cases import cases_of, play, trace_of, warm_up
from kill_operations import OPERATIONS, uncovered

SAMPLED = ("create", "delete-led", "stop", "associate", "attach")
SAMPLE = 10
SEED = 20101021


@pytest.mark.timeout(300)
def test_some_cases_of_the_kill_matrix(kill_clouds, capsys):
    warm_up(kill_clouds.get())
    cases = [case for name in SAMPLED for case in cases_of(kill_clouds.get(), name)]
    chosen = random.Random(SEED).sample(cases, SAMPLE)
    assert play(kill_clouds, chosen, print) == {}


@pytest.mark.kill
@pytest.mark.whole
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", OPERATIONS)
def test_whole_kill_matrix(matrix_clouds, name, capsys, record_property):
    def say(line):
        with capsys.disabled():
            print(line, file=sys.stderr, flush=True)    # a worker of xdist has no stdout

    started = time.monotonic()
    cases = cases_of(matrix_clouds.get(), name)
    failures = play(matrix_clouds, cases, say)
    record_property("kill_matrix", {"cases": len(cases), "failures": len(failures),
                                    "seconds": time.monotonic() - started})
    assert failures == {}


@pytest.mark.kill
@pytest.mark.whole
@pytest.mark.timeout(900)
def test_operations_of_the_matrix_pass_every_state_in_between(matrix_clouds):
    assert uncovered(trace_of(matrix_clouds.get(), name) for name in OPERATIONS) == []
