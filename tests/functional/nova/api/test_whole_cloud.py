# SPDX-License-Identifier: Apache-2.0
"""The Compute API over the real workers: scheduler, compute and network, fake hypervisor."""

import concurrent.futures
import time
from types import SimpleNamespace

import pytest
from compute_api import IMAGE_ID, Client, StubImages
from oslo_config import cfg

from nova import policy, rpc
from nova.api.openstack.auth import NoAuth
from nova.api.openstack.compute.app import make_app
from nova.api.openstack.request_log import RequestLog
from nova.compute import methods as compute_methods
from nova.compute.api import API
from nova.compute.manager import ComputeManager
from nova.db import flavors, instances, networks, ports, quotas
from nova.network import methods as network_methods
from nova.network.api import API as NETWORK_API
from nova.network.fake import FakeDriver as FakeNetwork
from nova.network.manager import NetworkManager
from nova.scheduler import methods as scheduler_methods
from nova.scheduler.manager import SchedulerManager
from nova.service import Worker
from nova.virt.fake import FakeDriver

CONF = cfg.CONF
WAIT = 60


class BootableImages(StubImages):
    """Images that also have bytes."""

    def may_use(self, image, project_id):
        return True

    def download(self, image_id):
        yield b"abc"


@pytest.fixture
def whole(nova_db, tmp_path):
    """One host with all of nova on it, listening on the memory broker."""
    CONF([], project="nova", default_config_files=[], default_config_dirs=[])
    policy.reset()
    rpc.configure("memory://")
    images = BootableImages()
    flavors.create({"flavorid": "1", "name": "tiny", "memory_mb": 64, "vcpus": 1, "root_gb": 1})
    networks.create({"name": "private", "bridge": "br100", "cidr": "10.0.0.0/24",
                     "gateway": "10.0.0.1"})
    driver = FakeDriver("host1", str(tmp_path / "guests"))
    workers = [
        Worker("nova-network", network_methods.METHODS,
               NetworkManager("host1", FakeNetwork()), host="host1"),
        Worker("nova-scheduler", scheduler_methods.METHODS, SchedulerManager("host1"),
               host="host1"),
        Worker("nova-compute", compute_methods.METHODS,
               ComputeManager("host1", driver=driver, images=images), host="host1")]
    for worker in workers:
        worker.start()
        worker.heartbeat()
    app = RequestLog(NoAuth(make_app(API(images=images, network=NETWORK_API(rpc)))))
    yield SimpleNamespace(alpha=Client(app, "alice:alpha"), admin=Client(app, "admin:admin"),
                          driver=driver)
    for worker in reversed(workers):
        worker.stop(5)


def wait_for(client, server_id, status):
    """Wait until a server has a status (None: is gone) and return it."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        response = client.request("GET", f"/servers/{server_id}")
        if response.status_int == 404 and status is None:
            return None
        server = response.json.get("server", {})
        if server.get("status") == status and server["OS-EXT-STS:task_state"] is None:
            return server
        time.sleep(0.02)
    raise AssertionError(f"{server_id} is not {status} within {WAIT} s: {response.text}")


def test_a_server_lives_and_dies(whole):
    server_id = whole.alpha.boot()
    server = wait_for(whole.alpha, server_id, "ACTIVE")
    assert server["addresses"]["private"][0]["addr"].startswith("10.0.0.")
    assert server["security_groups"] == [{"name": "default"}] and server["hostId"]
    path = f"/servers/{server_id}/action"
    assert "booted" in whole.alpha.post(path, {"os-getConsoleOutput": {}})["output"]
    for action, status in (({"os-stop": None}, "SHUTOFF"), ({"os-start": None}, "ACTIVE"),
                           ({"reboot": {"type": "SOFT"}}, "ACTIVE"),
                           ({"reboot": {"type": "HARD"}}, "ACTIVE")):
        whole.alpha.ok("POST", path, action, status=202)
        wait_for(whole.alpha, server_id, status)
    whole.alpha.ok("DELETE", f"/servers/{server_id}", status=204)
    wait_for(whole.alpha, server_id, None)
    assert ports.find(device_ids=[server_id]) == []
    actions = whole.admin.get(f"/servers/{server_id}/os-instance-actions")["instanceActions"]
    assert [a["action"] for a in actions] == ["delete", "reboot", "reboot", "start", "stop",
                                              "create"]


def test_twenty_at_once_all_end_active_and_deletes_leave_nothing(whole):
    quotas.set_limits("alpha", {"instances": 20, "cores": 20})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda n: whole.alpha.boot(f"s{n}"), range(20)))
        refused = whole.alpha.request("POST", "/servers", {"server": {
            "name": "more", "flavorRef": "1", "imageRef": IMAGE_ID}})
        assert refused.status_int == 403
        for server_id in ids:
            wait_for(whole.alpha, server_id, "ACTIVE")
        list(pool.map(lambda one: whole.alpha.ok("DELETE", f"/servers/{one}"), ids))
    for server_id in ids:
        wait_for(whole.alpha, server_id, None)
    assert instances.get_all() == [] and ports.find() == []


def test_a_refusal_says_which_filter_refused(whole):
    flavors.create({"flavorid": "huge", "name": "huge", "memory_mb": 10**6, "vcpus": 1,
                    "root_gb": 1})
    quotas.set_limits("alpha", {"ram": -1})
    server = wait_for(whole.alpha, whole.alpha.boot(flavorRef="huge"), "ERROR")
    assert "No valid host" in server["fault"]["message"]
    whole.alpha.ok("DELETE", f"/servers/{server['id']}", status=204)
    wait_for(whole.alpha, server["id"], None)
