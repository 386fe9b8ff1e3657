# SPDX-License-Identifier: Apache-2.0
"""What a killed rsync leaves beside objects goes with the auditor's passes, not before its time."""
import json
import logging
import os
import time
from types import SimpleNamespace

import pytest
from wsgi_call import call

from swift.common.exceptions import ConfigError
from swift.obj import auditor as auditor_module
from swift.obj.auditor import ObjectAuditor, rsync_patience

QUIET = {"log_address": "/none", "log_level": "CRITICAL", "mount_check": "false"}


@pytest.mark.parametrize("mode", ["ALL", "ZBF"])
def test_old_temporary_files_go(app, tmp_path, mode, monkeypatch):
    headers = {"X-Timestamp": "1600000000.00000", "Content-Type": "t/p"}
    assert call(app, "PUT", "/sda/1/a/c/o", headers, b"body")[0] == 201
    data, = (tmp_path / "sda/objects/1").glob("*/*/*.data")
    alone = data.parents[1] / ("0" * 29 + data.parents[1].name)
    alone.mkdir()
    left = [data.with_name(f".{data.name}.aB3_x9"), alone / ".1600000001.00000.data.QwErTy"]
    kept = [data, data.with_name(".odd"), data.with_name("1.data.aB3dx9")]
    for path in (*left, *kept[1:]):
        path.write_bytes(b"half")
        os.utime(path, (1, 1))                       # as of the object, once rsync has all of it
    auditor = ObjectAuditor({**QUIET, "devices": str(tmp_path), "rsync_tempfile_timeout": "900"})
    now = time.time()
    for seconds, there in ((850, True), (950, False)):
        monkeypatch.setattr(auditor_module, "time", SimpleNamespace(
            time=lambda: now + seconds, monotonic=time.monotonic))    # noqa: B023
        counts = auditor.audit_all(mode)
        assert counts["passes"] == 1 and not counts["errors"] and not counts["quarantined"]
        assert [path.exists() for path in left] == [there] * 2 and alone.exists() == there
        assert all(path.exists() for path in kept)


def test_how_long_they_stay(tmp_path):
    conf = tmp_path / "object-server.conf"
    conf.write_text("[object-auditor]\n[object-replicator]\nrsync_timeout = 100\n")
    assert rsync_patience({"__file__": str(conf)}) == 1000
    assert rsync_patience({"__file__": str(conf), "rsync_tempfile_timeout": "7"}) == 7
    conf.write_text("[object-auditor]\n")
    assert rsync_patience({"__file__": str(conf), "rsync_tempfile_timeout": "auto"}) == 1800
    assert rsync_patience({}) == 86400
    with pytest.raises(ConfigError, match="rsync_tempfile_timeout"):
        ObjectAuditor({**QUIET, "rsync_tempfile_timeout": "soon"})


def test_objects_are_counted_by_their_size(app, tmp_path, caplog):
    for number, size in enumerate((0, 5, 10, 11, 500)):
        headers = {"X-Timestamp": "1600000000.00000", "Content-Type": "t/p"}
        assert call(app, "PUT", f"/sda/1/a/c/o{number}", headers, b"x" * size)[0] == 201
    caplog.set_level("INFO")
    auditor = ObjectAuditor({**QUIET, "devices": str(tmp_path), "object_size_stats": "100, 10"},
                            logging.getLogger("sizes"))
    auditor.audit_all("ZBF")
    assert 'Object audit (ZBF) sizes: {"10": 3, "100": 1, "OVER": 1}' in caplog.messages
    with pytest.raises(ConfigError, match="object_size_stats"):
        ObjectAuditor({**QUIET, "object_size_stats": "10, big"})


def test_several_processes_share_the_devices(app, tmp_path):
    conf = {**QUIET, "devices": str(tmp_path), "concurrency": "2",
            "recon_cache_path": str(tmp_path / "cache")}
    (tmp_path / "cache").mkdir()
    headers = {"X-Timestamp": "1600000000.00000", "Content-Type": "t/p"}
    (tmp_path / "sdb").mkdir()
    for device in ("sda", "sdb"):
        assert call(app, "PUT", f"/{device}/1/a/c/o", headers, b"xx")[0] == 201
    conf["override_devices"] = "sda, sdb"
    assert ObjectAuditor(conf).worker_count() == 2
    assert ObjectAuditor({**conf, "concurrency": "9"}).worker_count() == 2
    for number, device in enumerate(("sda", "sdb")):
        auditor = ObjectAuditor(conf)
        auditor.share = (number, 2)
        assert auditor.shared_devices() == [device]
        auditor.run_once()
        auditor.note_pass(1)
        assert auditor.last["object_auditor_stats_ALL"]["passes"] == 1
    told = json.loads((tmp_path / "cache/object.recon").read_text())["object_auditor_stats_ALL"]
    assert told["passes"] == 2 and told["bytes_processed"] == 4
    assert abs(told["start_time"] - time.time()) < 10000
