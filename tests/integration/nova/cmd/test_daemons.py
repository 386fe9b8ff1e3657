# SPDX-License-Identifier: Apache-2.0
"""One daemon a role over RabbitMQ, on each database; daemons die in the middle of things."""

import threading
import time

import pytest
from nova_daemons import Cloud, in_parallel

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def cloud_of(request, tmp_path, free_port, amqp_url):
    """A function that starts a cloud of five daemons on two hosts over a database."""
    made = []

    def start(database, **options):
        url = None if database == "sqlite" else request.getfixturevalue(f"{database}_url")
        cloud = Cloud(tmp_path, free_port, transport=amqp_url, database=url, **options)
        made.append(cloud)
        cloud.__enter__()
        for what, host in (("network", "net"), ("scheduler", "net"), ("compute", "c1"),
                           ("compute", "c2"), ("api", "net")):
            cloud.start(what, host)
        cloud.wait_ready("api-net", workers=4)
        return cloud

    yield start
    for cloud in made:
        cloud.__exit__()


def all_active(statuses):
    return set(statuses.values()) == {"ACTIVE"}


@pytest.mark.parametrize("database", ["mysql", "postgresql"])
def test_servers_are_made_and_removed_by_daemons_of_their_own(cloud_of, database):
    cloud = cloud_of(database)
    ids = in_parallel(cloud.boot, range(10))
    cloud.settle(lambda found: len(found) == 10 and all_active(found))
    hosts = {row["OS-EXT-SRV-ATTR:host"] for row in cloud.ask("GET", "/servers/detail")[1][
        "servers"]}
    assert hosts == {"c1", "c2"}
    assert cloud.ask("POST", f"/servers/{ids[0]}/action", {"os-getConsoleOutput": {}})[0] == 200
    assert cloud.ask("POST", f"/servers/{ids[0]}/action", {"os-stop": None})[0] == 202
    cloud.settle(lambda found: found[ids[0]] == "SHUTOFF")
    in_parallel(lambda one: cloud.ask("DELETE", f"/servers/{one}"), ids)
    cloud.settle(lambda found: not found)
    for name in [name for name in cloud.processes if name != "glance"]:
        assert cloud.stop(name) == 0, name
        assert "Traceback" not in cloud.log(name)


def test_idle_daemons_end_promptly_on_sigterm(cloud_of):
    cloud = cloud_of("sqlite")
    time.sleep(2)
    for name in [name for name in cloud.processes if name != "glance"]:
        assert cloud.stop(name) == 0, name          # which does not wait for its grace
        said = cloud.log(name)
        assert "mainloop" not in said and "Traceback" not in said, name


@pytest.mark.kill
def test_workers_killed_in_the_middle_of_builds(cloud_of):
    """P3: scheduler, network and compute worker die by kill -9; every server is ACTIVE in the end.
    """
    cloud = cloud_of("mysql", spawn_seconds=0.5, extra="[quota]\ninstances = 50")
    for victim in (("compute", "c1"), ("network", "net"), ("scheduler", "net")):
        before = len(cloud.statuses())
        in_parallel(cloud.boot, range(3))
        time.sleep(0.4)
        cloud.kill("-".join(victim))
        in_parallel(cloud.boot, range(2))
        time.sleep(0.5)
        cloud.start(*victim)
        cloud.settle(lambda found, before=before: len(found) == before + 5 and all_active(found),
                     120)


def test_a_dead_worker_is_down_and_comes_up_again(cloud_of):
    cloud = cloud_of("postgresql", extra="service_down_time = 5")

    def states():
        return {(row["binary"], row["host"]): row["state"]
                for row in cloud.ask("GET", "/os-services")[1]["services"]}

    def until(state, seconds):
        deadline = time.monotonic() + seconds
        while states()["nova-compute", "c1"] != state:
            assert time.monotonic() < deadline, states()
            time.sleep(0.2)

    cloud.kill("compute-c1")
    until("down", 20)
    # What is asked for now goes to the other host.
    one = cloud.boot()
    cloud.settle(lambda found: found[one] == "ACTIVE")
    assert cloud.ask("GET", f"/servers/{one}")[1]["server"]["OS-EXT-SRV-ATTR:host"] == "c2"
    cloud.start("compute", "c1")
    until("up", 40)


def cut_for(seconds, *wires):
    for one in wires:
        one.cut()
    time.sleep(seconds)
    for one in wires:
        one.mend()


@pytest.mark.kill
def test_broker_and_database_out_of_reach_in_the_middle_of_boots(
        tmp_path, free_port, amqp_url, mysql_url, wire):
    """P5: all connections to both are cut twice while servers are built; none is lost."""
    broker, database = wire(5672), wire(3306)
    with Cloud(tmp_path, free_port, spawn_seconds=0.5, extra="[quota]\ninstances = 50",
               transport=amqp_url.replace(":5672", f":{broker.port}"),
               database=mysql_url.replace(":3306", f":{database.port}")) as cloud:
        for what in ("network", "scheduler", "compute", "api"):
            cloud.start(what)
        cloud.wait_ready("api-host1", workers=3)
        for round_ in range(2):
            in_parallel(cloud.boot, range(5))
            time.sleep(0.3 + 0.5 * round_)
            cut_for(2, broker, database)
        # What is asked for in the dark is either refused with a 503 or done.
        broker.cut()
        database.cut()
        answers = []
        asker = threading.Thread(target=lambda: answers.append(cloud.ask(
            "POST", "/servers", {"server": {"name": "dark", "imageRef": cloud.image,
                                            "flavorRef": "1"}})))
        asker.start()
        time.sleep(1.5)
        broker.mend()
        database.mend()
        asker.join(60)
        assert answers[0][0] in (202, 503), answers
        expected = 10 + (answers[0][0] == 202)
        cloud.settle(lambda found: len(found) == expected and all_active(found), 120)


@pytest.mark.kill
def test_broker_killed_in_the_middle_of_boots(tmp_path, free_port, private_rabbit, mysql_url):
    """P5: kill -9 of RabbitMQ, started again after a while; every server is ACTIVE in the end."""
    with Cloud(tmp_path, free_port, spawn_seconds=0.5, transport=private_rabbit.url,
               database=mysql_url) as cloud:
        for what in ("network", "scheduler", "compute", "api"):
            cloud.start(what)
        cloud.wait_ready("api-host1", workers=3)
        in_parallel(cloud.boot, range(6))
        time.sleep(0.5)
        private_rabbit.kill()
        time.sleep(1)
        private_rabbit.start()
        cloud.settle(lambda found: len(found) == 6 and all_active(found), 120)
