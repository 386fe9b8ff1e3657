# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions: namespaces, and the properties, objects, tags and resource types in them.

Nothing but the methods listed in `METHODS` can be called, with the arguments listed there; the same
table serves the process that has the database and the one that reaches it over REST.  A project
sees its own namespaces and public ones; whether it may change them is a question of policy and
asked before.  Documents come in checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection

from glance import exceptions
from glance.context import RequestContext
from glance.registry.db.images import isotime, now
from glance.registry.db.models import Base
from glance.registry.db.session import Database

namespaces = Base.metadata.tables["metadef_namespaces"]
types = Base.metadata.tables["metadef_resource_types"]
associations = Base.metadata.tables["metadef_associations"]
items = Base.metadata.tables["metadef_items"]

KINDS = ("property", "object", "tag")
SORT_KEYS = ("namespace", "created_at", "updated_at")
Document = dict[str, Any]


def _view(row: Any, *hidden: str) -> Document:
    document = {name: value for name, value in row._mapping.items() if name not in hidden}
    for name in ("created_at", "updated_at"):
        document[name] = isotime(document[name])
    return document


def _seen(connection: Connection, context: RequestContext, name: str) -> Document:
    """The namespace, if the caller may know of it."""
    row = connection.execute(sa.select(namespaces).where(namespaces.c.namespace == name)).first()
    if row is None or not (context.is_admin or row.visibility == "public"
                           or row.owner == context.project_id):
        raise exceptions.NotFound(f"no metadata definition namespace {name[:80]!r} was found")
    return _view(row)


def _changed(connection: Connection, context: RequestContext, name: str) -> Document:
    """The namespace, if the caller may change what is in it; administrators and owners may."""
    found = _seen(connection, context, name)
    if not (context.is_admin or found["owner"] == context.project_id):
        raise exceptions.Forbidden(f"namespace {name[:80]!r} belongs to another project")
    return found


def _associated(connection: Connection, name: str) -> list[Document]:
    return [_view(row, "namespace") for row in connection.execute(
        sa.select(associations).where(associations.c.namespace == name)
        .order_by(associations.c.name))]


def list_namespaces(connection: Connection, context: RequestContext, *,
                    visibility: str | None = None, resource_types: list[str] | None = None,
                    marker: str | None = None, limit: int | None = None,
                    sort_key: str = "created_at", sort_dir: str = "desc") -> list[Document]:
    """One page of namespaces, each with its resource types."""
    statement = sa.select(namespaces)
    if not context.is_admin:
        statement = statement.where(sa.or_(namespaces.c.visibility == "public",
                                           namespaces.c.owner == (context.project_id or "")))
    if visibility is not None:
        statement = statement.where(namespaces.c.visibility == visibility)
    if resource_types:
        statement = statement.where(sa.exists(sa.select(sa.literal(1)).where(
            associations.c.namespace == namespaces.c.namespace,
            associations.c.name.in_(resource_types))))
    key = namespaces.c[sort_key if sort_key in SORT_KEYS else "created_at"]
    order = [(key, sort_dir), (namespaces.c.namespace, sort_dir)]
    if marker is not None:
        at = connection.execute(sa.select(key, namespaces.c.namespace).where(
            namespaces.c.namespace == marker)).first()
        if at is None:
            raise exceptions.Invalid(f"marker: there is no namespace {marker[:80]!r}")
        further = [column < value if sort_dir == "desc" else column > value
                   for (column, _), value in zip(order, at, strict=True)]
        statement = statement.where(sa.or_(further[0], sa.and_(key == at[0], further[1])))
    statement = statement.order_by(*[column.desc() if direction == "desc" else column.asc()
                                     for column, direction in order])
    if limit is not None:
        statement = statement.limit(limit)
    found = [_view(row) for row in connection.execute(statement)]
    for each in found:
        each["resource_type_associations"] = _associated(connection, each["namespace"])
    return found


def get_namespace(connection: Connection, context: RequestContext, *, namespace: str) -> Document:
    """A namespace with everything in it."""
    found = _seen(connection, context, namespace)
    found["resource_type_associations"] = _associated(connection, namespace)
    for kind in KINDS:
        found[kind] = list_items(connection, context, namespace=namespace, kind=kind)
    return found


def create_namespace(connection: Connection, context: RequestContext, *,
                     values: Mapping[str, Any], contents: Mapping[str, Any]) -> Document:
    """A new namespace; `contents` are ``resource_type_associations`` and a list per kind."""
    moment = now()
    owner = values.get("owner") or context.project_id or ""
    if owner != context.project_id and not context.is_admin:
        raise exceptions.Forbidden("owner: a namespace can be made only for one's own project")
    name = values["namespace"]
    connection.execute(namespaces.insert().values(**{
        "visibility": "private", "protected": False, "created_at": moment, "updated_at": moment,
        **values, "owner": owner}))
    for each in contents.get("resource_type_associations") or ():
        add_association(connection, context, namespace=name, values=each)
    for kind in KINDS:
        for body in contents.get(kind) or ():
            _insert_item(connection, name, kind, body)
    return get_namespace(connection, context, namespace=name)


def update_namespace(connection: Connection, context: RequestContext, *, namespace: str,
                     values: Mapping[str, Any]) -> Document:
    """Change fields of a namespace, its name among them."""
    before = _changed(connection, context, namespace)
    changes = {**values, "updated_at": now()}
    if changes.get("owner", before["owner"]) != before["owner"] and not context.is_admin:
        raise exceptions.Forbidden("owner: only an administrator gives a namespace away")
    name = changes.get("namespace", namespace)
    if name != namespace:
        row = connection.execute(
            sa.select(namespaces).where(namespaces.c.namespace == namespace)).one()._mapping
        connection.execute(namespaces.insert().values(**{**row, **changes}))
        for table in (associations, items):
            connection.execute(sa.update(table).where(table.c.namespace == namespace)
                               .values(namespace=name))
        connection.execute(sa.delete(namespaces).where(namespaces.c.namespace == namespace))
    else:
        connection.execute(sa.update(namespaces).where(namespaces.c.namespace == namespace)
                           .values(**changes))
    return get_namespace(connection, context.for_service(), namespace=name)


def delete_namespace(connection: Connection, context: RequestContext, *, namespace: str) -> None:
    """Remove a namespace with everything in it."""
    if _changed(connection, context, namespace)["protected"]:
        raise exceptions.Forbidden(f"namespace {namespace[:80]!r} is protected")
    for table in (associations, items, namespaces):
        connection.execute(sa.delete(table).where(table.c.namespace == namespace))


def list_resource_types(connection: Connection, context: RequestContext) -> list[Document]:
    """Every resource type anybody named."""
    return [_view(row, "protected") for row in connection.execute(
        sa.select(types).order_by(types.c.name))]


def list_associations(connection: Connection, context: RequestContext, *,
                      namespace: str) -> list[Document]:
    """The resource types of a namespace."""
    _seen(connection, context, namespace)
    return _associated(connection, namespace)


def add_association(connection: Connection, context: RequestContext, *, namespace: str,
                    values: Mapping[str, Any]) -> Document:
    """Say that the namespace is for that resource type, which exists from then on."""
    _changed(connection, context, namespace)
    moment = now()
    times = {"created_at": moment, "updated_at": moment}
    if connection.execute(sa.select(types.c.name).where(
            types.c.name == values["name"])).first() is None:
        connection.execute(types.insert().values(name=values["name"], protected=True, **times))
    connection.execute(associations.insert().values(**values, namespace=namespace, **times))
    return next(each for each in _associated(connection, namespace)
                if each["name"] == values["name"])


def remove_association(connection: Connection, context: RequestContext, *, namespace: str,
                       name: str) -> None:
    """Take that back."""
    if _changed(connection, context, namespace)["protected"]:
        raise exceptions.Forbidden(f"namespace {namespace[:80]!r} is protected")
    if not connection.execute(sa.delete(associations).where(
            associations.c.namespace == namespace, associations.c.name == name)).rowcount:
        raise exceptions.NotFound(f"the namespace has no resource type {name[:80]!r}")


def _item(row: Any) -> Document:
    view = _view(row, "namespace", "kind", "body")
    return {**json.loads(row.body), **view}


def _mine(namespace: str, kind: str, name: str | None = None) -> Any:
    clauses = [items.c.namespace == namespace, items.c.kind == kind]
    if name is not None:
        clauses.append(items.c.name == name)
    return sa.and_(*clauses)


def _insert_item(connection: Connection, namespace: str, kind: str,
                 body: Mapping[str, Any]) -> None:
    moment = now()
    rest = {name: value for name, value in body.items() if name != "name"}
    connection.execute(items.insert().values(
        namespace=namespace, kind=kind, name=body["name"], body=json.dumps(rest),
        created_at=moment, updated_at=moment))


def list_items(connection: Connection, context: RequestContext, *, namespace: str, kind: str,
               marker: str | None = None, limit: int | None = None) -> list[Document]:
    """Definitions of one kind, by name."""
    _seen(connection, context, namespace)
    statement = sa.select(items).where(_mine(namespace, kind)).order_by(items.c.name)
    if marker is not None:
        statement = statement.where(items.c.name > marker)
    if limit is not None:
        statement = statement.limit(limit)
    return [_item(row) for row in connection.execute(statement)]


def get_item(connection: Connection, context: RequestContext, *, namespace: str, kind: str,
             name: str) -> Document:
    """One definition."""
    _seen(connection, context, namespace)
    row = connection.execute(sa.select(items).where(_mine(namespace, kind, name))).first()
    if row is None:
        raise exceptions.NotFound(f"namespace {namespace[:80]!r} has no {kind} {name[:80]!r}")
    return _item(row)


def create_item(connection: Connection, context: RequestContext, *, namespace: str, kind: str,
                body: Mapping[str, Any]) -> Document:
    """A new definition."""
    _changed(connection, context, namespace)
    _insert_item(connection, namespace, kind, body)
    return get_item(connection, context, namespace=namespace, kind=kind, name=body["name"])


def update_item(connection: Connection, context: RequestContext, *, namespace: str, kind: str,
                name: str, body: Mapping[str, Any]) -> Document:
    """Replace a definition; its name may change with it."""
    _changed(connection, context, namespace)
    get_item(connection, context, namespace=namespace, kind=kind, name=name)
    rest = {key: value for key, value in body.items() if key != "name"}
    new = body.get("name", name)
    connection.execute(sa.update(items).where(_mine(namespace, kind, name)).values(
        name=new, body=json.dumps(rest), updated_at=now()))
    return get_item(connection, context, namespace=namespace, kind=kind, name=new)


def delete_item(connection: Connection, context: RequestContext, *, namespace: str, kind: str,
                name: str) -> None:
    """Remove a definition."""
    if _changed(connection, context, namespace)["protected"]:
        raise exceptions.Forbidden(f"namespace {namespace[:80]!r} is protected")
    get_item(connection, context, namespace=namespace, kind=kind, name=name)
    connection.execute(sa.delete(items).where(_mine(namespace, kind, name)))


def replace_items(connection: Connection, context: RequestContext, *, namespace: str, kind: str,
                  bodies: list[Mapping[str, Any]], append: bool = False) -> list[Document]:
    """Make `bodies` all there is of this kind, or add them to it; empty removes everything."""
    if _changed(connection, context, namespace)["protected"] and not bodies:
        raise exceptions.Forbidden(f"namespace {namespace[:80]!r} is protected")
    if not append:
        connection.execute(sa.delete(items).where(_mine(namespace, kind)))
    for body in bodies:
        _insert_item(connection, namespace, kind, body)
    return list_items(connection, context, namespace=namespace, kind=kind)


#: what can be called: the function, the arguments it takes, whether it writes
METHODS: dict[str, tuple[Callable[..., Any], frozenset[str], bool]] = {
    function.__name__: (function, frozenset(arguments.split()), writes)
    for function, arguments, writes in (
        (list_namespaces, "visibility resource_types marker limit sort_key sort_dir", False),
        (get_namespace, "namespace", False),
        (create_namespace, "values contents", True),
        (update_namespace, "namespace values", True),
        (delete_namespace, "namespace", True),
        (list_resource_types, "", False),
        (list_associations, "namespace", False),
        (add_association, "namespace values", True),
        (remove_association, "namespace name", True),
        (list_items, "namespace kind marker limit", False),
        (get_item, "namespace kind name", False),
        (create_item, "namespace kind body", True),
        (update_item, "namespace kind name body", True),
        (delete_item, "namespace kind name", True),
        (replace_items, "namespace kind bodies append", True),
    )}


_TYPES: dict[str, tuple[type, ...]] = {
    "limit": (int,), "resource_types": (list,), "values": (dict,), "contents": (dict,),
    "body": (dict,), "bodies": (list,), "append": (bool,)}
_OPTIONAL = frozenset({"limit", "resource_types", "marker", "visibility"})


def _check_types(method: str, args: Mapping[str, Any]) -> None:
    for name, value in args.items():
        if value is None and name in _OPTIONAL:
            continue
        if type(value) not in _TYPES.get(name, (str,)):
            raise exceptions.Invalid(f"{name}: is of the wrong type for {method}")


def call(database: Database, context: RequestContext, method: str, args: Mapping[str, Any]) -> Any:
    """Call one of `METHODS` in a transaction of its own; `Duplicate` for a name that is taken."""
    if method not in METHODS or not set(args) <= METHODS[method][1]:
        raise exceptions.NotFound("there is no such method")
    function, _, writes = METHODS[method]
    _check_types(method, args)
    try:
        with (database.writing if writes else database.reading)() as connection:
            return function(connection, context, **args)
    except exc.IntegrityError:
        raise exceptions.Duplicate("name: is taken already") from None
    except exc.OperationalError:
        raise
    except (TypeError, KeyError, AttributeError, OverflowError, exc.StatementError) as error:
        if context.internal:
            raise
        raise exceptions.Invalid(f"args: do not fit {method} ({type(error).__name__})") from None
