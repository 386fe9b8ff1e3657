# SPDX-License-Identifier: Apache-2.0
"""Tables of the image registry.

Rows are never removed: a deleted image keeps its row (``deleted``), so its id cannot come back
with other bytes behind it.  Times are naive UTC with microseconds.
"""

from __future__ import annotations

import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Names, tags and property names compare byte for byte on every database, as SQLite does.
TABLE_ARGS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4",
              "mysql_collate": "utf8mb4_bin"}
Microtime = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LongText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


class Base(DeclarativeBase):
    """Declarative base; `Base.metadata` is what the migrations must arrive at."""


class Image(Base):
    """One image, whatever became of it."""

    __tablename__ = "images"
    __table_args__ = (
        Index("images_owner_idx", "owner"),
        Index("images_status_idx", "status"),
        Index("images_created_at_idx", "created_at", "id"),
        TABLE_ARGS,
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(30))
    visibility: Mapped[str] = mapped_column(String(9))
    disk_format: Mapped[str | None] = mapped_column(String(20))
    container_format: Mapped[str | None] = mapped_column(String(20))
    size: Mapped[int | None] = mapped_column(BigInteger)
    virtual_size: Mapped[int | None] = mapped_column(BigInteger)
    checksum: Mapped[str | None] = mapped_column(String(32))
    os_hash_algo: Mapped[str | None] = mapped_column(String(64))
    os_hash_value: Mapped[str | None] = mapped_column(String(128))
    owner: Mapped[str | None] = mapped_column(String(255))
    min_disk: Mapped[int] = mapped_column(BigInteger, default=0)
    min_ram: Mapped[int] = mapped_column(BigInteger, default=0)
    protected: Mapped[bool] = mapped_column(Boolean, default=False)
    os_hidden: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime.datetime] = mapped_column(Microtime)
    updated_at: Mapped[datetime.datetime] = mapped_column(Microtime)
    deleted_at: Mapped[datetime.datetime | None] = mapped_column(Microtime)
    deleted: Mapped[bool] = mapped_column(Boolean, default=False)
    #: counts changes, so that a read-modify-write can tell whether it was first
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    #: the running upload: which attempt, by which process, alive when, how many bytes so far
    upload_token: Mapped[str | None] = mapped_column(String(36))
    upload_worker: Mapped[str | None] = mapped_column(String(255))
    upload_beat: Mapped[datetime.datetime | None] = mapped_column(Microtime)
    upload_bytes: Mapped[int | None] = mapped_column(BigInteger)


class ImageProperty(Base):
    """A custom property of an image."""

    __tablename__ = "image_properties"
    __table_args__ = (TABLE_ARGS,)

    image_id: Mapped[str] = mapped_column(ForeignKey("images.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    value: Mapped[str | None] = mapped_column(LongText)


class ImageTag(Base):
    """A tag of an image."""

    __tablename__ = "image_tags"
    __table_args__ = (TABLE_ARGS,)

    image_id: Mapped[str] = mapped_column(ForeignKey("images.id"), primary_key=True)
    value: Mapped[str] = mapped_column(String(255), primary_key=True)


class ImageMember(Base):
    """A project an image is shared with."""

    __tablename__ = "image_members"
    __table_args__ = (Index("image_members_member_idx", "member"), TABLE_ARGS)

    image_id: Mapped[str] = mapped_column(ForeignKey("images.id"), primary_key=True)
    member: Mapped[str] = mapped_column(String(255), primary_key=True)
    can_share: Mapped[bool] = mapped_column(Boolean, default=False)
    status: Mapped[str] = mapped_column(String(20), default="pending")
    created_at: Mapped[datetime.datetime] = mapped_column(Microtime)
    updated_at: Mapped[datetime.datetime] = mapped_column(Microtime)


class ImageLocation(Base):
    """Where a copy of an image's bytes lies: which store, and the store's own address for it.

    The address never holds credentials; those are in the store's configuration.  `crc32` is that
    of the whole content, to find rotten bytes cheaply when they are read; None for data that
    somebody else keeps.
    """

    __tablename__ = "image_locations"
    __table_args__ = (TABLE_ARGS,)

    image_id: Mapped[str] = mapped_column(ForeignKey("images.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    store: Mapped[str] = mapped_column(String(255))
    url: Mapped[str] = mapped_column(Text)
    crc32: Mapped[int | None] = mapped_column(BigInteger)
    #: JSON object of whoever set the location
    meta: Mapped[str | None] = mapped_column(LongText)
    created_at: Mapped[datetime.datetime] = mapped_column(Microtime)


class Task(Base):
    """Work that goes on after its request was answered: what, for whom, by which process."""

    __tablename__ = "tasks"
    __table_args__ = (Index("tasks_image_idx", "image_id"), Index("tasks_status_idx", "status"),
                      Index("tasks_owner_idx", "owner"), TABLE_ARGS)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    type: Mapped[str] = mapped_column(String(30))
    status: Mapped[str] = mapped_column(String(30))
    owner: Mapped[str | None] = mapped_column(String(255))
    user_id: Mapped[str | None] = mapped_column(String(255))
    request_id: Mapped[str | None] = mapped_column(String(64))
    image_id: Mapped[str | None] = mapped_column(String(36))
    input: Mapped[str | None] = mapped_column(LongText)
    result: Mapped[str | None] = mapped_column(LongText)
    message: Mapped[str] = mapped_column(Text)
    worker: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime.datetime] = mapped_column(Microtime)
    updated_at: Mapped[datetime.datetime] = mapped_column(Microtime)
    expires_at: Mapped[datetime.datetime | None] = mapped_column(Microtime)


class MetadefNamespace(Base):
    """A named collection of metadata definitions."""

    __tablename__ = "metadef_namespaces"
    __table_args__ = (TABLE_ARGS,)

    namespace: Mapped[str] = mapped_column(String(80), primary_key=True)
    display_name: Mapped[str | None] = mapped_column(String(80))
    description: Mapped[str | None] = mapped_column(Text)
    visibility: Mapped[str] = mapped_column(String(25))
    protected: Mapped[bool] = mapped_column(Boolean, default=False)
    owner: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime.datetime] = mapped_column(Microtime)
    updated_at: Mapped[datetime.datetime] = mapped_column(Microtime)


class MetadefResourceType(Base):
    """A kind of thing that metadata can be attached to."""

    __tablename__ = "metadef_resource_types"
    __table_args__ = (TABLE_ARGS,)

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    protected: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime.datetime] = mapped_column(Microtime)
    updated_at: Mapped[datetime.datetime] = mapped_column(Microtime)


class MetadefAssociation(Base):
    """That a namespace's definitions can be used on a resource type."""

    __tablename__ = "metadef_associations"
    __table_args__ = (TABLE_ARGS,)

    namespace: Mapped[str] = mapped_column(ForeignKey("metadef_namespaces.namespace"),
                                           primary_key=True)
    name: Mapped[str] = mapped_column(ForeignKey("metadef_resource_types.name"),
                                      primary_key=True)
    prefix: Mapped[str | None] = mapped_column(String(80))
    properties_target: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[datetime.datetime] = mapped_column(Microtime)
    updated_at: Mapped[datetime.datetime] = mapped_column(Microtime)


class MetadefItem(Base):
    """A property, an object or a tag of a namespace; `body` is its definition as JSON."""

    __tablename__ = "metadef_items"
    __table_args__ = (TABLE_ARGS,)

    namespace: Mapped[str] = mapped_column(ForeignKey("metadef_namespaces.namespace"),
                                           primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    body: Mapped[str] = mapped_column(LongText)
    created_at: Mapped[datetime.datetime] = mapped_column(Microtime)
    updated_at: Mapped[datetime.datetime] = mapped_column(Microtime)
