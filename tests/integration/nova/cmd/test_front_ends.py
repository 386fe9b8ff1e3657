# SPDX-License-Identifier: Apache-2.0
"""Many of each: front ends in processes of their own, two of every worker, and how they end."""

import http.client
import json
import re
import signal
import time
import urllib.request

import pytest
from nova_daemons import Cloud, in_parallel

pytestmark = pytest.mark.timeout(300)
DEADLINE = 60
ALONE = ("network", "metadata", "ec2", "volume")


@pytest.fixture
def cloud(tmp_path, free_port, amqp_url, mysql_url):
    """Two schedulers, networks, computes; two nova-api for Compute, one for each other API."""
    with Cloud(tmp_path, free_port, transport=amqp_url, database=mysql_url,
               spawn_seconds=0.2) as made:
        for what in ("network", "scheduler", "compute"):
            for host in ("h1", "h2"):
                made.start(what, host, name=f"{what}-{host}", monitor_port=free_port())
        for number in (1, 2):
            made.start("api", "h1", name=f"compute-api-{number}", apis="compute")
        for api in ALONE:
            made.start("api", "h1", name=f"{api}-api", apis=api)
        made.wait_ready("compute-api-1", workers=6)
        for api in ALONE:
            made._wait_port(made.values[f"{api}_port"], f"{api}-api")
        yield made


def status(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def half_a_request(cloud):
    """Begin to ask for a server and stop in the middle of the body; (connection, other half)."""
    body = json.dumps({"server": {"name": "half", "imageRef": cloud.image,
                                  "flavorRef": "1"}}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", cloud.values["port"], timeout=60)
    connection.putrequest("POST", "/v2.1/servers")
    for name, value in (("X-Auth-Token", "admin:p"), ("Content-Type", "application/json"),
                        ("Content-Length", str(len(body)))):
        connection.putheader(name, value)
    connection.endheaders(body[:20])
    return connection, body[20:]


def test_front_ends_alone_and_two_of_each_worker(cloud):
    """And one boot is found by its request id in the logs of everybody who had to do with it."""
    values = cloud.values
    assert [status(values[port], "/healthz") for port in (
        "port", *(f"{api}_port" for api in ALONE))] == [200] * 5
    assert status(values["volume_port"], "/v3/p/volumes") == 401
    assert status(values["network_port"], "/v2.0/networks") == 401
    assert status(values["metadata_port"], "/latest/meta-data/") == 404     # who asks is no guest
    assert status(values["ec2_port"], "/?Action=DescribeInstances&Version=2016-11-15") in (401, 403)
    ids = in_parallel(cloud.boot, range(4))
    found = cloud.settle(lambda found: set(found.values()) == {"ACTIVE"} and len(found) == 4)
    assert set(ids) == set(found)
    # two schedulers that saw the same snapshot may have chosen the same host for all
    assert {row["OS-EXT-SRV-ATTR:host"] for row in cloud.ask("GET", "/servers/detail")[1][
        "servers"]} <= {"h1", "h2"}
    _status, actions = cloud.ask("GET", f"/servers/{ids[0]}/os-instance-actions")
    request_id = actions["instanceActions"][0]["request_id"]
    told = {name: [line for line in cloud.log(name).splitlines() if request_id in line]
            for name in cloud.processes}
    saying = {what: [line for name, lines in told.items() if name.startswith(what)
                     for line in lines]
              for what in ("compute-api", "scheduler", "compute-h", "network-h")}
    for what, wanted in (("compute-api", '"POST /v2.1/servers" 202'),
                         ("scheduler", "rpc scheduler.schedule_instances ok"),
                         ("compute-h", "rpc compute.build_instance ok"),
                         ("network-h", "rpc network.allocate_for_instance ok")):
        assert sum(wanted in line for line in saying[what]) == 1, (what, saying)

    # One of the front ends and a worker of each kind go; what has begun is done.
    connection, rest = half_a_request(cloud)
    time.sleep(0.5)
    for name in ("compute-api-1", "compute-api-2"):
        cloud.processes[name].send_signal(signal.SIGTERM)
    time.sleep(0.5)
    connection.send(rest)
    answer = connection.getresponse()
    assert answer.status == 202
    server_id = json.loads(answer.read())["server"]["id"]
    connection.close()
    for name in ("compute-api-1", "compute-api-2"):
        assert cloud.processes.pop(name).wait(DEADLINE) == 0
        assert "Traceback" not in cloud.log(name)
    cloud.start("api", "h1", name="compute-api-1", apis="compute")
    cloud.wait_ready("compute-api-1", workers=6)
    assert server_id in cloud.statuses()

    more = in_parallel(cloud.boot, range(3))
    time.sleep(0.3)
    for name in ("scheduler-h1", "network-h1"):
        assert cloud.stop(name) == 0
        assert "Traceback" not in cloud.log(name)
    found = cloud.settle(lambda found: set(found.values()) == {"ACTIVE"} and len(found) == 8, 120)
    assert set(more) <= set(found)


def test_sigterm_lets_a_build_end_and_sighup_reads_again(
        tmp_path, free_port, amqp_url, postgresql_url):
    monitors = {name: free_port() for name in ("network", "scheduler", "compute", "api")}
    with Cloud(tmp_path, free_port, transport=amqp_url, database=postgresql_url,
               spawn_seconds=2.0) as cloud:
        for name, port in monitors.items():
            cloud.start(name, name=name, monitor_port=port)
        cloud.wait_ready("api", workers=3)
        for name, port in monitors.items():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
                said = answer.read().decode()
            assert said == ("database: ok\n" if name == "api" else f"nova-{name}: ok\n")
        one = cloud.boot()
        deadline = time.monotonic() + DEADLINE
        while "SPAWNING" not in (state := str(cloud.ask("GET", f"/servers/{one}")[1]["server"][
                "OS-EXT-STS:task_state"])).upper():
            assert time.monotonic() < deadline, state
            time.sleep(0.05)
        assert cloud.stop("compute") == 0
        assert cloud.statuses()[one] == "ACTIVE"        # with no compute worker left to do it
        for name in ("network", "scheduler", "api"):
            cloud.processes[name].send_signal(signal.SIGHUP)
        for name in ("network", "scheduler", "api"):
            while "Configuration was read again" not in cloud.log(name):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert cloud.processes[name].poll() is None
        with urllib.request.urlopen(f"http://127.0.0.1:{monitors['scheduler']}/metrics",
                                    timeout=30) as answer:
            text = answer.read().decode()
        assert 'nova_instances{task_state="",vm_state="active"} 1.0' in text
        assert re.search(r'nova_rpc_handled_seconds_count\{method="schedule_instances",'
                         r'outcome="ok",topic="scheduler"\} [1-9]', text)
