# SPDX-License-Identifier: Apache-2.0
"""All of nova and a glance-api in a pretend host: real guests on a real network, daemons killed.

Everything is asked over HTTP inside the host, as its users would ask.
"""

import time

import pytest
from real_cloud import RealCloud

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]


@pytest.fixture
def cloud(pretend_host, guest_image, free_port):
    with RealCloud(pretend_host, free_port, guest_image) as made:
        made.start("all")
        made.wait_ready()
        yield made


def guests(host):
    return {name: pid for name, pid in host.qemu_pids().items() if name.startswith("instance-")}


def test_real_guest_through_its_life(cloud, pretend_host):
    """P2 - P4: boot, kill -9 of nova, stop, start, reboot, delete; then nothing is left."""
    one = cloud.boot()
    row = cloud.wait(one, "ACTIVE")
    [network] = row["addresses"].values()
    console = cloud.wait_console(one, "login:")
    assert network[0]["addr"] in console, console[-1500:]
    before = guests(pretend_host)
    assert set(before) == {f"instance-{one}"}

    cloud.kill("all-host1")
    assert guests(pretend_host) == before
    cloud.start("all")
    cloud.wait_ready()
    assert cloud.wait(one, "ACTIVE")["addresses"] == row["addresses"]
    assert guests(pretend_host) == before

    cloud.act(one, "os-stop")
    cloud.wait(one, "SHUTOFF")
    assert guests(pretend_host) == {}
    cloud.act(one, "os-start")
    cloud.wait(one, "ACTIVE")
    cloud.wait_console(one, "login:", 2)
    first = guests(pretend_host)
    status, _ = cloud.ask("POST", f"/servers/{one}/action", {"reboot": {"type": "HARD"}})
    assert status == 202
    cloud.wait(one, "ACTIVE")
    assert guests(pretend_host) != first
    assert cloud.ask("DELETE", f"/servers/{one}")[0] == 204
    cloud.wait(one, None)
    assert guests(pretend_host) == {}
    assert cloud.manage("audit").strip() == "0 findings, 0 left"


def test_killed_while_guests_are_made_and_removed(cloud, pretend_host):
    """P2, P3: kill -9 in the middle of builds and of deletions, several times; all end well."""
    made = []
    for pause in (0.2, 0.7, 1.5):
        made.append(cloud.boot())
        time.sleep(pause)
        cloud.kill("all-host1")
        cloud.start("all")
        cloud.wait_ready()
    for one in made:
        cloud.wait(one, "ACTIVE", 120)
    assert set(guests(pretend_host)) == {f"instance-{one}" for one in made}
    for one in made:
        assert cloud.ask("DELETE", f"/servers/{one}")[0] == 204
    cloud.kill("all-host1")
    cloud.start("all")
    cloud.wait_ready()
    for one in made:
        cloud.wait(one, None)
    assert guests(pretend_host) == {}
    assert cloud.manage("audit").strip() == "0 findings, 0 left"
