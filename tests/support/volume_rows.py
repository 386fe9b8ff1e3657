# SPDX-License-Identifier: Apache-2.0
"""Rows of volumes for tests, and an rpc that only remembers."""

from nova.context import RequestContext
from nova.db import instances, services, volume_hosts, volumes
from nova.db.models import Instance, new_id
from nova.db.volume_models import Volume
from nova.volume.states import Desired, VolumeStatus


def volume_row(**columns) -> Volume:
    """An unsaved volume of project p, available on host h."""
    values = {"id": new_id(), "project_id": "p", "user_id": "u", "size_gb": 1, "bootable": False,
              "status": VolumeStatus.AVAILABLE, "desired": Desired.AVAILABLE, "host": "h",
              "format": "raw", "image_metadata": {}, "metadata_": {}, "request": {}}
    return Volume(**{**values, **columns})


def add_volume(**columns) -> Volume:
    return volumes.create(volume_row(**columns))


def add_host(host="h", total_gb=100, zone="nova", up=True, **columns):
    """A volume host with room for ``total_gb`` GiB whose worker is up."""
    service = services.register(host, "nova-volume", "volume", zone)
    if up:
        services.beat(service.id)
    values = {"driver": "file", "backend_name": "file", "total_gb": total_gb,
              "free_gb": total_gb, "reserved_gb": 0, "allocation_ratio": 1.0}
    return volume_hosts.report(host, **{**values, **columns})


def add_instance(instance_id=None) -> Instance:
    """An instance of project p that runs on host h."""
    return instances.create([Instance(
        id=instance_id or new_id(), project_id="p", user_id="u", display_name="i", hostname="i",
        reservation_id="r", vm_state="active", desired_state="active", flavor_id="1",
        flavor_name="f", vcpus=1, memory_mb=1, root_gb=1, host="h", flavor_extra_specs={},
        metadata_={}, build_request={})])[0]


def context(project="p", admin=False) -> RequestContext:
    return RequestContext(user_id="u", project_id=project, is_admin=admin, overwrite=False)


class RecordingRpc:
    """Stands for :mod:`nova.rpc`: casts are remembered, calls answered by ``answers``."""

    def __init__(self):
        self.casts, self.answers = [], {}

    def Client(self, table):
        rpc = self

        class Client:
            def cast(self, context, method, *, host=None, **args):
                table.check(method, args)
                rpc.casts.append((table.topic, method, host, args))

            def call(self, context, method, *, host=None, timeout=None, **args):
                table.check(method, args)
                return rpc.answers[method](host=host, **args)
        return Client()
