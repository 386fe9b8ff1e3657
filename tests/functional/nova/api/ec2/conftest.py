# SPDX-License-Identifier: Apache-2.0
"""One host with all of nova behind the EC2 API: memory broker, fake hypervisor, real workers."""

import dataclasses
import functools
import hashlib

import pytest
from compute_api import StubImages
from ec2_client import client
from ec2_shapes import watch
from oslo_config import cfg

from nova import policy, rpc
from nova.api.ec2.app import make_app
from nova.api.ec2.auth import Believer
from nova.api.openstack.request_log import RequestLog
from nova.compute import methods as compute_methods
from nova.compute.api import API
from nova.compute.manager import ComputeManager
from nova.db import flavors, floating_ips, networks
from nova.network import methods as network_methods
from nova.network.api import API as NETWORK_API
from nova.network.fake import FakeDriver as FakeNetwork
from nova.network.manager import NetworkManager
from nova.scheduler import methods as scheduler_methods
from nova.scheduler.manager import SchedulerManager
from nova.service import Worker
from nova.virt.fake import FakeDriver
from nova.volume import methods as volume_methods
from nova.volume.api import API as VOLUME_API
from nova.volume.file import FileDriver
from nova.volume.manager import VolumeManager

BYTES = b"abc"


class BootableImages(StubImages):
    """Images that also have bytes, and say so truly."""

    def __init__(self):
        super().__init__()
        self.images = {name: dataclasses.replace(
            one, disk_format="raw", size=len(BYTES), hash_algorithm="sha256",
            hash_value=hashlib.sha256(BYTES).hexdigest()) for name, one in self.images.items()}

    def may_use(self, image, project_id):
        return True

    def download(self, image_id):
        yield BYTES


class Doors:
    """The application, and clients of it that are made when they are first asked for."""

    def __init__(self, app):
        self.app = app

    @functools.cached_property
    def alpha(self):
        return watch(client(self.app, "alice:alpha"))

    @functools.cached_property
    def beta(self):
        return watch(client(self.app, "bob:beta"))

    @functools.cached_property
    def reader(self):
        return watch(client(self.app, "admin:admin"))


@pytest.fixture
def cloud(nova_db, tmp_path):
    """One host with all of nova on it; clients of two projects."""
    cfg.CONF([], project="nova", default_config_files=[], default_config_dirs=[])
    policy.reset()
    rpc.configure("memory://")
    images = BootableImages()
    flavors.create({"flavorid": "1", "name": "m1.tiny", "memory_mb": 64, "vcpus": 1,
                    "root_gb": 1})
    networks.create({"name": "private", "bridge": "br100", "cidr": "10.0.0.0/24",
                     "gateway": "10.0.0.1"})
    pool = networks.create({"name": "public", "external": True, "cidr": "172.24.4.0/24",
                            "gateway": "172.24.4.1"})
    floating_ips.add(pool.id, ["172.24.4.10", "172.24.4.11"])
    workers = [
        Worker("nova-network", network_methods.METHODS,
               NetworkManager("host1", FakeNetwork()), host="host1"),
        Worker("nova-scheduler", scheduler_methods.METHODS, SchedulerManager("host1"),
               host="host1"),
        Worker("nova-compute", compute_methods.METHODS, ComputeManager(
            "host1", driver=FakeDriver("host1", str(tmp_path / "guests")), images=images),
            host="host1"),
        Worker("nova-volume", volume_methods.METHODS, VolumeManager(
            "host1", driver=FileDriver("host1", tmp_path / "volumes"), images=images),
            host="host1")]
    for worker in workers:
        worker.start()
        worker.heartbeat()
    app = RequestLog(make_app(API(images=images, network=NETWORK_API(rpc),
                                  volumes=VOLUME_API(rpc, images)), Believer(),
                              strict=True), service="ec2")
    yield Doors(app)
    for worker in reversed(workers):
        worker.stop(5)
