# SPDX-License-Identifier: Apache-2.0
"""A small cloud of volume hosts over SQLite: real API, scheduler, workers and files.

Messages wait in ``cloud.post`` until ``deliver()``; a killed worker loses nothing but them.
"""

import datetime
import hashlib
import struct

import pytest
from oslo_config import cfg
from sqlalchemy import update
from volume_rows import context

from nova import db
from nova.db import services, volumes
from nova.db.models import new_id, utcnow
from nova.db.volume_models import Volume, VolumeSnapshot
from nova.exception import ImageNotFound
from nova.image.model import Image
from nova.scheduler.manager import SchedulerManager
from nova.volume.api import API
from nova.volume.file import FileDriver
from nova.volume.manager import VolumeManager

CONF = cfg.CONF
GIB = 1024 ** 3


class Images:
    """An image service that keeps bytes."""

    def __init__(self):
        self.images, self.bytes, self.error = {}, {}, None

    def add(self, content, disk_format="raw", **fields):
        image_id = new_id()
        self.bytes[image_id] = content
        self.images[image_id] = Image(
            image_id, size=len(content), disk_format=disk_format, container_format="bare",
            hash_algorithm="sha256", hash_value=hashlib.sha256(content).hexdigest(), **fields)
        return image_id

    def get(self, _context, image_id):
        if self.error is not None:
            raise self.error
        try:
            return self.images[image_id]
        except KeyError:
            raise ImageNotFound(image_id=image_id) from None

    def download(self, image_id):
        yield self.bytes[image_id]


class Cloud:
    """Volume hosts, a scheduler, the API, and the messages between them."""

    def __init__(self, directory):
        self.directory = directory
        self.images, self.waiting, self.workers = Images(), [], {}
        self.scheduler = SchedulerManager("controller", compute=self, network=self, volume=self)
        self.scheduler.volumes.worker = self.Client(None)
        self.api = API(self, self.images)
        self.context = context()

    def Client(self, _table):
        cloud = self

        class Client:
            def cast(self, context, method, *, host=None, **args):
                cloud.waiting.append((method, host, context, args))

            def call(self, context, method, *, host=None, **args):
                return getattr(cloud.workers[host], method)(context, **args)
        return Client()

    def add_host(self, host="h", zone="nova", driver=None):
        services.beat(services.register(host, "nova-volume", "volume", zone).id)
        self.workers[host] = manager = VolumeManager(
            host, driver=driver or FileDriver(host, self.directory / host), images=self.images,
            scheduler=self.Client(None))
        manager.start()
        manager._recovery.join()
        return manager

    def kill_and_restart(self, host="h"):
        self.waiting.clear()
        return self.add_host(host)

    def deliver(self):
        while self.waiting:
            method, host, context_, args = self.waiting.pop(0)
            target = self.scheduler if host is None else self.workers.get(host)
            if target is not None:
                getattr(target, method)(context_, **args)

    def volume(self, size=1, **asked):
        made = self.api.create(self.context, size, **asked)
        self.deliver()
        return volumes.get(made.id)

    def path(self, volume_id, kind="volume", host="h"):
        return self.directory / host / f"{kind}-{volume_id}"

    def files(self, host="h"):
        return sorted(path.name for path in (self.directory / host).iterdir())

    @staticmethod
    def make_everything_late():
        late = utcnow() - datetime.timedelta(seconds=1)
        with db.writer() as session:
            for table in (Volume, VolumeSnapshot):
                session.execute(update(table).where(table.deadline.is_not(None)).values(
                    deadline=late))


@pytest.fixture
def cloud(nova_db, tmp_path):
    CONF.set_override("reserved_gb", 0, "volume")
    yield Cloud(tmp_path)
    CONF.clear_override("reserved_gb", "volume")


@pytest.fixture
def forged_qcow2(tmp_path):
    """The first sector a guest writes to make its raw disk look like a qcow2 over a host's file."""
    canary = tmp_path / "canary"
    canary.write_bytes(b"CANARY" * 100)
    name = str(canary).encode()
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 72, len(name), 16, GIB, 0, 1, 1 << 16,
                       1 << 17, 1, 0, 0)
    return (head + name).ljust(512, b"\0")


