# SPDX-License-Identifier: Apache-2.0
"""A worker that is killed takes along what it started, whoever inherited it."""
import os
import subprocess
import sys
from pathlib import Path

import psutil

TESTS = Path(__file__).resolve().parents[2]
DIES = """
import os, subprocess, sys

def test_dies():
    daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
    open({found!r}, "w").write(str(daemon.pid))
    os._exit(1)
"""


def test_what_a_dead_worker_started_ends(tmp_path):
    found = tmp_path / "pid"
    (tmp_path / "test_dies.py").write_text(DIES.format(found=str(found)))
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "1", "--max-worker-restart", "0",
         "-p", "conftest", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(TESTS)}, capture_output=True,
        text=True, timeout=60, check=False)
    assert "crashed" in done.stdout, done.stdout + done.stderr
    daemon = int(found.read_text())
    assert not psutil.pid_exists(daemon) or psutil.Process(daemon).status() == "zombie"
