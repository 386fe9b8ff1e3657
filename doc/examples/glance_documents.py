# SPDX-License-Identifier: Apache-2.0
"""A registry without SQL: all that is known of images in one JSON document.

The example of doc/registry.rst.  It keeps the whole contract of
`glance.registry.client.base.RegistryClient` but metadata definitions, for as many processes of one
machine as like, and reads everything for each answer: for hundreds of images, not for millions.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import fcntl
import functools
import json
import operator
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from glance import exceptions
from glance.context import RequestContext
from glance.image import states
from glance.registry import authorization
from glance.registry.client.base import RegistryClient
from glance.registry.types import (
    COLUMNS,
    SERVICE_FIELDS,
    SORT_KEYS,
    UPLOAD_COLUMNS,
    Image,
    ImageQuery,
    Member,
    Task,
    Usage,
)

OPTIONS = [cfg.StrOpt("path", default="/var/lib/glance/registry.json",
                      help="The document; made if missing.")]
GROUP = "documents"
UNFINISHED = ("pending", "processing")
_FRESH: dict[str, Any] = {"images": {}, "members": {}, "tasks": {}}
_TIMES = ("created_at", "updated_at", "deleted_at", "expires_at")
_HIDDEN = ("upload_token", "upload_worker", "upload_beat")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "neq": operator.ne, "gt": operator.gt, "gte": operator.ge,
    "lt": operator.lt, "lte": operator.le, "in": lambda found, wanted: found in wanted}
_NOTHING = {"size": -1}


class Document:
    """The file: one writer at a time, and each change is there as a whole or not at all."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = pathlib.Path(path)

    @contextlib.contextmanager
    def opened(self, write: bool = False) -> Iterator[dict[str, Any]]:
        """What is known; with `write`, what it is when the block ends without an error."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{self._path}.lock", "a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
            state = copy.deepcopy(_FRESH)
            if self._path.exists():
                state = json.loads(self._path.read_bytes())
            yield state
            if write:
                self._replace(json.dumps(state).encode())

    def _replace(self, data: bytes) -> None:
        fresh = self._path.with_suffix(".new")
        with open(fresh, "wb") as target:
            target.write(data)
            target.flush()
            os.fsync(target.fileno())
        os.replace(fresh, self._path)
        descriptor = os.open(self._path.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat()


def _age(moment: str) -> float:
    past = datetime.datetime.fromisoformat(moment).replace(tzinfo=datetime.UTC)
    return (datetime.datetime.now(datetime.UTC) - past).total_seconds()


def _shown(kept: Mapping[str, Any], hidden: Sequence[str] = ()) -> dict[str, Any]:
    """What is kept as the contract wants it: times to the second, with a Z."""
    return {name: f"{value[:19]}Z" if name in _TIMES and value else value
            for name, value in kept.items() if name not in hidden}


def _no_image(image_id: str) -> exceptions.NotFound:
    return exceptions.NotFound(f"no image with id {image_id[:64]!r} was found")


def _no_member(image_id: str, member: str) -> exceptions.NotFound:
    return exceptions.NotFound(f"image {image_id} has no member {member[:64]!r}")


class DocumentClient(RegistryClient):
    """The registry in one file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._document = Document(path)

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> DocumentClient:
        """The registry that ``[documents]`` names."""
        conf.register_opts(OPTIONS, GROUP)
        return cls(conf[GROUP].path)

    def check(self) -> None:
        try:
            with self._document.opened():
                return
        except (OSError, ValueError) as error:
            raise exceptions.Unavailable(f"[{GROUP}] path: {error}") from None

    # Images

    def create_image(self, context: RequestContext, values: Mapping[str, Any]) -> Image:
        with self._document.opened(write=True) as state:
            if values["id"] in state["images"]:
                raise exceptions.Duplicate(
                    f"id: {values['id']} is or was the id of another image")
            moment = _now()
            image = {**dict.fromkeys((*COLUMNS, *UPLOAD_COLUMNS, "upload_beat", "deleted_at")),
                     "locations": [], "created_at": moment, "updated_at": moment, "version": 1,
                     "deleted": False, **values}
            image["tags"] = sorted(set(image["tags"]))
            state["images"][values["id"]] = image
            return _shown(image, _HIDDEN)

    def get_image(self, context: RequestContext, image_id: str) -> Image:
        with self._document.opened() as state:
            return _shown(_visible(state, context, image_id), _HIDDEN)

    def update_image(self, context: RequestContext, image_id: str, values: Mapping[str, Any], *,
                     purge_props: bool = False, from_status: Sequence[str] | None = None,
                     upload_token: str | None = None, version: int | None = None) -> Image:
        refused = SERVICE_FIELDS.intersection(values)
        if refused and not context.internal:
            raise exceptions.Forbidden(
                f"{', '.join(sorted(refused))}: only the image service itself sets this")
        with self._document.opened(write=True) as state:
            image = _mutable(state, context, image_id)
            if values.get("status") is not None and from_status is None:
                from_status = states.sources_of(values["status"])
            if from_status is not None and image["status"] not in from_status:
                raise exceptions.Conflict(f"image {image_id} is {image['status']}; this needs it "
                                          f"to be {' or '.join(from_status)}")
            if version not in (None, image["version"]):
                raise exceptions.Conflict(f"image {image_id} was changed meanwhile, try again")
            if upload_token not in (None, image["upload_token"]):
                raise exceptions.Conflict(
                    f"image {image_id} is being worked on by another request")
            _change(image, values, purge_props)
            return _shown(image, _HIDDEN)

    def delete_image(self, context: RequestContext, image_id: str, *, final: bool = False) -> Image:
        with self._document.opened(write=True) as state:
            if final:
                _internal_only(context)
                image = state["images"].get(image_id)
                if image is None:
                    raise _no_image(image_id)
                before = copy.deepcopy(image)
                if image["status"] == states.PENDING_DELETE:
                    _change(image, {"status": states.DELETED, "locations": []})
                return _shown(before, _HIDDEN)
            image = _mutable(state, context, image_id)
            if image["protected"]:
                raise exceptions.Forbidden(
                    f"image {image_id} is protected and cannot be deleted")
            before = copy.deepcopy(image)
            _change(image, {"status": states.PENDING_DELETE, "deleted": True,
                            "deleted_at": _now()})
            return _shown(before, _HIDDEN)

    def restore_image(self, context: RequestContext, image_id: str) -> Image:
        _internal_only(context)
        with self._document.opened(write=True) as state:
            image = state["images"].get(image_id)
            if image is None:
                raise _no_image(image_id)
            if image["status"] != states.PENDING_DELETE or not image["locations"]:
                raise exceptions.Conflict(f"image {image_id} is {image['status']}; only one that "
                                          "waits for its delete, with data, can be restored")
            _change(image, {"status": states.ACTIVE, "deleted": False, "deleted_at": None})
            return _shown(image, _HIDDEN)

    def beat(self, context: RequestContext, image_id: str, upload_token: str,
             received: int) -> None:
        with self._document.opened(write=True) as state:
            image = state["images"].get(image_id, {})
            if image.get("upload_token") != upload_token or (
                    image["status"] not in states.RECEIVING):
                raise exceptions.Gone(
                    f"image {image_id} is no longer being saved: it was deleted or given up")
            image |= {"upload_beat": _now(), "upload_bytes": received}

    def usage(self, context: RequestContext, owner: str | None) -> Usage:
        if not context.is_admin and owner != context.project_id:
            raise exceptions.Forbidden("usage of another project")
        with self._document.opened() as state:
            mine = [image for image in state["images"].values() if image["owner"] == owner
                    and image["status"] not in (states.DELETED, states.KILLED)]
        staged = [image for image in mine if image["status"] in (states.UPLOADING,
                                                                 states.IMPORTING)]
        stored = [image["upload_bytes"] if image["status"] == states.SAVING else image["size"]
                  for image in mine if image not in staged]
        return Usage(len(mine), sum(image["status"] in states.RECEIVING for image in mine),
                     sum(size or 0 for size in stored),
                     sum(image["upload_bytes"] or 0 for image in staged))

    def list_transient(self, context: RequestContext) -> list[Image]:
        _internal_only(context)
        with self._document.opened() as state:
            return [{**_shown(image, ("upload_beat",)),
                     "upload_age": _age(max(image["upload_beat"] or "", image["updated_at"]))}
                    for image in state["images"].values()
                    if image["status"] in (*states.RECEIVING, states.PENDING_DELETE)]

    def list_images(self, context: RequestContext, query: ImageQuery) -> list[Image]:
        order = list(query.sort)
        if all(key != "id" for key, _ in order):
            order.append(("id", order[-1][1] if order else "desc"))
        if any(key not in SORT_KEYS for key, _ in order):
            raise exceptions.Invalid(f"sort_key: must be one of {', '.join(SORT_KEYS)}")
        compare = functools.cmp_to_key(functools.partial(_compared, order))
        with self._document.opened() as state:
            found = [image for image in state["images"].values()
                     if _listed(state, context, query, image)
                     and all(_matches(image, *each) for each in query.filters)]
            if query.marker is not None:
                try:
                    marker = _visible(state, context, query.marker)
                except exceptions.NotFound:
                    raise exceptions.Invalid(
                        f"marker: image {query.marker} could not be found") from None
                found = [image for image in found if _compared(order, image, marker) > 0]
        found.sort(key=compare)
        return [_shown(image, _HIDDEN) for image in found[:query.limit]]

    def set_tag(self, context: RequestContext, image_id: str, tag: str, present: bool,
                limit: int) -> None:
        with self._document.opened(write=True) as state:
            image = _mutable(state, context, image_id)
            tags = set(image["tags"])
            if not present and tag not in tags:
                raise exceptions.NotFound(f"image {image_id} has no tag {tag!r}")
            if present and tag not in tags and 0 <= limit < len(tags) + 1:
                raise exceptions.LimitExceeded(f"tags: an image may have at most {limit}")
            _change(image, {"tags": tags | {tag} if present else tags - {tag}})

    # Members

    def list_members(self, context: RequestContext, image_id: str) -> list[Member]:
        with self._document.opened() as state:
            image = _visible(state, context, image_id)
            found = [_shown(each) for each in state["members"].get(image_id, {}).values()]
        return [each for each in found if authorization.is_mutable(context, image)
                or each["member"] == context.project_id]

    def set_member(self, context: RequestContext, image_id: str, member: str, *,
                   can_share: bool | None = None, status: str | None = None,
                   create: bool = True, limit: int = -1) -> Member:
        with self._document.opened(write=True) as state:
            image = _visible(state, context, image_id)
            members = state["members"].setdefault(image_id, {})
            if member not in members and not create:
                raise _no_member(image_id, member)
            if status is not None and not (context.is_admin or member == context.project_id):
                raise exceptions.Forbidden("status: only the member itself accepts or rejects")
            if (create or can_share is not None) and not authorization.is_sharable(
                    context, image, members.get(context.project_id)):
                raise exceptions.Forbidden(f"image {image_id} is not yours to share")
            if member not in members and 0 <= limit < len(members) + 1:
                raise exceptions.LimitExceeded(
                    f"member: an image may have at most {limit} members")
            return _shown(_put_member(members, image_id, member, can_share, status))

    def replace_members(self, context: RequestContext, image_id: str,
                        members_wanted: Sequence[Mapping[str, Any]], limit: int = -1) -> None:
        with self._document.opened(write=True) as state:
            _mutable(state, context, image_id)
            if 0 <= limit < len(members_wanted):
                raise exceptions.LimitExceeded(
                    f"memberships: an image may have at most {limit} members")
            wanted = {each["member"]: bool(each.get("can_share")) for each in members_wanted}
            members = state["members"].setdefault(image_id, {})
            for gone in set(members) - set(wanted):
                del members[gone]
            for member, can_share in wanted.items():
                _put_member(members, image_id, member, can_share, None)

    def delete_member(self, context: RequestContext, image_id: str, member: str) -> None:
        with self._document.opened(write=True) as state:
            _mutable(state, context, image_id)
            if state["members"].get(image_id, {}).pop(member, None) is None:
                raise _no_member(image_id, member)

    def shared_images(self, context: RequestContext, member: str) -> list[Member]:
        if not context.is_admin and member != context.project_id:
            raise exceptions.Forbidden("images shared with another project")
        with self._document.opened() as state:
            return [_shown(members[member]) for image_id, members in state["members"].items()
                    if members.get(member, {}).get("status") == "accepted"
                    and state["images"][image_id]["visibility"] == "shared"
                    and not state["images"][image_id]["deleted"]]

    # Tasks

    def create_task(self, context: RequestContext, values: Mapping[str, Any]) -> Task:
        _internal_only(context)
        moment = _now()
        columns = ("owner", "user_id", "request_id", "image_id", "input", "result", "worker",
                   "expires_at")
        with self._document.opened(write=True) as state:
            state["tasks"][values["id"]] = {
                **dict.fromkeys(columns), "status": "pending", "message": "",
                "created_at": moment, "updated_at": moment, **values}
            return _task(state["tasks"][values["id"]])

    def get_task(self, context: RequestContext, task_id: str) -> Task:
        with self._document.opened() as state:
            found = state["tasks"].get(task_id)
        if found is None or not (context.is_admin or found["owner"] == context.project_id):
            raise exceptions.NotFound(f"no task with id {task_id[:64]!r} was found")
        return _task(found)

    def list_tasks(self, context: RequestContext, **wanted: Any) -> list[Task]:
        with self._document.opened() as state:
            found = sorted(state["tasks"].values(), reverse=True,
                           key=lambda task: (task["created_at"], task["id"]))
        marker = next((place for place, task in enumerate(found)
                       if task["id"] == wanted.get("marker")), -1)
        found = [_task(task) for task in found[marker + 1:]
                 if (context.is_admin or task["owner"] == context.project_id)
                 and wanted.get("image_id") in (None, task["image_id"])
                 and wanted.get("kind") in (None, task["type"])
                 and (wanted.get("statuses") is None or task["status"] in wanted["statuses"])]
        return found[:wanted.get("limit")]

    def update_task(self, context: RequestContext, task_id: str, values: Mapping[str, Any],
                    from_status: Sequence[str] = UNFINISHED) -> bool:
        _internal_only(context)
        with self._document.opened(write=True) as state:
            task = state["tasks"].get(task_id)
            if task is None or task["status"] not in from_status:
                return False
            task |= {**values, "updated_at": _now()}
            for old in [each["id"] for each in state["tasks"].values()
                        if (each["expires_at"] or "9") < _now()
                        and each["status"] not in UNFINISHED]:
                del state["tasks"][old]
            return True

    def metadefs(self, context: RequestContext, method: str, **args: Any) -> Any:
        raise exceptions.NotSupported("metadata definitions: not kept by this registry")


def _internal_only(context: RequestContext) -> None:
    if not (context.internal or context.is_admin):
        raise exceptions.Forbidden("only the image service itself may ask this")


def _visible(state: Mapping[str, Any], context: RequestContext, image_id: str) -> Image:
    image: Image | None = state["images"].get(image_id)
    is_member = context.project_id in state["members"].get(image_id, {})
    if image is None or image["deleted"] or not authorization.is_visible(context, image,
                                                                         is_member):
        raise _no_image(image_id)
    return image


def _mutable(state: Mapping[str, Any], context: RequestContext, image_id: str) -> Image:
    image = _visible(state, context, image_id)
    if not authorization.is_mutable(context, image):
        raise exceptions.Forbidden(f"image {image_id} belongs to another project")
    return image


def _change(image: Image, values: Mapping[str, Any], purge_props: bool = False) -> None:
    changes = dict(values)
    if "properties" in changes and not purge_props:
        changes["properties"] = {**image["properties"], **changes["properties"]}
    if "tags" in changes:
        changes["tags"] = sorted(set(changes["tags"]))
    if "locations" in changes:
        changes["locations"] = [{"crc32": None, "metadata": {}, **place}
                                for place in changes["locations"]]
    image |= {**changes, "updated_at": _now(), "version": image["version"] + 1}
    if changes.get("upload_token"):
        image["upload_beat"] = image["updated_at"]


def _put_member(members: dict[str, Member], image_id: str, member: str, can_share: bool | None,
                status: str | None) -> Member:
    moment = _now()
    fresh = {"image_id": image_id, "member": member, "can_share": False, "status": "pending",
             "created_at": moment}
    changes = {name: value for name, value in (("can_share", can_share), ("status", status))
               if value is not None}
    members[member] = {**fresh, **members.get(member, {}), **changes, "updated_at": moment}
    return members[member]


def _task(kept: Task) -> Task:
    return {**_shown(kept), "age": _age(kept["updated_at"])}


# Which images a list shows, and in which order


def _listed(state: Mapping[str, Any], context: RequestContext, query: ImageQuery,
            image: Image) -> bool:
    own = authorization.is_owner(context, image)
    mine = state["members"].get(image["id"], {}).get(context.project_id)
    shared = (image["visibility"] == "shared" and mine is not None
              and query.member_status in ("all", mine["status"]))
    if image["deleted"] or not (context.is_admin or own or shared or image["visibility"] in (
            "public", "community")):
        return False
    if query.visibility is None:
        return own or image["visibility"] != "community"
    if query.visibility == "all":
        return True
    if query.visibility == "shared" and query.member_status != "all" and not context.is_admin:
        return image["visibility"] == "shared" and (own or shared)
    return bool(image["visibility"] == query.visibility)


def _matches(image: Image, field: str, comparison: str, wanted: Any) -> bool:
    if field == "tag":
        return (wanted in image["tags"]) == (comparison == "eq")
    if field.startswith("property:"):
        found = image["properties"].get(field.removeprefix("property:"))
        return found is not None and _COMPARE[comparison](found, wanted)
    if field in ("created_at", "updated_at"):
        return _COMPARE[comparison](f"{image[field][:19]}Z", _second(field, wanted))
    if field not in (*COLUMNS, "id"):
        raise exceptions.Invalid(f"{field}: not a field to filter on")
    found = image[field]
    if found is None or wanted is None:
        return comparison in ("eq", "neq") and _COMPARE[comparison](found, wanted)
    try:
        return _COMPARE[comparison](found, wanted)
    except TypeError:
        raise exceptions.Invalid(f"{field}: cannot be compared with {wanted!r}") from None


def _second(field: str, text: Any) -> str:
    try:
        moment = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        raise exceptions.Invalid(f"{field}: not an ISO 8601 time") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _compared(order: Sequence[tuple[str, str]], one: Image, other: Image) -> int:
    for key, direction in order:
        a, b = (_NOTHING.get(key, "") if image[key] is None else image[key]
                for image in (one, other))
        if a != b:
            return (1 if a > b else -1) * (1 if direction == "asc" else -1)
    return 0
