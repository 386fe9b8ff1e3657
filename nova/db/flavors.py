# SPDX-License-Identifier: Apache-2.0
"""Flavors: the sizes instances can have, and which projects may use those that are not public."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, cast, delete, or_, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nova.db.models import Flavor, FlavorAccess
from nova.db.session import again, reader, retry, writer
from nova.exception import AlreadyExists, BadRequest, FlavorNotFound, NotFound

_SORT_COLUMNS = {
    "flavorid": Flavor.flavorid, "name": Flavor.name, "memory_mb": Flavor.memory_mb,
    "root_gb": Flavor.root_gb, "vcpus": Flavor.vcpus, "swap": Flavor.swap_mb,
    "ephemeral_gb": Flavor.ephemeral_gb, "rxtx_factor": Flavor.rxtx_factor,
    # As numbers: truth values know no "greater than".
    "is_public": cast(Flavor.is_public, Integer), "disabled": cast(Flavor.disabled, Integer),
    "id": Flavor.id,
    "created_at": Flavor.created_at}


def _visible(project_id: str | None) -> list[ColumnElement[bool]]:
    """Say "this project may use it"; None is everybody's view, the admin's."""
    if project_id is None:
        return []
    return [or_(Flavor.is_public.is_(True), _granted(project_id))]


def _granted(project_id: str) -> ColumnElement[bool]:
    return Flavor.id.in_(
        select(FlavorAccess.flavor_id).where(FlavorAccess.project_id == project_id))


def _get(session: Session, flavorid: str, project_id: str | None = None,
         lock: bool = False) -> Flavor:
    query = select(Flavor).where(Flavor.flavorid == flavorid, *_visible(project_id))
    found = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if found is None:
        raise FlavorNotFound(flavor_id=flavorid)
    return found


def create(values: Mapping[str, Any]) -> Flavor:
    """Add a flavor; AlreadyExists when its ``flavorid`` or ``name`` is taken."""
    try:
        return _create(dict(values))
    except IntegrityError:
        raise AlreadyExists(
            kind="Flavor", name=f"{values['name']} ({values['flavorid']})") from None


@retry
def _create(values: dict[str, Any]) -> Flavor:
    with writer() as session:
        if again() and (made := session.scalars(select(Flavor).filter_by(
                flavorid=values["flavorid"], name=values["name"])).one_or_none()) is not None:
            return made
        flavor = Flavor(**values)
        session.add(flavor)
        session.flush()
        session.refresh(flavor)
        return flavor


@retry
def get(flavorid: str, project_id: str | None = None) -> Flavor:
    """Return a flavor the project may use (None: any); else FlavorNotFound."""
    with reader() as session:
        return _get(session, flavorid, project_id)


@retry
def get_all(*, project_id: str | None = None, is_public: bool | None = None,
            min_memory_mb: int = 0, min_root_gb: int = 0, marker: str | None = None,
            limit: int | None = None, sort: Sequence[tuple[str, str]] = (("flavorid", "asc"),),
            ) -> list[Flavor]:
    """Return the flavors a project may use, in order, a page of them at a time.

    ``project_id`` None sees all.  ``is_public`` None is both kinds.  ``marker`` is a flavorid.
    """
    query = select(Flavor).where(
        Flavor.memory_mb >= min_memory_mb, Flavor.root_gb >= min_root_gb, *_visible(project_id))
    if is_public is not None:
        query = query.where(Flavor.is_public.is_(is_public))
    columns = []
    for name, direction in sort:
        if name not in _SORT_COLUMNS:
            raise BadRequest(f"sort_key: cannot sort by {name[:64]!r}")
        columns.append((_SORT_COLUMNS[name], direction == "desc"))
    columns.append((Flavor.id, bool(columns) and columns[-1][1]))
    with reader() as session:
        if marker is not None:
            last = session.execute(
                select(*(column for column, _ in columns))
                .where(Flavor.flavorid == marker, *_visible(project_id))).one_or_none()
            if last is None:
                raise BadRequest(f"marker [{marker[:64]}] not found")
            query = query.where(_after(columns, last))
        query = query.order_by(*(c.desc() if down else c.asc() for c, down in columns))
        return list(session.scalars(query.limit(limit) if limit is not None else query))


def _after(columns: list[tuple[Any, bool]], last: Sequence[Any]) -> ColumnElement[bool]:
    if not any(down for _, down in columns):
        return tuple_(*(column for column, _ in columns)) > tuple(last)
    choices = []
    for position, (column, down) in enumerate(columns):
        same = [c == v for (c, _), v in zip(columns[:position], last, strict=False)]
        beyond = column < last[position] if down else column > last[position]
        choices.append(and_(*same, beyond))
    return or_(*choices)


@retry
def delete_one(flavorid: str) -> None:
    """Remove a flavor; servers made of it go on."""
    with writer() as session:
        flavor = _get(session, flavorid, lock=True)
        session.execute(delete(FlavorAccess).where(FlavorAccess.flavor_id == flavor.id))
        session.delete(flavor)


@retry
def change_extra_specs(flavorid: str, add: Mapping[str, str] | None = None,
                       remove: str | None = None) -> dict[str, str]:
    """Add to a flavor's extra specs, or remove one key (NotFound when it is not there)."""
    with writer() as session:
        flavor = _get(session, flavorid, lock=True)
        specs = {**flavor.extra_specs, **(add or {})}
        if remove is not None:
            if remove not in specs:
                raise NotFound(f"Flavor {flavorid} has no extra spec {remove[:255]!r}.")
            del specs[remove]
        flavor.extra_specs = specs
        return specs


@retry
def access_of(flavorid: str) -> list[str]:
    """Return the projects that may use a flavor that is not public."""
    with reader() as session:
        flavor = _get(session, flavorid)
        return list(session.scalars(
            select(FlavorAccess.project_id).where(FlavorAccess.flavor_id == flavor.id)
            .order_by(FlavorAccess.project_id)))


def add_access(flavorid: str, project_id: str) -> None:
    """Let a project use a flavor; AlreadyExists when it may."""
    try:
        _add_access(flavorid, project_id)
    except IntegrityError:
        raise AlreadyExists(kind=f"Access to flavor {flavorid} for project",
                            name=project_id) from None


@retry
def _add_access(flavorid: str, project_id: str) -> None:
    with writer() as session:
        flavor = _get(session, flavorid, lock=True)
        if again() and session.get(FlavorAccess, (flavor.id, project_id)) is not None:
            return
        session.add(FlavorAccess(flavor_id=flavor.id, project_id=project_id))


@retry
def remove_access(flavorid: str, project_id: str) -> None:
    """Take a project's use of a flavor away; NotFound when it had none."""
    with writer() as session:
        flavor = _get(session, flavorid, lock=True)
        gone = session.execute(
            delete(FlavorAccess).where(FlavorAccess.flavor_id == flavor.id,
                                       FlavorAccess.project_id == project_id))
        if not gone.rowcount:  # type: ignore[attr-defined]
            raise NotFound(
                f"Flavor access not found for {project_id[:255]} and flavor {flavorid}.")
