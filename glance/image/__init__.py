# SPDX-License-Identifier: Apache-2.0
"""What an image is and what may happen to it, whatever API asked for it."""
