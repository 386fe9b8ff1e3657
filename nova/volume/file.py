# SPDX-License-Identifier: Apache-2.0
"""Volumes as files in one directory, opened by guests of the same host.

::

    <directory>/volume-<uuid>         a volume, raw or qcow2 as its row says
                snapshot-<uuid>       a snapshot: a complete disk
                .volume-<uuid>.*.part bytes on the way; renamed when they are all there

A raw file is sparse: what was never written reads as zeros and takes no room, and the file system
gives no file what another one's blocks held.  Files are root's, mode 0600.
"""

import contextlib
import logging
import os
import re
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from oslo_config import cfg

from nova import concurrency
from nova.exception import HypervisorError, VolumeBackendError
from nova.image.inspection import Verdict
from nova.linux import qemu_img
from nova.linux.files import sync_directory
from nova.volume.driver import (
    Capacity,
    Disk,
    Export,
    Problem,
    VolumeDriver,
    Wanted,
    always,
)
from nova.volume.model import VolumeConnection

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.StrOpt("directory", default="$state_path/volumes",
               help="Where the volumes of this host are kept. One worker's alone."),
    cfg.StrOpt("format", default="raw", choices=["raw", "qcow2"],
               help="Format of new volumes of the file driver; those that are there keep theirs."),
]
CONF = cfg.CONF
CONF.register_opts(OPTIONS, "volume")

GIB = 1024 ** 3
_NAME = re.compile(r"(volume|snapshot)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@contextlib.contextmanager
def _failures(action: str) -> Iterator[None]:
    """Turn failures of files and of qemu-img into the driver's own."""
    try:
        yield
    except HypervisorError as error:
        raise VolumeBackendError(action=action, reason=str(error)) from error
    except OSError as error:
        raise VolumeBackendError(action=action, reason=error.strerror or str(error)) from error


class FileDriver(VolumeDriver):
    """The contract kept with files."""

    protocol = "file"

    def __init__(self, host: str, directory: Path | None = None) -> None:
        super().__init__(host)
        self.directory = Path(directory or CONF.volume.directory).absolute()

    def init_host(self) -> None:
        with _failures("use its directory"):
            self.directory.mkdir(parents=True, exist_ok=True)
            # Guests' QEMU passes through to the one file it was given and sees no other's name.
            os.chmod(self.directory, 0o711)
            for part in self.directory.glob(".*.part"):
                LOG.info("%s was not finished: it is removed", part.name)
                part.unlink(missing_ok=True)

    def capacity(self) -> Capacity:
        with _failures("look at its directory"):
            status = os.statvfs(self.directory)
            taken = sum(entry.stat().st_blocks * 512 for entry in os.scandir(self.directory)
                        if entry.is_file(follow_symlinks=False))
        free = status.f_bavail * status.f_frsize
        return Capacity((free + taken) // GIB, free // GIB)

    def new_format(self) -> str:
        return CONF.volume.format

    # -- bytes -------------------------------------------------------------------------------

    def path(self, disk_id: str, is_snapshot: bool = False) -> Path:
        """Return where a disk is kept.  An id is a UUID and nothing else."""
        kind = "snapshot" if is_snapshot else "volume"
        return self.directory / f"{kind}-{uuid.UUID(disk_id)}"

    def workspace(self) -> Path:
        return self.directory / f".image-{uuid.uuid4().hex}.part"

    def create_volume(self, volume: Disk, source: Disk | None = None,
                      image: Verdict | None = None, wanted: Wanted = always) -> None:
        def fill(part: Path) -> None:
            if source is not None:
                qemu_img.copy(self._verdict(source), part, volume.format, wanted)
            elif image is not None:
                qemu_img.copy(image, part, volume.format, wanted)
            else:
                qemu_img.create_empty(part, volume.size_gb * GIB, volume.format)
                return
            qemu_img.resize(part, volume.format, volume.size_gb * GIB)
        self._make(self.path(volume.id), fill, "make a volume")

    def create_snapshot(self, snapshot: Disk, volume: Disk, wanted: Wanted = always) -> None:
        def fill(part: Path) -> None:
            qemu_img.copy(self._verdict(volume), part, snapshot.format, wanted)
        self._make(self.path(snapshot.id, True), fill, "make a snapshot")

    def _verdict(self, disk: Disk) -> Verdict:
        # The format is the row's word, whatever a guest wrote into the first sector.
        return Verdict(self.path(disk.id, disk.is_snapshot), disk.format, disk.size_gb * GIB)

    def _make(self, path: Path, fill: Callable[[Path], None], action: str) -> None:
        with _failures(action):
            if path.exists():
                return      # by an earlier try: only what is complete has this name
            part = self.directory / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
            try:
                os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                fill(part)
                concurrency.run_in_thread(_sync, part)
                os.rename(part, path)
                sync_directory(self.directory)
            finally:
                part.unlink(missing_ok=True)

    def delete_volume(self, volume_id: str) -> None:
        self._unlink(self.path(volume_id))

    def delete_snapshot(self, snapshot_id: str) -> None:
        self._unlink(self.path(snapshot_id, True))

    def _unlink(self, path: Path) -> None:
        with _failures("remove a file"):
            # Giving many blocks back takes a while.
            concurrency.run_in_thread(path.unlink, missing_ok=True)
            sync_directory(self.directory)

    def extend_volume(self, volume: Disk) -> None:
        with _failures("extend a volume"):
            path = self.path(volume.id)
            qemu_img.resize(path, volume.format, volume.size_gb * GIB)
            concurrency.run_in_thread(_sync, path)

    # -- being reached -----------------------------------------------------------------------

    def connection(self, volume: Disk, export: Export | None) -> VolumeConnection:
        path = self.path(volume.id)
        if not path.is_file():
            raise VolumeBackendError(action="find a volume", reason=f"{path} is not there")
        return VolumeConnection(volume_id=volume.id, driver="file", size_gb=volume.size_gb,
                                format=volume.format, path=str(path))

    def take_back(self, volume_id: str) -> None:
        path = self.path(volume_id)
        with _failures("take a volume back"), contextlib.suppress(FileNotFoundError):
            # QEMU's user had it; its other guests are no business of this volume's.
            os.chown(path, os.geteuid(), os.getegid())
            os.chmod(path, 0o600)

    # -- comparing ---------------------------------------------------------------------------

    def audit(self, volumes: Collection[Disk], snapshots: Collection[Disk],
              in_between: Collection[str], exports: Collection[str]) -> list[Problem]:
        wanted = {self.path(disk.id, disk.is_snapshot).name: disk for disk in volumes}
        wanted |= {self.path(disk.id, True).name: disk for disk in snapshots}
        found, problems = set(), []
        with _failures("look at its directory"):
            for entry in os.scandir(self.directory):
                match = _NAME.fullmatch(entry.name)
                if match is None:
                    if not entry.name.startswith("."):
                        problems.append(Problem("volume-file", entry.name, "is no volume's"))
                    continue
                found.add(entry.name)
                if entry.name not in wanted and match[2] not in in_between:
                    problems.append(Problem(f"{match[1]}-file", entry.name, "has no row"))
                elif (disk := wanted.get(entry.name)) is not None and disk.format == "raw":
                    size = entry.stat().st_size
                    if size != disk.size_gb * GIB:
                        problems.append(Problem(
                            f"{match[1]}-file", entry.name,
                            f"is {size} bytes and its row says {disk.size_gb} GiB"))
        problems += [Problem(f"{name.partition('-')[0]}-file", name, "is missing")
                     for name in sorted(wanted.keys() - found)]
        return sorted(problems, key=lambda one: (one.kind, one.thing))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
