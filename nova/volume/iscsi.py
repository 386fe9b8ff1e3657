# SPDX-License-Identifier: Apache-2.0
"""The files of :mod:`nova.volume.file`, raw, exported by tgtd over iSCSI.

A volume has a target of its own only while it is attached, with an account of its own: CHAP with
a secret made for this attachment, and one initiator's name or address.  tgtd keeps nothing when it
stops: what its worker finds missing it makes again, with the same secret, so that a guest's
initiator comes back by itself.
"""

import logging
import uuid
from collections.abc import Collection
from pathlib import Path

from oslo_config import cfg

from nova.exception import VolumeBackendError
from nova.volume.driver import Disk, Export, Problem
from nova.volume.file import FileDriver
from nova.volume.model import VolumeConnection
from nova.volume.tgt import Target, Tgt, fit

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.StrOpt("iscsi_portal", default="$my_ip:3260",
               help="address:port at which tgtd listens for initiators and compute hosts reach "
                    "it."),
    cfg.StrOpt("tgt_socket", default="/var/run/tgtd/socket.0",
               help="Management socket of tgtd: /var/run/tgtd/socket.<control port>."),
]
CONF = cfg.CONF
CONF.register_opts(OPTIONS, "volume")

PREFIX = "iqn.2010-10.org.openstack:volume-"
ANYWHERE = "ALL"        # tgtd's word for every address


class IscsiDriver(FileDriver):
    """The contract kept with files and tgtd."""

    protocol = "iscsi"
    exports = True

    def __init__(self, host: str, directory: Path | None = None,
                 tgt: Tgt | None = None) -> None:
        super().__init__(host, directory)
        self.tgt = tgt or Tgt(Path(CONF.volume.tgt_socket))

    def init_host(self) -> None:
        if not fit(str(self.directory)):
            raise VolumeBackendError(action="use its directory",
                                     reason=f"tgtd cannot be told of {self.directory}")
        super().init_host()
        self.tgt.targets()      # fails when there is no tgtd

    def new_format(self) -> str:
        return "raw"        # it is the target that gives the bytes a meaning

    def connection(self, volume: Disk, export: Export | None) -> VolumeConnection:
        if export is None:
            raise ValueError("a volume reached over iSCSI has an export")
        return VolumeConnection(
            volume_id=volume.id, driver="iscsi", size_gb=volume.size_gb,
            portal=CONF.volume.iscsi_portal, target=_name(volume.id), lun=1,
            auth_user=export.auth_user, auth_secret=export.auth_secret)

    def ensure_export(self, volume: Disk, export: Export) -> None:
        """Make what is missing; what is there and right is not touched: a guest uses it."""
        target = self.tgt.targets().get(export.target_number)
        path = self.path(volume.id)
        if volume.format != "raw" or not path.is_file():
            raise VolumeBackendError(
                action="export a volume",
                reason=f"{path.name} is {volume.format}" if path.is_file()
                else f"{path} is not there")
        number = export.target_number
        # One or the other: tgtd lets in whoever meets either, and a name tells more.
        allowed = export.initiator or export.address or ANYWHERE
        if target is not None and (
                target.name != _name(volume.id) or target.accounts - {export.auth_user}
                or target.allowed - {allowed} or target.units not in ({}, {1: str(path)})):
            LOG.warning("Target %s is not as its export says: it is made anew", target.name)
            self.tgt.remove_target(number)
            target = None
        if target is None:
            self.tgt.new_target(number, _name(volume.id))
            target = Target(number, _name(volume.id))
        # Who may come in is said last: until then nobody may.
        if export.auth_user not in self.tgt.accounts():
            self.tgt.new_account(export.auth_user, export.auth_secret)
        if export.auth_user not in target.accounts:
            self.tgt.bind_account(number, export.auth_user)
        if not target.units:
            self.tgt.new_unit(number, path, volume.id)
        if allowed not in target.allowed:
            if export.initiator:
                self.tgt.allow_initiator(number, allowed)
            else:
                self.tgt.allow(number, allowed)

    def remove_export(self, export: Export) -> None:
        name = _name(export.volume_id)
        for target in self.tgt.targets().values():
            if target.name == name:
                self.tgt.remove_target(target.number)
        if export.auth_user in self.tgt.accounts():
            self.tgt.remove_account(export.auth_user)

    def remove_stray_export(self, volume_id: str) -> None:
        for target in self.tgt.targets().values():
            if target.name == _name(volume_id):
                self.tgt.remove_target(target.number)
                for user in target.accounts:
                    self.tgt.remove_account(user)

    def exported(self) -> dict[str, bool]:
        return {target.name.removeprefix(PREFIX): target.complete
                for target in self.tgt.targets().values() if target.name.startswith(PREFIX)}

    def audit(self, volumes: Collection[Disk], snapshots: Collection[Disk],
              in_between: Collection[str], exports: Collection[str]) -> list[Problem]:
        problems = super().audit(volumes, snapshots, in_between, exports)
        there = self.exported().keys()
        problems += [Problem("volume-target", PREFIX + one, "has no row")
                     for one in sorted(there - set(exports) - set(in_between))]
        problems += [Problem("volume-target", PREFIX + one, "is missing")
                     for one in sorted(set(exports) - there)]
        return problems


def _name(volume_id: str) -> str:
    return f"{PREFIX}{uuid.UUID(volume_id)}"
