# SPDX-License-Identifier: Apache-2.0
"""Names of a guest's disks: ``vda`` to ``vdz``, each given once.

The root disk is vda, whatever it is made of; then come the local disks of the flavor, then the
volumes.  A guest need not see the names as given: it finds a volume by its serial number.
"""

import re
from collections.abc import Collection
from string import ascii_lowercase

from nova.exception import BadRequest, Conflict

ROOT_DEVICE = "vda"
DEVICES = tuple(f"vd{letter}" for letter in ascii_lowercase)
# What users write: /dev/vdb, /dev/sdb, xvdb.  The letter is what counts.
_WRITTEN = re.compile(r"(?:/dev/)?(?:vd|sd|xvd|hd)([a-z])\Z")


def local_devices(ephemeral_gb: int, swap_mb: int) -> dict[str, str]:
    """Return the names of a guest's local disks beside the root, ``ephemeral`` and ``swap``."""
    wanted = [name for name, size in (("ephemeral", ephemeral_gb), ("swap", swap_mb)) if size]
    return dict(zip(wanted, DEVICES[1:], strict=False))


def parse(name: str) -> str:
    """Return the device a user's name means; BadRequest for what is no name of a disk."""
    found = _WRITTEN.fullmatch(name)
    if found is None:
        raise BadRequest(f"device: {name[:64]!r} is no name of a disk, such as /dev/vdb.")
    return f"vd{found[1]}"


def choose(wanted: str | None, taken: Collection[str]) -> str:
    """Return the device a new volume gets: the wanted one, or the first that is free.

    Conflict when it is taken, or all are.
    """
    if wanted is not None:
        if wanted in taken:
            raise Conflict(f"device: /dev/{wanted} is in use.")
        return wanted
    free = [device for device in DEVICES if device not in taken and device != ROOT_DEVICE]
    if not free:
        raise Conflict(f"All {len(DEVICES)} disks a server can have are in use.")
    return free[0]
