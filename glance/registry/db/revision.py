# SPDX-License-Identifier: Apache-2.0
"""The schema revision this release works with.

Kept apart from the migrations so that a daemon can check it without loading alembic (11 MB).
"""

HEAD = "002_locations_tasks_metadefs"
