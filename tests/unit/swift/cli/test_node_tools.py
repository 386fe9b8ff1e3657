# SPDX-License-Identifier: Apache-2.0
"""Tools an operator runs on one node: swift-drive-audit, -recon-cron, -config, -form-signature."""
import datetime
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

from swift.cli import config, drive_audit, form_signature, object_relinker, recon_cron
from swift.common.middleware.signatures import parse_signature
from swift.operations import drives

NOW = datetime.datetime(2027, 1, 1, 0, 10)
PATTERNS = [re.compile(text) for text in drives.PATTERNS]


def log(path, *lines):
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


def test_errors_of_the_last_minutes_by_device(tmp_path):
    """Both ways of writing time, over the end of a year, over two files; a line counts once."""
    old = log(tmp_path / "kern.log.1",
              "Dec 31 22:00:00 host kernel: sdc: I/O error",
              "Dec 31 23:59:00 host kernel: sda1: I/O error, dev sda1, sda1 error")
    new = log(tmp_path / "kern.log",
              "2027-01-01T00:05:00.123456+00:00 host kernel: error on sdb",
              "not a line of syslog with error on sdd",
              "Jan  1 00:06:00 host kernel: error on sdb, says nothing more",
              "Jan  1 00:07:00 host kernel: all is well with sde")
    os.utime(old, (1, 1))
    assert drives.errors_in([old, new], PATTERNS, 60, now=NOW) == {"sda1": 1, "sdb": 2}
    assert drives.errors_in([old, new], PATTERNS, 8, now=NOW) == {"sdb": 2}


def test_what_was_before_the_last_boot_does_not_count(tmp_path):
    path = log(tmp_path / "kern.log", "Jan  1 00:01:00 host kernel: error on sda",
               "Jan  1 00:02:00 host kernel: [    0.000000] Linux version 6",
               "Jan  1 00:03:00 host kernel: error on sdb")
    assert drives.errors_in([path], PATTERNS, 60, now=NOW) == {"sdb": 1}


def test_a_long_log_is_read_backward_only_as_far_as_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(drives, "_TAIL", 100)
    lines = [f"Jan  1 00:0{n % 10}:00 host kernel: error on sda number {n}" for n in range(50)]
    path = log(tmp_path / "kern.log", *lines)
    assert list(drives.lines_backward(path, "utf-8")) == lines[::-1]


def test_only_the_line_of_the_drive_becomes_a_comment(tmp_path):
    fstab = tmp_path / "fstab"
    text = "/dev/sda1 /srv/node/a xfs noatime 0 0\n#/dev/sdb1 /srv/node/b xfs\n\n" \
           "/dev/sdc1 /srv/node/ab xfs noatime 0 0\n"
    fstab.write_text(text)
    assert drives.comment_out("/srv/node/a", fstab)
    assert fstab.read_text() == "#" + text
    assert not drives.comment_out("/srv/node/b", fstab)


def test_a_pattern_that_is_none_is_said(tmp_path, capsys):
    conf = tmp_path / "drive-audit.conf"
    for text, word in (("(", "unterminated"), ("error", "group")):
        conf.write_text(f"[drive-audit]\nregex_pattern_1 = {text}\n")
        assert drive_audit.main([str(conf)]) == 1
        assert word in capsys.readouterr().err
    assert drive_audit.main([str(tmp_path / "none")]) == 1


# In a mount namespace of its own: real mounts, of which nothing outside is touched.
AUDIT = """\
    import pathlib, subprocess, sys, time
    from swift.cli import drive_audit
    root = pathlib.Path(sys.argv[1])
    for name in ("good", "bad"):
        image = root / (name + ".img")
        place = root / "node" / name
        place.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "/dev/" + {"good": "sdy1", "bad": "sdz1"}[name],
                        place], check=True)
    (root / "fstab").write_text(f"/dev/sdz1 {root}/node/bad xfs noatime 0 0\\n")
    now = time.strftime("%b %d %H:%M:%S")
    (root / "kern.log").write_text(f"{now} h kernel: sdz1: error\\n{now} h kernel: sdy1 error\\n"
                                   f"{now} h kernel: error of sdz1\\n")
    (root / "cache").mkdir()
    (root / "audit.conf").write_text(f'''[drive-audit]
    device_dir = {root}/node
    error_limit = 2
    log_file_pattern = {root}/kern*
    fstab = {root}/fstab
    recon_cache_path = {root}/cache
    log_to_console = true
    '''.replace("    ", ""))
    assert drive_audit.main([str(root / "audit.conf")]) == 0
    mounts = open("/proc/mounts").read()
    assert f"{root}/node/good" in mounts and f"{root}/node/bad" not in mounts
"""


def test_a_failing_drive_is_unmounted_and_told_of(tmp_path):
    script = tmp_path / "audit.py"
    script.write_text(textwrap.dedent(AUDIT))
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", sys.executable, script,
                           tmp_path], capture_output=True, text=True, timeout=60, check=False)
    if "Operation not permitted" in done.stderr and "unshare" in done.stderr:
        pytest.fail("this test mounts: it wants to be root")
    assert done.returncode == 0, done.stderr
    assert "Unmounting" in done.stderr and "with 2 errors" in done.stderr
    told = json.loads((tmp_path / "cache/drive.recon").read_text())
    assert told[f"{tmp_path}/node/bad"] == told["drive_audit_errors"] == 2
    assert told[f"{tmp_path}/node/good"] == 0
    assert (tmp_path / "fstab").read_text().startswith("#")


def test_drives_that_cannot_be_unmounted_are_not_said_to_be(tmp_path, caplog):
    audit = drives.DriveAudit({"device_dir": str(tmp_path), "recon_cache_path": "/none"},
                              logging.getLogger("audit"))
    assert not audit._give_up(str(tmp_path / "not-mounted"), 3)
    assert "ERROR unmounting" in caplog.text


def test_recon_cron_counts_waiting_updates(tmp_path):
    for name in ("d0/async_pending/abc/1-1", "d0/async_pending-1/abc/2-1", "d1/objects/1/abc/x",
                 "d1/async_pending/fff/3-1"):
        (tmp_path / "node" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "node" / name).touch()
    conf = tmp_path / "object-server.conf"
    conf.write_text(f"[DEFAULT]\ndevices = {tmp_path}/node\n[filter:recon]\n"
                    f"recon_cache_path = {tmp_path}\n")
    assert recon_cron.main([str(conf)]) == 0
    told = json.loads((tmp_path / "object.recon").read_text())
    assert told["async_pending"] == 3 and told["async_pending_last"] > 1e9


def test_config_shows_what_servers_read(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "object-server.conf.d"
    folder.mkdir()
    (folder / "1.conf").write_text("[DEFAULT]\nworkers = 4\n[app:object-server]\n"
                                   "use = egg:swift#object\n[pipeline:main]\n"
                                   "pipeline = object-server\n")
    (folder / "2.conf").write_text("[DEFAULT]\nworkers = 8\n")
    monkeypatch.setenv("SWIFT_DIR", str(tmp_path))
    assert config.main(["object", "-s", "app"]) == 0
    out = capsys.readouterr().out
    assert "[app:object-server]\nworkers = 8\n" in out and "pipeline" not in out
    assert config.main(["-w", str(folder)]) == 0
    assert "workers = 8" in capsys.readouterr().out
    assert config.main(["proxy-server"]) == 1 and config.main(["x"]) == 1


def test_form_signature_is_one_that_formpost_takes(capsys):
    assert form_signature.main(["/v1/AUTH_a/c/p", "https://x.y/?a=<b>", "100", "2", "60", "key"]) \
        == 0
    out = capsys.readouterr().out
    signature = re.search("Signature: (.*)", out)[1]
    expires = re.search("Expires: (.*)", out)[1]
    import hmac
    text = f"/v1/AUTH_a/c/p\nhttps://x.y/?a=<b>\n100\n2\n{expires}"
    assert parse_signature(signature) == (
        "sha256", hmac.new(b"key", text.encode(), "sha256").hexdigest())
    assert "&lt;b&gt;" in out and out.count('type="file"') == 2
    with pytest.raises(SystemExit):
        form_signature.main(["/v1/AUTH_a", "", "1", "1", "1", "key"])


def test_a_relinkers_progress_by_device_and_policy(tmp_path):
    """/recon/relinker: of a device the times of the first and the last of its policies."""
    news = object_relinker.News(SimpleNamespace(cache=str(tmp_path), interval=0), ["d1"])
    task = SimpleNamespace(cleanup=False, part_power=4, next_part_power=5)
    for index, started in ((0, 1000.5), (1, 990.5)):
        news.of(SimpleNamespace(index=index))(SimpleNamespace(
            task=task, state={1: True, 2: index == 0}, started=started,
            device_path="/srv/node/d1", counts={"files": 2, "errors": 0}))
    news.write(0)
    told = json.loads((tmp_path / "relinker.recon").read_text())
    device = told["devices"]["d1"]
    assert (device["parts_done"], device["total_parts"], device["stats"]) == \
        (3, 4, {"files": 4, "errors": 0})
    assert device["start_time"] == 990.5
    assert device["timestamp"] == device["policies"]["1"]["timestamp"]
    assert told["workers"][str(os.getpid())]["return_code"] == 0
