# SPDX-License-Identifier: Apache-2.0
"""A hypervisor that only pretends: each guest is a file, so guests survive a restart of ours.

Tests and ``--compute fake`` use it.  Failures are ordered by knobs, in memory
(``driver.knobs.spawn_error = "HypervisorError"``) or, for a daemon that runs already, in the file
``knobs.json`` beside the guests; the file wins.
"""

import contextlib
import json
import os
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from oslo_config import cfg

from nova import exception
from nova.compute.states import PowerState
from nova.image.model import ImageSource
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
    uptime_line,
)
from nova.volume.model import Connector

OPTIONS = [
    cfg.IntOpt("vcpus", default=64, min=0, help="Processors the pretended host offers."),
    cfg.IntOpt("memory_mb", default=131072, min=0, help="Memory the pretended host offers."),
    cfg.IntOpt("local_gb", default=2048, min=0, help="Disk the pretended host offers."),
    cfg.FloatOpt("spawn_seconds", default=0.0, min=0, help="How long every spawn takes."),
]
CONF = cfg.CONF
CONF.register_opts(OPTIONS, "fake")


@dataclass
class Knobs:
    """What is to go wrong.  Errors are named by their class in :mod:`nova.exception`.

    ``spawn_failures`` is how many spawns fail before one succeeds again (-1: all).
    ``spawn_leaves_remains`` makes a failing spawn leave a dead guest behind.
    ``deaf`` guests do not listen when they are asked to power off or reboot.
    ``greedy`` guests do not let go of a volume.  ``attach_leaves_remains`` makes a failing attach
    fail after the guest got the volume.
    ``refused_rules`` names instances whose rules no packet filter takes.
    """

    spawn_error: str | None = None
    spawn_failures: int = -1
    spawn_leaves_remains: bool = False
    spawn_seconds: float | None = None
    destroy_error: str | None = None
    power_error: str | None = None
    list_error: str | None = None
    attach_error: str | None = None
    attach_leaves_remains: bool = False
    attach_seconds: float = 0.0
    detach_error: str | None = None
    greedy: bool = False
    deaf: bool = False
    fetch_images: bool = False
    refused_rules: list[str] = field(default_factory=list)


def _raise(name: str, action: str) -> None:
    error = exception.BY_NAME.get(name)
    if error is None:
        raise RuntimeError(f"{name}: ordered from the fake hypervisor")
    raise error(action=action, reason="ordered from the fake hypervisor", image_id="ordered",
                instance_id="ordered", host="fake", resource="memory_mb", requested=1, free=0)


def _boot_log(guest: dict[str, Any]) -> str:
    """Return what a boot leaves on a guest's console; each line says that nothing really ran."""
    taps = ", ".join(vif["tap"] for vif in guest["vifs"]) or "none"
    steps = (
        "no machine is here: these lines are all there is of it", "firmware: found what was asked",
        f"processors: {guest['vcpus']}", f"memory: {guest['memory_mb']} MiB",
        f"disk: {guest['root_gb']} GiB", f"images: {', '.join(guest['images']) or 'none'}",
        "kernel: started", "root file system: mounted", f"network interfaces: {taps}",
        "metadata: not asked for", "services: started")
    lines = [f"fake: [{number:4}.000] {step}" for number, step in enumerate(steps)]
    return "\n".join([*lines, f"fake guest {guest['name']} booted\n"])


class FakeDriver(ComputeDriver):
    """The contract kept by files.  Every change of a guest is one rename: there or not there."""

    def __init__(self, host: str, directory: str | os.PathLike[str] | None = None) -> None:
        super().__init__(host)
        self.directory = Path(directory or os.path.join(CONF.instances_path, "fake-" + host))
        self.knobs = Knobs()

    # -- the files ---------------------------------------------------------------------------

    def _path(self, instance_id: str) -> Path:
        # An id is a UUID and nothing else: it can name no other file.
        return self.directory / f"{uuid.UUID(instance_id)}.guest"

    def _read(self, instance_id: str) -> dict[str, Any] | None:
        try:
            # Guests of an earlier release had no volumes.
            return {"volumes": {}, **json.loads(self._path(instance_id).read_bytes())}
        except FileNotFoundError:
            return None

    def _need(self, instance_id: str) -> dict[str, Any]:
        guest = self._read(instance_id)
        if guest is None:
            raise exception.InstanceNotFound(instance_id=instance_id)
        return guest

    def _write(self, guest: dict[str, Any]) -> None:
        path = self._path(guest["id"])
        temporary = path.with_suffix(f".{uuid.uuid4().hex[:8]}.tmp")
        temporary.write_text(json.dumps(guest))
        os.rename(temporary, path)

    def _knobs(self) -> Knobs:
        with contextlib.suppress(FileNotFoundError):
            values = json.loads((self.directory / "knobs.json").read_bytes())
            known = {knob.name for knob in fields(Knobs)}
            return Knobs(**{name: value for name, value in values.items() if name in known})
        return self.knobs

    def set_knobs(self, **values: Any) -> None:
        """Order failures from whoever runs on this directory, this process or another."""
        temporary = self.directory / "knobs.tmp"
        temporary.write_text(json.dumps(asdict(Knobs(**values))))
        os.rename(temporary, self.directory / "knobs.json")

    # -- the contract ------------------------------------------------------------------------

    def init_host(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def list_instances(self) -> dict[str, GuestInfo]:
        knobs = self._knobs()
        if knobs.list_error:
            _raise(knobs.list_error, "list guests")
        found = {}
        for path in self.directory.glob("*.guest"):
            guest = self._read(path.stem)
            if guest is not None:
                found[guest["id"]] = self._info(guest)
        return found

    def get_info(self, instance_id: str) -> GuestInfo:
        return self._info(self._need(instance_id))

    def _info(self, guest: dict[str, Any]) -> GuestInfo:
        return GuestInfo(id=guest["id"], power_state=guest["power_state"],
                         project_id=guest["project_id"], memory_mb=guest["memory_mb"],
                         vcpus=guest["vcpus"], process_id=guest["process_id"])

    def spawn(self, spec: InstanceSpec, images: BootImages, source: ImageSource) -> None:
        guest = self._read(spec.id)
        if guest is not None:
            if guest["power_state"] != PowerState.RUNNING:
                self._boot(guest, spec)
            return
        knobs = self._knobs()
        if knobs.fetch_images:
            for image in images.all():
                for _chunk in source.download(image.id):
                    pass
        seconds = CONF.fake.spawn_seconds if knobs.spawn_seconds is None else knobs.spawn_seconds
        if seconds:
            time.sleep(seconds)
        guest = {"id": spec.id, "name": spec.name, "project_id": spec.project_id,
                 "memory_mb": spec.memory_mb, "vcpus": spec.vcpus, "root_gb": spec.root_gb,
                 "power_state": PowerState.SHUTDOWN, "process_id": None,
                 "images": [image.id for image in images.all()], "console": "",
                 "metadata": dict(spec.metadata), "vifs": [], "volumes": {}}
        if knobs.spawn_error and knobs.spawn_failures:
            knobs.spawn_failures -= 1
            if knobs.spawn_leaves_remains:
                self._write(guest)
            _raise(knobs.spawn_error, "spawn a guest")
        self._boot(guest, spec)

    def _boot(self, guest: dict[str, Any], spec: InstanceSpec) -> None:
        guest["vifs"] = [vif.to_wire() for vif in spec.vifs]
        guest["volumes"] = {one.volume_id: one.device for one in spec.volumes}
        guest["power_state"] = PowerState.RUNNING
        guest["process_id"] = uuid.uuid4().int % 10**9
        guest["console"] += _boot_log(guest)
        self._write(guest)

    def destroy(self, instance_id: str, vifs: Sequence[VIF] = ()) -> None:
        knobs = self._knobs()
        if knobs.destroy_error:
            _raise(knobs.destroy_error, "destroy a guest")
        self._path(instance_id).unlink(missing_ok=True)

    def power_off(self, instance_id: str, timeout: float = 0,
                  keep_waiting: Callable[[], bool] | None = None) -> None:
        guest = self._need(instance_id)
        knobs = self._knobs()
        if knobs.power_error:
            _raise(knobs.power_error, "power a guest off")
        if guest["power_state"] != PowerState.RUNNING:
            return
        if knobs.deaf and not self._wait(timeout, keep_waiting):
            return
        self.set_power_state(instance_id, PowerState.SHUTDOWN)

    @staticmethod
    def _wait(timeout: float, keep_waiting: Callable[[], bool] | None) -> bool:
        """Wait in vain; False when the caller lost interest."""
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            if keep_waiting is not None and not keep_waiting():
                return False
            time.sleep(min(0.5, left))
        return True

    def power_on(self, spec: InstanceSpec) -> None:
        guest = self._need(spec.id)
        knobs = self._knobs()
        if knobs.power_error:
            _raise(knobs.power_error, "power a guest on")
        if guest["power_state"] != PowerState.RUNNING:
            self._boot(guest, spec)

    def reboot(self, spec: InstanceSpec, kind: RebootType, timeout: float = 0,
               keep_waiting: Callable[[], bool] | None = None) -> None:
        guest = self._need(spec.id)
        knobs = self._knobs()
        if knobs.power_error:
            _raise(knobs.power_error, "reboot a guest")
        if kind is RebootType.SOFT and knobs.deaf and not self._wait(timeout, keep_waiting):
            return
        self._boot(guest, spec)

    def get_console_output(self, instance_id: str, limit: int) -> bytes:
        return self._need(instance_id)["console"].encode()[-limit:] if limit > 0 else b""

    def plug_network(self, instance_id: str, vifs: Sequence[VIF]) -> None:
        self.refresh_network({instance_id: vifs})

    def refresh_network(self, wanted: Mapping[str, Sequence[VIF]]) -> None:
        knobs = self._knobs()
        for instance_id in wanted:
            if instance_id in knobs.refused_rules:
                _raise("HypervisorError", "refresh guests' rules")
        for instance_id, vifs in wanted.items():
            guest = self._read(instance_id)
            as_wire = [vif.to_wire() for vif in vifs]
            if guest is not None and guest["vifs"] != as_wire:
                guest["vifs"] = as_wire
                self._write(guest)

    def connector(self) -> Connector:
        return Connector(host=self.host)

    def attach_volume(self, instance_id: str, volume: AttachedVolume) -> None:
        knobs = self._knobs()
        if knobs.attach_seconds:
            time.sleep(knobs.attach_seconds)
        if knobs.attach_error and not knobs.attach_leaves_remains:
            _raise(knobs.attach_error, "attach a volume")
        guest = self._need(instance_id)
        taken = {device: one for one, device in guest["volumes"].items()}
        if taken.get(volume.device, volume.volume_id) != volume.volume_id:
            raise exception.HypervisorError(action="attach a volume",
                                            reason=f"{volume.device} is taken")
        guest["volumes"][volume.volume_id] = volume.device
        self._write(guest)
        if knobs.attach_error:
            _raise(knobs.attach_error, "attach a volume")

    def detach_volume(self, instance_id: str, volume_id: str, timeout: float = 0,
                      keep_waiting: Callable[[], bool] | None = None) -> None:
        knobs = self._knobs()
        if knobs.detach_error:
            _raise(knobs.detach_error, "detach a volume")
        guest = self._read(instance_id)
        if guest is None or volume_id not in guest["volumes"]:
            return
        if knobs.greedy and guest["power_state"] == PowerState.RUNNING:
            self._wait(timeout, keep_waiting)
            raise exception.HypervisorError(action="detach a volume",
                                            reason=f"the guest keeps it after {timeout:g} s")
        guest = self._need(instance_id)
        del guest["volumes"][volume_id]
        self._write(guest)

    def volumes_in_use(self) -> dict[str, dict[str, str]]:
        found = {}
        for instance_id, info in self.list_instances().items():
            guest = self._read(instance_id)
            if info.running and guest is not None and guest["volumes"]:
                found[instance_id] = dict(guest["volumes"])
        return found

    def get_available_resource(self) -> HostResources:
        return HostResources(
            hypervisor_hostname=self.host, hypervisor_type="fake", hypervisor_version=1,
            vcpus=CONF.fake.vcpus, memory_mb=CONF.fake.memory_mb, local_gb=CONF.fake.local_gb,
            disk_available_gb=CONF.fake.local_gb,
            cpu_info={"arch": "x86_64", "model": "fake", "vendor": "fake", "features": [],
                      "topology": {"sockets": 1, "cores": CONF.fake.vcpus, "threads": 1}})

    def host_uptime(self) -> str:
        return uptime_line()

    def cleanup(self) -> list[str]:
        return []

    def audit(self, expected: Collection[str], tolerated: Collection[str] = (),
              ) -> list[Problem]:
        found = set(self.list_instances())
        return ([Problem("guest", missing, "an instance has no guest")
                 for missing in sorted(set(expected) - found)]
                + [Problem("guest", stray, "a guest belongs to no instance of this host")
                   for stray in sorted(found - set(expected) - set(tolerated))])

    # -- for tests ---------------------------------------------------------------------------

    def set_power_state(self, instance_id: str, power_state: int) -> None:
        """Do to a guest what its user or its host's kernel might do to it."""
        guest = self._need(instance_id)
        guest["power_state"] = power_state
        if power_state in (PowerState.SHUTDOWN, PowerState.CRASHED):
            guest["process_id"] = None
        self._write(guest)

    def lose(self, instance_id: str) -> None:
        """Make a guest vanish as if its host's disk had."""
        self._path(instance_id).unlink()
