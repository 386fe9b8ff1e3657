# SPDX-License-Identifier: Apache-2.0
"""The drivers yield: while one green thread waits for the database, the others run."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PROGRAM = ROOT / "tests/support/green_database.py"
TIMEOUT = 60


def ran_meanwhile(service, url):
    """Return how often another green thread ran while one waited for its answer."""
    done = subprocess.run([sys.executable, "-W", "ignore", str(PROGRAM), service, url], cwd=ROOT,
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("service", ["nova", "glance"])
@pytest.mark.parametrize("database", ["mysql", "postgresql"])
def test_a_slow_question_stops_nobody_else(service, database, request):
    assert ran_meanwhile(service, request.getfixturevalue(f"{database}_url")) >= 5


def test_waiting_for_another_writer_of_sqlite_stops_nobody_else(tmp_path):
    """A query of SQLite's own runs in the process and stops it; waiting for a lock does not."""
    assert ran_meanwhile("nova", f"sqlite:///{tmp_path}/nova.db") >= 20
