# SPDX-License-Identifier: Apache-2.0
"""The registry's tables and queries; imports nothing above it."""
