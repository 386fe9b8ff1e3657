# SPDX-License-Identifier: Apache-2.0
"""P3, P5: a node that is cut off from broker and database, and comes back; databases restart."""

import threading
import time

import pytest
from kill_cloud import KillCloud

from nova import db
from nova.db import instances, migrations, services, session

DAEMONS = (("network", "net"), ("scheduler", "net"), ("compute", "c2"), ("api", "net"))
SETTLE = 120.0


@pytest.mark.kill
@pytest.mark.timeout(400)
def test_builds_of_a_node_that_is_cut_off_go_on_elsewhere_and_are_not_there_twice(
        tmp_path, free_port, amqp_url, mysql_url, wire):
    broker, database = wire(5672), wire(3306)
    with KillCloud(tmp_path, free_port, transport=amqp_url, database=mysql_url, daemons=DAEMONS,
                   extra="service_down_time = 8") as cloud:
        cloud.start("compute", "c1", spawn_seconds=4,
                    transport=amqp_url.replace(":5672", f":{broker.port}"),
                    database=mysql_url.replace(":3306", f":{database.port}"))
        cloud.wait_ready("api-net", workers=4)
        ids = [cloud.boot(number) for number in range(3)]
        assert cloud.wait_until(lambda: all(
            row.host == "c1" and row.task_state == "spawning" for row in instances.get_all()),
            SETTLE)
        broker.cut()
        database.cut()
        # It is down; what it was building is taken from it. It does not know, and goes on.
        assert cloud.wait_until(lambda: all(
            (row.host, row.vm_state) == ("c2", "active") for row in instances.get_all()), SETTLE)
        broker.mend()
        database.mend()
        assert cloud.wait_until(lambda: not cloud.unsettled(), SETTLE), cloud.unsettled()
        assert set(cloud.driver("c2").list_instances()) == set(ids)
        assert cloud.driver("c1").list_instances() == {}
        assert {row.host for row in instances.get_all()} == {"c2"}


@pytest.mark.kill
@pytest.mark.timeout(300)
def test_database_killed_and_restarted_under_load_loses_nothing(private_mariadb):
    db.configure(private_mariadb.url)
    try:
        migrations.upgrade()
        done, errors, stop = [], [], threading.Event()

        def work(number):
            count = 0
            while not stop.is_set():
                try:
                    services.register(f"h{number}-{count}", "b", "t")
                    done.append(f"h{number}-{count}")
                    count += 1
                except Exception as error:      # none is expected
                    errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                time.sleep(1)
                private_mariadb.kill()
                private_mariadb.start()
            before = len(done)
            deadline = time.monotonic() + SETTLE
            while len(done) < before + 20 and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        assert errors == []
        assert len(done) >= before + 20
        assert sorted(row.host for row in services.get_all()) == sorted(done)
    finally:
        db.engine().dispose()
        session._database = None
