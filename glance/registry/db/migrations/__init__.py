# SPDX-License-Identifier: Apache-2.0
"""Alembic environment of the registry's database."""
