# SPDX-License-Identifier: Apache-2.0
"""Drives the kernel complains of: found in its log, unmounted, left out of /etc/fstab.

A failing drive that stays mounted makes every request on it wait; one that is gone is worked
around, and what it held is replicated elsewhere.
"""
from __future__ import annotations

import datetime
import glob
import logging
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from swift.common import recon
from swift.common.conf import config_int, config_true
from swift.common.exceptions import ConfigError

# What the kernel says of disks: sd (SCSI, SATA, USB) by name; NVMe says its own.
PATTERNS = (r"\berror\b.*\b(sd[a-z]{1,2}\d?)\b", r"\b(sd[a-z]{1,2}\d?)\b.*\berror\b")
_BOOT = ("[    0.000000]", "BIOS-provided physical RAM map:", "KERNEL supported cpus:")
_TAIL = 1 << 16
_UMOUNT_SECONDS = 60


@dataclass(frozen=True)
class Drive:
    """A mounted device: where, and its kernel name."""

    mount_point: str
    name: str


def drives(device_dir: str, mounts: str = "/proc/mounts") -> list[Drive]:
    """What is mounted below `device_dir`."""
    found = []
    with open(mounts, encoding="utf-8", errors="surrogateescape") as source:
        for line in source:
            device, place = line.split()[:2]
            place = place.encode("latin-1", "surrogateescape").decode("unicode_escape")
            if place.startswith(device_dir.rstrip("/") + "/"):
                found.append(Drive(place, kernel_name(device)))
    return found


def kernel_name(device: str) -> str:
    """`sda1` for /dev/sda1, and for whatever link or device node else is mounted."""
    try:
        number = os.stat(device).st_rdev
        target = os.readlink(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    except OSError:
        target = os.path.realpath(device)
    return os.path.basename(target)


# -- the log ---------------------------------------------------------------

def lines_backward(path: str, encoding: str) -> Iterator[str]:
    """A file's lines, last first, without reading more of it than is asked for."""
    with open(path, "rb") as source:
        position = source.seek(0, os.SEEK_END)
        rest = b""
        while position:
            size = min(_TAIL, position)
            position -= size
            source.seek(position)
            rest, *lines = (source.read(size) + rest).split(b"\n")
            for line in reversed(lines):
                if line:
                    yield line.decode(encoding, "surrogateescape")
        if rest:
            yield rest.decode(encoding, "surrogateescape")


def moment_of(line: str, latest: datetime.datetime) -> datetime.datetime | None:
    """When a syslog line was written: ISO 8601, or month and day without a year.

    Of the years it could be it is the last in which it is not later than `latest`.
    """
    try:
        return datetime.datetime.fromisoformat(line[:19])
    except ValueError:
        pass
    words = " ".join(line.split()[:3])
    for year in range(latest.year + 1, latest.year - 9, -1):      # leap days want a leap year
        try:
            found = datetime.datetime.strptime(f"{year} {words}", "%Y %b %d %H:%M:%S")
        except ValueError:
            continue
        if found <= latest + datetime.timedelta(days=1):
            return found
    return None


def errors_in(paths: Iterable[str], patterns: Iterable[re.Pattern[str]], minutes: float,
              encoding: str = "utf-8", now: datetime.datetime | None = None) -> Counter[str]:
    """How many lines of the last `minutes` name each kernel device, newest file first.

    Lines of before the last boot do not count: names may have changed since.
    """
    now = now or datetime.datetime.now()
    since = now - datetime.timedelta(minutes=minutes)
    found: Counter[str] = Counter()
    for path in sorted(paths, key=os.path.getmtime, reverse=True):
        for line in lines_backward(path, encoding):
            if any(word in line for word in _BOOT):
                return found
            moment = moment_of(line, now)
            if moment is None:
                continue
            if moment < since:
                return found
            found.update({match.group(1) for pattern in patterns
                          for match in pattern.finditer(line)})
    return found


# -- what is done about it -------------------------------------------------

def comment_out(mount_point: str, fstab: Path) -> bool:
    """Turn the lines of a mount point in fstab into comments; whether there was one."""
    lines = fstab.read_text(errors="surrogateescape").splitlines(keepends=True)
    changed = ["#" + line if not line.startswith("#") and line.split()[1:2] == [mount_point]
               else line for line in lines]
    if changed == lines:
        return False
    replacement = fstab.with_name(fstab.name + ".new")
    with open(replacement, "w", errors="surrogateescape") as out:
        out.writelines(changed)
        out.flush()
        os.fchmod(out.fileno(), fstab.stat().st_mode)
        os.fsync(out.fileno())
    replacement.rename(fstab)
    return True


class DriveAudit:
    """One look at the kernel's log. Options: see etc/swift/drive-audit.conf-sample."""

    def __init__(self, conf: dict[str, str], logger: logging.Logger) -> None:
        self.conf, self.logger = conf, logger
        self.device_dir = conf.get("device_dir", "/srv/node")
        self.minutes = config_int(conf, "minutes", 60)
        self.limit = config_int(conf, "error_limit", 1, 1)
        self.log_files = conf.get("log_file_pattern", "/var/log/kern.*[!.][!g][!z]")
        encoding = conf.get("log_file_encoding", "auto")
        self.encoding = "utf-8" if encoding == "auto" else encoding
        self.unmount_failed = config_true(conf.get("unmount_failed_device", "true"))
        self.fstab = Path(conf.get("fstab", "/etc/fstab"))
        given = [value for name, value in sorted(conf.items())
                 if name.startswith("regex_pattern_")]
        try:
            self.patterns = [re.compile(text) for text in given or PATTERNS]
        except re.error as exc:
            raise ConfigError(f"regex_pattern: {exc.pattern!r}: {exc}") from exc
        if any(pattern.groups < 1 for pattern in self.patterns):
            raise ConfigError("regex_pattern: the device's name must be a (group)")

    def run(self) -> dict[str, int]:
        """Errors by mount point; drives with too many are unmounted, and monitors are told."""
        mounted = drives(self.device_dir)
        if not mounted:
            self.logger.error("ERROR nothing is mounted below %s", self.device_dir)
        errors = errors_in(glob.glob(self.log_files), self.patterns, self.minutes, self.encoding)
        failing = {drive.mount_point: errors[drive.name] for drive in mounted
                   if errors[drive.name] >= self.limit}
        unmounted = [place for place, count in failing.items() if self._give_up(place, count)]
        if unmounted and os.path.isdir("/run/systemd/system"):
            subprocess.run(["systemctl", "daemon-reload"], timeout=_UMOUNT_SECONDS, check=False)
        if not unmounted:
            self.logger.info("No drives were unmounted")
        self._tell(mounted, failing)
        return failing

    def _give_up(self, place: str, count: int) -> bool:
        if not self.unmount_failed:
            self.logger.info("%s has %d errors and stays mounted", place, count)
            return False
        self.logger.info("Unmounting %s with %d errors", place, count)
        done = subprocess.run(["umount", "-fl", place], capture_output=True, text=True,
                              timeout=_UMOUNT_SECONDS, check=False)
        if done.returncode:
            self.logger.error("ERROR unmounting %s: %s", place, done.stderr.strip())
            return False
        if self.fstab.exists() and comment_out(place, self.fstab):
            self.logger.info("Commented %s out of %s", place, self.fstab)
        return True

    def _tell(self, mounted: list[Drive], failing: dict[str, int]) -> None:
        folder = recon.cache_path(self.conf)
        if os.path.isdir(folder):
            recon.update(f"{folder}/drive.recon", {
                **{drive.mount_point: failing.get(drive.mount_point, 0) for drive in mounted},
                "drive_audit_errors": sum(failing.values()), "drive_audit_last": time.time()})
