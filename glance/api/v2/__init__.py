# SPDX-License-Identifier: Apache-2.0
"""Image API v2: JSON documents with schemas, bytes under ``/file``."""
