# SPDX-License-Identifier: Apache-2.0
"""Volume API v3."""
