# SPDX-License-Identifier: Apache-2.0
"""The Compute API's real WSGI application over SQLite, with a stub for the workers and images."""

from types import SimpleNamespace

import pytest
from compute_api import Client, StubImages, StubRpc, StubWorker
from oslo_config import cfg
from volume_rows import RecordingRpc

from nova import policy
from nova.api.openstack.auth import NoAuth
from nova.api.openstack.compute.app import make_app
from nova.api.openstack.request_log import RequestLog
from nova.compute.api import API
from nova.db import compute_nodes, flavors, instances, networks, services
from nova.network.api import API as NETWORK_API
from nova.volume.api import API as VOLUME_API

CONF = cfg.CONF


@pytest.fixture
def cloud(nova_db):
    """A cloud with one flavor, one shared network and one compute host that is up."""
    CONF([], project="nova", default_config_files=[], default_config_dirs=[])
    policy.reset()
    scheduler, compute, network_rpc, images = StubWorker(), StubWorker(), StubRpc(), StubImages()
    volume_rpc = RecordingRpc()
    volumes = VOLUME_API(volume_rpc, images)
    api = API(images=images, network=NETWORK_API(network_rpc), scheduler=scheduler,
              compute=compute, volumes=volumes)
    flavors.create({"flavorid": "1", "name": "m1.tiny", "memory_mb": 512, "vcpus": 1,
                    "root_gb": 1})
    networks.create({"name": "private", "bridge": "br100", "cidr": "10.0.0.0/24",
                     "gateway": "10.0.0.1"})
    services.beat(services.register("host1", "nova-compute", "compute").id)
    services.beat(services.register("ctl", "nova-scheduler", "scheduler").id)
    compute_nodes.report("host1", hypervisor_hostname="host1", hypervisor_type="fake", vcpus=64,
                         memory_mb=65536, local_gb=1000)
    app = RequestLog(NoAuth(make_app(api)))
    return SimpleNamespace(
        app=app, api=api, images=images, scheduler=scheduler, compute=compute,
        volumes=volumes, volume_rpc=volume_rpc, network_rpc=network_rpc,
        alpha=Client(app, "alice:alpha"), beta=Client(app, "bob:beta"),
        admin=Client(app, "admin:admin"), nobody=Client(app, None),
        client=lambda token, prefix="/v2.1": Client(app, token, prefix))


@pytest.fixture
def active(cloud):
    """A function that puts a server on host1 and makes it ACTIVE, as the workers would."""
    def place(server_id, vm_state="active"):
        instances.claim(server_id, "host1")
        return instances.transition(server_id, vm_state=vm_state, task_state=None, power_state=1,
                                    host="host1")
    return place
