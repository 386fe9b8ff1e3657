# SPDX-License-Identifier: Apache-2.0
"""A day's work of clients of the native API: the swift command, rclone's swift backend."""
import filecmp
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from client_files import same
from stacklib import packages
from swift_cluster import SwiftCluster

TIMEOUT = 300
pytestmark = [pytest.mark.whole, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with SwiftCluster(tmp_path_factory.mktemp("native")) as cluster:
        yield cluster


@pytest.fixture
def run(store, tmp_path):
    """Run a client with nothing but its usual settings; its output."""
    def call(*command, cwd=tmp_path, code=0):
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT,
            check=False, cwd=cwd, env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(tmp_path), "LANG": "C.UTF-8", "ST_AUTH": f"{store.url}/auth/v1.0",
                "ST_USER": "test:tester", "ST_KEY": "testing"})
        assert done.returncode == code, \
            f"{command}:\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        return done.stdout
    return call


def stamp(shown):
    """When what `swift stat` shows was stored."""
    return re.search(r"X-Timestamp: (\S+)", shown)[1]


def test_swift_command(store, run, files, tmp_path):
    assert "Account: AUTH_test" in run("swift", "stat")
    run("swift", "post", "box", "-m", "Colour:blue")
    assert "Meta Colour: blue" in run("swift", "stat", "box")
    run("swift", "upload", "box", ".", cwd=files)
    before = run("swift", "stat", "box", "big")
    run("swift", "upload", "--changed", "box", ".", cwd=files)
    assert stamp(run("swift", "stat", "box", "big")) == stamp(before)     # nothing to do
    listed = run("swift", "list", "box").splitlines()
    assert listed == ["big", "empty", "small", "sub folder/ünï +%&code"]
    run("swift", "download", "box", "-D", tmp_path / "back")
    assert same(files, tmp_path / "back")
    # In segments, as a static and as a dynamic manifest; deleted with all of them.
    for kind in ("--use-slo", "--use-dlo"):
        run("swift", "upload", kind, "-S", str(8 << 20), "--object-name", "in-parts", "box", "big",
            cwd=files)
        assert len(run("swift", "list", "box_segments").split()) == 3
        run("swift", "download", "box", "in-parts", "-o", tmp_path / "joined")
        assert filecmp.cmp(files / "big", tmp_path / "joined", shallow=False)
        run("swift", "delete", "box", "in-parts")
        assert run("swift", "list", "box_segments") == ""
    run("swift", "copy", "box", "small", "-d", "/box/copied", "-m", "A:b")
    assert "Meta A: b" in run("swift", "stat", "box", "copied")
    run("swift", "post", "-m", "Temp-URL-Key:key")
    path = run("swift", "tempurl", "--digest", "sha256", "GET", "600",
               "/v1/AUTH_test/box/small", "key").strip()
    assert requests.get(store.url + path, timeout=60).content == (files / "small").read_bytes()
    run("swift", "post", "box", "-r", "test2:tester2")
    shared = run("swift", "-U", "test2:tester2", "-K", "testing2", "--os-storage-url",
                 f"{store.url}/v1/AUTH_test", "list", "box")
    assert "copied" in shared
    assert '"swift"' in run("swift", "capabilities", "--json")
    run("swift", "delete", "box")
    run("swift", "delete", "box_segments")
    assert run("swift", "list") == ""
    assert run("swift", "stat", "box", code=1) == ""


def test_rclone_swift(store, run, files, tmp_path):
    packages.apt_install(("rclone",))
    where = (f":swift,auth='{store.url}/auth/v1.0',user='test:tester',key=testing,auth_version=1,"
             "chunk_size=8Mi:")
    run("rclone", "sync", files, where + "by-rclone")
    assert run("rclone", "check", files, where + "by-rclone") == ""
    run("rclone", "copy", where + "by-rclone", tmp_path / "back")
    assert same(files, tmp_path / "back")
    run("rclone", "moveto", where + "by-rclone/small", where + "by-rclone/moved")
    assert "moved" in run("rclone", "lsf", where + "by-rclone")
    run("rclone", "purge", where + "by-rclone")
    assert "by-rclone/" not in run("rclone", "lsf", where).splitlines()
