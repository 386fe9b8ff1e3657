# SPDX-License-Identifier: Apache-2.0
"""Watchers of the object auditor: what they are shown, may ask for, and cannot break."""
import logging

import pytest
from wsgi_call import call

from swift.common.exceptions import ConfigError, QuarantineRequest
from swift.obj import watchers
from swift.obj.auditor import ObjectAuditor

T = "0000000001.00000"


class Spy:
    """Remembers; fails on, or wants in quarantine, what its options say."""

    seen = []

    def __init__(self, conf, logger):
        self.conf = conf
        if conf.get("broken"):
            raise RuntimeError("broken")

    def start(self, audit_type, **_more):
        self.seen.append(audit_type)

    def see_object(self, object_metadata, data_file_path, **_more):
        name = object_metadata["name"].rsplit("/", 1)[1]
        self.seen.append((name, data_file_path.endswith(f"{T}.data")))
        if name == self.conf.get("fail"):
            raise RuntimeError("no")
        if name == self.conf.get("bad"):
            raise QuarantineRequest

    def end(self, **_more):
        self.seen.append("end")


@pytest.fixture
def audit(app, tmp_path, monkeypatch):
    """A function that audits a and b with a spy of these options; what it saw."""
    monkeypatch.setattr(watchers, "load", lambda name: Spy)
    monkeypatch.setattr(Spy, "seen", [])
    for partition, name in enumerate("ab"):
        assert call(app, "PUT", f"/sda/{partition}/a/c/{name}", {
            "X-Timestamp": T, "Content-Type": "t/p"}, b"x")[0] == 201

    def run(options, **conf):
        path = tmp_path / "object-server.conf"
        path.write_text("[object-auditor]\nwatchers = some#spy\n"
                        f"[object-auditor:watcher:some#spy]\n{options}\n")
        auditor = ObjectAuditor({
            "devices": str(tmp_path), "mount_check": "false", "watchers": "some#spy",
            "__file__": str(path), "files_per_second": "0", **conf}, logging.getLogger("auditor"))
        auditor.run_once()
        return Spy.seen
    return run


def test_each_pass_is_watched(audit):
    seen = audit("")
    assert sorted(seen, key=str) == sorted(["ALL", "ZBF", *[("a", True), ("b", True)] * 2, "end",
                                            "end"], key=str)


def test_what_a_watcher_wants_goes_to_quarantine(audit, tmp_path):
    audit("bad = a", zero_byte_files_per_second="0")
    assert len(list(tmp_path.glob("sda/quarantined/objects/*/*.data"))) == 1
    assert len(list(tmp_path.glob("sda/objects/*/*/*/*.data"))) == 1


def test_a_broken_watcher_does_not_end_the_audit(audit, caplog):
    assert len(audit("fail = a", zero_byte_files_per_second="0")) == 4
    assert "see_object of" in caplog.text
    Spy.seen.clear()
    assert audit("broken = yes") == []
    assert "making it" in caplog.text


def test_names(tmp_path):
    assert watchers.load("swift#dark_data").__name__ == "DarkDataWatcher"
    assert watchers.load("dark_data") is watchers.load("egg:swift#dark_data")
    for name in ("swift#nothing", "nobody#dark_data", ""):
        with pytest.raises(ConfigError, match="none that is installed"):
            watchers.load(name)
    with pytest.raises(ConfigError, match="action: 'burn'"):
        watchers.Watcher("swift#dark_data", {"action": "burn"}, logging.getLogger())
