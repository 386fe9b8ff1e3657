# SPDX-License-Identifier: Apache-2.0
"""Whose the files of guests are: root's, or QEMU's, and nobody else's to read."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """The user and group QEMU runs as; -1 changes nothing (an unprivileged test)."""

    uid: int = -1
    gid: int = -1

    def make_directory(self, path: Path) -> None:
        """Make a directory QEMU may pass through and only root may list."""
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, -1, self.gid)
        os.chmod(path, 0o710)

    def give(self, path: Path, mode: int) -> None:
        """Let QEMU's group have what ``mode`` says; the file stays root's."""
        os.chown(path, -1, self.gid)
        os.chmod(path, mode)

    def hand_over(self, path: Path) -> None:
        """Make a disk QEMU's own, to read and write."""
        os.chown(path, self.uid, self.gid)
        os.chmod(path, 0o600)

    def can_pass(self, path: Path) -> Path | None:
        """Return the first directory on the way to ``path`` closed to QEMU; None is good."""
        if self.uid in (-1, 0):
            return None
        for directory in reversed([path, *path.parents]):
            status = directory.stat()
            if status.st_uid == self.uid:
                wanted = 0o100
            elif status.st_gid == self.gid:
                wanted = 0o010
            else:
                wanted = 0o001
            if not status.st_mode & wanted:
                return directory
        return None
