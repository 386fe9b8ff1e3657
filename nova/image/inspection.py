# SPDX-License-Identifier: Apache-2.0
"""Are these bytes what they are said to be, and safe to give to QEMU?

:func:`inspect` reads headers with our own code only; no program that would believe them has run
by then.  Its :class:`Verdict` is the ticket :mod:`nova.linux.qemu_img` asks for.

The rule: the format comes from the image's record, the bytes must agree with it, and a format is
never guessed later.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from oslo_utils.imageutils import format_inspector

from nova.exception import ImageUnacceptable

# disk_format of the record -> what the bytes must be.  "gpt" is anything with 55 AA at the end of
# its first sector: a partition table, a boot sector, a Linux kernel.
_EXPECTED: dict[str, frozenset[str]] = {
    "raw": frozenset({"raw", "gpt"}),
    "ami": frozenset({"raw", "gpt"}),
    "aki": frozenset({"raw", "gpt"}),
    "ari": frozenset({"raw", "gpt"}),
    "iso": frozenset({"iso"}),
    "qcow2": frozenset({"qcow2"}),
}

_QCOW2_EXTENSION_END = 0
_QCOW2_EXTENSION_DATA_FILE = 0x44415441
_QCOW2_AUTOCLEAR_RAW_EXTERNAL = 1 << 1
_MAX_EXTENSIONS = 64


@dataclass(frozen=True)
class Verdict:
    """A file that was looked at: where it is, what it is, and how large a disk it makes."""

    path: Path
    format: str               # "raw" or "qcow2", QEMU's names
    virtual_size: int         # bytes


def inspect(path: Path, disk_format: str | None, image_id: str) -> Verdict:
    """Return the verdict on the file of an image, or raise ImageUnacceptable with the reason."""
    expected = _EXPECTED.get(disk_format or "")
    if expected is None:
        raise ImageUnacceptable(
            image_id=image_id, reason=f"disk format {disk_format} cannot be booted here")
    try:
        found = format_inspector.detect_file_format(str(path))
        if found is None or found.NAME not in expected:
            raise ImageUnacceptable(
                image_id=image_id,
                reason=f"it is declared {disk_format} and its content is "
                       f"{found.NAME if found else 'not to be recognised'}")
        if found.NAME == "qcow2":
            # The others are used as the plain bytes they are, whatever they look like.
            found.safety_check()
    except (format_inspector.ImageFormatError, format_inspector.SafetyCheckFailed,
            struct.error) as error:
        raise ImageUnacceptable(image_id=image_id, reason=_first_line(error)) from error
    if found.NAME == "qcow2":
        _check_qcow2(path, image_id)
        return Verdict(path, "qcow2", found.virtual_size)
    return Verdict(path, "raw", os.path.getsize(path))


def _first_line(error: Exception) -> str:
    failures = getattr(error, "failures", None)
    if failures:
        return ", ".join(sorted(str(failure) for failure in failures.values()))[:200]
    return (str(error).splitlines() or ["its header is malformed"])[0][:200]


def _check_qcow2(path: Path, image_id: str) -> None:
    """Refuse what the general inspector lets pass: ciphers, names of data files in extensions."""
    with path.open("rb") as image:
        head = image.read(65536)
    if len(head) < 72:
        raise ImageUnacceptable(image_id=image_id, reason="its qcow2 header is cut short")
    version, cluster_bits, cipher = struct.unpack_from(">4xI12xI8xI", head)
    if cipher:
        raise ImageUnacceptable(image_id=image_id, reason="encrypted qcow2 images cannot be booted")
    if not 9 <= cluster_bits <= 21:
        raise ImageUnacceptable(image_id=image_id, reason="its qcow2 cluster size is impossible")
    offset = 72
    if version >= 3:
        if len(head) < 104:
            raise ImageUnacceptable(image_id=image_id, reason="its qcow2 header is cut short")
        autoclear, _refcount_order, offset = struct.unpack_from(">QII", head, 88)
        if autoclear & _QCOW2_AUTOCLEAR_RAW_EXTERNAL:
            raise ImageUnacceptable(image_id=image_id, reason="it has an external data file")
    for _ in range(_MAX_EXTENSIONS):
        if offset + 8 > len(head):
            return
        kind, length = struct.unpack_from(">II", head, offset)
        if kind == _QCOW2_EXTENSION_END:
            return
        if kind == _QCOW2_EXTENSION_DATA_FILE:
            raise ImageUnacceptable(image_id=image_id, reason="it names an external data file")
        offset += 8 + (length + 7) // 8 * 8
    raise ImageUnacceptable(image_id=image_id, reason="its qcow2 header has no end")
