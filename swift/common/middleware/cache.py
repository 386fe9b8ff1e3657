# SPDX-License-Identifier: Apache-2.0
"""The cache filter under its section's name."""

from swift.common.middleware.memcache import CacheFilter, filter_factory

__all__ = ['CacheFilter', 'filter_factory']
