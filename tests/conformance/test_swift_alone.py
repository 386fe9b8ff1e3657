# SPDX-License-Identifier: Apache-2.0
"""`tools/stack up swift`: no Keystone, no broker, an object in seconds, the same after a kill."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pretend_host import PretendHost

CHECKOUT = Path(__file__).resolve().parents[2]
TIMEOUT = 120
# runs inside the host's network
PUT = """
import os, swiftclient
connection = swiftclient.Connection(os.environ["ST_AUTH"], os.environ["ST_USER"],
                                    os.environ["ST_KEY"], retries=0)
connection.put_container("box")
connection.put_object("box", "name", b"content")
print(connection.get_object("box", "name")[1].decode())
"""
GET = PUT.replace('connection.put_container("box")\n', "").replace(
    'connection.put_object("box", "name", b"content")\n', "")
S3 = """
import boto3
s3 = boto3.client("s3")
s3.put_object(Bucket="box", Key="by-s3", Body=b"content")
print(s3.get_object(Bucket="box", Key="name")["Body"].read().decode())
"""


UNTIL_BACK = """
import os, signal, sys, time, swiftclient
connection = swiftclient.Connection(os.environ["ST_AUTH"], os.environ["ST_USER"],
                                    os.environ["ST_KEY"], retries=0)
connection.get_auth()
supervisor, storage = map(int, sys.argv[1:])
os.kill(supervisor, signal.SIGSTOP)
os.kill(storage, signal.SIGKILL)
failed = 0
while failed <= 10:                     # of a proxy that shuns: then it does
    try:
        connection.put_object("box", "name", b"content")
    except swiftclient.ClientException:
        failed += 1
os.kill(supervisor, signal.SIGCONT)
start = time.monotonic()
while True:
    try:
        connection.put_object("box", "name", b"content")
        break
    except swiftclient.ClientException:
        time.sleep(0.1)
print(time.monotonic() - start)
"""
SHUNNED_SECONDS = 60    # by default
WELL_TIMEOUT = 60


@pytest.fixture
def stack():
    """A function that runs tools/stack on a host of its own, without libvirt."""
    with PretendHost(libvirt=False) as host:
        def run(*command: str) -> str:
            return host.run([sys.executable, str(CHECKOUT / "tools/stack"), command[0], "--data",
                             str(host.workdir / "data"), *command[1:]], check=True,
                            timeout=TIMEOUT).stdout

        def client(script: str, kind: str = "openrc", *words: str) -> str:
            lines = run("env", kind).splitlines()
            values = dict(line.removeprefix("export ").split("=", 1) for line in lines)
            return host.run([sys.executable, "-c", script, *words], check=True,
                            env={**os.environ, **values}).stdout.strip()

        run.client, run.host = client, host
        yield run
        run("down")


def test_an_object_in_seconds_and_the_same_after_kill_9(stack):
    stack("up", "swift", "--no-packages")
    assert stack.client(PUT) == "content"
    assert stack.client(S3, "aws") == "content"
    stack("down")

    stack("up", "--no-packages")
    assert stack.client(PUT) == "content"

    rows = json.loads(stack("status", "--json"))["daemons"]
    pids = [str(rows[name]["pid"]) for name in ("supervisord", "swift-storage")]
    assert float(stack.client(UNTIL_BACK, "openrc", *pids)) < SHUNNED_SECONDS - 10

    rows = daemons_when_well(stack)
    assert set(rows) == {"swift-storage", "swift-proxy", "swift-consistency", "supervisord"}
    # the supervisor first, or it would start again what is killed
    for name in sorted(rows, key=lambda name: name != "supervisord"):
        os.kill(rows[name]["pid"], signal.SIGKILL)
    stack("up", "--no-packages")
    assert stack.client(GET) == "content"


def daemons_when_well(stack) -> dict:
    """What `status` says of them; one that has just come back counts as starting for a while."""
    deadline = time.monotonic() + WELL_TIMEOUT
    while True:
        try:
            return json.loads(stack("status", "--json"))["daemons"]
        except AssertionError:          # it exits with 1 until all are well
            assert time.monotonic() < deadline
            time.sleep(0.5)


IN_POLICIES = """
import sys, os, swiftclient
connection = swiftclient.Connection(os.environ["ST_AUTH"], os.environ["ST_USER"],
                                    os.environ["ST_KEY"], retries=0)
for policy in sys.argv[1:]:
    connection.put_container(policy, {"X-Storage-Policy": policy})
    connection.put_object(policy, "name", b"content" * 300000)
for policy in sorted(row["name"] for row in connection.get_capabilities()["swift"]["policies"]):
    headers, body = connection.get_object(policy, "name")
    print(connection.head_container(policy)["x-storage-policy"], body == b"content" * 300000)
"""


@pytest.mark.whole
def test_a_policy_comes_to_a_stack_that_runs(stack):
    """Wide codes get devices; what is there stays; a fragment that is lost is made again."""
    stack("up", "swift", "--no-packages", "--policy", "gold")
    assert stack.client(IN_POLICIES, "openrc", "Policy-0", "gold").split() == [
        "Policy-0", "True", "gold", "True"]
    stack("up", "--no-packages", "--policy", "deep:ec:4+2")
    everything = ["Policy-0", "True", "deep", "True", "gold", "True"]
    assert stack.client(IN_POLICIES, "openrc", "deep").split() == everything
    with pytest.raises(AssertionError, match="cannot be changed"):
        stack("up", "--no-packages", "--policy", "deep:ec:2+1")

    devices = stack.host.workdir / "data/swift"
    lost = next(devices.glob("d6/objects-2/*/*/*/*.data"))
    shutil.rmtree(lost.parents[2])
    deadline = time.monotonic() + TIMEOUT
    while not lost.exists():
        assert time.monotonic() < deadline
        time.sleep(1)
    assert stack.client(IN_POLICIES).split() == everything


def test_reset_asks_first_and_leaves_nothing(stack, tmp_path):
    stack("up", "swift", "--no-packages")
    with pytest.raises(AssertionError, match="add --yes"):
        stack("reset")
    assert stack("status")
    stack("reset", "--yes")
    with pytest.raises(AssertionError, match="no stack in"):
        stack("status")
    stack("up", "swift", "--no-packages")


def test_a_foreign_port_is_named(stack):
    listener = stack.host.popen([sys.executable, "-m", "http.server", "8080"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while stack.host.run(["curl", "-s", "http://127.0.0.1:8080/"]).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(AssertionError, match="in use by others: object-store 8080"):
        stack("up", "swift", "--no-packages")
    listener.kill()
    listener.wait(10)
    stack("up", "swift", "--no-packages")
