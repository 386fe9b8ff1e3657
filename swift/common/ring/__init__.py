# SPDX-License-Identifier: Apache-2.0
"""The ring: where each partition of the object store lives."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swift.common.ring.builder import RingBuilder
from swift.common.ring.format import RingData

if TYPE_CHECKING:
    from swift.common.ring.ring import Ring

__all__ = ['Ring', 'RingBuilder', 'RingData']


def __getattr__(name: str) -> Any:
    """Ring when it is asked for: the builder's tools would wait for all that servers import."""
    if name != 'Ring':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from swift.common.ring.ring import Ring
    return Ring
