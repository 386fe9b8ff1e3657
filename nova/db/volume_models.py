# SPDX-License-Identifier: Apache-2.0
"""The tables of volumes, their snapshots, attachments, types, hosts and exports.

Words and habits are those of :mod:`nova.db.models`.
"""

import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from nova.db.models import Base, ExactName, Moment, Timestamps, new_id, table_args, utcnow


class VolumeType(Timestamps, Base):
    """A kind of volume; ``extra_specs`` say which hosts may have it."""

    __tablename__ = "volume_types"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(ExactName, unique=True)
    description: Mapped[str | None] = mapped_column(String(255))
    is_public: Mapped[bool] = mapped_column(Boolean, default=True)
    extra_specs: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)


class Volume(Timestamps, Base):
    """A volume.

    ``status`` is written by transitions alone (:mod:`nova.volume.states`), ``desired`` by the API.
    ``deaths`` counts the processes that ended while they worked on it since its status changed.
    ``format`` is what the bytes are on disk, written by the worker that made them and never read
    off them.  ``claimed_gb`` is what it may come to take: its size, or the one it is extended to.
    ``request`` holds what the work in hand needs beyond the columns - refusals of hosts so far,
    the request's id - so that it can be taken up again from the row alone.  ``snapshot_id``,
    ``source_volume_id`` and ``image_id`` say what it was copied from, which may be gone since.
    """

    __tablename__ = "volumes"
    __table_args__ = table_args(
        Index("volumes_project_created", "project_id", "created_at", "id"),
        Index("volumes_created", "created_at", "id"),
        Index("volumes_status_deadline", "status", "deadline"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(255))
    user_id: Mapped[str] = mapped_column(String(255))
    name: Mapped[str | None] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(String(255))
    size_gb: Mapped[int] = mapped_column(Integer)
    claimed_gb: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(32))
    deadline: Mapped[datetime.datetime | None] = mapped_column(Moment)
    transition_id: Mapped[str | None] = mapped_column(String(36))
    deaths: Mapped[int] = mapped_column(Integer, default=0)
    desired: Mapped[str] = mapped_column(String(32))
    fault: Mapped[str | None] = mapped_column(String(255))
    host: Mapped[str | None] = mapped_column(String(255), index=True)
    availability_zone: Mapped[str | None] = mapped_column(String(255))
    volume_type_id: Mapped[str | None] = mapped_column(ForeignKey("volume_types.id"), index=True)
    format: Mapped[str | None] = mapped_column(String(16))
    bootable: Mapped[bool] = mapped_column(Boolean, default=False)
    snapshot_id: Mapped[str | None] = mapped_column(String(36), index=True)
    source_volume_id: Mapped[str | None] = mapped_column(String(36), index=True)
    image_id: Mapped[str | None] = mapped_column(String(36))
    image_metadata: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata", JSON, default=dict)
    request: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class VolumeSnapshot(Timestamps, Base):
    """A volume as it was at one moment, complete in itself: the volume may go before it."""

    __tablename__ = "volume_snapshots"
    __table_args__ = table_args(
        Index("volume_snapshots_project_created", "project_id", "created_at", "id"),
        Index("volume_snapshots_status_deadline", "status", "deadline"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(255))
    user_id: Mapped[str] = mapped_column(String(255))
    volume_id: Mapped[str] = mapped_column(String(36), index=True)
    name: Mapped[str | None] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(String(255))
    size_gb: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(32))
    deadline: Mapped[datetime.datetime | None] = mapped_column(Moment)
    transition_id: Mapped[str | None] = mapped_column(String(36))
    deaths: Mapped[int] = mapped_column(Integer, default=0)
    fault: Mapped[str | None] = mapped_column(String(255))
    host: Mapped[str | None] = mapped_column(String(255), index=True)
    format: Mapped[str | None] = mapped_column(String(16))
    bootable: Mapped[bool] = mapped_column(Boolean, default=False)
    image_metadata: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata", JSON, default=dict)


class VolumeAttachment(Base):
    """A volume in an instance, or on its way there or back.  A volume has at most one.

    How the volume is reached is not in here.
    """

    __tablename__ = "volume_attachments"
    __table_args__ = table_args(UniqueConstraint("instance_id", "device"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    volume_id: Mapped[str] = mapped_column(ForeignKey("volumes.id"), unique=True)
    instance_id: Mapped[str] = mapped_column(String(36))
    project_id: Mapped[str] = mapped_column(String(255))
    device: Mapped[str] = mapped_column(String(32))
    boot_index: Mapped[int | None] = mapped_column(Integer)
    delete_on_termination: Mapped[bool] = mapped_column(Boolean, default=False)
    host: Mapped[str | None] = mapped_column(String(255), index=True)
    status: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime.datetime] = mapped_column(Moment, default=utcnow)
    attached_at: Mapped[datetime.datetime | None] = mapped_column(Moment)


class VolumeHost(Timestamps, Base):
    """What a volume worker has room for.  Free is this less what the rows on it may grow to.

    ``generation`` is written by every claim first of all, as that of a compute node is.
    """

    __tablename__ = "volume_hosts"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    host: Mapped[str] = mapped_column(String(255), unique=True)
    driver: Mapped[str] = mapped_column(String(64))
    backend_name: Mapped[str] = mapped_column(String(255))
    total_gb: Mapped[int] = mapped_column(Integer)
    free_gb: Mapped[int] = mapped_column(Integer)
    reserved_gb: Mapped[int] = mapped_column(Integer, default=0)
    allocation_ratio: Mapped[float] = mapped_column(default=1.0)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)


class VolumeExport(Base):
    """That a volume can be reached over the network, by whom and with which secret.

    Only the worker of ``host`` reads this table: no API shows any of it.  The row comes before
    the target and goes after it.
    """

    __tablename__ = "volume_exports"
    __table_args__ = table_args(UniqueConstraint("host", "target_number"))

    volume_id: Mapped[str] = mapped_column(ForeignKey("volumes.id"), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    target_number: Mapped[int] = mapped_column(Integer)
    initiator: Mapped[str | None] = mapped_column(String(255))
    address: Mapped[str | None] = mapped_column(String(45))
    auth_user: Mapped[str] = mapped_column(String(64))
    auth_secret: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime.datetime] = mapped_column(Moment, default=utcnow)

    def __repr__(self) -> str:
        return f"<VolumeExport of {self.volume_id}>"
