# SPDX-License-Identifier: Apache-2.0
"""The tables of nova, as typed SQLAlchemy models.

Ids that leave the process are UUIDs in text form, times are naive UTC, deletes are real deletes
(what happened stays in ``instance_actions``).  Usage is never stored: it is counted from rows.
A change here needs an alembic migration beside it; a test compares the two.
"""

import datetime
import uuid
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Microseconds, so that "ORDER BY created_at" is the order of arrival on MariaDB too.
Moment = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
# Names that differ in case alone are two, on MariaDB too.
ExactName = String(255).with_variant(
    mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
LongText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def new_id() -> str:
    """Return a fresh random UUID in its canonical text form."""
    return str(uuid.uuid4())


def utcnow() -> datetime.datetime:
    """Return the time as the database keeps it: naive, UTC, microseconds."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


class Base(DeclarativeBase):
    """Declarative base; every table carries InnoDB and utf8mb4 where that means something."""

    __table_args__: Any = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}


def table_args(*constraints: Any) -> tuple[Any, ...]:
    return (*constraints, Base.__table_args__)


class Timestamps:
    """``created_at`` and ``updated_at``, written by the ORM."""

    created_at: Mapped[datetime.datetime] = mapped_column(Moment, default=utcnow)
    updated_at: Mapped[datetime.datetime | None] = mapped_column(Moment, onupdate=utcnow)


class Service(Timestamps, Base):
    """One daemon on one host.  ``last_seen_up`` moves when it hears its own ping."""

    __tablename__ = "services"
    __table_args__ = table_args(UniqueConstraint("host", "binary"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    host: Mapped[str] = mapped_column(String(255))
    binary: Mapped[str] = mapped_column(String(64))
    topic: Mapped[str] = mapped_column(String(64), index=True)
    availability_zone: Mapped[str] = mapped_column(String(255), default="nova")
    disabled: Mapped[bool] = mapped_column(Boolean, default=False)
    disabled_reason: Mapped[str | None] = mapped_column(String(255))
    forced_down: Mapped[bool] = mapped_column(Boolean, default=False)
    last_seen_up: Mapped[datetime.datetime | None] = mapped_column(Moment)


class ComputeNode(Timestamps, Base):
    """What a hypervisor offers.  Its free capacity is this less the instances on it.

    ``generation`` is written by every claim first of all: the row lock it takes makes claims on
    one host serial on every database.
    """

    __tablename__ = "compute_nodes"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    host: Mapped[str] = mapped_column(String(255), unique=True)
    hypervisor_hostname: Mapped[str] = mapped_column(String(255))
    hypervisor_type: Mapped[str] = mapped_column(String(64))
    hypervisor_version: Mapped[int] = mapped_column(BigInteger, default=0)
    host_ip: Mapped[str | None] = mapped_column(String(45))
    vcpus: Mapped[int] = mapped_column(Integer)
    memory_mb: Mapped[int] = mapped_column(Integer)
    local_gb: Mapped[int] = mapped_column(Integer)
    disk_available_gb: Mapped[int] = mapped_column(Integer, default=0)
    cpu_allocation_ratio: Mapped[float] = mapped_column(default=16.0)
    ram_allocation_ratio: Mapped[float] = mapped_column(default=1.5)
    disk_allocation_ratio: Mapped[float] = mapped_column(default=1.0)
    reserved_memory_mb: Mapped[int] = mapped_column(Integer, default=0)
    reserved_disk_gb: Mapped[int] = mapped_column(Integer, default=0)
    cpu_info: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    stats: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)


class Instance(Timestamps, Base):
    """A server.

    ``vm_state``/``task_state`` say what is (written by workers), ``desired_state`` what its owner
    wants (written by the API): see :mod:`nova.compute.states`.  ``build_request`` holds all that
    a build needs beyond the columns - networks asked for, security groups, hints, refusals so
    far - so that a build can be taken up again from the row alone.  The flavor's numbers are
    copied: changing a flavor does not change a server.  ``transition_id`` is the mark of the last
    transition: one whose commit was done and whose answer got lost knows itself again by it.
    """

    __tablename__ = "instances"
    __table_args__ = table_args(
        Index("instances_project_created", "project_id", "created_at", "id"),
        Index("instances_created", "created_at", "id"),
        Index("instances_task_deadline", "task_state", "task_deadline"),
        Index("instances_states", "vm_state", "task_state"),
        # All that the sums of a host are made of: they are read from the index alone.
        Index("instances_host_sums", "host", "vcpus", "memory_mb", "root_gb", "ephemeral_gb",
              "swap_mb"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(255))
    user_id: Mapped[str] = mapped_column(String(255))
    display_name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(String(255))
    hostname: Mapped[str] = mapped_column(String(63))
    reservation_id: Mapped[str] = mapped_column(String(32), index=True)
    launch_index: Mapped[int] = mapped_column(Integer, default=0)

    vm_state: Mapped[str] = mapped_column(String(32))
    task_state: Mapped[str | None] = mapped_column(String(32))
    task_deadline: Mapped[datetime.datetime | None] = mapped_column(Moment)
    transition_id: Mapped[str | None] = mapped_column(String(36))
    desired_state: Mapped[str] = mapped_column(String(32))
    power_state: Mapped[int] = mapped_column(Integer, default=0)
    progress: Mapped[int] = mapped_column(Integer, default=0)
    launched_at: Mapped[datetime.datetime | None] = mapped_column(Moment)

    image_id: Mapped[str | None] = mapped_column(String(36))
    kernel_id: Mapped[str | None] = mapped_column(String(36))
    ramdisk_id: Mapped[str | None] = mapped_column(String(36))
    flavor_id: Mapped[str] = mapped_column(String(255))
    flavor_name: Mapped[str] = mapped_column(String(255))
    flavor_extra_specs: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    vcpus: Mapped[int] = mapped_column(Integer)
    memory_mb: Mapped[int] = mapped_column(Integer)
    root_gb: Mapped[int] = mapped_column(Integer)
    ephemeral_gb: Mapped[int] = mapped_column(Integer, default=0)
    swap_mb: Mapped[int] = mapped_column(Integer, default=0)

    host: Mapped[str | None] = mapped_column(String(255))
    availability_zone: Mapped[str | None] = mapped_column(String(255))
    key_name: Mapped[str | None] = mapped_column(String(255))
    key_data: Mapped[str | None] = mapped_column(Text)
    user_data: Mapped[str | None] = mapped_column(LongText)
    config_drive: Mapped[bool] = mapped_column(Boolean, default=False)
    access_ip_v4: Mapped[str | None] = mapped_column(String(15))
    access_ip_v6: Mapped[str | None] = mapped_column(String(45))
    locked: Mapped[bool] = mapped_column(Boolean, default=False)
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata", JSON, default=dict)
    build_request: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class InstanceFault(Base):
    """Why an instance is in ERROR; the newest one is shown."""

    __tablename__ = "instance_faults"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    instance_id: Mapped[str] = mapped_column(
        ForeignKey("instances.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime.datetime] = mapped_column(Moment, default=utcnow)
    code: Mapped[int] = mapped_column(Integer)
    message: Mapped[str] = mapped_column(String(255))
    details: Mapped[str | None] = mapped_column(Text)
    host: Mapped[str | None] = mapped_column(String(255))


class InstanceAction(Base):
    """Append-only log of what was asked of an instance and how it ended; outlives the instance."""

    __tablename__ = "instance_actions"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    instance_id: Mapped[str] = mapped_column(String(36), index=True)
    project_id: Mapped[str] = mapped_column(String(255))
    user_id: Mapped[str | None] = mapped_column(String(255))
    request_id: Mapped[str | None] = mapped_column(String(64), index=True)
    action: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime.datetime] = mapped_column(Moment, default=utcnow, index=True)
    finished_at: Mapped[datetime.datetime | None] = mapped_column(Moment)
    message: Mapped[str | None] = mapped_column(Text)


class InstanceActionEvent(Base):
    """One step of an action: a task the instance was in, written by the transitions themselves.

    ``result`` NULL: it goes on.  ``message`` is the operator's: which host refused, and why.
    """

    __tablename__ = "instance_action_events"
    __table_args__ = table_args(
        Index("instance_action_events_open", "instance_id", "finished_at"))

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    action_id: Mapped[int] = mapped_column(
        ForeignKey("instance_actions.id", ondelete="CASCADE"), index=True)
    instance_id: Mapped[str] = mapped_column(String(36))
    event: Mapped[str] = mapped_column(String(64))
    host: Mapped[str | None] = mapped_column(String(255))
    started_at: Mapped[datetime.datetime] = mapped_column(Moment, default=utcnow)
    finished_at: Mapped[datetime.datetime | None] = mapped_column(Moment)
    result: Mapped[str | None] = mapped_column(String(16))
    message: Mapped[str | None] = mapped_column(Text)


class Flavor(Timestamps, Base):
    """A size an instance can have.  ``flavorid`` is the id of the APIs."""

    __tablename__ = "flavors"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    flavorid: Mapped[str] = mapped_column(ExactName, unique=True)
    name: Mapped[str] = mapped_column(ExactName, unique=True)
    description: Mapped[str | None] = mapped_column(Text)
    vcpus: Mapped[int] = mapped_column(Integer)
    memory_mb: Mapped[int] = mapped_column(Integer)
    root_gb: Mapped[int] = mapped_column(Integer, default=0)
    ephemeral_gb: Mapped[int] = mapped_column(Integer, default=0)
    swap_mb: Mapped[int] = mapped_column(Integer, default=0)
    rxtx_factor: Mapped[float] = mapped_column(default=1.0)
    is_public: Mapped[bool] = mapped_column(Boolean, default=True)
    disabled: Mapped[bool] = mapped_column(Boolean, default=False)
    extra_specs: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)


class FlavorAccess(Base):
    """A project that may use a flavor that is not public."""

    __tablename__ = "flavor_access"

    flavor_id: Mapped[int] = mapped_column(
        ForeignKey("flavors.id", ondelete="CASCADE"), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(255), primary_key=True)


class KeyPair(Timestamps, Base):
    """A user's public key; the private half is never kept."""

    __tablename__ = "key_pairs"
    __table_args__ = table_args(UniqueConstraint("user_id", "name"))

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(ExactName)
    type: Mapped[str] = mapped_column(String(16), default="ssh")
    fingerprint: Mapped[str] = mapped_column(String(255))
    public_key: Mapped[str] = mapped_column(Text)
    tags: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))


class Quota(Timestamps, Base):
    """A project's own limit where it differs from the configured default; -1 is no limit."""

    __tablename__ = "quotas"

    project_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    resource: Mapped[str] = mapped_column(String(64), primary_key=True)
    hard_limit: Mapped[int] = mapped_column(Integer)


class ProjectLock(Base):
    """What makes two creates of one project follow each other while its quota is counted.

    ``generation`` is written by whoever is going to count, before counting: see
    :mod:`nova.quota`.
    """

    __tablename__ = "project_locks"

    project_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)


class Network(Timestamps, Base):
    """A network guests are on, or (``external``) a pool that floating addresses come from.

    One IPv4 subnet and at most one IPv6 subnet belong to it, under ids of their own.
    ``project_id`` NULL with ``shared`` is everybody's: the flat network.
    """

    __tablename__ = "networks"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str | None] = mapped_column(String(255), index=True)
    name: Mapped[str] = mapped_column(String(255))
    shared: Mapped[bool] = mapped_column(Boolean, default=True)
    external: Mapped[bool] = mapped_column(Boolean, default=False)
    bridge: Mapped[str | None] = mapped_column(String(15))
    bridge_interface: Mapped[str | None] = mapped_column(String(15))
    vlan: Mapped[int | None] = mapped_column(Integer, unique=True)
    mtu: Mapped[int] = mapped_column(Integer, default=1500)
    host: Mapped[str | None] = mapped_column(String(255))
    subnet_id: Mapped[str] = mapped_column(String(36), unique=True, default=new_id)
    subnet_name: Mapped[str] = mapped_column(String(255), default="")
    cidr: Mapped[str] = mapped_column(String(18))
    gateway: Mapped[str] = mapped_column(String(15))
    dhcp_server: Mapped[str | None] = mapped_column(String(15))
    dns_servers: Mapped[list[str]] = mapped_column(JSON, default=list)
    subnet_v6_id: Mapped[str | None] = mapped_column(String(36), unique=True)
    cidr_v6: Mapped[str | None] = mapped_column(String(49))
    gateway_v6: Mapped[str | None] = mapped_column(String(45))


class Port(Timestamps, Base):
    """A virtual interface: one MAC on one network, plugged into ``device_id`` when that is set."""

    __tablename__ = "ports"
    __table_args__ = table_args(Index("ports_project_created", "project_id", "created_at", "id"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"), index=True)
    project_id: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255), default="")
    mac: Mapped[str] = mapped_column(String(17), unique=True)
    device_id: Mapped[str | None] = mapped_column(String(255), index=True)
    device_owner: Mapped[str] = mapped_column(String(255), default="")
    device_index: Mapped[int] = mapped_column(Integer, default=0)
    host: Mapped[str | None] = mapped_column(String(255), index=True)
    status: Mapped[str] = mapped_column(String(16), default="DOWN")
    admin_state_up: Mapped[bool] = mapped_column(Boolean, default=True)
    owned_by_instance: Mapped[bool] = mapped_column(Boolean, default=False)


class FixedIp(Base):
    """One address of a network, made with the network.

    Free when ``port_id`` is NULL, ``reserved`` is false and the guest's lease is gone
    (``leased`` false, or ``released_at`` long enough ago): a conditional update takes it.
    """

    __tablename__ = "fixed_ips"
    __table_args__ = table_args(
        UniqueConstraint("network_id", "address"),
        Index("fixed_ips_address", "address"),
        Index("fixed_ips_free", "network_id", "port_id", "reserved", "leased"))

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id", ondelete="CASCADE"))
    address: Mapped[str] = mapped_column(String(45))
    port_id: Mapped[str | None] = mapped_column(ForeignKey("ports.id"), index=True)
    reserved: Mapped[bool] = mapped_column(Boolean, default=False)
    leased: Mapped[bool] = mapped_column(Boolean, default=False)
    released_at: Mapped[datetime.datetime | None] = mapped_column(Moment)


class FloatingIp(Timestamps, Base):
    """One public address of a pool: a project's when ``project_id`` is set, else free."""

    __tablename__ = "floating_ips"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"), index=True)
    address: Mapped[str] = mapped_column(String(45), unique=True)
    project_id: Mapped[str | None] = mapped_column(String(255), index=True)
    port_id: Mapped[str | None] = mapped_column(ForeignKey("ports.id"), index=True)
    host: Mapped[str | None] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(String(255), default="")
    allocated_at: Mapped[datetime.datetime | None] = mapped_column(Moment)
    tags: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))


class SecurityGroup(Timestamps, Base):
    """A named set of rules of one project."""

    __tablename__ = "security_groups"
    __table_args__ = table_args(Index("security_groups_project", "project_id", "name"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(String(255), default="")
    # Not NULL for the one group named "default": two first requests cannot make two of them.
    default_of: Mapped[str | None] = mapped_column(String(255), unique=True)
    tags: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))


class SecurityGroupRule(Timestamps, Base):
    """What a group lets through; everything else is dropped.  NULL means any."""

    __tablename__ = "security_group_rules"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    group_id: Mapped[str] = mapped_column(
        ForeignKey("security_groups.id", ondelete="CASCADE"), index=True)
    project_id: Mapped[str] = mapped_column(String(255))
    direction: Mapped[str] = mapped_column(String(8))
    ethertype: Mapped[str] = mapped_column(String(4))
    protocol: Mapped[str | None] = mapped_column(String(16))
    port_min: Mapped[int | None] = mapped_column(Integer)
    port_max: Mapped[int | None] = mapped_column(Integer)
    remote_cidr: Mapped[str | None] = mapped_column(String(49))
    remote_group_id: Mapped[str | None] = mapped_column(
        ForeignKey("security_groups.id", ondelete="CASCADE"), index=True)
    description: Mapped[str] = mapped_column(String(255), default="")


class PortSecurityGroup(Base):
    """A port's membership of a group."""

    __tablename__ = "port_security_groups"

    port_id: Mapped[str] = mapped_column(
        ForeignKey("ports.id", ondelete="CASCADE"), primary_key=True)
    group_id: Mapped[str] = mapped_column(
        ForeignKey("security_groups.id"), primary_key=True, index=True)


class Ec2Id(Base):
    """The short id that the EC2 API shows for a UUID; ``kind`` is what stands before its dash."""

    __tablename__ = "ec2_ids"
    __table_args__ = table_args(UniqueConstraint("kind", "uuid"))

    ec2_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    uuid: Mapped[str] = mapped_column(String(36))
