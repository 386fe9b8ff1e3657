# SPDX-License-Identifier: Apache-2.0
"""Which EC2 id stands for which UUID."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLE: Any = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}


def upgrade() -> None:
    """Add the table; a thing gets its row when EC2 first shows it."""
    op.create_table(
        "ec2_ids",
        sa.Column("ec2_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("ec2_id"),
        sa.UniqueConstraint("kind", "uuid"), **TABLE)
