# SPDX-License-Identifier: Apache-2.0
"""The registry in process: straight to the database, with the same rules as over REST."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg
from sqlalchemy import exc
from sqlalchemy.engine import Connection

from glance import exceptions
from glance.context import RequestContext
from glance.image import states
from glance.registry import authorization, metadefs
from glance.registry.client.base import RegistryClient
from glance.registry.db import images, listing, members, tasks
from glance.registry.db.revision import HEAD
from glance.registry.db.session import Database, retried
from glance.registry.types import SERVICE_FIELDS, Image, ImageQuery, Member, Task, Usage


def _missing(image_id: str) -> exceptions.NotFound:
    """The same words for an image that never was and for one the caller may not see."""
    return exceptions.NotFound(f"no image with id {image_id[:64]!r} was found")


def _visible(connection: Connection, context: RequestContext, image_id: str) -> Image:
    image = images.get(connection, image_id)
    if image is None:
        raise _missing(image_id)
    is_member = (not context.is_admin and image["visibility"] == "shared"
                 and members.get(connection, image_id, context.project_id) is not None)
    if not authorization.is_visible(context, image, is_member):
        raise _missing(image_id)
    return image


def _no_task(task_id: str) -> exceptions.NotFound:
    return exceptions.NotFound(f"no task with id {task_id[:64]!r} was found")


def _mutable(connection: Connection, context: RequestContext, image_id: str) -> Image:
    image = _visible(connection, context, image_id)
    if not authorization.is_mutable(context, image):
        raise exceptions.Forbidden(f"image {image_id} belongs to another project")
    return image


def _internal_only(context: RequestContext) -> None:
    if not (context.internal or context.is_admin):
        raise exceptions.Forbidden("only the image service itself may ask this")


class SqlClient(RegistryClient):
    """A registry over one database; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> SqlClient:
        """The registry whose database ``[database]`` of `conf` names."""
        return cls(Database.from_conf(conf))

    def check(self) -> None:
        """Ask the database for its schema revision."""
        try:
            with self.database.reading() as connection:
                found = None
                if sa.inspect(connection).has_table("alembic_version"):
                    found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        except exc.DBAPIError as error:
            raise exceptions.Unavailable(
                f"[database] connection: the database does not answer: {error.orig}") from None
        if found != HEAD:
            raise exceptions.ConfigurationError(
                f"the registry's database is at revision {found}, this release needs {HEAD}: "
                "run `glance-manage db sync`")

    @retried
    def create_image(self, context: RequestContext, values: Mapping[str, Any]) -> Image:
        try:
            with self.database.writing() as connection:
                images.insert(connection, values)
                image = images.get(connection, values["id"])
        except exc.IntegrityError:
            raise exceptions.Duplicate(
                f"id: {values['id']} is or was the id of another image") from None
        if image is None:
            raise _missing(values["id"])
        return image

    @retried
    def get_image(self, context: RequestContext, image_id: str) -> Image:
        with self.database.reading() as connection:
            return _visible(connection, context, image_id)

    @retried
    def list_images(self, context: RequestContext, query: ImageQuery) -> list[Image]:
        with self.database.reading() as connection:
            return listing.page(connection, context, query)

    @retried
    def update_image(self, context: RequestContext, image_id: str, values: Mapping[str, Any], *,
                     purge_props: bool = False, from_status: Sequence[str] | None = None,
                     upload_token: str | None = None, version: int | None = None) -> Image:
        refused = SERVICE_FIELDS.intersection(values)
        if refused and not context.internal:
            raise exceptions.Forbidden(
                f"{', '.join(sorted(refused))}: only the image service itself sets this")
        with self.database.writing() as connection:
            before = _mutable(connection, context, image_id)
            wanted = values.get("status")
            if wanted is not None and from_status is None:
                from_status = states.sources_of(wanted)
            if not images.update(connection, image_id, values, purge_props=purge_props,
                                 from_status=from_status, upload_token=upload_token,
                                 version=version):
                raise _lost(before, from_status, version)
            return _visible(connection, context.for_service(), image_id)

    @retried
    def delete_image(self, context: RequestContext, image_id: str, *, final: bool = False) -> Image:
        with self.database.writing() as connection:
            if final:
                _internal_only(context)
                image = images.get(connection, image_id, deleted=True)
                if image is None:
                    raise _missing(image_id)
                images.update(connection, image_id,
                              {"status": states.DELETED, "deleted": True, "locations": []},
                              purge_props=False, from_status=(states.PENDING_DELETE,),
                              upload_token=None, version=None)
                return image
            image = _mutable(connection, context, image_id)
            if image["protected"]:
                raise exceptions.Forbidden(
                    f"image {image_id} is protected and cannot be deleted")
            if not images.update(
                    connection, image_id,
                    {"status": states.PENDING_DELETE, "deleted": True,
                     "deleted_at": images.now()},
                    purge_props=False, from_status=states.sources_of(states.PENDING_DELETE),
                    upload_token=None, version=image["version"]):
                raise exceptions.Conflict(f"image {image_id} was changed meanwhile, try again")
            return image

    @retried
    def restore_image(self, context: RequestContext, image_id: str) -> Image:
        _internal_only(context)
        with self.database.writing() as connection:
            found = images.get(connection, image_id, deleted=True)
            if found is None:
                raise _missing(image_id)
            if not found["locations"] or not images.restore(connection, image_id):
                raise exceptions.Conflict(f"image {image_id} is {found['status']}; only one that "
                                          "waits for its delete, with data, can be restored")
            return _visible(connection, context, image_id)

    @retried
    def beat(self, context: RequestContext, image_id: str, upload_token: str,
             received: int) -> None:
        with self.database.writing(durable=False) as connection:
            if not images.beat(connection, image_id, upload_token, received):
                raise exceptions.Gone(
                    f"image {image_id} is no longer being saved: it was deleted or given up")

    @retried
    def usage(self, context: RequestContext, owner: str | None) -> Usage:
        if not context.is_admin and owner != context.project_id:
            raise exceptions.Forbidden("usage of another project")
        with self.database.reading() as connection:
            return Usage(*images.usage(connection, owner))

    @retried
    def list_transient(self, context: RequestContext) -> list[Image]:
        _internal_only(context)
        with self.database.reading() as connection:
            return images.transient(connection)

    @retried
    def create_task(self, context: RequestContext, values: Mapping[str, Any]) -> Task:
        _internal_only(context)
        with self.database.writing() as connection:
            tasks.insert(connection, values)
            found = tasks.get(connection, values["id"])
        if found is None:
            raise _no_task(values["id"])
        return found

    @retried
    def get_task(self, context: RequestContext, task_id: str) -> Task:
        with self.database.reading() as connection:
            found = tasks.get(connection, task_id)
        if found is None or not (context.is_admin or found["owner"] == context.project_id):
            raise _no_task(task_id)
        return found

    @retried
    def list_tasks(self, context: RequestContext, **wanted: Any) -> list[Task]:
        owner = None if context.is_admin else context.project_id or ""
        with self.database.reading() as connection:
            return tasks.select(connection, owner=owner, **wanted)

    @retried
    def update_task(self, context: RequestContext, task_id: str, values: Mapping[str, Any],
                    from_status: Sequence[str] = ("pending", "processing")) -> bool:
        _internal_only(context)
        with self.database.writing() as connection:
            changed = tasks.update(connection, task_id, values, from_status)
            if values.get("expires_at"):
                tasks.expire(connection)
        return changed

    @retried
    def metadefs(self, context: RequestContext, method: str, **args: Any) -> Any:
        return metadefs.call(self.database, context, method, args)

    @retried
    def set_tag(self, context: RequestContext, image_id: str, tag: str, present: bool,
                limit: int) -> None:
        with self.database.writing() as connection:
            _mutable(connection, context, image_id)
            images.set_tag(connection, image_id, tag, present, limit)

    @retried
    def list_members(self, context: RequestContext, image_id: str) -> list[Member]:
        with self.database.reading() as connection:
            image = _visible(connection, context, image_id)
            found = members.of_image(connection, image_id)
        if authorization.is_mutable(context, image):
            return found
        return [member for member in found if member["member"] == context.project_id]

    @retried
    def set_member(self, context: RequestContext, image_id: str, member: str, *,
                   can_share: bool | None = None, status: str | None = None,
                   create: bool = True, limit: int = -1) -> Member:
        with self.database.writing() as connection:
            image = _visible(connection, context, image_id)
            existing = members.get(connection, image_id, member)
            if existing is None and not create:
                raise exceptions.NotFound(f"image {image_id} has no member {member[:64]!r}")
            if status is not None and not (context.is_admin or member == context.project_id):
                raise exceptions.Forbidden("status: only the member itself accepts or rejects")
            if create or can_share is not None:
                mine = members.get(connection, image_id, context.project_id)
                if not authorization.is_sharable(context, image, mine):
                    raise exceptions.Forbidden(f"image {image_id} is not yours to share")
            members.put(connection, image_id, member, can_share=can_share, status=status,
                        limit=limit)
            found = members.get(connection, image_id, member)
        if found is None:
            raise exceptions.NotFound(f"image {image_id} has no member {member[:64]!r}")
        return found

    @retried
    def replace_members(self, context: RequestContext, image_id: str,
                        members_wanted: Sequence[Mapping[str, Any]], limit: int = -1) -> None:
        with self.database.writing() as connection:
            _mutable(connection, context, image_id)
            members.replace(connection, image_id, members_wanted, limit)

    @retried
    def delete_member(self, context: RequestContext, image_id: str, member: str) -> None:
        with self.database.writing() as connection:
            _mutable(connection, context, image_id)
            if not members.delete(connection, image_id, member):
                raise exceptions.NotFound(f"image {image_id} has no member {member[:64]!r}")

    @retried
    def shared_images(self, context: RequestContext, member: str) -> list[Member]:
        if not context.is_admin and member != context.project_id:
            raise exceptions.Forbidden("images shared with another project")
        with self.database.reading() as connection:
            return members.of_member(connection, member)


def _lost(found: Image, from_status: Sequence[str] | None,
          version: int | None) -> exceptions.Conflict:
    """Why a conditional update did not happen, in the caller's words."""
    if from_status is not None and found["status"] not in from_status:
        return exceptions.Conflict(
            f"image {found['id']} is {found['status']}; this needs it to be "
            f"{' or '.join(from_status)}")
    if version is not None and found["version"] != version:
        return exceptions.Conflict(f"image {found['id']} was changed meanwhile, try again")
    return exceptions.Conflict(f"image {found['id']} is being worked on by another request")
