# SPDX-License-Identifier: Apache-2.0
"""A worker that is killed takes along what it started, whoever inherited it."""
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import orphans
import psutil
import pytest

STARTS_AND_DIES = """
import os, subprocess
print(subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL).pid,
      flush=True)
os._exit(1)
"""


@pytest.fixture
def hooks(request):
    """What pytest-xdist calls: the conftest of all tests."""
    return request.config.pluginmanager.get_plugin(
        str(Path(__file__).resolve().parents[2] / "conftest.py"))


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"


def test_what_a_dead_worker_started_ends(hooks, monkeypatch):
    node = SimpleNamespace(workerinput={})
    hooks.pytest_configure_node(node)
    monkeypatch.setenv(orphans.MARK, "")
    hooks.pytest_configure(SimpleNamespace(workerinput=node.workerinput))
    daemon = int(subprocess.run([sys.executable, "-c", STARTS_AND_DIES], text=True, timeout=60,
                                stdout=subprocess.PIPE, env=dict(os.environ)).stdout)
    hooks.pytest_testnodedown(node, None)
    assert alive(daemon)                # an orderly end is the fixtures' business
    hooks.pytest_testnodedown(node, "it crashed")
    deadline = time.monotonic() + orphans.END_TIMEOUT
    while alive(daemon):                # its memory, and so the mark, goes a moment before it
        assert time.monotonic() < deadline
        time.sleep(0.01)
