# SPDX-License-Identifier: Apache-2.0
"""The OpenStack APIs of nova: what they share here, one package per API below."""
