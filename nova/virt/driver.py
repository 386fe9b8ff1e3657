# SPDX-License-Identifier: Apache-2.0
"""The contract between the compute worker and a hypervisor.

A driver is told everything it needs in the values below and asks nobody: no database, no message
bus.  What it must remember over a restart it keeps with the hypervisor (a domain's UUID and
labels) or in the instance's directory.

The rules every method keeps:

* A guest is known by the UUID of its instance.  A guest that does not carry our label is none of
  ours: it is never listed and never touched.
* Every method may be called again after a crash anywhere inside the first call, and then brings
  about what the first call would have.
* Failures are :class:`nova.exception.HypervisorError` (another host may do better),
  :class:`nova.exception.ImageUnacceptable` and :class:`nova.exception.ImageNotFound` (no host
  will), :class:`nova.exception.ImageServiceError` (later, perhaps), and
  :class:`nova.exception.InstanceNotFound` where a guest is needed and there is none.
* Calls may block the calling green thread, never the process.
"""

import abc
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_utils import importutils

from nova import config
from nova.compute.states import PowerState
from nova.image.model import Image, ImageSource
from nova.network.model import VIF
from nova.volume.model import Connector, VolumeConnection

OPTIONS = [
    cfg.StrOpt("compute_driver", default="libvirt",
               help="The hypervisor driver: fake, libvirt, or the dotted name of a class."),
    cfg.StrOpt("instances_path", default="$state_path/instances",
               help="Where the disks of the guests and the base images are kept."),
]
CONF = config.CONF      # state_path is an option of its
CONF.register_opts(OPTIONS)


class RebootType(StrEnum):
    """How to reboot: ask the guest, or pull the plug."""

    SOFT = "soft"
    HARD = "hard"


@dataclass(frozen=True)
class BootImages:
    """What a guest starts from: a root image and, for a trio, a kernel and perhaps a ramdisk.

    There is no root image where the guest boots from a volume.
    """

    root: Image | None = None
    kernel: Image | None = None
    ramdisk: Image | None = None

    def all(self) -> tuple[Image, ...]:
        """The images there are, root first."""
        return tuple(image for image in (self.root, self.kernel, self.ramdisk) if image)


@dataclass(frozen=True)
class AttachedVolume:
    """A volume as one guest has it: where it is, and as which disk (``vdb``) the guest sees it.

    The guest finds it by its serial number, which is the volume's id.  ``boot_index`` 0 is the
    disk the guest boots from, in place of a root image.
    """

    connection: VolumeConnection
    device: str
    boot_index: int | None = None

    @property
    def volume_id(self) -> str:
        """The volume's id, and the disk's serial number."""
        return self.connection.volume_id


@dataclass(frozen=True)
class InstanceSpec:
    """An instance as a hypervisor sees it.  Sizes as their names say; 0 is none.

    ``root_gb`` 0 means: as large as the image is.  ``config_drive`` maps file names to contents
    and is None where there is no such drive.  ``volumes`` are all the volumes the guest starts
    with.
    """

    id: str
    project_id: str
    user_id: str
    display_name: str
    hostname: str
    vcpus: int
    memory_mb: int
    root_gb: int
    ephemeral_gb: int = 0
    swap_mb: int = 0
    flavor_name: str = ""
    image_id: str | None = None
    kernel_id: str | None = None
    ramdisk_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    image_properties: Mapping[str, Any] = field(default_factory=dict)
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    config_drive: Mapping[str, bytes] | None = None
    vifs: tuple[VIF, ...] = ()
    volumes: tuple[AttachedVolume, ...] = ()

    @property
    def boot_volume(self) -> AttachedVolume | None:
        """The volume the guest boots from; None where it boots from an image."""
        return next((one for one in self.volumes if one.boot_index == 0), None)

    @property
    def name(self) -> str:
        """The guest's name with the hypervisor."""
        return guest_name(self.id)


def guest_name(instance_id: str) -> str:
    """Return the name a guest has with the hypervisor."""
    return f"instance-{instance_id}"


@dataclass(frozen=True)
class GuestInfo:
    """What the hypervisor says of one guest of ours.

    ``project_id`` comes from the label on the guest.  ``power_state`` is one of
    :class:`nova.compute.states.PowerState`.
    """

    id: str
    power_state: int
    project_id: str | None = None
    memory_mb: int = 0
    vcpus: int = 0
    process_id: int | None = None

    @property
    def running(self) -> bool:
        """True while the guest has a live virtual machine, paused or not."""
        return self.power_state in (PowerState.RUNNING, PowerState.PAUSED, PowerState.SUSPENDED)


@dataclass(frozen=True)
class HostResources:
    """What a host offers to guests in all (not what is free of it) and what it is."""

    hypervisor_hostname: str
    hypervisor_type: str
    hypervisor_version: int
    vcpus: int
    memory_mb: int
    local_gb: int
    disk_available_gb: int
    cpu_info: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """One thing an audit found: a kind of thing, its id, and what is wrong with it."""

    kind: str
    id: str
    problem: str

    def as_tuple(self) -> tuple[str, str, str]:
        """``(kind, id, problem)``."""
        return (self.kind, self.id, self.problem)


class ComputeDriver(abc.ABC):
    """A hypervisor of one host."""

    def __init__(self, host: str) -> None:
        self.host = host

    @abc.abstractmethod
    def init_host(self) -> None:
        """Get ready: reach the hypervisor, find out what it can do.

        Called once before anything else; never touches a guest.  HypervisorError when the
        hypervisor cannot be used at all.
        """

    @abc.abstractmethod
    def list_instances(self) -> dict[str, GuestInfo]:
        """Return the guests of ours by instance UUID, running or not."""

    @abc.abstractmethod
    def get_info(self, instance_id: str) -> GuestInfo:
        """Return what is known of one guest; InstanceNotFound when there is none."""

    @abc.abstractmethod
    def spawn(self, spec: InstanceSpec, images: BootImages, source: ImageSource) -> None:
        """Bring a guest to life: images, disks, volumes, network, machine.

        A guest that runs already is left alone.  One that exists and is off is started with the
        disks it has.  Half-made disks of an earlier attempt are made anew.  After a failure the
        caller calls :meth:`destroy`.
        """

    @abc.abstractmethod
    def destroy(self, instance_id: str, vifs: Sequence[VIF] = ()) -> None:
        """Remove the guest, its disks, its taps and its rules, whatever of them there is.

        No guest and no remains is success.  Taps that ``vifs`` does not name are found by what
        the guest itself is plugged into.
        """

    @abc.abstractmethod
    def power_off(self, instance_id: str, timeout: float = 0,
                  keep_waiting: Callable[[], bool] | None = None) -> None:
        """Stop the guest: ask it, and pull the plug when it has not gone in ``timeout`` seconds.

        0 asks nothing.  A guest that is off already is success.  ``keep_waiting`` is asked about
        once a second; False ends the wait early without pulling the plug.
        """

    @abc.abstractmethod
    def power_on(self, spec: InstanceSpec) -> None:
        """Start the guest with the disks it has and the volumes of ``spec``.

        One that runs already is left alone.
        """

    @abc.abstractmethod
    def reboot(self, spec: InstanceSpec, kind: RebootType, timeout: float = 0,
               keep_waiting: Callable[[], bool] | None = None) -> None:
        """Reboot the guest; one that is off is started.

        SOFT asks the guest and falls back to HARD when it has not gone down in ``timeout``
        seconds.  ``keep_waiting`` as for :meth:`power_off`: after False nothing is started.
        """

    @abc.abstractmethod
    def get_console_output(self, instance_id: str, limit: int) -> bytes:
        """Return the last ``limit`` bytes, or fewer, of what the guest wrote to its console.

        A guest that has written nothing gives ``b""``.
        """

    @abc.abstractmethod
    def plug_network(self, instance_id: str, vifs: Sequence[VIF]) -> None:
        """Make the host's side of the interfaces: bridges, taps, rules.  The guest may be off."""

    @abc.abstractmethod
    def refresh_network(self, wanted: Mapping[str, Sequence[VIF]]) -> None:
        """Apply rules and addresses of guests' interfaces, by instance, anew; all in one step.

        Cheap where everything is as wanted already.  After a failure what was refused is as it
        was.
        """

    @abc.abstractmethod
    def connector(self) -> Connector:
        """Say who on this host will reach for volumes."""

    @abc.abstractmethod
    def attach_volume(self, instance_id: str, volume: AttachedVolume) -> None:
        """Give a guest a volume: at once when it runs, else with its next start.

        A guest that has it is left alone.  HypervisorError when what is reached is not that
        volume - another name, another size - and then the guest does not have it.
        """

    @abc.abstractmethod
    def detach_volume(self, instance_id: str, volume_id: str, timeout: float = 0,
                      keep_waiting: Callable[[], bool] | None = None) -> None:
        """Take a volume from a guest; one that has it not, or no guest, is success.

        On return nothing on this host has the volume open.  A running guest is asked, again and
        again for ``timeout`` seconds; HypervisorError when it has not let go by then: it still
        has the volume.  ``keep_waiting`` as for :meth:`power_off`.
        """

    @abc.abstractmethod
    def volumes_in_use(self) -> dict[str, dict[str, str]]:
        """Return what running guests have open: device by volume id, by instance UUID."""

    @abc.abstractmethod
    def get_available_resource(self) -> HostResources:
        """Return what this host offers."""

    @abc.abstractmethod
    def host_uptime(self) -> str:
        """Return one line as ``uptime`` prints it."""

    @abc.abstractmethod
    def cleanup(self) -> list[str]:
        """Age out cached base images that no instance on this host stands on.

        Returns what was removed.  Never touches the directory or guest of any instance.
        """

    @abc.abstractmethod
    def audit(self, expected: Collection[str], tolerated: Collection[str] = (),
              ) -> list[Problem]:
        """Compare what is on this host with the instances that are to be here.

        ``expected`` must have their guests, ``tolerated`` - being built, removed, in error - may.
        Looks only, and needs no :meth:`init_host`.  Kinds: ``guest``, ``instance-directory``,
        ``base-image``.
        """


def uptime_line() -> str:
    """Return what ``uptime`` would print."""
    seconds = int(float(Path("/proc/uptime").read_text().split()[0]))
    days, rest = divmod(seconds, 86400)
    hours, minutes = divmod(rest // 60, 60)
    loads = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    return (f"{time.strftime('%H:%M:%S')} up {days} days, {hours}:{minutes:02},  0 users,"
            f"  load average: {loads}")


DRIVERS = {
    "fake": "nova.virt.fake.FakeDriver",
    "libvirt": "nova.virt.libvirt.driver.LibvirtDriver",
}


def load_driver(host: str) -> ComputeDriver:
    """Return the driver ``compute_driver`` names, not yet initialised."""
    name = CONF.compute_driver
    return importutils.import_class(DRIVERS.get(name, name))(host)
