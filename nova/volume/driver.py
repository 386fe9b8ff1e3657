# SPDX-License-Identifier: Apache-2.0
"""What a volume worker asks of its back end: a contract that every driver keeps.

A driver is told everything it needs and touches neither database nor broker.  Every method can
be repeated: what is there already is success, and what was half done is done anew.  Failures are
:class:`nova.exception.VolumeBackendError`.

What a new volume does not copy reads as zeros; nothing of a deleted volume is ever in it.
"""

import abc
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from oslo_config import cfg
from oslo_utils import importutils

from nova.image.inspection import Verdict
from nova.volume.model import VolumeConnection

OPTIONS = [
    cfg.StrOpt("driver", default="file",
               help="How volumes are kept and reached: file (files that servers on the same host "
                    "open), iscsi (the same files, exported by tgtd with CHAP), or the dotted "
                    "name of a class."),
    cfg.StrOpt("backend_name", sample_default="<driver>",
               help="What volume types ask for as volume_backend_name; the driver's name unless "
                    "set."),
]
CONF = cfg.CONF
CONF.register_opts(OPTIONS, "volume")

DRIVERS = {
    "file": "nova.volume.file.FileDriver",
    "iscsi": "nova.volume.iscsi.IscsiDriver",
}


@dataclass(frozen=True)
class Disk:
    """A volume or snapshot that there is: its format is what its row says."""

    id: str
    format: str
    size_gb: int
    is_snapshot: bool = False


@dataclass(frozen=True)
class Export:
    """That a volume can be reached: by whom (None: by anybody with the secret) and how."""

    volume_id: str
    target_number: int
    auth_user: str
    auth_secret: str = field(repr=False)
    initiator: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class Capacity:
    """GiB volumes may take in all on this host, and GiB not taken yet."""

    total_gb: int
    free_gb: int


@dataclass(frozen=True)
class Problem:
    """Something without its row, or that a row expects and is not there."""

    kind: str           # "volume-file", "snapshot-file", "volume-target"
    thing: str          # its name, the id of the volume in it
    problem: str        # a clause


Wanted = Callable[[], bool]
"""Is what is being made still to be there?"""


def always() -> bool:
    """Say yes."""
    return True


class VolumeDriver(abc.ABC):
    """Volumes of one host."""

    protocol = ""
    """The name of :data:`DRIVERS`, and ``driver`` of every connection."""

    exports = False
    """Whether volumes are reached over the network, through an :class:`Export`.

    A driver without exports is asked nothing about them, save what is exported; it hands over
    what a hypervisor opens itself, and takes it back.
    """

    def __init__(self, host: str) -> None:
        self.host = host

    @abc.abstractmethod
    def init_host(self) -> None:
        """Get ready; forget what an earlier process of ours had begun and not finished."""

    @abc.abstractmethod
    def capacity(self) -> Capacity:
        """Return what there is room for."""

    @abc.abstractmethod
    def new_format(self) -> str:
        """Return the format of disks made from now on, ``raw`` or ``qcow2``."""

    @abc.abstractmethod
    def create_volume(self, volume: Disk, source: Disk | None = None,
                      image: Verdict | None = None, wanted: Wanted = always) -> None:
        """Make a volume: of zeros, or a copy of a volume, a snapshot or an image's bytes.

        It is complete and on disk when this returns; before that nothing has its name.  A copy
        fails soon after ``wanted`` says no.
        """

    @abc.abstractmethod
    def delete_volume(self, volume_id: str) -> None:
        """Remove a volume's bytes; nothing there is success."""

    @abc.abstractmethod
    def extend_volume(self, volume: Disk) -> None:
        """Make a volume as large as ``volume`` says."""

    @abc.abstractmethod
    def create_snapshot(self, snapshot: Disk, volume: Disk, wanted: Wanted = always) -> None:
        """Copy a volume nobody writes to; the copy is complete in itself.

        It fails soon after ``wanted`` says no.
        """

    @abc.abstractmethod
    def delete_snapshot(self, snapshot_id: str) -> None:
        """Remove a snapshot's bytes; nothing there is success."""

    @abc.abstractmethod
    def workspace(self) -> Path:
        """Return a name, not used yet, for a file that holds an image's bytes for a while."""

    @abc.abstractmethod
    def connection(self, volume: Disk, export: Export | None) -> VolumeConnection:
        """Return how a hypervisor reaches a volume, which has been exported if need be."""

    def take_back(self, volume_id: str) -> None:
        """Make sure nobody on this host can open a volume that was handed to a hypervisor."""
        raise NotImplementedError

    def ensure_export(self, volume: Disk, export: Export) -> None:
        """Make a volume reachable as its export says; one that is so already is left alone."""
        raise NotImplementedError

    def remove_export(self, export: Export) -> None:
        """End every way to a volume, sessions included; nothing there is success."""
        raise NotImplementedError

    def remove_stray_export(self, volume_id: str) -> None:
        """End every way to a volume of which no :class:`Export` is known."""
        raise NotImplementedError

    def exported(self) -> dict[str, bool]:
        """Return the ids of the volumes that have a target, and whether it is complete."""
        return {}

    @abc.abstractmethod
    def audit(self, volumes: Collection[Disk], snapshots: Collection[Disk],
              in_between: Collection[str], exports: Collection[str]) -> list[Problem]:
        """Compare what is here with what rows say.

        ``volumes`` and ``snapshots`` must be here, those ``in_between`` (ids) may, everything
        else must not; ``exports`` are the ids of the volumes that may be reached.
        """


def load_driver(host: str) -> VolumeDriver:
    """Return the configured driver of this host; a dotted name is a class of somebody else's."""
    return importutils.import_class(DRIVERS.get(CONF.volume.driver, CONF.volume.driver))(host)
