# SPDX-License-Identifier: Apache-2.0
"""swift-recon asks real servers about passes that real daemons made."""
import re
import subprocess
import sys

import pytest
from swift_node import StorageNode

TIMEOUT = 60


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    root = tmp_path_factory.mktemp("recon")
    cache = root / "cache"
    cache.mkdir()
    made = StorageNode(root / "node", f"recon_cache_path = {cache}\n")
    for conf in made.etc.glob("*.conf"):
        conf.write_text(re.sub(r"pipeline = (\w+-server)", r"pipeline = recon \1", conf.read_text())
                        + "[filter:recon]\nuse = egg:swift#recon\n")
    with made:
        yield made


def recon(node, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "swift.cli.recon", *arguments], env=node.environment,
        capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def test_what_daemons_did_is_told(node):
    node.make_container("a", "c")
    node.put("a", "c", "o", b"body")
    said = recon(node, "object", "-r", "--auditor", "--expirer")
    assert said.count("No hosts returned valid data") == 16
    for module, kind in (("object_replicator", "object"), ("object_auditor", "object"),
                         ("object_reconstructor", "object"),
                         ("object_expirer", "object"), ("container_replicator", "container"),
                         ("container_auditor", "container"), ("container_updater", "container")):
        node.once(module, kind)
    said = recon(node, "object", "--all")
    assert "on 1 hosts (object)" in said
    for line in (r"\[replication_attempted\] low: 3, high: 3, avg: 3.0, total: 3, Failed: 0.0%, "
                 r"no_result: 0, reported: 1",
                 r"\[replication_failure\] low: 0", r"\[replication_success\] low: 3",
                 r"\[object_reconstruction_time\] low: \d", r"\[ALL_passes_last_path\] low: 3",
                 r"\[ZBF_passes_last_path\] low: 3",
                 r"\[ALL_bytes_processed_last_path\] low: 12",
                 r"\[expired_last_pass\] low: 0", r"\[async_pending\] low: 0",
                 r"\[quarantined_objects\] low: 0", r"Disk usage: lowest: ",
                 r"1/1 hosts matched, 0 error", r"1/1 hosts ok, 0 error", r"Versions matched \("):
        assert re.search(line, said), (line, said)
    said = recon(node, "container", "-r", "--auditor", "--updater", "--sharding", "-v")
    for line in (r"Oldest completion was \d.* \(\d+ \w+ ago\) by 127", "Checking on sharders",
                 r"\[sharding_time\] - No hosts",
                 r"\[replication_attempted\] low: 3", r"\[container_audits_passed\] low: 3",
                 r"\[updater_last_sweep\] low: \d", r"-> http://127.0.0.1:\d+/recon/auditor/"):
        assert re.search(line, said), (line, said)
    assert "no updater of accounts" in recon(node, "account", "--updater")


def test_differences_and_failures_are_told(node):
    (node.etc / "object.ring.gz").rename(node.etc / "saved")
    (node.etc / "object.ring.gz").write_bytes((node.etc / "account.ring.gz").read_bytes())
    try:
        said = recon(node, "object", "--validate-servers")
        assert "is a account-server" in said and "0/1 hosts ok" in said
    finally:
        (node.etc / "saved").rename(node.etc / "object.ring.gz")
    assert "none of account" in recon(node, "proxy", code=1)
    node.kill()
    try:
        said = recon(node, "object", "-T", "--md5", "-l")
        assert "0/1 hosts matched, 1 error" in said and "-> http://127.0.0.1" in said
    finally:
        node.start()
