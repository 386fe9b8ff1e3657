# SPDX-License-Identifier: Apache-2.0
"""The import plug-in ``image_conversion``: disks in the one format a site wants them in.

What is converted was inspected first and is of the declared format, so no qemu-img ever sees a
file that names others.  It runs with limits on memory and time, and dies with this process.
"""

from __future__ import annotations

import logging
import pathlib
import subprocess
import time
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from glance import concurrency, exceptions
from glance.image.formats import Inspector
from glance.image.upload import BEAT_INTERVAL
from glance.registry.types import Image
from glance.store.filesystem import FilesystemStore

LOG = logging.getLogger(__name__)

PLUGIN = "image_conversion"
GROUP = "image_conversion"
OPTIONS = [
    cfg.StrOpt("output_format", default="raw", choices=["raw", "qcow2", "vmdk"],
               help="Disk format that imported images are converted to."),
    cfg.IntOpt("conversion_timeout", default=3600, min=1,
               help="Seconds after which a conversion is given up."),
    cfg.IntOpt("conversion_memory", default=1024, min=256,
               help="MiB of address space that qemu-img gets."),
]
#: formats that are converted; an iso stays one, for that is what it is booted as
SOURCES = ("raw", "qcow2", "vhd", "vhdx", "vmdk", "vdi")
#: our names of formats where qemu-img has others
_QEMU = {"vhd": "vpc"}
MIB = 1 << 20


class Converter:
    """Turns disks into `output_format`, with qemu-img.

    :param timeout: seconds of time, and of CPU time, that one conversion gets.
    :param memory: bytes of address space.
    """

    def __init__(self, output_format: str, *, timeout: int = 3600, memory: int = 1 << 30) -> None:
        self.output_format = output_format
        self._timeout = timeout
        self._memory = memory

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Converter:
        """The converter that ``[image_conversion]`` describes."""
        conf.register_opts(OPTIONS, GROUP)
        group = conf[GROUP]
        return cls(group.output_format, timeout=group.conversion_timeout,
                   memory=group.conversion_memory * MIB)

    def wants(self, image: Image) -> bool:
        """Whether an image is to be converted."""
        return (image["container_format"] == "bare" and image["disk_format"] in SOURCES
                and image["disk_format"] != self.output_format)

    def convert(self, image: Image, source: pathlib.Path, target: FilesystemStore,
                beat: Callable[[int], None]) -> None:
        """Put what `source` holds into `target`, in the other format.

        :param beat: told the bytes written every few seconds; may raise to stop it.
        :raises UnsupportedMediaType: the data is not of the declared format, or unsafe.
        :raises Invalid: qemu-img cannot read it, or not within its limits.
        """
        inspect(image, source)
        target.discard(image["id"])

        def make(path: pathlib.Path) -> None:
            self._run(["convert", "-q", "-f", _qemu(image["disk_format"]),
                       "-O", _qemu(self.output_format), str(source), str(path)], path, beat)

        target.adopt(image["id"], make)

    def _run(self, arguments: list[str], written: pathlib.Path,
             beat: Callable[[int], None]) -> None:
        command = ["prlimit", f"--as={self._memory}", f"--cpu={self._timeout}", "--",
                   "setpriv", "--pdeathsig", "KILL", "--", "qemu-img", *arguments]
        deadline = time.monotonic() + self._timeout
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, env={
                                  "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                                  "LC_ALL": "C"}) as process:
            try:
                errors = _watch(process, deadline, lambda: beat(_size(written)))
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            LOG.warning("qemu-img ended with %d: %s", process.returncode,
                        errors.decode(errors="replace").strip()[-300:])
            raise exceptions.Invalid("disk_format: the data cannot be converted")


def _watch(process: Any, deadline: float, beat: Callable[[], None]) -> bytes:
    """Wait for the end of a process; what it wrote to its standard error."""
    while True:
        try:
            return bytes(process.communicate(timeout=BEAT_INTERVAL)[1])
        except subprocess.TimeoutExpired:
            if time.monotonic() >= deadline:
                raise exceptions.Invalid("disk_format: the conversion takes too long") from None
            beat()


def inspect(image: Image, source: pathlib.Path) -> None:
    """Raise `UnsupportedMediaType` unless a file is of the declared format and harmless."""
    inspector = Inspector(image["disk_format"], image["container_format"])
    with open(source, "rb") as data:
        while chunk := concurrency.blocking(data.read, MIB):
            concurrency.blocking(inspector.eat, chunk)
    inspector.finish()


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _qemu(name: str) -> str:
    return _QEMU.get(name, name)
