# SPDX-License-Identifier: Apache-2.0
"""A small cloud of fake hosts over SQLite: real scheduler, real workers, stubs around them.

Messages wait in ``cloud.post`` until ``deliver()``; a restart loses them, as a broker in memory
would.  Guests, addresses and rows survive a restart.
"""

import itertools
import uuid

import pytest
from oslo_config import cfg

from nova.compute import methods as compute_methods
from nova.compute.manager import ComputeManager
from nova.compute.states import TASKS, Desired, TaskState, VmState
from nova.context import RequestContext
from nova.db import actions, instances, services, volume_attachments, volumes
from nova.db.models import Instance, InstanceAction
from nova.db.volume_models import Volume
from nova.image.model import Image
from nova.network.model import VIF, tap_name
from nova.scheduler import methods as scheduler_methods
from nova.scheduler.manager import SchedulerManager
from nova.virt.fake import FakeDriver
from nova.volume import api as volume_api
from nova.volume.model import VolumeConnection
from nova.volume.states import AttachStatus
from nova.volume.states import Desired as VolumeDesired

CONF = cfg.CONF
IMAGE = Image(id=str(uuid.uuid4()), size=3, disk_format="raw", visibility="public",
              checksum="900150983cd24fb0d6963f7d28e17f72")
PRIVATE = Image(id=str(uuid.uuid4()), size=3, disk_format="raw", owner="somebody")


class Images:
    """An image service with two images."""

    def __init__(self):
        self.by_id = {image.id: image for image in (IMAGE, PRIVATE)}
        self.error = None

    def get(self, context, image_id):
        if self.error is not None:
            raise self.error
        return self.by_id[image_id]

    def may_use(self, image, project_id):
        return image.visibility == "public" or image.owner == project_id

    def download(self, image_id):
        yield b"abc"


class Network:
    """A network worker that hands out ports and remembers them."""

    def __init__(self):
        self.ports = {}
        self.error = None

    def allocate_for_instance(self, context, instance_id):
        if self.error is not None:
            raise self.error
        if instance_id not in self.ports:
            port = str(uuid.uuid4())
            self.ports[instance_id] = [VIF(
                port_id=port, mac="fa:16:3e:00:00:01", tap=tap_name(port), bridge="br100",
                network_id=str(uuid.uuid4()), network_name="private")]
        return self.ports[instance_id]

    def deallocate_for_instance(self, context, instance_id, from_host=None):
        row = instances.get_many([instance_id]).get(instance_id)
        if from_host is not None and row is not None and (row.host or "") != from_host:
            return
        self.ports.pop(instance_id, None)

    def ports_of_instance(self, context, instance_id):
        return self.ports.get(instance_id, [])

    def get_instance_vifs(self, context, instance_id):
        return self.ports.get(instance_id, [])

    def get_vifs_of_instances(self, context, instance_ids):
        return {one: self.ports.get(one, []) for one in instance_ids}


class VolumeWorker:
    """Exports volumes and removes them; who can reach which is in ``exports``."""

    def __init__(self):
        self.exports = {}
        self.error = None

    def initialize_connection(self, context, volume_id, connector):
        if self.error is not None:
            raise self.error
        attachment = volume_attachments.get_of_volume(volume_id)
        assert attachment.status in (AttachStatus.ATTACHING, AttachStatus.ATTACHED)
        assert attachment.host == connector["host"]
        self.exports[volume_id] = connector["host"]
        return VolumeConnection(volume_id, "file", volumes.get(volume_id).size_gb,
                                path=f"/volume-{volume_id}").to_dict()

    def terminate_connection(self, context, volume_id, connector):
        if self.error is not None:
            raise self.error
        self.exports.pop(volume_id, None)

    def delete_volume(self, context, volume_id):
        assert volume_id not in self.exports
        volumes.delete_row(volume_id)


class VolumeRpc:
    """Stands for :mod:`nova.rpc`: calls reach the volume worker at once."""

    def __init__(self, post, worker):
        self.post, self.worker = post, worker

    def Client(self, table):
        client = self.post.client(table)
        client.call = lambda context, method, *, host=None, **args: getattr(
            self.worker, method)(context, **args)
        return client


class Post:
    """What was cast and not yet delivered."""

    def __init__(self):
        self.waiting = []

    def client(self, table):
        return _Client(self, table)


class _Client:
    def __init__(self, post, table):
        self.post, self.table = post, table

    def cast(self, context, method, *, host=None, **args):
        self.table.check(method, args)
        self.post.waiting.append((self.table.topic, host, context, method, args))


class Cloud:
    """Hosts, a scheduler, and what they share."""

    private_image_id = PRIVATE.id

    def __init__(self, directory):
        self.directory = directory
        self.images, self.network, self.post = Images(), Network(), Post()
        self.volume_worker = VolumeWorker()
        self.volumes = volume_api.API(VolumeRpc(self.post, self.volume_worker), self.images)
        self.computes, self.schedulers = {}, []
        self.scheduler = self.new_scheduler()

    def new_scheduler(self):
        return SchedulerManager("controller", network=self.network, volume_api=self.volumes,
                                compute=self.post.client(compute_methods.METHODS))

    def new_compute(self, host):
        return ComputeManager(
            host, driver=FakeDriver(host, self.directory / host), images=self.images,
            network=self.network, volumes=self.volumes,
            scheduler=self.post.client(scheduler_methods.METHODS))

    def add_host(self, host="host1"):
        manager = self.computes[host] = self.new_compute(host)
        manager.start()
        self.beat(host)
        return manager

    def beat(self, host):
        row = services.register(host, "nova-compute", "compute")
        services.beat(row.id)

    def restart(self):
        """Every process dies and comes back: messages in memory are lost."""
        self.post.waiting.clear()
        self.scheduler = self.new_scheduler()
        for host in list(self.computes):
            self.computes[host] = self.new_compute(host)
            self.computes[host]._ready = True
            self.computes[host].worker.driver.init_host()

    def recover(self):
        """Do what restarted workers do by themselves."""
        self.scheduler._recover()
        for manager in self.computes.values():
            manager.recover()
        self.deliver()

    def deliver(self):
        while self.post.waiting:
            topic, host, context, method, args = self.post.waiting.pop(0)
            endpoint = {"scheduler": self.scheduler, "volume": self.volume_worker}.get(topic) \
                or self.computes[host]
            getattr(endpoint, method)(context, **args)

    def driver(self, host="host1"):
        return self.computes[host].worker.driver

    # -- what the API would do

    def context(self):
        return RequestContext(user_id="u", project_id="p", overwrite=False)

    def create(self, count=1, **changes):
        context = self.context()
        values = {
            "project_id": "p", "user_id": "u", "display_name": "one", "hostname": "one",
            "reservation_id": "r-1", "vm_state": VmState.BUILDING,
            "task_state": TaskState.SCHEDULING, "desired_state": Desired.ACTIVE,
            "image_id": IMAGE.id, "flavor_id": "1", "flavor_name": "tiny", "vcpus": 1,
            "memory_mb": 512, "root_gb": 1,
            "build_request": {"request_id": context.request_id}}
        rows = [Instance(**{**values, "id": str(uuid.uuid4()), **changes}) for _ in range(count)]
        made = instances.create(rows, actions=[
            InstanceAction(instance_id=row.id, project_id="p", action="create",
                           request_id=context.request_id) for row in rows])
        self.scheduler_client().cast(context, "schedule_instances",
                                     instance_ids=[row.id for row in made])
        return [row.id for row in made]

    def scheduler_client(self):
        return self.post.client(scheduler_methods.METHODS)

    def ask(self, instance_id, task, method, **values):
        context = self.context()
        action = method.partition("_")[0].replace("terminate", "delete")
        row = instances.begin_task(
            instance_id, task, log=InstanceAction(
                instance_id=instance_id, project_id="p", action=action,
                request_id=context.request_id), **values)
        self.post.client(compute_methods.METHODS).cast(
            context, method, host=row.host, instance_id=instance_id)

    def stop(self, instance_id):
        self.ask(instance_id, TaskState.POWERING_OFF, "stop_instance",
                 desired_state=Desired.STOPPED)

    def start(self, instance_id):
        self.ask(instance_id, TaskState.POWERING_ON, "start_instance",
                 desired_state=Desired.ACTIVE)

    def reboot(self, instance_id, hard=False):
        self.ask(instance_id, TaskState.REBOOTING_HARD if hard else TaskState.REBOOTING,
                 "reboot_instance")

    def delete(self, instance_id):
        self.ask(instance_id, TaskState.DELETING, "terminate_instance",
                 desired_state=Desired.DELETED)

    def volume(self, **columns):
        """Make an available volume and return its id."""
        return volumes.create(Volume(**{
            "id": str(uuid.uuid4()), "project_id": "p", "user_id": "u", "size_gb": 1,
            "bootable": False, "status": "available", "desired": VolumeDesired.AVAILABLE,
            "host": "v", "format": "raw", "image_metadata": {}, "metadata_": {}, "request": {},
            **columns})).id

    def attach(self, instance_id, volume_id, device="vdb", **more):
        context = self.context()
        attachment = self.volumes.reserve(context, volume_id, instance_id, device, **more)
        self.post.client(compute_methods.METHODS).cast(
            context, "attach_volume", host=self.row(instance_id).host,
            attachment_id=attachment.id)

    def detach(self, instance_id, volume_id):
        context = self.context()
        attachment = self.volumes.begin_detach(context, volume_id, instance_id)
        self.post.client(compute_methods.METHODS).cast(
            context, "detach_volume", host=self.row(instance_id).host,
            attachment_id=attachment.id)

    # -- looks

    def volume_status(self, volume_id):
        """Return a volume's status, its attachment's, and the host that can reach it."""
        found = volumes.get_many([volume_id]).get(volume_id)
        attachment = volume_attachments.get_of_volume(volume_id)
        return (found and str(found.status), attachment and str(attachment.status),
                self.volume_worker.exports.get(volume_id))

    def has(self, instance_id, volume_id):
        """Tell whether any host's running guest of an instance has a volume."""
        return any(volume_id in manager.worker.driver.volumes_in_use().get(instance_id, {})
                   for manager in self.computes.values())

    def row(self, instance_id):
        return instances.get(instance_id)

    def states(self, instance_id):
        row = self.row(instance_id)
        return row.vm_state, row.task_state

    def fault(self, instance_id):
        found = instances.latest_faults([instance_id]).get(instance_id)
        return found and found.message

    def unfinished(self, instance_id):
        return [one.action for one in actions.of_instance(instance_id) if not one.finished_at]

    def guests(self):
        return set(itertools.chain.from_iterable(
            manager.worker.driver.list_instances() for manager in self.computes.values()))

    def assert_no_orphans(self):
        """Guests and addresses are those of rows that should have them, no more and no less."""
        rows = instances.get_all()
        expected = {row.id for row in rows if row.vm_state in (VmState.ACTIVE, VmState.STOPPED)}
        assert self.guests() == expected
        assert set(self.network.ports) == expected
        for manager in self.computes.values():
            assert manager.audit() == []


def watch_table(monkeypatch):
    """Let no task end in a state the table of tasks does not name."""
    transition = instances.transition

    def watched(instance_id, **values):
        before = values.get("from_task")
        if values.get("task_state", before) is None and isinstance(before, str):
            assert values["vm_state"] in TASKS[TaskState(before)].ends_in, (before, values)
        return transition(instance_id, **values)
    monkeypatch.setattr(instances, "transition", watched)


@pytest.fixture
def cloud(nova_db, tmp_path, monkeypatch):
    CONF.set_override("shutdown_timeout", 0)
    CONF.set_override("reboot_timeout", 0)
    monkeypatch.setattr(SchedulerManager, "RECOVERY_DELAY", 0)
    monkeypatch.setattr("nova.compute.build.IMAGE_PAUSE", 0)
    watch_table(monkeypatch)
    yield Cloud(tmp_path)
    CONF.clear_override("shutdown_timeout")
    CONF.clear_override("reboot_timeout")
