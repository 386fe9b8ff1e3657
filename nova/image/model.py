# SPDX-License-Identifier: Apache-2.0
"""What compute knows about an image: plain values, no service behind them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Image:
    """One image as the image service records it.

    ``size`` is in bytes, ``min_disk`` in GiB, ``min_ram`` in MiB.  ``hash_algorithm`` and
    ``hash_value`` are the strong hash of the bytes (hex), ``checksum`` their MD5; an image that is
    not ``active`` has neither.  ``properties`` are the custom ones, text to text.
    """

    id: str
    name: str = ""
    status: str = "active"
    size: int | None = None
    disk_format: str | None = None
    container_format: str | None = None
    hash_algorithm: str | None = None
    hash_value: str | None = None
    checksum: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    owner: str | None = None
    visibility: str = "private"
    protected: bool = False
    tags: tuple[str, ...] = ()
    created_at: str | None = None
    updated_at: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kernel_id(self) -> str | None:
        """The kernel this image asks for; the old word ``nokernel`` means none."""
        value = self.properties.get("kernel_id")
        return value if value and value != "nokernel" else None

    @property
    def ramdisk_id(self) -> str | None:
        """The ramdisk this image asks for."""
        return self.properties.get("ramdisk_id") or None


class ImageSource(Protocol):
    """Where a hypervisor driver gets the bytes of an image from."""

    def download(self, image_id: str) -> Iterator[bytes]:
        """Yield the bytes in order.

        ImageNotFound when there is no such image, ImageServiceError when the service cannot be
        reached or breaks off: the bytes so far are then worth nothing.
        """
        ...
