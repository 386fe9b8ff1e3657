# SPDX-License-Identifier: Apache-2.0
"""P5, P6: broker and database restart and workers die, all in the middle of fifty boots."""

import http.client
import sys
import threading
import time

import pytest
from kill_cloud import KillCloud
from nova_daemons import in_parallel

from nova.db import instances, ports

BOOTS = 50
SETTLE = 240.0
DAEMONS = (("network", "net"), ("scheduler", "net"), ("scheduler", "s2"), ("compute", "c1"),
           ("compute", "c2"), ("api", "net"))


@pytest.mark.kill
@pytest.mark.whole
@pytest.mark.timeout(900)
def test_fifty_boots_while_broker_database_and_workers_die(
        tmp_path, free_port, private_rabbit, private_mariadb, capsys):
    """One of two schedulers and one of two compute workers die, the latter comes back late."""
    with KillCloud(tmp_path, free_port, transport=private_rabbit.url, daemons=DAEMONS,
                   database=private_mariadb.url, spawn_seconds=0.5,
                   extra="service_down_time = 10") as cloud:
        accepted, refused = [], []

        def boot(number):
            time.sleep(number % 10 * 0.3)
            try:
                accepted.append(cloud.boot(f"boot-{number}"))
            except (OSError, AssertionError, http.client.HTTPException) as error:
                refused.append(str(error))

        threads = [threading.Thread(target=boot, args=(number,)) for number in range(BOOTS)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        private_rabbit.kill()
        cloud.kill("scheduler-s2")
        time.sleep(1)
        private_mariadb.kill()
        cloud.kill("compute-c1")
        in_parallel(lambda server: server.start(), [private_rabbit, private_mariadb])
        started = time.monotonic()
        for thread in threads:
            thread.join(120)
        # Whoever was told nothing, or 503, asks again.
        missing = BOOTS - len(instances.get_all())
        in_parallel(lambda number: accepted.append(cloud.boot(f"again-{number}")), range(missing))
        settled = cloud.wait_until(lambda: all(
            row.task_state is None for row in instances.get_all()), SETTLE)
        took = time.monotonic() - started
        cloud.start("compute", "c1")
        clean = cloud.wait_until(lambda: not cloud.unsettled(), SETTLE)
        rows = instances.get_all()
        assert settled and clean, (cloud.unsettled(), [
            (row.id, row.vm_state, row.task_state, row.host) for row in rows if row.task_state])
        assert set(accepted) <= {row.id for row in rows}
        assert len(rows) == BOOTS
        assert {row.vm_state for row in rows} == {"active"}, instances.latest_faults(
            [row.id for row in rows])
        guests = [set(cloud.driver(host).list_instances()) for host in ("c1", "c2")]
        assert guests[0] & guests[1] == set()
        addresses = [one.address for view in ports.find() for one in view.addresses]
        assert len(addresses) == len(set(addresses)) == BOOTS
        with capsys.disabled():
            print(f"{BOOTS} boots, {len(refused)} to be asked again: all settled {took:.0f} s "
                  f"after the restart of broker and database; 0 stuck, 0 duplicates, 0 leaked "
                  f"addresses; {len(guests[0])} and {len(guests[1])} guests",
                  file=sys.stderr, flush=True)      # a worker of xdist has no stdout
