# SPDX-License-Identifier: Apache-2.0
"""Stateless WSGI front ends of the image service."""
