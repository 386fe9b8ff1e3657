# SPDX-License-Identifier: Apache-2.0
"""What crosses rooms about volumes: plain values, no row and no service behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Connector:
    """Who wants to reach a volume: the compute worker's host, and how its initiator looks.

    ``initiator`` is the iSCSI name the host's initiator will log in with, ``ip`` the address it
    will come from.  What is None is not checked by the target.
    """

    host: str
    initiator: str | None = None
    ip: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what travels in a message."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Connector":
        """Rebuild what :meth:`to_dict` gave; TypeError for anything else."""
        return cls(**values)


@dataclass(frozen=True)
class VolumeConnection:
    """What a hypervisor needs to reach a volume.

    ``driver`` is ``iscsi`` (``portal`` "address:port", ``target`` an iSCSI name, ``lun``, CHAP
    ``auth_user`` and ``auth_secret``) or ``file`` (``path`` on the same host; the file is root's,
    mode 0600, in a directory others may pass: whoever gives it to QEMU hands it over).  ``format``
    is what the disk's bytes are, ``raw`` or ``qcow2``: our database says so, nobody looks.  Behind
    iSCSI it is always ``raw``.

    The secret is not shown by ``repr`` and belongs in no row, log, fault or command line.
    """

    volume_id: str
    driver: str
    size_gb: int
    format: str = "raw"
    path: str | None = None
    portal: str | None = None
    target: str | None = None
    lun: int | None = None
    auth_user: str | None = None
    auth_secret: str | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what travels in a reply; it has the secret in it."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "VolumeConnection":
        """Rebuild what :meth:`to_dict` gave; TypeError for anything else."""
        return cls(**values)
