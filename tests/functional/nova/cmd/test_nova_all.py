# SPDX-License-Identifier: Apache-2.0
"""nova-all as a process: what it promises when many ask at once and when it is killed."""

import http.client
import json
import os
import random
import re
import signal
import socket
import sqlite3
import threading
import time

import psutil
import pytest
from nova_daemons import Cloud, in_parallel

pytestmark = pytest.mark.timeout(300)


def some_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """One cloud for all tests that leave it as they found it."""
    with Cloud(tmp_path_factory.mktemp("cloud"), some_port,
               extra="[quota]\ninstances=100\ncores=100\nram=-1\n") as made:
        made.start("all")
        made.wait_ready()
        yield made


def all_active(statuses):
    return set(statuses.values()) == {"ACTIVE"}


def test_twenty_parallel_creates_are_twenty_active(cloud):
    """P6: and none of them shares an address; deleting leaves nothing."""
    ids = in_parallel(cloud.boot, range(20))
    cloud.settle(lambda found: len(found) == 20 and all_active(found))
    _status, answer = cloud.ask("GET", "/servers/detail")
    addresses = [row["addresses"]["flat"][0]["addr"] for row in answer["servers"]]
    assert len(set(addresses)) == 20
    in_parallel(lambda one: cloud.ask("DELETE", f"/servers/{one}"), ids)
    cloud.settle(lambda found: not found)
    assert cloud.manage("audit").strip() == "0 findings, 0 left"
    connection = sqlite3.connect(cloud.directory / "nova.db")
    for table in ("instances", "ports", "instance_faults"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    assert connection.execute(
        "SELECT count(*) FROM fixed_ips WHERE port_id IS NOT NULL").fetchone() == (0,)
    connection.close()


def test_quota_holds_under_parallel_creates(cloud):
    status, _ = cloud.ask("PUT", "/os-quota-sets/few", {"quota_set": {"instances": 5}})
    assert status == 200
    body = {"server": {"name": "n", "imageRef": cloud.image, "flavorRef": "1"}}
    answers = in_parallel(
        lambda _n: cloud.ask("POST", "/servers", body, "admin:few"), range(15))
    assert sorted(status for status, _ in answers) == [202] * 5 + [403] * 10
    assert "Quota" in next(answer for status, answer in answers if status == 403)[
        "forbidden"]["message"]
    cloud.settle(lambda found: len(found) == 5 and all_active(found), token="admin:few")
    for one in cloud.statuses("admin:few"):
        cloud.ask("DELETE", f"/servers/{one}", token="admin:few")
    cloud.settle(lambda found: not found, token="admin:few")


@pytest.mark.kill
@pytest.mark.parametrize("moment", range(2))
def test_kill_in_the_middle_of_boots_loses_no_accepted_server(tmp_path, free_port, moment):
    """P2, P3: kill -9 at some moment; every server that was acknowledged becomes ACTIVE."""
    seed = 1000 + moment
    with Cloud(tmp_path, free_port, spawn_seconds=0.3) as cloud:
        cloud.start("all")
        cloud.wait_ready()
        accepted = []

        def boot(number):
            try:
                accepted.append(cloud.boot(number))
            except (OSError, http.client.HTTPException):    # it was killed before it answered
                pass

        threads = [threading.Thread(target=boot, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(random.Random(seed).uniform(0.2, 1.5))
        cloud.kill("all-host1")
        for thread in threads:
            thread.join()
        cloud.start("all")
        cloud.wait_ready()
        found = cloud.settle(lambda found: "BUILD" not in found.values(), 90)
        assert set(accepted) <= found.keys()
        assert set(found.values()) <= {"ACTIVE"}, (seed, found)
        # and again while they are deleted
        deleters = [threading.Thread(target=lambda one=one: suppressed(
            cloud.ask, "DELETE", f"/servers/{one}")) for one in found]
        for thread in deleters:
            thread.start()
        time.sleep(0.05)
        cloud.kill("all-host1")
        for thread in deleters:
            thread.join()
        cloud.start("all")
        cloud.wait_ready()
        for one in cloud.statuses():
            cloud.ask("DELETE", f"/servers/{one}")
        cloud.settle(lambda found: not found)


def suppressed(function, *arguments):
    try:
        function(*arguments)
    except (OSError, http.client.HTTPException):
        pass


def test_bug_idle_daemon_did_not_hear_sigterm(tmp_path, free_port):
    """A handler alone does not wake a hub that waits for sockets, nor may it block in there."""
    with Cloud(tmp_path, free_port) as cloud:
        cloud.start("all")
        cloud.wait_ready()
        time.sleep(2)       # nobody asks anything
        assert cloud.stop("all-host1") == 0         # which does not wait for its grace
        said = cloud.log("all-host1")
        assert "mainloop" not in said and "Traceback" not in said


def test_sigterm_lets_running_work_end(tmp_path, free_port):
    with Cloud(tmp_path, free_port, spawn_seconds=1.5) as cloud:
        cloud.start("all")
        cloud.wait_ready()
        one = cloud.boot()
        cloud.settle(lambda found: found[one] == "BUILD")
        time.sleep(0.5)
        assert cloud.stop("all-host1") == 0
        assert "Traceback" not in cloud.log("all-host1")
        cloud.start("all")
        cloud.wait_ready()
        cloud.settle(all_active)


def test_sighup_reads_the_configuration_again_and_serves_on(cloud):
    process = cloud.processes["all-host1"]
    process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while "Configuration was read again" not in cloud.log("all-host1"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert cloud.ask("GET", "/servers")[0] == 200
    assert process.poll() is None


def test_wrong_schema_ends_the_start_with_advice(tmp_path, free_port):
    with Cloud(tmp_path, free_port) as cloud:
        connection = sqlite3.connect(tmp_path / "nova.db")
        with connection:
            connection.execute("UPDATE alembic_version SET version_num = 'old'")
        connection.close()
        cloud.start("all")
        assert cloud.processes["all-host1"].wait(30) == 1
        assert "run nova-manage db sync" in cloud.log("all-host1")


def test_idle_costs_next_to_nothing(cloud):
    process = psutil.Process(cloud.processes["all-host1"].pid)
    time.sleep(1)
    before = sum(process.cpu_times()[:2])
    time.sleep(5)
    assert (sum(process.cpu_times()[:2]) - before) / 5 < 0.03
    assert process.memory_full_info().pss < 130e6


# ---------------------------------------------------------------- HTTP and its limits

def raw(cloud, text, wait=5.0):
    """Send bytes to the Compute API and return what comes back until it closes or is silent."""
    with socket.create_connection(("127.0.0.1", cloud.values["port"]), 10) as sock:
        sock.settimeout(wait)
        received = b""
        try:
            sock.sendall(text)
            while data := sock.recv(65536):
                received += data
        except (TimeoutError, ConnectionError):
            pass
        return received


@pytest.mark.parametrize("request_text, expected", [
    (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 70000 + b"\r\n\r\n", b"400"),
    (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(200))
     + b"\r\n", b"400"),
    (b"NONSENSE\r\n\r\n", b"400"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", b"400"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", b"400"),
], ids=["line", "header", "headers", "nonsense", "negative", "length"])
def test_malformed_requests_are_refused_and_never_a_500(cloud, request_text, expected):
    answer = raw(cloud, request_text, 3)
    assert expected in answer.split(b"\r\n")[0], answer[:300]
    assert cloud.ask("GET", "/servers")[0] == 200
    assert "Traceback" not in cloud.log("all-host1")


def test_connections_are_kept_alive_and_many_are_served(cloud):
    connection = http.client.HTTPConnection("127.0.0.1", cloud.values["port"], timeout=10)
    ports = set()
    for _ in range(5):
        connection.request("GET", "/v2.1/servers", headers={"X-Auth-Token": "admin:p"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        ports.add(connection.sock.getsockname()[1])
    assert len(ports) == 1
    connection.close()
    idle = [socket.create_connection(("127.0.0.1", cloud.values["port"])) for _ in range(200)]
    assert cloud.ask("GET", "/servers")[0] == 200
    for sock in idle:
        sock.close()


def test_one_log_line_a_request_with_who_and_how_long(cloud):
    status, _ = cloud.ask("GET", "/servers?name=zzz", token="alice:wonderland")
    assert status == 200
    lines = [line for line in cloud.log("all-host1").splitlines() if "name=zzz" in line]
    assert len(lines) == 1
    assert re.search(r"req-[0-9a-f-]{36} .*\"GET /v2.1/servers\?name=zzz\" 200 \d+ [\d.]+s "
                     r"user=alice project=wonderland", lines[0])


def test_security_l9_no_token_or_header_in_the_log(cloud):
    """L9, L1: neither tokens nor long names reach the log, whatever happens."""
    size = len(cloud.log("all-host1"))
    assert cloud.ask("POST", "/servers", {"server": {"name": "n" * 90000}})[0] == 400
    suppressed(cloud.ask, "POST", "/servers", {"server": {"name": "n" * 2**20}})
    cloud.ask("GET", "/servers/" + "x" * 5000)
    raw(cloud, b"GET /v2.1/servers HTTP/1.1\r\nHost: x\r\nX-Auth-Token: admin:p\r\n"
               b"Authorization: hidden-s3cret\r\nX-Service-Token: hidden-s3cret\r\n\r\n", 1)
    said = cloud.log("all-host1")[size:]
    assert "hidden-s3cret" not in said and "X-Auth-Token" not in said
    assert len(said) < 8192


def test_security_r2_what_is_made_is_the_owners_alone(cloud):
    """R2: the database is not for other users of the machine."""
    for suffix in ("", "-wal", "-shm"):
        assert os.stat(f"{cloud.directory}/nova.db{suffix}").st_mode & 0o077 == 0


def test_metadata_of_answers(cloud):
    """Every answer has a request id, errors too."""
    connection = http.client.HTTPConnection("127.0.0.1", cloud.values["port"], timeout=10)
    for path, status in (("/v2.1/servers", 401), ("/nothing", 404), ("/", 200)):
        connection.request("GET", path)
        answer = connection.getresponse()
        json.loads(answer.read())
        assert answer.status == status
        assert answer.headers["x-openstack-request-id"].startswith("req-")
    connection.close()
