# SPDX-License-Identifier: Apache-2.0
"""Several locations in one store, with metadata; tasks; metadata definitions."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "002_locations_tasks_metadefs"
down_revision = "001_first_tables"

TABLE_ARGS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4",
                              "mysql_collate": "utf8mb4_bin"}


def _time() -> sa.types.TypeEngine:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def _long() -> sa.types.TypeEngine:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def _locations() -> None:
    """Locations are a list now: the key is the place in it, not the store."""
    op.create_table(
        "image_places",
        sa.Column("image_id", sa.String(36), sa.ForeignKey("images.id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("store", sa.String(255), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("crc32", sa.BigInteger),
        sa.Column("meta", _long()),
        sa.Column("created_at", _time(), nullable=False),
        **TABLE_ARGS)
    op.execute(sa.text(
        "INSERT INTO image_places (image_id, position, store, url, crc32, created_at) "
        "SELECT image_id, ROW_NUMBER() OVER (PARTITION BY image_id ORDER BY created_at, store) - 1,"
        " store, url, crc32, created_at FROM image_locations"))
    op.drop_table("image_locations")
    op.rename_table("image_places", "image_locations")


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("type", sa.String(30), nullable=False),
        sa.Column("status", sa.String(30), nullable=False),
        sa.Column("owner", sa.String(255)),
        sa.Column("user_id", sa.String(255)),
        sa.Column("request_id", sa.String(64)),
        sa.Column("image_id", sa.String(36)),
        sa.Column("input", _long()),
        sa.Column("result", _long()),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("worker", sa.String(255)),
        sa.Column("created_at", _time(), nullable=False),
        sa.Column("updated_at", _time(), nullable=False),
        sa.Column("expires_at", _time()),
        **TABLE_ARGS)
    op.create_index("tasks_image_idx", "tasks", ["image_id"])
    op.create_index("tasks_status_idx", "tasks", ["status"])
    op.create_index("tasks_owner_idx", "tasks", ["owner"])


def _times() -> list[sa.Column[Any]]:
    return [sa.Column("created_at", _time(), nullable=False),
            sa.Column("updated_at", _time(), nullable=False)]


def _metadefs() -> None:
    op.create_table(
        "metadef_namespaces",
        sa.Column("namespace", sa.String(80), primary_key=True),
        sa.Column("display_name", sa.String(80)),
        sa.Column("description", sa.Text),
        sa.Column("visibility", sa.String(25), nullable=False),
        sa.Column("protected", sa.Boolean, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        *_times(), **TABLE_ARGS)
    op.create_table(
        "metadef_resource_types",
        sa.Column("name", sa.String(80), primary_key=True),
        sa.Column("protected", sa.Boolean, nullable=False),
        *_times(), **TABLE_ARGS)
    op.create_table(
        "metadef_associations",
        sa.Column("namespace", sa.String(80), sa.ForeignKey("metadef_namespaces.namespace"),
                  primary_key=True),
        sa.Column("name", sa.String(80), sa.ForeignKey("metadef_resource_types.name"),
                  primary_key=True),
        sa.Column("prefix", sa.String(80)),
        sa.Column("properties_target", sa.String(80)),
        *_times(), **TABLE_ARGS)
    op.create_table(
        "metadef_items",
        sa.Column("namespace", sa.String(80), sa.ForeignKey("metadef_namespaces.namespace"),
                  primary_key=True),
        sa.Column("kind", sa.String(10), primary_key=True),
        sa.Column("name", sa.String(80), primary_key=True),
        sa.Column("body", _long(), nullable=False),
        *_times(), **TABLE_ARGS)


def upgrade() -> None:
    """Rebuild the locations; create what is new."""
    _locations()
    _tasks()
    _metadefs()
