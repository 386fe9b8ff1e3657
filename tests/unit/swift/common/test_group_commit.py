# SPDX-License-Identifier: Apache-2.0
"""New names of many green threads are made durable together, and each only when it is."""
import os
import subprocess
import sys

import pytest

from swift.common import durable, group_commit

PATCHED = """
from swift.common import concurrency
concurrency.patch()
import os, sys
from swift.common import durable, group_commit
from swift.common.concurrency import GreenPool, Timeout, sleep, spawn

written, failing = [], set()
def fsync(fd):
    path = os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))
    sleep(0.05)
    if path in failing:
        failing.discard(path)
        raise OSError(5, "of the disk")
    written.append(path)

group_commit.fsync = fsync
durable.device_journals_in_order = lambda device: True
done = []

def one(name):
    path = f"{sys.argv[1]}/{name}"
    os.makedirs(path, exist_ok=True)
    try:
        group_commit.sync_names(path, [])
    except (OSError, Timeout) as exc:
        done.append(f"{name}: {type(exc).__name__}")
    else:
        done.append(name)

def limited(name):
    with Timeout(0.02):
        one(name)
"""


def run(code, tmp_path):
    return subprocess.run([sys.executable, "-c", PATCHED + code, str(tmp_path)], check=True,
                          capture_output=True, text=True, timeout=60).stdout.splitlines()


def test_who_comes_meanwhile_is_written_together_with_the_one_who_came_last(tmp_path):
    assert run("""
list(GreenPool().imap(one, "abcd"))
print(*written)
print(*done[:1], *sorted(done[1:]))
done.clear()
one("e")                                     # nothing is left over for those that follow
print(*written, *done)
""", tmp_path) == ["a d", "a b c d", "a d e e"]


def test_an_error_is_of_the_one_it_befell(tmp_path):
    assert run("""
failing.update("a", "d")
list(GreenPool().imap(one, "abcd"))
print(*written)
print(*done[:2], *sorted(done[2:]))
""", tmp_path) == ["c", "a: OSError d: OSError b c"]


@pytest.mark.parametrize("who", ["leader", "one who waits"])
def test_who_gives_up_leaves_nobody_waiting(tmp_path, who):
    assert run(f"""
leads = {who == "leader"}
threads = [spawn(limited if leads else one, "a"), spawn(one if leads else limited, "b"),
           spawn(one, "c")]
for thread in threads:
    thread.wait()
one("d")
print(*written, *done)
""", tmp_path) == ["c d a: Timeout c b d" if who == "leader" else "a c d b: Timeout a c d"]


def test_who_is_to_lead_and_gives_up_passes_it_on(tmp_path):
    assert run("""
def leads():
    try:
        one("b")
    finally:
        done.append("ended")
first, waits = spawn(one, "a"), spawn(one, "c")
sleep(0)
leader = spawn(leads)
pass_on = group_commit._Log._pass_on
def strike(self):                            # in the moment between being chosen and waking up
    pass_on(self)
    group_commit._Log._pass_on = pass_on
    leader.kill()
group_commit._Log._pass_on = strike
first.wait(), waits.wait()
one("d")
print(*written, *done)
""", tmp_path) == ["a c d ended a c d"]


def test_a_file_system_without_such_a_log_gets_an_fsync_for_each(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(durable, "device_journals_in_order", lambda device: False)
    monkeypatch.setattr(group_commit, "fsync",
                        lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    inner = tmp_path / "new"
    inner.mkdir()
    group_commit.sync_names(str(inner), [str(tmp_path)])
    assert synced == [str(inner), str(tmp_path)]
