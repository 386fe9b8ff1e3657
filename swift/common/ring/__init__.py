# SPDX-License-Identifier: Apache-2.0
"""The ring: where each partition of the object store lives."""

from swift.common.ring.builder import RingBuilder
from swift.common.ring.format import RingData
from swift.common.ring.ring import Ring

__all__ = ['Ring', 'RingBuilder', 'RingData']
