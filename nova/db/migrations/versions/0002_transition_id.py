# SPDX-License-Identifier: Apache-2.0
"""The mark of an instance's last transition."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add ``instances.transition_id``; empty until the next transition."""
    op.add_column("instances", sa.Column("transition_id", sa.String(length=36), nullable=True))
