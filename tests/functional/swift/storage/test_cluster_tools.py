# SPDX-License-Identifier: Apache-2.0
"""Tools that look at a whole cluster: swift-dispersion-populate, -report, swift-account-audit."""
import json
import shutil
import subprocess
import sys

import pytest

PATIENCE = 120


@pytest.fixture
def tool(cluster, tmp_path):
    """Run a program with the cluster's rings and an account of tempauth's; its result."""
    conf = tmp_path / "dispersion.conf"
    conf.write_text(f"[dispersion]\nauth_url = {cluster.url}/auth/v1.0\nauth_user = test2:tester2\n"
                    f"auth_key = testing2\nswift_dir = {cluster.etc}\ndispersion_coverage = 50\n"
                    "retries = 1\n")

    def run(name, *words):
        return subprocess.run(
            [sys.executable, "-m", f"swift.cli.{name}", *map(str, words),
             *([conf] if name.startswith("dispersion") else [])],
            env={"PATH": "/bin", "SWIFT_DIR": str(cluster.etc), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, check=False)
    return run


def empty_of_objects(cluster, user, container, name, copies):
    """Remove some copies of an object behind everyone's back."""
    from swift.common import storage
    from swift.common.ring import Ring
    saved = storage._secrets
    storage.set_hash_secrets(b"changeme", b"tests")
    try:
        part, nodes = Ring(str(cluster.etc), ring_name="object").get_nodes(user, container, name)
    finally:
        storage._secrets = saved
    for node in nodes[:copies]:
        shutil.rmtree(cluster.root / f"n{node['device'][1:]}/{node['device']}/objects/{part}")


@pytest.mark.whole
def test_dispersion_tells_of_lost_copies(cluster, tool):
    done = tool("dispersion_populate")
    assert done.returncode == 0, done.stderr
    assert "Created 8 containers" in done.stdout and "Created 8 objects" in done.stdout
    assert "No objects to query" in tool("dispersion_report", "-P", "policy1").stderr
    found = json.loads(tool("dispersion_report", "-j").stdout)
    for kind in ("container", "object"):
        assert found[kind]["copies_found"] == found[kind]["copies_expected"] == 24
        assert found[kind]["pct_found"] == 100 and found[kind]["overlapping"] == 0
    two = cluster.login("test2:tester2")
    names = two("GET", "/dispersion_objects_0")[2].decode().split()
    empty_of_objects(cluster, "AUTH_test2", "dispersion_objects_0", names[0], 2)
    done = tool("dispersion_report", "--object-only", "-p", "-d")
    assert "! There was 1 partition missing 2 copies." in done.stdout
    assert "91.67% of object copies found (22 of 24)" in done.stdout
    assert "Sample represents 50.00% of the object partition space" in done.stdout
    assert "missing 2 copies" in done.stderr and done.stderr.count("answered 404") == 2


@pytest.mark.whole
def test_account_audit_tells_what_differs(cluster, tool, tmp_path):
    user = cluster.login("test:tester6")           # its account is test's: audit one container only
    assert user("PUT", "/audited", {"X-Storage-Policy": "policy0"})[0] in (201, 202)
    for name in ("whole", "sub/pär t"):
        assert user("PUT", "/audited/" + name.replace("ä", "%C3%A4").replace(" ", "%20"),
                    body=b"x" * 10)[0] == 201
    done = tool("account_audit", "-d", "AUTH_test/audited")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Objects checked: 2" in done.stdout
    empty_of_objects(cluster, "AUTH_test", "audited", "whole", 1)
    errors = tmp_path / "errors"
    done = tool("account_audit", "-e", errors, "AUTH_test/audited/whole")
    assert done.returncode == 1 and "Object missing replicas: 1" in done.stdout
    assert errors.read_text() == "/AUTH_test/audited/whole\n"
    assert tool("account_audit", "AUTH_nobody").returncode == 1
