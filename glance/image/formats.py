# SPDX-License-Identifier: Apache-2.0
"""Are these bytes what they are said to be, and are they harmless?

Every upload passes through one `Inspector` while it streams.  It refuses data whose format is not
the declared one, and formats that could make a hypervisor open other files: a qcow2 with a backing
or external data file, a vmdk that names extents elsewhere.
"""

from __future__ import annotations

import logging
import queue
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from glance import exceptions

if TYPE_CHECKING:
    from oslo_utils.imageutils import format_inspector

LOG = logging.getLogger(__name__)

# Content that is a plain disk, kernel or file system to the hypervisor: nothing in it is followed.
_PLAIN = frozenset({"raw", "gpt", "iso"})
#: declared disk format -> formats the content may turn out to be
ACCEPTED: dict[str, frozenset[str]] = {
    "raw": _PLAIN, "ami": _PLAIN, "ari": _PLAIN, "aki": _PLAIN,
    "iso": frozenset({"iso", "gpt"}),
    "qcow2": frozenset({"qcow2"}), "vhd": frozenset({"vhd"}), "vhdx": frozenset({"vhdx"}),
    "vmdk": frozenset({"vmdk"}), "vdi": frozenset({"vdi"}), "ploop": frozenset({"ploop"}),
}
# A boot sector without a sane partition table is what a bootable file system looks like, so the
# partition table check is not made.
_UNCHECKED = frozenset({"raw", "gpt"})
# A file that begins with this is nothing but a list of other files.
_VMDK_DESCRIPTOR = b"# disk descriptorfile"
# oslo.utils has no inspector for ploop; its header names no other file.
_PLOOP = (b"WithoutFreeSpace", b"WithouFreSpacExt")


GROUP = "image_format"
OPTIONS = [
    cfg.BoolOpt("require_image_format_match", default=True,
                help="Refuse data that is not of the declared disk format.  What could make a "
                     "hypervisor open other files is refused in any case."),
]


class Inspector:
    """Looks at an image's bytes as they pass; not thread safe.

    :param disk_format: what the data is declared to be.
    :param container_format: only ``bare`` and the Amazon formats hold the disk as it is; data in
        another container is not looked into.
    :param match: refuse data of another format than the declared one, however harmless.
    """

    def __init__(self, disk_format: str, container_format: str, *, match: bool = True) -> None:
        self.match = match
        self.disk_format = disk_format
        self.opaque = container_format not in ("bare", "ami", "ari", "aki")
        self._feed: queue.SimpleQueue[bytes | memoryview] = queue.SimpleQueue()
        self._wrapper: Any = None
        self._start = b""
        if not self.opaque:
            # 8 MB with its dependencies: loaded by the first upload, not by an idle daemon.
            from oslo_utils.imageutils import format_inspector

            self._wrapper = format_inspector.InspectWrapper(_Source(self._feed))  # type: ignore[arg-type]

    def eat(self, chunk: bytes | memoryview) -> None:
        """Look at the next piece, and keep nothing of it.

        :raises UnsupportedMediaType: as soon as it is hopeless.
        """
        if self._wrapper is None or not chunk:
            return
        if len(self._start) < len(_VMDK_DESCRIPTOR):
            self._start += chunk[:len(_VMDK_DESCRIPTOR)]
        self._feed.put(chunk)
        next(self._wrapper)

    def finish(self) -> int | None:
        """All bytes have passed: the verdict.

        :returns: the size of the disk as a guest sees it, or None where the format does not say.
        :raises UnsupportedMediaType: naming the declared and the found format, or the danger.
        """
        if self._wrapper is None:
            return None
        self._wrapper.close()
        found = self._found()
        names = sorted(str(inspector) for inspector in found)
        if self._start.startswith(_PLOOP):
            names = ["ploop"]
        if self._start.lower().startswith(_VMDK_DESCRIPTOR):
            raise exceptions.UnsupportedMediaType(
                "disk_format: this is a vmdk descriptor, which names other files, not a disk")
        if self.match and not set(names) <= ACCEPTED[self.disk_format]:
            raise exceptions.UnsupportedMediaType(
                f"disk_format: declared as {self.disk_format}, but the data is "
                f"{' and '.join(names)}")
        for inspector in found:
            if str(inspector) not in _UNCHECKED:
                self._check_safety(inspector)
        if names != [self.disk_format] or names == ["ploop"]:
            return None
        return self._virtual_size(found[0])

    def _found(self) -> list[format_inspector.FileInspector]:
        from oslo_utils.imageutils import format_inspector

        try:
            return list(self._wrapper.formats or ())
        except format_inspector.ImageFormatError as error:
            raise exceptions.UnsupportedMediaType(f"disk_format: {error}") from None

    def _check_safety(self, inspector: format_inspector.FileInspector) -> None:
        from oslo_utils.imageutils import format_inspector

        try:
            inspector.safety_check()
        except format_inspector.SafetyCheckFailed as error:
            raise exceptions.UnsupportedMediaType(
                f"disk_format: this {inspector} is refused as unsafe: "
                f"{', '.join(sorted(error.failures))}") from None
        except format_inspector.ImageFormatError as error:
            raise exceptions.UnsupportedMediaType(
                f"disk_format: this {inspector} cannot be checked: {error}") from None

    def _virtual_size(self, inspector: format_inspector.FileInspector) -> int | None:
        try:
            size = inspector.virtual_size
        except Exception as error:  # a parser of foreign bytes: whatever it trips over, refuse
            LOG.info("no virtual size in a %s: %r", inspector, error)
            raise exceptions.UnsupportedMediaType(
                f"disk_format: the header of this {inspector} is damaged") from None
        return size if 0 < size < 1 << 63 else None


class _Source:
    """The iterator an InspectWrapper pulls from, fed one chunk at a time."""

    def __init__(self, feed: queue.SimpleQueue[bytes]) -> None:
        self._feed = feed

    def __next__(self) -> bytes:
        return self._feed.get_nowait()
