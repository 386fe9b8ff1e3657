# SPDX-License-Identifier: Apache-2.0
"""Volumes, their snapshots, attachments, types, hosts and exports."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# The types as they were in this release, whatever the models say today.
Moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
ExactName = sa.String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
TABLE: Any = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}


def upgrade() -> None:
    """Make the tables, those that others refer to first."""
    _types()
    _volumes()
    _snapshots()
    _attachments()
    _hosts()
    _exports()


def _text(name: str, length: int, nullable: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.String(length=length), nullable=nullable)


def _whole(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer(), nullable=False)


def _times() -> "list[sa.Column[Any]]":
    return [sa.Column("created_at", Moment, nullable=False),
            sa.Column("updated_at", Moment, nullable=True)]


def _types() -> None:
    op.create_table(
        "volume_types", _text("id", 36), sa.Column("name", ExactName, nullable=False),
        _text("description", 255, True), sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("extra_specs", sa.JSON(), nullable=False), *_times(),
        sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("name"), **TABLE)


def _volumes() -> None:
    op.create_table(
        "volumes", _text("id", 36), _text("project_id", 255), _text("user_id", 255),
        _text("name", 255, True), _text("description", 255, True), _whole("size_gb"),
        _whole("claimed_gb"), _text("status", 32), sa.Column("deadline", Moment, nullable=True),
        _text("transition_id", 36, True), _text("desired", 32), _text("fault", 255, True),
        _text("host", 255, True), _text("availability_zone", 255, True),
        _text("volume_type_id", 36, True), _text("format", 16, True),
        sa.Column("bootable", sa.Boolean(), nullable=False), _text("snapshot_id", 36, True),
        _text("source_volume_id", 36, True), _text("image_id", 36, True),
        sa.Column("image_metadata", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False), *_times(),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["volume_type_id"], ["volume_types.id"]), **TABLE)
    for name, columns in (
            ("volumes_project_created", ["project_id", "created_at", "id"]),
            ("volumes_created", ["created_at", "id"]),
            ("volumes_status_deadline", ["status", "deadline"]),
            ("ix_volumes_host", ["host"]), ("ix_volumes_volume_type_id", ["volume_type_id"]),
            ("ix_volumes_snapshot_id", ["snapshot_id"]),
            ("ix_volumes_source_volume_id", ["source_volume_id"])):
        op.create_index(name, "volumes", columns)


def _snapshots() -> None:
    op.create_table(
        "volume_snapshots", _text("id", 36), _text("project_id", 255), _text("user_id", 255),
        _text("volume_id", 36), _text("name", 255, True), _text("description", 255, True),
        _whole("size_gb"), _text("status", 32), sa.Column("deadline", Moment, nullable=True),
        _text("transition_id", 36, True), _text("fault", 255, True), _text("host", 255, True),
        _text("format", 16, True), sa.Column("bootable", sa.Boolean(), nullable=False),
        sa.Column("image_metadata", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False), *_times(),
        sa.PrimaryKeyConstraint("id"), **TABLE)
    for name, columns in (
            ("volume_snapshots_project_created", ["project_id", "created_at", "id"]),
            ("volume_snapshots_status_deadline", ["status", "deadline"]),
            ("ix_volume_snapshots_volume_id", ["volume_id"]),
            ("ix_volume_snapshots_host", ["host"])):
        op.create_index(name, "volume_snapshots", columns)


def _attachments() -> None:
    op.create_table(
        "volume_attachments", _text("id", 36), _text("volume_id", 36), _text("instance_id", 36),
        _text("project_id", 255), _text("device", 32),
        sa.Column("boot_index", sa.Integer(), nullable=True),
        sa.Column("delete_on_termination", sa.Boolean(), nullable=False),
        _text("host", 255, True), _text("status", 32),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("attached_at", Moment, nullable=True),
        sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("volume_id"),
        sa.UniqueConstraint("instance_id", "device"),
        sa.ForeignKeyConstraint(["volume_id"], ["volumes.id"]), **TABLE)
    op.create_index("ix_volume_attachments_host", "volume_attachments", ["host"])


def _hosts() -> None:
    op.create_table(
        "volume_hosts", _text("id", 36), _text("host", 255), _text("driver", 64),
        _text("backend_name", 255), _whole("total_gb"), _whole("free_gb"), _whole("reserved_gb"),
        sa.Column("allocation_ratio", sa.Double(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False), *_times(),
        sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("host"), **TABLE)


def _exports() -> None:
    op.create_table(
        "volume_exports", _text("volume_id", 36), _text("host", 255), _whole("target_number"),
        _text("initiator", 255, True), _text("address", 45, True), _text("auth_user", 64),
        _text("auth_secret", 64), sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("volume_id"), sa.UniqueConstraint("host", "target_number"),
        sa.ForeignKeyConstraint(["volume_id"], ["volumes.id"]), **TABLE)
