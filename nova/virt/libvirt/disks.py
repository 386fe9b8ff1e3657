# SPDX-License-Identifier: Apache-2.0
"""An instance's directory: its disks, and the record that says they are complete.

::

    <instances_path>/<uuid>/instance.json   which bases and disks; written last, so: all is there
                            disk            qcow2 over a base image; none where the guest
                                            boots from a volume
                            disk.eph0       raw, ext4
                            disk.swap       raw
                            disk.config     iso9660
                            console.log     written by virtlogd

What format a disk has is in the record and follows from who made it; it is never read off a
disk, whose content is its guest's.
"""

import json
import logging
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nova.compute.devices import ROOT_DEVICE, local_devices
from nova.exception import HypervisorError, ImageUnacceptable
from nova.image.inspection import Verdict
from nova.linux import qemu_img
from nova.linux.files import write_json
from nova.virt.driver import InstanceSpec
from nova.virt.libvirt.files import Owner

LOG = logging.getLogger(__name__)

GIB = 1024 ** 3
MIB = 1024 ** 2
RECORD = "instance.json"
TOOL_TIMEOUT = 60        # seconds for mkfs, mkswap, genisoimage


@dataclass(frozen=True)
class Disk:
    """One disk of a guest: a file in its directory, of a format we gave it."""

    file: str
    format: str
    target: str
    device: str = "disk"      # or "cdrom"


@dataclass(frozen=True)
class Record:
    """What ``instance.json`` says: enough to start the guest again."""

    id: str
    project_id: str
    disks: tuple[Disk, ...]
    base: str | None
    kernel: str | None = None
    ramdisk: str | None = None

    @property
    def bases(self) -> set[str]:
        """The names of the base images this instance stands on."""
        return {key for key in (self.base, self.kernel, self.ramdisk) if key}

    @classmethod
    def read(cls, path: Path) -> "Record":
        """FileNotFoundError when there is none, ValueError when it cannot be understood."""
        values = json.loads(path.read_bytes())
        try:
            return cls(**{**values, "disks": tuple(Disk(**disk) for disk in values["disks"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a record of an instance: {error}") from error


class InstanceDirectory:
    """The files of one instance."""

    def __init__(self, instances_path: Path, instance_id: str, owner: Owner) -> None:
        # An id is a UUID and nothing else: it can name no other directory.
        self.id = str(uuid.UUID(instance_id))
        self.path = instances_path / self.id
        self.owner = owner

    def record(self) -> Record | None:
        """Return the record of complete disks; None when they are not (yet)."""
        try:
            return Record.read(self.path / RECORD)
        except FileNotFoundError:
            return None

    @property
    def console_log(self) -> Path:
        """Where virtlogd writes what the guest says."""
        return self.path / "console.log"

    def create(self, spec: InstanceSpec, root: Verdict | None,
               keys: Mapping[str, str | None], unsized_limit: int) -> Record:
        """Make all disks of a new guest and then the record; what was half made is made anew.

        ``keys`` names the bases: ``base``, ``kernel``, ``ramdisk``.  Without ``root`` the guest
        boots from a volume, which is its first disk.
        """
        size = 0 if root is None else self._root_size(spec, root, unsized_limit)
        self.remove()
        self.owner.make_directory(self.path)
        disks = []
        if root is not None:
            disks.append(Disk("disk", "qcow2", ROOT_DEVICE))
            qemu_img.create_overlay(root, self.path / "disk", size)
        names = local_devices(spec.ephemeral_gb, spec.swap_mb)
        if "ephemeral" in names:
            disks.append(Disk("disk.eph0", "raw", names["ephemeral"]))
            self._formatted("disk.eph0", spec.ephemeral_gb * GIB,
                            "mkfs.ext4", "-q", "-F", "-L", "ephemeral0")
        if "swap" in names:
            disks.append(Disk("disk.swap", "raw", names["swap"]))
            self._formatted("disk.swap", spec.swap_mb * MIB, "mkswap")
        if spec.config_drive is not None:
            disks.append(Disk("disk.config", "raw", "hdd", "cdrom"))
            self._config_drive(spec.config_drive)
        for disk in disks:
            self.owner.hand_over(self.path / disk.file)
        made = Record(spec.id, spec.project_id, tuple(disks), keys.get("base"),
                      keys.get("kernel"), keys.get("ramdisk"))
        write_json(self.path / RECORD, asdict(made))
        return made

    @staticmethod
    def _root_size(spec: InstanceSpec, root: Verdict, unsized_limit: int) -> int:
        limit = spec.root_gb * GIB if spec.root_gb else unsized_limit
        if root.virtual_size > limit:
            raise ImageUnacceptable(
                image_id=spec.image_id,
                reason=f"its disk is {root.virtual_size} bytes and the flavor allows {limit}")
        return spec.root_gb * GIB or root.virtual_size

    def _formatted(self, name: str, size: int, *command: str) -> None:
        path = self.path / name
        with path.open("xb") as file:
            file.truncate(size)
        _run(*command, str(path))

    def _config_drive(self, files: Mapping[str, bytes]) -> None:
        staging = Path(tempfile.mkdtemp(prefix=".config-", dir=self.path))
        try:
            for name, content in files.items():
                target = (staging / name).resolve()
                if not target.is_relative_to(staging.resolve()):
                    raise ValueError(f"{name!r} leaves the config drive")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            _run("genisoimage", "-quiet", "-J", "-r", "-V", "config-2",
                 "-o", str(self.path / "disk.config"), str(staging))
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def remove(self) -> None:
        """Remove everything; nothing there is success.  The record goes first."""
        if not self.path.exists():
            return
        (self.path / RECORD).unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=False)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            list(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, timeout=TOOL_TIMEOUT, check=False)
    except (subprocess.TimeoutExpired, FileNotFoundError) as error:
        raise HypervisorError(action=f"run {command[0]}", reason=str(error)) from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()[-300:]
        raise HypervisorError(action=f"run {command[0]}", reason=reason)


def all_records(instances_path: Path) -> tuple[dict[str, Record], dict[str, str]]:
    """Return the records of all instance directories by UUID, and the trouble with the others.

    Trouble is for a directory named by a UUID whose record is missing or cannot be read.
    """
    records: dict[str, Record] = {}
    trouble: dict[str, str] = {}
    for path in _instance_directories(instances_path):
        try:
            records[path.name] = Record.read(path / RECORD)
        except FileNotFoundError:
            trouble[path.name] = "its disks were never completed"
        except ValueError as error:
            trouble[path.name] = str(error)
    return records, trouble


def _instance_directories(instances_path: Path) -> list[Path]:
    found: list[Path] = []
    if not instances_path.is_dir():
        return found
    for entry in os.scandir(instances_path):
        try:
            if entry.is_dir(follow_symlinks=False) and str(uuid.UUID(entry.name)) == entry.name:
                found.append(Path(entry.path))
        except ValueError:
            continue
    return found


def free_space(instances_path: Path) -> tuple[int, int]:
    """Return (all, free) bytes of the file system the instances are on."""
    usage: Any = shutil.disk_usage(instances_path)
    return usage.total, usage.free
