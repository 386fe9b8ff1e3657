# SPDX-License-Identifier: Apache-2.0
"""What an import is to do, in the words in which it travels in the input of its task."""

from __future__ import annotations

import dataclasses

from glance.registry.types import Task

DIRECT, DOWNLOAD, COPY = "glance-direct", "web-download", "copy-image"
#: from the image service of another region
REGION = "glance-download"
METHODS = (DIRECT, DOWNLOAD, COPY, REGION)
#: orders of the service itself: look at data that lies elsewhere; remove one of several copies
LOOK, REMOVE = "location", "remove-copy"
#: properties that tell of an import; only the service writes them
TO_STORES, FAILED = "os_glance_importing_to_stores", "os_glance_failed_import"


@dataclasses.dataclass(frozen=True)
class Order:
    """What one import is to do.

    :ivar stores: names of the stores the data goes to.
    :ivar uri: address of the data; in another region, the id of the image there.
    :ivar all_must_succeed: whether one store that fails fails the import.
    """

    method: str
    stores: tuple[str, ...]
    uri: str | None = None
    all_must_succeed: bool = True
    #: ``os_hash_algo`` and ``os_hash_value`` that data which lies elsewhere must have
    expected: dict[str, str] | None = None

    @classmethod
    def of(cls, task: Task) -> Order:
        """The order in a task's input."""
        given = task["input"]["order"]
        return cls(given["method"], tuple(given["stores"]), given["uri"],
                   given["all_must_succeed"], given["expected"])
