# SPDX-License-Identifier: Apache-2.0
"""The steps of actions; and the end of actions whose worker died before it wrote it down."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLE: Any = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Add the table.  From now on an action ends in the transaction that ends its task."""
    op.create_table(
        "instance_action_events",
        sa.Column("id", RowNumber, nullable=False),
        sa.Column("action_id", RowNumber, nullable=False),
        sa.Column("instance_id", sa.String(length=36), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("finished_at", Moment, nullable=True),
        sa.Column("result", sa.String(length=16), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["action_id"], ["instance_actions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"), **TABLE)
    op.create_index(op.f("ix_instance_action_events_action_id"), "instance_action_events",
                    ["action_id"], unique=False)
    op.create_index("instance_action_events_open", "instance_action_events",
                    ["instance_id", "finished_at"], unique=False)
    op.execute("UPDATE instance_actions SET finished_at = started_at WHERE finished_at IS NULL "
               "AND instance_id NOT IN (SELECT id FROM instances WHERE task_state IS NOT NULL)")
