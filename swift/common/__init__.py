# SPDX-License-Identifier: Apache-2.0
"""What the four object storage servers share."""
