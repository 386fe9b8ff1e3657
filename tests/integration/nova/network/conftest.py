# SPDX-License-Identifier: Apache-2.0
"""Network namespaces for tests of the network worker."""

from netns import namespaces

__all__ = ["namespaces"]
