# SPDX-License-Identifier: Apache-2.0
"""VERSION: the release of OpenStack Swift whose API, disks and wire these are."""

VERSION = '2.38.0'
