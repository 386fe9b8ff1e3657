# SPDX-License-Identifier: Apache-2.0
"""Queries on images: each takes an open connection, none decides who may do what."""

from __future__ import annotations

import datetime
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance import exceptions
from glance.image import states
from glance.registry.db.models import Base

images = Base.metadata.tables["images"]
properties = Base.metadata.tables["image_properties"]
tags = Base.metadata.tables["image_tags"]
locations = Base.metadata.tables["image_locations"]

_INTERNAL = ("upload_token", "upload_worker", "upload_beat")
_TIMES = ("created_at", "updated_at", "deleted_at")
_PUBLIC_COLUMNS = [column for column in images.c if column.name not in _INTERNAL]
#: rows per IN list: far below every database's limit on bound values
_BATCH = 500


def now() -> datetime.datetime:
    """The time to write into a row: naive UTC."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


def isotime(value: datetime.datetime | None) -> str | None:
    """A row's time as the API shows it, to the second."""
    if value is None:
        return None
    return value.isoformat(timespec="seconds") + "Z"


def _to_image(row: Any) -> dict[str, Any]:
    image = dict(row._mapping)
    for name in _TIMES:
        image[name] = isotime(image[name])
    image["properties"] = {}
    image["tags"] = []
    image["locations"] = []
    return image


def _details_statement() -> Any:
    """Properties, tags and locations of some images as rows of one shape: a listing spends more
    on executing a statement than on the rows it brings."""
    wanted: Any = sa.bindparam("ids", expanding=True)
    no_text, no_number = sa.cast(sa.null(), sa.Text), sa.cast(sa.null(), sa.BigInteger)
    nothing = (no_number, no_number, no_text)
    return sa.union_all(
        sa.select(sa.literal_column("'p'").label("kind"), properties.c.image_id,
                  properties.c.name.label("name"), properties.c.value.label("value"),
                  no_number.label("number"), no_number.label("position"), no_text.label("meta"))
        .where(properties.c.image_id.in_(wanted)),
        sa.select(sa.literal_column("'t'"), tags.c.image_id, tags.c.value, no_text, *nothing)
        .where(tags.c.image_id.in_(wanted)),
        sa.select(sa.literal_column("'l'"), locations.c.image_id, locations.c.store,
                  locations.c.url, locations.c.crc32,
                  sa.cast(locations.c.position, sa.BigInteger), sa.cast(locations.c.meta, sa.Text))
        .where(locations.c.image_id.in_(wanted)))


_DETAILS = _details_statement()


def attach_details(connection: Connection, found: Sequence[dict[str, Any]]) -> None:
    """Fill in properties, tags and locations, one statement per batch of images."""
    by_id = {image["id"]: image for image in found}
    ids = list(by_id)
    for start in range(0, len(ids), _BATCH):
        rows = connection.execute(_DETAILS, {"ids": ids[start:start + _BATCH]})
        for kind, image_id, name, value, number, position, meta in rows:
            image = by_id[image_id]
            if kind == "p":
                image["properties"][name] = value
            elif kind == "t":
                image["tags"].append(name)
            else:
                image["locations"].append((position, {
                    "store": name, "url": value, "crc32": number,
                    "metadata": json.loads(meta) if meta else {}}))
    for image in found:
        image["tags"].sort()
        image["locations"] = [place for _, place in sorted(
            image["locations"], key=operator.itemgetter(0))]


def get(connection: Connection, image_id: str, *, deleted: bool = False) -> dict[str, Any] | None:
    """The image with its details, or None; deleted ones only when asked for."""
    statement = sa.select(*_PUBLIC_COLUMNS).where(images.c.id == image_id)
    if not deleted:
        statement = statement.where(images.c.deleted == sa.false())
    row = connection.execute(statement).first()
    if row is None:
        return None
    image = _to_image(row)
    attach_details(connection, [image])
    return image


def insert(connection: Connection, values: Mapping[str, Any]) -> None:
    """Add a row with its details; an id in use raises `sqlalchemy.exc.IntegrityError`."""
    moment = now()
    row = {name: value for name, value in values.items()
           if name not in ("properties", "tags", "locations")}
    connection.execute(images.insert().values(
        **{"created_at": moment, "updated_at": moment, "version": 1, "deleted": False, **row}))
    _replace_details(connection, values["id"], values, purge_props=True)


def _replace_details(connection: Connection, image_id: str, values: Mapping[str, Any],
                     purge_props: bool) -> None:
    if "properties" in values:
        wanted = dict(values["properties"])
        doomed = sa.delete(properties).where(properties.c.image_id == image_id)
        if not purge_props:
            doomed = doomed.where(properties.c.name.in_(list(wanted)))
        connection.execute(doomed)
        if wanted:
            connection.execute(properties.insert(), [
                {"image_id": image_id, "name": name, "value": value}
                for name, value in wanted.items()])
    if "tags" in values:
        connection.execute(sa.delete(tags).where(tags.c.image_id == image_id))
        unique = dict.fromkeys(values["tags"])
        if unique:
            connection.execute(tags.insert(),
                               [{"image_id": image_id, "value": value} for value in unique])
    if "locations" in values:
        connection.execute(sa.delete(locations).where(locations.c.image_id == image_id))
        moment = now()
        if values["locations"]:
            connection.execute(locations.insert(), [
                {"image_id": image_id, "position": position, "store": place["store"],
                 "url": place["url"], "crc32": place.get("crc32"), "created_at": moment,
                 "meta": json.dumps(place["metadata"]) if place.get("metadata") else None}
                for position, place in enumerate(values["locations"])])


def update(connection: Connection, image_id: str, values: Mapping[str, Any], *,
           purge_props: bool, from_status: Iterable[str] | None, upload_token: str | None,
           version: int | None) -> bool:
    """Apply `values` if the conditions hold; False, and nothing changed, if they do not."""
    row = {name: value for name, value in values.items()
           if name not in ("properties", "tags", "locations")}
    row["updated_at"] = now()
    row["version"] = images.c.version + 1
    if row.get("upload_token"):
        row["upload_beat"] = row["updated_at"]
    statement = sa.update(images).where(images.c.id == image_id).values(**row)
    if from_status is not None:
        statement = statement.where(images.c.status.in_(list(from_status)))
    if upload_token is not None:
        statement = statement.where(images.c.upload_token == upload_token)
    if version is not None:
        statement = statement.where(images.c.version == version)
    if not row.get("deleted") and row.get("status") != states.DELETED:
        statement = statement.where(images.c.deleted == sa.false())
    if connection.execute(statement).rowcount == 0:
        return False
    _replace_details(connection, image_id, values, purge_props)
    return True


def restore(connection: Connection, image_id: str) -> bool:
    """Make an image that waits for its delete active again; False if it does not wait."""
    return connection.execute(
        sa.update(images).where(images.c.id == image_id,
                                images.c.status == states.PENDING_DELETE)
        .values(status=states.ACTIVE, deleted=False, deleted_at=None, updated_at=now(),
                version=images.c.version + 1)).rowcount > 0


def purge(connection: Connection, older_than: datetime.datetime, limit: int) -> int:
    """Forget all about images deleted before that moment, but never their ids; how many."""
    doomed = list(connection.scalars(
        sa.select(images.c.id).where(
            images.c.status == states.DELETED, images.c.deleted_at < older_than,
            images.c.owner.is_not(None)).order_by(images.c.deleted_at).limit(limit)))
    for start in range(0, len(doomed), _BATCH):
        some = doomed[start:start + _BATCH]
        for table in (properties, tags, locations, Base.metadata.tables["image_members"]):
            connection.execute(sa.delete(table).where(table.c.image_id.in_(some)))
        connection.execute(sa.update(images).where(images.c.id.in_(some)).values(
            name=None, owner=None, checksum=None, os_hash_value=None, size=None,
            virtual_size=None))
    return len(doomed)


def touch(connection: Connection, image_id: str) -> None:
    """Record that something about the image changed."""
    connection.execute(sa.update(images).where(images.c.id == image_id).values(
        updated_at=now(), version=images.c.version + 1))


def beat(connection: Connection, image_id: str, upload_token: str, received: int) -> bool:
    """Refresh the sign of life of an upload; False when it is not that upload any more."""
    return connection.execute(
        sa.update(images)
        .where(images.c.id == image_id, images.c.upload_token == upload_token,
               images.c.status.in_(states.RECEIVING))
        .values(upload_beat=now(), upload_bytes=received)).rowcount > 0


def transient(connection: Connection) -> list[dict[str, Any]]:
    """Images that are being saved or deleted, with what says whether anybody still does it."""
    moment = now()
    found = []
    for row in connection.execute(
            sa.select(images).where(
                images.c.status.in_((*states.RECEIVING, states.PENDING_DELETE)))):
        image = _to_image(row)
        beat_at = image.pop("upload_beat") or row.updated_at
        image["upload_age"] = (moment - max(beat_at, row.updated_at)).total_seconds()
        found.append(image)
    attach_details(connection, found)
    return found


def usage(connection: Connection, owner: str | None) -> tuple[int, int, int, int]:
    """(images, uploads, bytes, staged bytes) of `owner`; images about to be removed still count,
    staged bytes are not among the bytes."""
    owned = images.c.owner == owner if owner is not None else images.c.owner.is_(None)
    arrived = sa.func.coalesce(images.c.upload_bytes, 0)
    staged = images.c.status.in_((states.UPLOADING, states.IMPORTING))
    row = connection.execute(
        sa.select(
            sa.func.count(images.c.id),
            sa.func.coalesce(sa.func.sum(
                sa.case((images.c.status.in_(states.RECEIVING), 1), else_=0)), 0),
            sa.func.coalesce(sa.func.sum(
                sa.case((images.c.status == states.SAVING, arrived), (staged, 0),
                    else_=sa.func.coalesce(images.c.size, 0))), 0),
            sa.func.coalesce(sa.func.sum(sa.case((staged, arrived), else_=0)), 0),
        ).where(owned, images.c.status.not_in((states.DELETED, states.KILLED)))).one()
    return int(row[0]), int(row[1]), int(row[2]), int(row[3])


def set_tag(connection: Connection, image_id: str, tag: str, present: bool, limit: int) -> None:
    """Add (again is fine) or remove one tag."""
    mine = tags.c.image_id == image_id
    if not present:
        if not connection.execute(
                sa.delete(tags).where(mine, tags.c.value == tag)).rowcount:
            raise exceptions.NotFound(f"image {image_id} has no tag {tag!r}")
        return touch(connection, image_id)
    existing = set(connection.scalars(sa.select(tags.c.value).where(mine)))
    if tag in existing:
        return None
    if 0 <= limit < len(existing) + 1:
        raise exceptions.LimitExceeded(f"tags: an image may have at most {limit}")
    connection.execute(tags.insert().values(image_id=image_id, value=tag))
    return touch(connection, image_id)
