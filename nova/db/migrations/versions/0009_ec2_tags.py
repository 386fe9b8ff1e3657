# SPDX-License-Identifier: Apache-2.0
"""Tags of what has no metadata: security groups, floating addresses and key pairs."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add ``tags`` to the three; NULL is none."""
    for table in ("security_groups", "floating_ips", "key_pairs"):
        op.add_column(table, sa.Column("tags", sa.JSON(), nullable=True))
