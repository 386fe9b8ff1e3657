# SPDX-License-Identifier: Apache-2.0
"""The image service: a registry of images, and stores that keep their bytes."""
