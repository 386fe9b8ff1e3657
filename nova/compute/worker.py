# SPDX-License-Identifier: Apache-2.0
"""What the rooms of the compute worker share: who we are and whom we deal with."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg

from nova import exception
from nova.context import RequestContext, admin_context
from nova.db import actions
from nova.db.models import Instance
from nova.image.model import Image
from nova.network.model import VIF
from nova.virt.driver import AttachedVolume, ComputeDriver, InstanceSpec

OPTIONS = [
    cfg.IntOpt("max_build_attempts", default=3, min=1,
               help="How many hosts may refuse an instance before it is in ERROR."),
    cfg.IntOpt("build_timeout", default=1800, min=1,
               help="Seconds after which a build that waits for another service is given up."),
    cfg.IntOpt("max_concurrent_builds", default=10, min=1,
               help="Guests brought to life at the same time on one host."),
    cfg.IntOpt("shutdown_timeout", default=60, min=0,
               help="Seconds a guest is given to power off when asked; then its power is cut."),
    cfg.IntOpt("reboot_timeout", default=60, min=0,
               help="Seconds a guest is given to go down for a soft reboot."),
]
CONF = cfg.CONF
CONF.register_opts(OPTIONS)

# Somebody else is away: the row stays where it is and the reconciler takes it up again.
LATER = (exception.RpcTimeout, exception.RpcUnavailable, exception.DatabaseUnavailable)


class Unwanted(Exception):
    """The instance is being deleted: the build ends here and the deletion cleans up."""


@dataclass
class Worker:
    """This host's compute worker.

    ``images`` is :class:`nova.image.api.API`, ``network`` :class:`nova.network.api.API`,
    ``volumes`` :class:`nova.volume.api.API`, ``scheduler`` a client of the scheduler's topic.
    ``unwanted`` holds the instances whose
    deletion was asked for while something else was being done to them: whoever waits for a guest
    looks there.  ``again`` holds those whose task could not be done because another service was
    away: the next period tries them, long before their deadline.
    """

    host: str
    driver: ComputeDriver
    images: Any
    network: Any
    volumes: Any
    scheduler: Any
    unwanted: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    builds: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(CONF.max_concurrent_builds))

    def wanted(self, instance_id: str) -> Callable[[], bool]:
        """Return a question: is the instance still to be there?"""
        return lambda: instance_id not in self.unwanted

    def vifs(self, context: RequestContext, instance_id: str) -> list[VIF]:
        """Return an instance's interfaces as the database has them now."""
        return self.network.get_instance_vifs(context, instance_id)


def spec_of(row: Instance, vifs: list[VIF] | tuple[VIF, ...] = (),
            image: Image | None = None, config_drive: dict[str, bytes] | None = None,
            volumes: tuple[AttachedVolume, ...] = ()) -> InstanceSpec:
    """Return what a hypervisor is told about an instance."""
    properties = dict((row.build_request or {}).get("image_properties") or {})
    return InstanceSpec(
        id=row.id, project_id=row.project_id, user_id=row.user_id,
        display_name=row.display_name, hostname=row.hostname, vcpus=row.vcpus,
        memory_mb=row.memory_mb, root_gb=row.root_gb, ephemeral_gb=row.ephemeral_gb,
        swap_mb=row.swap_mb, flavor_name=row.flavor_name, image_id=row.image_id,
        kernel_id=row.kernel_id, ramdisk_id=row.ramdisk_id, metadata=dict(row.metadata_ or {}),
        image_properties=dict(image.properties) if image else properties,
        extra_specs=dict(row.flavor_extra_specs or {}), config_drive=config_drive,
        vifs=tuple(vifs), volumes=volumes)


def recovery_context(row: Instance) -> RequestContext:
    """Return a context for finishing what somebody asked for: under his request's id.

    What is logged and which action is finished is then as if the message had come.
    """
    for action in actions.of_instance(row.id):
        if action.finished_at is None:
            return RequestContext(
                user_id=action.user_id, project_id=action.project_id, is_admin=True,
                request_id=action.request_id, overwrite=False)
    return admin_context()


def fault_text(error: Exception) -> tuple[int, str]:
    """Return (code, sentence) of an error, fit for the owner of an instance.

    Errors of ours speak for themselves, save those whose text is the operator's; of all others
    only the class is told: their text may hold anything.
    """
    if isinstance(error, exception.HypervisorError):
        return 500, f"The hypervisor failed to {error.details.get('action', 'do it')}."
    if isinstance(error, exception.VolumeBackendError):
        return 500, f"The volume driver failed to {error.details.get('action', 'do it')}."
    if isinstance(error, exception.RemoteError):
        return 500, "A worker failed."
    if isinstance(error, exception.NovaError):
        return int(error.status), str(error)
    return 500, f"An unexpected error occurred ({type(error).__name__})."
