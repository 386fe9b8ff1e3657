# SPDX-License-Identifier: Apache-2.0
"""libvirt with QEMU or KVM.

A guest is three things, made in this order and removed in the opposite one: a directory with
complete disks (``instance.json`` in it says so), taps with their rules, and a domain whose UUID is
the instance's.  Whatever of them is there after a crash says how far it went.
"""

import logging
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
from oslo_config import cfg

from nova.compute.states import PowerState
from nova.exception import HypervisorError, InstanceNotFound
from nova.image.model import ImageSource
from nova.linux.bridge import Bridges
from nova.linux.firewall import InstanceFirewall
from nova.linux.run import CommandFailed, Runner
from nova.network.model import VIF
from nova.virt.driver import (
    AttachedVolume,
    BootImages,
    ComputeDriver,
    GuestInfo,
    HostResources,
    InstanceSpec,
    Problem,
    RebootType,
    guest_name,
    uptime_line,
)
from nova.virt.libvirt import console, disks, host, volumes, xml
from nova.virt.libvirt.attach import GuestVolumes
from nova.virt.libvirt.disks import GIB, MIB, InstanceDirectory, Record
from nova.virt.libvirt.files import Owner
from nova.virt.libvirt.guest import Libvirt
from nova.virt.libvirt.imagecache import ImageCache
from nova.volume.model import Connector

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.StrOpt("uri", default="qemu:///system", help="How to reach libvirt."),
    cfg.StrOpt("virt_type", default="auto", choices=["auto", "kvm", "qemu"],
               help="kvm, qemu (in software), or auto: kvm if it really starts a guest here."),
    cfg.StrOpt("machine_type", default="pc", help="QEMU's machine type of guests."),
    cfg.StrOpt("cpu_mode", choices=["host-model", "host-passthrough", "maximum"],
               help="What processor guests see; by default host-model with kvm, else maximum."),
    cfg.IntOpt("max_image_gb", default=100, min=1,
               help="GiB a base image may have, and the disk of an image whose flavor sets no "
                    "size."),
    cfg.IntOpt("base_image_max_age", default=86400, min=60,
               help="Seconds after its last use at which a base image no instance stands on is "
                    "removed."),
]
CONF = cfg.CONF
CONF.register_opts(OPTIONS, "libvirt")
# Devices and chains are named as the network worker of this host names its own.
CONF.import_opt("host_prefix", "nova.network.driver")

POLL_SECONDS = 0.5       # between two looks at a guest that was asked to go
_TAP = re.compile(r"tap[0-9a-f-]{1,11}")


class LibvirtDriver(ComputeDriver):
    """The contract kept with libvirt."""

    def __init__(self, host_name: str, directory: Path | None = None,
                 runner: Runner | None = None) -> None:
        super().__init__(host_name)
        self.directory = Path(directory or CONF.instances_path).absolute()
        self.libvirt = Libvirt(CONF.libvirt.uri)
        self.volumes = GuestVolumes(self.libvirt)
        self.bridges = Bridges(runner or Runner(), CONF.host_prefix)
        self.firewall = InstanceFirewall("compute", runner, CONF.host_prefix)
        self._capabilities: host.Capabilities | None = None
        self._machine: xml.Machine | None = None
        self._cache: ImageCache | None = None

    # -- getting ready -----------------------------------------------------------------------

    def init_host(self) -> None:
        capabilities = host.parse_capabilities(self.libvirt.capabilities())
        owner = capabilities.owner
        owner.make_directory(self.directory)
        closed = owner.can_pass(self.directory)
        if closed is not None:
            raise HypervisorError(
                action="use instances_path",
                reason=f"{closed} is closed to user {owner.uid}, whom QEMU runs as")
        virt_type = host.choose_virt_type(CONF.libvirt.virt_type, self.directory / "host.json")
        mode = CONF.libvirt.cpu_mode or ("host-model" if virt_type == "kvm" else "maximum")
        self._capabilities = capabilities
        self._machine = xml.Machine(virt_type, capabilities.arch, CONF.libvirt.machine_type, mode,
                                    owner, volumes.initiator_name(self.host))
        self._cache = self._bases(owner)
        self._cache.prepare()
        LOG.info("libvirt %s: guests run as %s in %s", CONF.libvirt.uri, virt_type,
                 self.directory)

    def _bases(self, owner: Owner) -> ImageCache:
        return ImageCache(self.directory / "_base", owner, CONF.libvirt.max_image_gb * GIB)

    @property
    def machine(self) -> xml.Machine:
        """How guests are run here."""
        if self._machine is None:
            raise RuntimeError("init_host() has not been called")
        return self._machine

    @property
    def cache(self) -> ImageCache:
        """The base images."""
        if self._cache is None:
            raise RuntimeError("init_host() has not been called")
        return self._cache

    def _files(self, instance_id: str) -> InstanceDirectory:
        owner = self._machine.owner if self._machine else Owner()
        return InstanceDirectory(self.directory, instance_id, owner)

    # -- looking -----------------------------------------------------------------------------

    def list_instances(self) -> dict[str, GuestInfo]:
        found = self.libvirt.guests()
        records, _trouble = disks.all_records(self.directory)
        for instance_id, record in records.items():
            # Complete disks without a domain are a guest that is off: it can be started.
            found.setdefault(instance_id, GuestInfo(
                instance_id, PowerState.SHUTDOWN, record.project_id))
        return {one: self._with_process(info) for one, info in found.items()}

    def get_info(self, instance_id: str) -> GuestInfo:
        return self._with_process(self._known(instance_id, self.libvirt.guest(instance_id)))

    def _settled_info(self, instance_id: str) -> GuestInfo:
        """As get_info(), after a start that an earlier process of ours began."""
        return self._known(instance_id, self.libvirt.settled_guest(instance_id))

    def _known(self, instance_id: str, guest: GuestInfo | None) -> GuestInfo:
        if guest is not None:
            return guest
        record = self._files(instance_id).record()
        if record is None:
            raise InstanceNotFound(instance_id=instance_id)
        return GuestInfo(instance_id, PowerState.SHUTDOWN, record.project_id)

    @staticmethod
    def _with_process(info: GuestInfo) -> GuestInfo:
        if not info.running:
            return info
        try:
            pid = int(Path(f"/run/libvirt/qemu/{guest_name(info.id)}.pid").read_text())
        except (OSError, ValueError):
            return info
        return replace(info, process_id=pid)

    def get_console_output(self, instance_id: str, limit: int) -> bytes:
        return console.tail(self._files(instance_id).console_log, limit)

    # -- making and removing -----------------------------------------------------------------

    def spawn(self, spec: InstanceSpec, images: BootImages, source: ImageSource) -> None:
        running = self.libvirt.settled_guest(spec.id)
        if running is not None and running.running:
            return
        files = self._files(spec.id)
        record = files.record()
        if record is None:
            record = self._make_disks(spec, images, source, files)
        self._start(spec, record)

    def _make_disks(self, spec: InstanceSpec, images: BootImages, source: ImageSource,
                    files: InstanceDirectory) -> Record:
        bases = {kind: self.cache.fetch(image, source)
                 for kind, image in (("base", images.root), ("kernel", images.kernel),
                                     ("ramdisk", images.ramdisk)) if image is not None}
        return files.create(
            spec, bases.get("base"),
            {kind: verdict.path.name for kind, verdict in bases.items()},
            CONF.libvirt.max_image_gb * GIB)

    def _start(self, spec: InstanceSpec, record: Record) -> None:
        self.plug_network(spec.id, spec.vifs)
        files = self._files(spec.id)
        paths = xml.Paths(
            directory=files.path, base=self.cache.path(record.base) if record.base else None,
            base_format=self._base_format(record.base or ""),
            kernel=self.cache.path(record.kernel) if record.kernel else None,
            ramdisk=self.cache.path(record.ramdisk) if record.ramdisk else None,
            console_log=files.console_log)
        for volume in spec.volumes:
            self._open_file(volume)
        text = xml.domain(spec, record, paths, self.machine)
        with self.volumes.secrets(spec.volumes):
            self.libvirt.define_and_start(spec.id, text)
        try:
            self.volumes.check_sizes(spec.id, spec.volumes)
        except HypervisorError:
            self.libvirt.destroy(spec.id)
            raise

    @staticmethod
    def _base_format(key: str) -> str:
        # The declared format is part of the name; it was compared with the bytes when they came.
        return "qcow2" if key.endswith(".qcow2") else "raw"

    def destroy(self, instance_id: str, vifs: Sequence[VIF] = ()) -> None:
        taps = {vif.tap for vif in vifs} | set(self.libvirt.taps(instance_id))
        self.libvirt.destroy(instance_id)
        self._unplug(instance_id, taps, vifs)
        self.libvirt.undefine(instance_id)
        self._files(instance_id).remove()

    # -- power -------------------------------------------------------------------------------

    def power_off(self, instance_id: str, timeout: float = 0,
                  keep_waiting: Callable[[], bool] | None = None) -> None:
        if not self._settled_info(instance_id).running:
            return
        if timeout > 0 and not self._ask_to_go(instance_id, timeout, keep_waiting):
            return
        self.libvirt.destroy(instance_id)

    def _ask_to_go(self, instance_id: str, timeout: float,
                   keep_waiting: Callable[[], bool] | None) -> bool:
        """Ask a guest to power off and wait; False when the caller lost interest."""
        until = time.monotonic() + timeout
        asked_at = 0.0
        while (now := time.monotonic()) < until:
            if not self.get_info(instance_id).running:
                return True
            if keep_waiting is not None and not keep_waiting():
                return False
            # A guest that is still booting has nobody who hears the button: press it again.
            if now - asked_at >= 5:
                try:
                    self.libvirt.ask_to_power_off(instance_id)
                except HypervisorError as error:
                    LOG.info("Guest %s cannot be asked to power off: %s", instance_id, error)
                asked_at = now
            time.sleep(POLL_SECONDS)
        LOG.info("Guest %s did not go within %g s; its power is cut", instance_id, timeout)
        return True

    def power_on(self, spec: InstanceSpec) -> None:
        if self._settled_info(spec.id).running:
            return
        self._start(spec, self._need_record(spec.id))

    def _need_record(self, instance_id: str) -> Record:
        record = self._files(instance_id).record()
        if record is None:
            raise HypervisorError(action="start a guest",
                                  reason="its disks are not on this host")
        return record

    def reboot(self, spec: InstanceSpec, kind: RebootType, timeout: float = 0,
               keep_waiting: Callable[[], bool] | None = None) -> None:
        record = self._need_record(spec.id)
        self.power_off(spec.id, timeout if kind is RebootType.SOFT else 0, keep_waiting)
        if keep_waiting is None or keep_waiting():
            self._start(spec, record)

    # -- volumes -----------------------------------------------------------------------------

    def connector(self) -> Connector:
        return Connector(host=self.host, initiator=volumes.initiator_name(self.host),
                         ip=CONF.my_ip)

    def attach_volume(self, instance_id: str, volume: AttachedVolume) -> None:
        self._settled_info(instance_id)
        self._open_file(volume)
        self.volumes.attach(instance_id, volume, self.machine.initiator)

    def _open_file(self, volume: AttachedVolume) -> None:
        """Let QEMU have a volume that is a file of this host."""
        if volume.connection.driver != "file":
            return
        volumes.check_names(volume.connection)
        path = Path(str(volume.connection.path))
        try:
            closed = self.machine.owner.can_pass(path.parent)
            if closed is not None:
                raise HypervisorError(
                    action="attach a volume",
                    reason=f"{closed} is closed to user {self.machine.owner.uid}, whom QEMU "
                           "runs as")
            if path.is_symlink() or not path.is_file():
                raise HypervisorError(action="attach a volume", reason=f"{path} is not a file")
            self.machine.owner.hand_over(path)
        except OSError as error:
            raise HypervisorError(action="attach a volume", reason=str(error)) from error

    def detach_volume(self, instance_id: str, volume_id: str, timeout: float = 0,
                      keep_waiting: Callable[[], bool] | None = None) -> None:
        self.libvirt.settled_guest(instance_id)
        self.volumes.detach(instance_id, volume_id, timeout, keep_waiting)

    def volumes_in_use(self) -> dict[str, dict[str, str]]:
        return self.volumes.in_use()

    # -- network -----------------------------------------------------------------------------

    def plug_network(self, instance_id: str, vifs: Sequence[VIF]) -> None:
        try:
            # Rules come first: no tap is ever open without them.
            self.firewall.apply(instance_id, vifs)
            for vif in vifs:
                self.bridges.ensure_bridge(vif.bridge, vif.network_id, mtu=vif.mtu,
                                           interface=vif.bridge_interface)
                owner = self.machine.owner.uid
                self.bridges.ensure_tap(vif.tap, vif.bridge, vif.mac, vif.port_id, mtu=vif.mtu,
                                        owner=owner if owner > 0 else None)
        except CommandFailed as error:
            raise HypervisorError(action="plug a guest's network", reason=str(error)) from error

    def refresh_network(self, wanted: Mapping[str, Sequence[VIF]]) -> None:
        try:
            self.firewall.apply_all(wanted)
        except CommandFailed as error:
            raise HypervisorError(action="refresh guests' rules", reason=str(error)) from error

    def _unplug(self, instance_id: str, taps: set[str], vifs: Sequence[VIF]) -> None:
        try:
            self.firewall.remove(instance_id, vifs)
            for tap in sorted(taps):
                if _TAP.fullmatch(tap):
                    self.bridges.remove(tap)
        except CommandFailed as error:
            raise HypervisorError(action="unplug a guest's network", reason=str(error)) from error

    # -- the host ----------------------------------------------------------------------------

    def get_available_resource(self) -> HostResources:
        name, version, vcpus = self.libvirt.host_info()
        total, free = disks.free_space(self.directory)
        assert self._capabilities is not None
        return HostResources(
            hypervisor_hostname=name, hypervisor_type="QEMU", hypervisor_version=version,
            vcpus=vcpus, memory_mb=psutil.virtual_memory().total // MIB, local_gb=total // GIB,
            disk_available_gb=free // GIB, cpu_info=self._capabilities.cpu_info,
            stats={"virt_type": self.machine.virt_type})

    def host_uptime(self) -> str:
        return uptime_line()

    def cleanup(self) -> list[str]:
        records, trouble = disks.all_records(self.directory)
        if trouble:
            # What an unreadable record stands on is not known: nothing is removed.
            LOG.warning("Base images are kept: no telling what %s need", sorted(trouble))
            return []
        in_use = {key for record in records.values() for key in record.bases}
        return self.cache.age_out(in_use, CONF.libvirt.base_image_max_age)

    def audit(self, expected: Collection[str], tolerated: Collection[str] = (),
              ) -> list[Problem]:
        expected = set(expected)
        allowed = expected | set(tolerated)
        guests = self.libvirt.guests()
        records, trouble = disks.all_records(self.directory)
        found = [Problem("guest", one, "a guest belongs to no instance of this host")
                 for one in sorted(guests.keys() - allowed)]
        found += [Problem("guest", one, "an instance has neither guest nor disks here")
                  for one in sorted(expected - guests.keys() - records.keys())]
        found += [Problem("instance-directory", one, "it belongs to no instance of this host")
                  for one in sorted((records.keys() | trouble.keys()) - allowed)]
        found += [Problem("instance-directory", one, why)
                  for one, why in sorted(trouble.items()) if one in expected]
        in_use = {key for record in records.values() for key in record.bases}
        found += [Problem("base-image", key, why)
                  for key, why in self._bases(Owner()).audit(in_use)]
        return found

