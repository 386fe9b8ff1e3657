# SPDX-License-Identifier: Apache-2.0
"""Entry points: one file per program.  eventlet is patched there before anything is imported."""
