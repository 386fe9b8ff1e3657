# SPDX-License-Identifier: Apache-2.0
"""Image API v1: image metadata in ``x-image-meta-*`` headers, bytes in the body."""
