# SPDX-License-Identifier: Apache-2.0
"""How many processes ended while they worked on a volume or a snapshot."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add ``deaths`` to both; nobody has died of what is there."""
    for table in ("volumes", "volume_snapshots"):
        op.add_column(table, sa.Column("deaths", sa.Integer(), nullable=False,
                                       server_default="0"))
