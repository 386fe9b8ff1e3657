# SPDX-License-Identifier: Apache-2.0
"""A pass with little to do costs what its process loads, and ends with."""
import subprocess
import sys

import pytest

from swift.common import concurrency, daemon, storage

# Of these each costs a tenth and more of all the rest.
HEAVY = ("paste.deploy", "importlib.metadata", "psutil", "xml.sax", "urllib.request",
         "http.client", "email", "swift.common.wsgi")


@pytest.mark.parametrize("name", ["account_replicator", "container_replicator", "object_replicator",
                                  "container_updater"])
def test_daemons_load_nothing_that_only_servers_need(name):
    code = (f"import sys, swift.cli.{name}\n"
            f"print(*[name for name in {HEAVY!r} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120,
                          capture_output=True, text=True)
    assert done.stdout.split() == []


class Once(daemon.Daemon):
    section = "once"

    def run_once(self):
        print("passed")
        if self.conf["fails"] == "yes":
            raise OSError("of the disk")


@pytest.mark.parametrize(("fails", "code"), [("no", 0), ("yes", 1)])
def test_one_pass_ends_without_taking_apart_what_was_loaded(tmp_path, monkeypatch, fails, code):
    def exit_now(code):
        raise SystemExit(code)
    (tmp_path / "conf").write_text(f"[once]\nfails = {fails}\nrecon_cache_path = {tmp_path}\n"
                                   "log_address = /none\n")
    monkeypatch.setattr(storage, "_secrets", (b"prefix", b"suffix"))
    monkeypatch.setattr(daemon, "drop_privileges", lambda _: None)
    monkeypatch.setattr(daemon, "keep_loaded", lambda: None)
    monkeypatch.setattr(concurrency, "exit_now", exit_now)
    with pytest.raises(SystemExit) as ended:
        daemon.run_many([(Once, str(tmp_path / "conf"))], once=True)
    assert ended.value.code == code
