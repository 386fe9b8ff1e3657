# SPDX-License-Identifier: Apache-2.0
"""What is swept from a device's directory of temporary files, and what is not."""
import os
import time

from swift.common import left_over


def make(path, hours, text=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        path.mkdir(exist_ok=True)
    else:
        path.write_text(text)
    stamp = time.time() - hours * 3600
    os.utime(path, (stamp, stamp))


def test_what_is_older_than_a_day_goes(tmp_path):
    make(tmp_path / "old", 25, "x")
    make(tmp_path / "young", 23, "x")
    make(tmp_path / "copy-that-runs/db", 1, "x")
    make(tmp_path / "copy-that-runs", 25)
    make(tmp_path / "copy-that-ended/db", 25, "x")
    make(tmp_path / "copy-that-ended", 25)
    make(tmp_path / "copy-that-begins", 0)
    (tmp_path / "link").symlink_to(tmp_path / "young")
    left_over.remove(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == [
        "copy-that-begins", "copy-that-runs", "link", "young"]
    assert os.listdir(tmp_path / "copy-that-runs") == ["db"]


def test_no_such_directory(tmp_path):
    left_over.remove(str(tmp_path / "none"))
