# SPDX-License-Identifier: Apache-2.0
"""The guest image, made once and kept: what tools/stack registers and what the tests boot.

    folder = guest_image(Path("/var/cache/snakestack"))
    folder / "disk.qcow2", folder / "vmlinuz", folder / "initrd.gz", folder / "root.ext4"

Standard library only.
"""
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .packages import CHECKOUT, InstallError

BUILD_TIMEOUT = 300
FILES = ("vmlinuz", "initrd.gz", "root.ext4", "disk.qcow2")


def recipe_digest() -> str:
    """What the image is made from, so that a changed recipe makes a new image."""
    sha = hashlib.sha256((CHECKOUT / "tools/make-guest-image").read_bytes())
    for path in sorted((CHECKOUT / "tools/guest").iterdir()):
        sha.update(path.name.encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()[:12]


def guest_image(cache: Path) -> Path:
    """The folder with the image files under `cache`, made on first use.

    Safe to call from several processes at once. A folder appears under its final name only when
    it is complete.

    :raises InstallError: the image cannot be made
    """
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"guest-{recipe_digest()}"
    with open(cache / ".guest.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        done = subprocess.run([sys.executable, str(CHECKOUT / "tools/make-guest-image"),
                               str(partial)], capture_output=True, text=True,
                              timeout=BUILD_TIMEOUT, check=False)
        if done.returncode:
            raise InstallError(done.stderr.strip())
        os.rename(partial, folder)
    return folder
