# SPDX-License-Identifier: Apache-2.0
"""Daemons and tools of the image service, one file per binary."""
