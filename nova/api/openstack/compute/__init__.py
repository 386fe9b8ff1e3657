# SPDX-License-Identifier: Apache-2.0
"""The Compute API: one file per resource, put together in :mod:`.app`."""
