# SPDX-License-Identifier: Apache-2.0
"""Security groups, their rules and members.

Every project has a group named ``default`` from the first moment, under an id that follows from
the project's: until something has to be written down it is computed, so that a look never writes
and two first requests cannot make two of them.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nova import exception
from nova.db import session as db
from nova.db.models import (
    FixedIp,
    Instance,
    Port,
    PortSecurityGroup,
    SecurityGroup,
    SecurityGroupRule,
    new_id,
    utcnow,
)

_NAMESPACE = uuid.UUID("6f4f2f10-7c35-4c87-9d25-4be59d2a53a5")
DEFAULT = "default"


@dataclass(frozen=True)
class GroupView:
    """A group with its rules."""

    group: SecurityGroup
    rules: tuple[SecurityGroupRule, ...]


def default_id(project_id: str) -> str:
    """Return the id of a project's default group, written down or not."""
    return str(uuid.uuid5(_NAMESPACE, f"default/{project_id}"))


def _open_egress(group_id: str, project_id: str) -> list[SecurityGroupRule]:
    return [SecurityGroupRule(
        id=str(uuid.uuid5(_NAMESPACE, f"{group_id}/egress/{ethertype}")), group_id=group_id,
        project_id=project_id, direction="egress", ethertype=ethertype, description="",
        created_at=utcnow()) for ethertype in ("IPv4", "IPv6")]


def _default_group(project_id: str) -> GroupView:
    """Compute a project's default group: all out, and in only what comes from its members."""
    group_id = default_id(project_id)
    group = SecurityGroup(id=group_id, project_id=project_id, name=DEFAULT,
                          description="Default security group", default_of=project_id,
                          created_at=utcnow())
    within = [SecurityGroupRule(
        id=str(uuid.uuid5(_NAMESPACE, f"{group_id}/ingress/{ethertype}")), group_id=group_id,
        project_id=project_id, direction="ingress", ethertype=ethertype, description="",
        remote_group_id=group_id, created_at=utcnow()) for ethertype in ("IPv4", "IPv6")]
    return GroupView(group, tuple(_open_egress(group_id, project_id) + within))


@db.retry
def ensure_default(project_id: str) -> str:
    """Write a project's default group down unless it is; return its id."""
    group_id = default_id(project_id)
    with db.reader() as session:
        if session.get(SecurityGroup, group_id) is not None:
            return group_id
    try:
        _insert(_default_group(project_id))
    except IntegrityError:      # somebody was first, with the very same rows
        pass
    return group_id


@db.retry
def _insert(view: GroupView, guard: Callable[[Session], None] | None = None) -> None:
    with db.writer() as session:
        if db.again() and session.get(SecurityGroup, view.group.id) is not None:
            return
        if guard is not None:
            guard(session)
        session.add(view.group)
        session.flush()
        session.add_all(view.rules)


def create(project_id: str, name: str, description: str = "",
           guard: Callable[[Session], None] | None = None,
           tags: dict[str, str] | None = None) -> GroupView:
    """Make a group that lets everything out and nothing in; AlreadyExists for ``default``."""
    if name.lower() == DEFAULT:
        raise exception.AlreadyExists(kind="Security group", name=name)
    group = SecurityGroup(id=new_id(), project_id=project_id, name=name, description=description,
                          tags=tags)
    view = GroupView(group, tuple(
        SecurityGroupRule(id=new_id(), group_id=group.id, project_id=project_id,
                          direction="egress", ethertype=ethertype, description="")
        for ethertype in ("IPv4", "IPv6")))
    _insert(view, guard)
    return view


@db.retry
def find(project_id: str | None = None, *, ids: Sequence[str] | None = None,
         names: Sequence[str] | None = None, own_project: str | None = None) -> list[GroupView]:
    """Return the groups of a project (None: everybody's) with their rules, oldest first.

    The default group of ``project_id``, else of ``own_project``, is among them even when it is
    not written down yet.
    """
    query = select(SecurityGroup).order_by(SecurityGroup.created_at, SecurityGroup.id)
    if project_id is not None:
        query = query.where(SecurityGroup.project_id == project_id)
    if ids is not None:
        query = query.where(SecurityGroup.id.in_(ids))
    if names is not None:
        query = query.where(SecurityGroup.name.in_(names))
    with db.reader() as session:
        groups = list(session.scalars(query))
        rules: dict[str, list[SecurityGroupRule]] = {}
        for rule in session.scalars(
                select(SecurityGroupRule)
                .where(SecurityGroupRule.group_id.in_([group.id for group in groups]))
                .order_by(SecurityGroupRule.created_at, SecurityGroupRule.id)):
            rules.setdefault(rule.group_id, []).append(rule)
    found = [GroupView(group, tuple(rules.get(group.id, ()))) for group in groups]
    whose = project_id or own_project
    if (whose and (ids is None or default_id(whose) in ids)
            and (names is None or DEFAULT in names)
            and not any(view.group.default_of == whose for view in found)):
        found.insert(0, _default_group(whose))
    return found


def get(group_id: str, project_id: str | None = None,
        own_project: str | None = None) -> GroupView:
    """Return one group of a project (None: anybody's); SecurityGroupNotFound otherwise."""
    found = find(project_id, ids=[group_id], own_project=own_project)
    if not found:
        raise exception.SecurityGroupNotFound(group_id=group_id)
    return found[0]


def resolve(project_id: str, names_or_ids: Iterable[str]) -> list[GroupView]:
    """Return a project's groups by id or by name.

    SecurityGroupNotFound for one there is not, Conflict for a name that several groups have.
    """
    own = find(project_id)
    chosen: dict[str, GroupView] = {}
    for wanted in names_or_ids:
        matching = ([view for view in own if view.group.id == wanted]
                    or [view for view in own if view.group.name == wanted])
        if not matching:
            raise exception.SecurityGroupNotFound(group_id=wanted)
        if len(matching) > 1:
            raise exception.Conflict(
                f"Multiple security groups found matching '{wanted}'. Use an ID to be more "
                "specific.")
        chosen[matching[0].group.id] = matching[0]
    return list(chosen.values())


@db.retry
def change(group_id: str, values: dict[str, Any]) -> None:
    """Set name or description of a group that is written down."""
    with db.writer() as session:
        row = session.get(SecurityGroup, group_id)
        if row is None:
            raise exception.SecurityGroupNotFound(group_id=group_id)
        for name, value in values.items():
            setattr(row, name, value)


@db.retry
def delete_group(group_id: str) -> None:
    """Remove a group with its rules; InUse while a port is in it.

    A project's default group is then as it was at first: computed anew, not written down.
    """
    try:
        with db.writer() as session:
            if session.scalar(select(exists().where(PortSecurityGroup.group_id == group_id))):
                raise exception.InUse(kind="Security group", name=group_id)
            session.execute(delete(SecurityGroupRule).where(or_(
                SecurityGroupRule.group_id == group_id,
                SecurityGroupRule.remote_group_id == group_id)))
            session.execute(delete(SecurityGroup).where(SecurityGroup.id == group_id))
    except IntegrityError as error:     # a port came in between
        raise exception.InUse(kind="Security group", name=group_id) from error


_RULE_KEYS = ("direction", "ethertype", "protocol", "port_min", "port_max", "remote_cidr",
              "remote_group_id")


def add_rules(group_id: str, values: Sequence[dict[str, Any]],
              guard: Callable[[Session], None] | None = None) -> list[SecurityGroupRule]:
    """Add rules to a group, all or none.

    AlreadyExists for one the group has, SecurityGroupNotFound for a group that is gone.
    """
    return _add_rules(group_id, [{"id": new_id(), **value} for value in values], guard)


@db.retry
def _add_rules(group_id: str, values: Sequence[dict[str, Any]],
               guard: Callable[[Session], None] | None) -> list[SecurityGroupRule]:
    rows = [SecurityGroupRule(group_id=group_id, **value) for value in values]
    try:
        with db.writer() as session:
            if db.again() and (made := [
                    rule for row in rows if (rule := session.get(SecurityGroupRule, row.id))]):
                return made
            if guard is not None:
                guard(session)
            # Its row is locked: adding to one group is one at a time on every database.
            group = session.get(SecurityGroup, group_id, with_for_update=True)
            if group is None:
                raise exception.SecurityGroupNotFound(group_id=group_id)
            group.updated_at = utcnow()
            session.flush()
            _refuse_duplicates(session, group_id, rows)
            session.add_all(rows)
    except IntegrityError as error:
        raise exception.SecurityGroupNotFound(
            group_id=next((row.remote_group_id for row in rows if row.remote_group_id),
                          group_id)) from error
    return rows


def _refuse_duplicates(session: Session, group_id: str,
                       rows: Sequence[SecurityGroupRule]) -> None:
    there = {tuple(getattr(rule, key) for key in _RULE_KEYS): rule.id
             for rule in session.scalars(select(SecurityGroupRule)
                                         .where(SecurityGroupRule.group_id == group_id))}
    for row in rows:
        key = tuple(getattr(row, name) for name in _RULE_KEYS)
        if key in there:
            raise exception.AlreadyExists(
                f"Security group rule already exists. Rule id is {there[key]}.")
        there[key] = row.id


@db.retry
def delete_rule(rule_id: str) -> SecurityGroupRule:
    """Remove one rule and return it as it was."""
    with db.writer() as session:
        row = session.get(SecurityGroupRule, rule_id)
        if row is None:
            raise exception.SecurityGroupRuleNotFound(rule_id=rule_id)
        session.delete(row)
    return row


@db.retry
def rules_of(group_ids: Sequence[str]) -> dict[str, list[SecurityGroupRule]]:
    """Return ``{group_id: rules}``."""
    found: dict[str, list[SecurityGroupRule]] = {}
    with db.reader() as session:
        for rule in session.scalars(
                select(SecurityGroupRule).where(SecurityGroupRule.group_id.in_(group_ids))
                .order_by(SecurityGroupRule.created_at, SecurityGroupRule.id)):
            found.setdefault(rule.group_id, []).append(rule)
    return found


@db.retry
def member_addresses(group_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return ``{group_id: fixed addresses of the ports in it}``."""
    found: dict[str, list[str]] = {}
    with db.reader() as session:
        for group_id, address in session.execute(
                select(PortSecurityGroup.group_id, FixedIp.address)
                .join(FixedIp, FixedIp.port_id == PortSecurityGroup.port_id)
                .where(PortSecurityGroup.group_id.in_(group_ids)).order_by(FixedIp.id)):
            found.setdefault(group_id, []).append(address)
    return found


@db.retry
def affected(group_ids: Iterable[str], *, members: bool, referring: bool) -> dict[str, list[str]]:
    """Return ``{host: instances}`` whose rules a change of groups changes.

    ``members`` are the instances in the groups (a rule of theirs changed), ``referring`` those in
    groups with a rule about the groups (their membership or addresses changed).
    """
    wanted = list(group_ids)
    conditions = []
    if members:
        conditions.append(PortSecurityGroup.group_id.in_(wanted))
    if referring:
        conditions.append(PortSecurityGroup.group_id.in_(
            select(SecurityGroupRule.group_id)
            .where(SecurityGroupRule.remote_group_id.in_(wanted))))
    with db.reader() as session:
        found: dict[str, list[str]] = {}
        for host, instance_id in session.execute(
                select(Instance.host, Instance.id).distinct()
                .join(Port, Port.device_id == Instance.id)
                .join(PortSecurityGroup, PortSecurityGroup.port_id == Port.id)
                .where(or_(*conditions), Instance.host.is_not(None)).order_by(Instance.id)):
            found.setdefault(str(host), []).append(instance_id)
    return found


@db.retry
def names_of_devices(device_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return ``{instance: names of the groups its ports are in}``, each name once."""
    with db.reader() as session:
        found: dict[str, list[str]] = {}
        for device_id, name in session.execute(
                select(Port.device_id, SecurityGroup.name).distinct()
                .join(PortSecurityGroup, PortSecurityGroup.port_id == Port.id)
                .join(SecurityGroup, SecurityGroup.id == PortSecurityGroup.group_id)
                .where(Port.device_id.in_(device_ids)).order_by(SecurityGroup.name)):
            found.setdefault(str(device_id), []).append(name)
    return found


@db.retry
def find_rules(project_id: str | None = None, ids: Sequence[str] | None = None,
               ) -> list[SecurityGroupRule]:
    """Return the rules of a project (None: everybody's), oldest first."""
    query = select(SecurityGroupRule).order_by(SecurityGroupRule.created_at, SecurityGroupRule.id)
    if project_id is not None:
        query = query.where(SecurityGroupRule.project_id == project_id)
    if ids is not None:
        query = query.where(SecurityGroupRule.id.in_(ids))
    with db.reader() as session:
        return list(session.scalars(query))
