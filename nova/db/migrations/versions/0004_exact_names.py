# SPDX-License-Identifier: Apache-2.0
"""Names of flavors and key pairs that differ in case alone are two names on MariaDB as well."""

from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Compare the names byte by byte; the other databases always did."""
    if op.get_bind().dialect.name not in ("mysql", "mariadb"):
        return
    for table, column in (("flavors", "flavorid"), ("flavors", "name"), ("key_pairs", "name")):
        op.alter_column(
            table, column, existing_nullable=False,
            type_=mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"))
