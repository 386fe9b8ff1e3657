# SPDX-License-Identifier: Apache-2.0
"""Paste filters in front of the image APIs, one file per filter."""
