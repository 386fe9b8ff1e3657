# SPDX-License-Identifier: Apache-2.0
"""The contract of a registry: whatever answers these calls can keep the images' metadata.

Images and members are the plain dictionaries of `glance.registry.types`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from glance.context import RequestContext
from glance.registry.types import Image, ImageQuery, Member, Task, Usage


class RegistryClient(abc.ABC):
    """Every method raises `glance.exceptions` only: `NotFound` for what the caller may not see,
    `Forbidden` for what it may see but not change, `Unavailable` when the registry does not
    answer."""

    @abc.abstractmethod
    def create_image(self, context: RequestContext, values: Mapping[str, Any]) -> Image:
        """Make a row; raises `Duplicate` if the id is or ever was in use."""

    @abc.abstractmethod
    def get_image(self, context: RequestContext, image_id: str) -> Image:
        """The image, if the caller may see it."""

    @abc.abstractmethod
    def list_images(self, context: RequestContext, query: ImageQuery) -> list[Image]:
        """The images of `query` that the caller may see; an unknown marker is `Invalid`."""

    @abc.abstractmethod
    def update_image(self, context: RequestContext, image_id: str, values: Mapping[str, Any], *,
                     purge_props: bool = False, from_status: Sequence[str] | None = None,
                     upload_token: str | None = None, version: int | None = None) -> Image:
        """Change an image in one conditional step and return it as it is then.

        ``properties`` are merged, or replaced with `purge_props`; ``tags`` and ``locations`` are
        replaced.  Nothing changes unless the status is in `from_status`, the running upload is
        `upload_token` and nothing else has changed since `version` (each only when given):
        `Conflict` then says what was found.
        """

    @abc.abstractmethod
    def delete_image(self, context: RequestContext, image_id: str, *, final: bool = False) -> Image:
        """Take the image out of everybody's sight and return it as it was last.

        Its status becomes ``pending_delete``: from here nobody can reach or finish it.  With
        `final`, for the service only and once no byte is left, ``deleted``.  A protected image
        is `Forbidden`.
        """

    @abc.abstractmethod
    def restore_image(self, context: RequestContext, image_id: str) -> Image:
        """Take back the delete of an image that has its data still; for the service only."""

    @abc.abstractmethod
    def beat(self, context: RequestContext, image_id: str, upload_token: str,
             received: int) -> None:
        """Say that an upload is alive and how far it got; `Gone` when the image is no longer
        being saved by this attempt."""

    @abc.abstractmethod
    def usage(self, context: RequestContext, owner: str | None) -> Usage:
        """What `owner` takes up now."""

    @abc.abstractmethod
    def list_transient(self, context: RequestContext) -> list[Image]:
        """Images that are getting data or losing it, with their upload columns and
        ``upload_age`` (seconds since the last sign of life); for the service only."""

    @abc.abstractmethod
    def create_task(self, context: RequestContext, values: Mapping[str, Any]) -> Task:
        """Record work that will go on after the answer; for the service only."""

    @abc.abstractmethod
    def get_task(self, context: RequestContext, task_id: str) -> Task:
        """A task of the caller's project, or any for an administrator; with ``age``, the seconds
        since it last changed."""

    @abc.abstractmethod
    def list_tasks(self, context: RequestContext, **wanted: Any) -> list[Task]:
        """Tasks the caller may see, newest first; `wanted` are ``image_id``, ``statuses``,
        ``kind``, ``marker`` and ``limit``."""

    @abc.abstractmethod
    def update_task(self, context: RequestContext, task_id: str, values: Mapping[str, Any],
                    from_status: Sequence[str] = ("pending", "processing")) -> bool:
        """Change a task in one of those states, False if it is in another; for the service
        only.  Finished tasks whose time is over are removed on the way."""

    @abc.abstractmethod
    def metadefs(self, context: RequestContext, method: str, **args: Any) -> Any:
        """Call one of the methods that `glance.registry.metadefs.METHODS` lists."""

    @abc.abstractmethod
    def set_tag(self, context: RequestContext, image_id: str, tag: str, present: bool,
                limit: int) -> None:
        """Add or remove one tag; `NotFound` when it is not there to remove, `LimitExceeded`
        when more than `limit` (negative: any number) would be there."""

    @abc.abstractmethod
    def list_members(self, context: RequestContext, image_id: str) -> list[Member]:
        """The members the caller may see: all for the owner, only itself for a member."""

    @abc.abstractmethod
    def set_member(self, context: RequestContext, image_id: str, member: str, *,
                   can_share: bool | None = None, status: str | None = None,
                   create: bool = True, limit: int = -1) -> Member:
        """Add or change one membership.  The owner adds, the member alone sets ``status``."""

    @abc.abstractmethod
    def replace_members(self, context: RequestContext, image_id: str,
                        members_wanted: Sequence[Mapping[str, Any]], limit: int = -1) -> None:
        """Make `members_wanted` ({member, can_share}) the whole list; those who stay keep their
        status."""

    @abc.abstractmethod
    def delete_member(self, context: RequestContext, image_id: str, member: str) -> None:
        """End a membership; `NotFound` when there is none."""

    @abc.abstractmethod
    def shared_images(self, context: RequestContext, member: str) -> list[Member]:
        """Memberships of `member` that the caller may see and the member accepted."""

    @abc.abstractmethod
    def check(self) -> None:
        """Raise `Unavailable` or `ConfigurationError` unless the registry can be used."""
