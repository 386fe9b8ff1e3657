# SPDX-License-Identifier: Apache-2.0
"""Commands that a daemon on green threads runs, and that take longer than they may."""

import subprocess
import sys

import pytest

SCRIPT = """
import {module} as concurrency
concurrency.patch()
import subprocess
for run in (lambda: subprocess.run(["sleep", "20"], timeout=0.1, stderr=subprocess.PIPE),
            lambda: subprocess.Popen(["sleep", "20"], stderr=subprocess.PIPE).communicate(
                timeout=0.1),
            lambda: subprocess.Popen(["sleep", "20"]).wait(timeout=0.1)):
    try:
        run()
    except subprocess.TimeoutExpired:
        print("caught", flush=True)
"""


@pytest.mark.parametrize("module", ["nova.concurrency", "glance.concurrency",
                                    "swift.common.concurrency"])
def test_bug_command_out_of_time_raised_what_nobody_could_catch(module):
    """A copy of a volume that took longer than half a second was in error because of it."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT.format(module=module)],
                          capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["caught"] * 3), done.stderr
