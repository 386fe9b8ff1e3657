# SPDX-License-Identifier: Apache-2.0
"""What can be done to images: the one implementation behind every API version.

Each call first looks and asks (is it there, may you, does it fit), then acts in steps a restarted
service can understand: intent in the row, bytes in the store, verdict in the row.
"""

from __future__ import annotations

import dataclasses
import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from glance import exceptions, policy
from glance.cache import ImageCache
from glance.context import RequestContext, service_context
from glance.image import download, fields, formats, states
from glance.image.formats import Inspector
from glance.image.importing import Importer
from glance.image.limits import Limits
from glance.image.locations import Locations
from glance.image.protections import Protections
from glance.image.upload import HASH, Readable, UploadStream
from glance.image.worker import Worker
from glance.notifier import Notifier, describe
from glance.registry import authorization
from glance.registry import client as registry_client
from glance.registry.client.base import RegistryClient
from glance.registry.types import Image, ImageQuery, Member
from glance.store import Stores
from glance.store.base import Store

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.StrOpt("state_path", default="/var/lib/glance",
               help="Directory for the lock files of running workers."),
    cfg.BoolOpt("delayed_delete", default=False,
                help="Leave the data of deleted images to glance-scrubber."),
    cfg.BoolOpt("show_multiple_locations", default=False,
                help="Show where image data lies, and let it be set by PATCH, to whom policy "
                     "allows it (get_image_location, set_image_location, "
                     "delete_image_location)."),
    cfg.BoolOpt("show_image_direct_url", default=False,
                help="Show direct_url, where image data lies, to whom get_image_location "
                     "allows it."),
    cfg.StrOpt("hashing_algorithm", default=HASH, choices=["sha256", "sha384", "sha512"],
               help="What os_hash_value of new image data is: sha256 takes half the time of sha512 "
                    "where processors have instructions for it, and twice that where not."),
    cfg.IntOpt("patch_attempts", default=3, min=1,
               help="How often an update is applied anew when somebody else's came between."),
]

#: an upload that is safe in the store is worth waiting for a restarting registry
FINISH_ATTEMPTS = 15
FINISH_PAUSE = 2.0

DEFAULTS = {"name": None, "visibility": "shared", "disk_format": None, "container_format": None,
            "min_disk": 0, "min_ram": 0, "protected": False, "os_hidden": False,
            "size": None, "virtual_size": None}


@dataclasses.dataclass
class Content:
    """An image's bytes on their way to a client."""

    image: Image
    pieces: Iterator[bytes]
    offset: int
    length: int


class ImageService:
    """Images, as an identity may use them.  Shared by all requests of a process."""

    def __init__(self, registry: RegistryClient, stores: Stores, rules: policy.Policy,
                 limits: Limits, worker: Worker, patch_attempts: int = 3) -> None:
        self.registry = registry
        self.stores = stores
        self.policy = rules
        self.limits = limits
        self.worker = worker
        self.patch_attempts = patch_attempts
        #: given by `from_conf`, for both need the service itself
        self.importer: Importer
        self.locations: Locations
        self.cache: ImageCache | None = None
        self.protections = Protections()
        self.notifier = Notifier([], "")
        self.delayed_delete = False
        self.require_match = True
        self.hashing_algorithm = HASH

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> ImageService:
        """The service `conf` describes; nothing is contacted yet."""
        conf.register_opts(OPTIONS)
        service = cls(registry_client.from_conf(conf), Stores.from_conf(conf),
                      policy.Policy(conf), Limits(conf), Worker(f"{conf.state_path}/workers"),
                      conf.patch_attempts)
        service.importer = Importer.from_conf(conf, service)
        service.cache = ImageCache.from_conf(conf)
        service.protections = Protections.from_conf(conf, service.policy.passes)
        service.notifier = Notifier.from_conf(conf)
        service.delayed_delete = conf.delayed_delete
        service.hashing_algorithm = conf.hashing_algorithm
        conf.register_opts(formats.OPTIONS, formats.GROUP)
        service.require_match = conf[formats.GROUP].require_image_format_match
        service.locations = Locations(service, shown=conf.show_multiple_locations,
                                      direct_url=conf.show_image_direct_url)
        return service

    def check(self) -> None:
        """Raise unless the registry can be used and the stores are set up.

        A store that does not answer just now is only logged: images in other stores, and all
        metadata, can be served without it.
        """
        self.registry.check()
        self.importer.staging.check()
        for store in self.stores:
            try:
                store.check()
            except exceptions.Unavailable as error:
                LOG.error("%s", error.message)

    # Metadata

    def create(self, context: RequestContext, values: Mapping[str, Any]) -> Image:
        """Register an image without data; `values` are checked fields, properties and tags."""
        image = {**DEFAULTS, "properties": {}, "tags": [], **values}
        image["id"] = image.get("id") or str(uuid.uuid4())
        image["owner"] = values.get("owner") or context.project_id
        image["status"] = states.QUEUED
        self.policy.check(context, "add_image")
        if image["owner"] != context.project_id:
            self.policy.check(context, "set_owner", image)
        self._check_visibility(context, image)
        check_formats(image)
        self.limits.check_document(image)
        self.protections.check(context, {}, image["properties"])
        self.limits.check_create(self.registry, context, image["owner"])
        image = self.registry.create_image(context, image)
        self.tell("image.create", image)
        return image

    def inspector(self, image: Mapping[str, Any]) -> Inspector:
        """What looks at the data of an image on its way in."""
        return Inspector(image["disk_format"], image["container_format"],
                         match=self.require_match)

    def tell(self, event: str, image: Mapping[str, Any], **more: Any) -> None:
        """Notify whoever listens of what happened to an image."""
        self.notifier.tell(event, describe(image, **more))

    def get(self, context: RequestContext, image_id: str) -> Image:
        """The image, if the caller may see it."""
        image = self.registry.get_image(context, image_id)
        self.policy.check(context, "get_image", image)
        return image

    def list(self, context: RequestContext, query: ImageQuery) -> list[Image]:
        """The page of images `query` asks for."""
        self.policy.check(context, "get_images")
        for field, _, _ in query.filters:
            name = field.removeprefix("property:")
            if name != field and not self.protections.may(context, "read", name):
                return []  # nobody guesses what they may not read
        return self.registry.list_images(context, query)

    def update(self, context: RequestContext, image: Image, changes: Mapping[str, Any], *,
               purge_props: bool = True) -> Image:
        """Apply checked changes to an image as it was read; `Conflict` if it changed since."""
        self.check_mutable(context, image, "modify_image")
        after = {**image, **changes}
        if after["visibility"] != image["visibility"]:
            self._check_visibility(context, after)
        if after["owner"] != image["owner"]:
            self.policy.check(context, "set_owner", after)
        if image["status"] not in (states.QUEUED, states.UPLOADING):
            for field in ("disk_format", "container_format"):
                if after[field] != image[field]:
                    raise exceptions.Forbidden(
                        f"{field}: cannot be changed once an image has data")
        if any(field in changes for field in ("disk_format", "container_format")):
            check_formats(after)
        self.limits.check_document(changes)
        if "properties" in changes:
            changes = {**changes, "properties": self._merged(
                context, image["properties"], changes["properties"], purge_props)}
        image = self.registry.update_image(context, image["id"], changes,
                                           purge_props="properties" in changes,
                                           version=image["version"])
        self.tell("image.update", image)
        return image

    def _merged(self, context: RequestContext, before: Mapping[str, Any],
                wanted: Mapping[str, Any], purge: bool) -> dict[str, Any]:
        """All properties of an image after an update by somebody who may not see all of them."""
        kept = {name: value for name, value in before.items() if name not in wanted and (
            not purge or not self.protections.may(context, "read", name)
            or name.startswith(fields.RESERVED_PREFIX))}
        after = {**kept, **wanted}
        self.protections.check(context, before, after)
        return after

    def _check_visibility(self, context: RequestContext, image: Mapping[str, Any]) -> None:
        action = {"public": "publicize_image",
                  "community": "communitize_image"}.get(image["visibility"])
        if action:
            self.policy.check(context, action, image)

    def check_mutable(self, context: RequestContext, image: Image, action: str) -> None:
        if not authorization.is_mutable(context, image):
            raise exceptions.Forbidden(f"image {image['id']} belongs to another project")
        self.policy.check(context, action, image)

    def set_tag(self, context: RequestContext, image_id: str, tag: str, present: bool) -> None:
        """Add or remove one tag."""
        image = self.get(context, image_id)
        self.check_mutable(context, image, "modify_image")
        self.registry.set_tag(context, image_id, tag, present, self.limits.tags)

    def set_active(self, context: RequestContext, image_id: str, active: bool) -> None:
        """Allow downloads again, or stop them; doing it twice is fine."""
        image = self.get(context, image_id)
        self.check_mutable(context, image, "reactivate" if active else "deactivate")
        wanted = states.ACTIVE if active else states.DEACTIVATED
        both = (states.ACTIVE, states.DEACTIVATED)
        if image["status"] not in both:
            raise exceptions.Forbidden(
                f"image {image_id} is {image['status']}; only an active image can be "
                "deactivated, and only a deactivated one reactivated")
        self.registry.update_image(context.for_service(), image_id, {"status": wanted},
                                   from_status=both)

    # Data

    def upload(self, context: RequestContext, image_id: str, body: Readable, size: int | None, *,
               store_name: str | None = None, checksum: str | None = None) -> Image:
        """Take an image's data from `body`; returns the active image once it is safe.

        :param size: announced number of bytes, None if the body says itself where it ends.
        :raises Conflict: the image has, or is just getting, data.
        :raises Gone: it was deleted meanwhile.
        """
        image = self.get(context, image_id)
        self.check_mutable(context, image, "upload_image")
        store = self.stores.writable(store_name)
        check_uploadable(image)
        self.limits.check_size(size or 0)
        self.limits.check_upload(self.registry, context, image["owner"], size or 0)
        service = context.for_service()
        self.tell("image.prepare", image)
        with self.worker.working(str(uuid.uuid4())) as token:
            self.registry.update_image(
                service, image_id,
                {"status": states.SAVING, "upload_token": token,
                 "upload_worker": self.worker.id, "upload_bytes": 0},
                from_status=(states.QUEUED,))
            return self._receive(service, image, token, store, body, size, checksum)

    def _receive(self, service: RequestContext, image: Image, token: str, store: Store,
                 body: Readable, size: int | None, checksum: str | None) -> Image:
        image_id = image["id"]

        def on_beat(received: int) -> None:
            self.beat(image, token, received)

        stream = UploadStream(
            body, size, self.inspector(image),
            check_size=self.limits.check_size, on_beat=on_beat, checksum=checksum,
            algorithm=self.hashing_algorithm)
        try:
            stored = store.add(image_id, stream, size)
        except BaseException as error:  # also a killed green thread must not leave `saving`
            self._give_up(service, image_id, token, error)
            raise
        finish = {"status": states.ACTIVE, **stream.digests(), "upload_token": None,
                  "upload_worker": None, "upload_bytes": None,
                  "locations": [{"store": store.name, "url": stored.url, "crc32": stream.crc32}]}
        try:
            image = self.finish_upload(service, image_id, token, finish)
            self.tell("image.upload", image)
            self.tell("image.activate", image)
            return image
        except (exceptions.NotFound, exceptions.Conflict):
            # Deleted, or given up by a reconciler, while the last bytes came in.
            self.remove_bytes(image_id, {"store": store.name, "url": stored.url})
            self.finish_delete(service, image_id)
            raise exceptions.Gone(
                f"image {image_id} was deleted while its data was being uploaded") from None

    def beat(self, image: Image, token: str, received: int) -> None:
        """A sign of life of an upload; raises to stop it: `Gone`, `LimitExceeded`."""
        service = service_context()
        try:
            self.registry.beat(service, image["id"], token, received)
            self.limits.check_upload(self.registry, service, image["owner"], 0,
                                     already_counted=1)
        except exceptions.Unavailable as error:  # it may be back before the last byte is in
            LOG.warning("upload of image %s goes on without a sign of life: %s", image["id"],
                        error.message)

    def finish_upload(self, service: RequestContext, image_id: str, token: str,
                      finish: Mapping[str, Any],
                      from_status: Sequence[str] = (states.SAVING,)) -> Image:
        """Make the image active.  A registry that restarts just now gets half a minute; whether
        an attempt whose answer got lost did succeed is read from the row."""
        for attempt in range(1, FINISH_ATTEMPTS + 1):
            try:
                return self.registry.update_image(service, image_id, finish, upload_token=token,
                                                  from_status=from_status)
            except exceptions.Conflict:
                image = self.registry.get_image(service, image_id)
                places = [place["url"] for place in image["locations"]]
                if (image["status"] not in (states.ACTIVE, states.DEACTIVATED)
                        or places != [place["url"] for place in finish["locations"]]):
                    raise
                return image
            except exceptions.Unavailable:
                if attempt == FINISH_ATTEMPTS:
                    raise
                time.sleep(FINISH_PAUSE)
        raise exceptions.Unavailable("the image registry does not answer")

    def _give_up(self, service: RequestContext, image_id: str, token: str,
                 error: BaseException) -> None:
        """Say in the row that the upload failed; its bytes are gone already."""
        LOG.warning("upload of image %s failed: %s", image_id, error)
        try:
            self.registry.update_image(
                service, image_id, {"status": states.KILLED, "upload_bytes": None},
                upload_token=token, from_status=(states.SAVING,))
        except (exceptions.NotFound, exceptions.Conflict):
            self.finish_delete(service, image_id)
        except exceptions.GlanceError as failure:
            LOG.error("image %s stays in status saving until the next round of the reconciler: "
                      "%s", image_id, failure.message)

    def download(self, context: RequestContext, image_id: str, offset: int = 0,
                 length: int | None = None) -> Content:
        """Open the image's data; see `read_content` for what may go wrong."""
        return self.read_content(context, self.get(context, image_id), offset, length)

    def read_content(self, context: RequestContext, image: Image, offset: int = 0,
                     length: int | None = None, prefer: Sequence[str] = ()) -> Content:
        """Open the data of an image that was just read.

        :param prefer: stores whose copy is wanted, the first most; others are read if they fail.
        :raises Forbidden: deactivated, or policy says no.
        :raises NotFound: the image has no data (yet).
        """
        self.policy.check(context, "download_image", image)
        if image["status"] == states.DEACTIVATED:
            if not self.policy.allows(context, "download_deactivated", image):
                raise exceptions.Forbidden(f"image {image['id']} is deactivated")
        elif image["status"] != states.ACTIVE:
            raise exceptions.NotFound(
                f"image {image['id']} has no data: it is {image['status']}")
        if length is None:
            length = image["size"] - offset
        return Content(image, self._pieces(image, offset, length, prefer), offset, length)

    def _pieces(self, image: Image, offset: int, length: int,
                prefer: Sequence[str]) -> Iterator[bytes]:
        """From the cache if it has them, else from a store, and into the cache when whole."""
        if self.cache is not None:
            found = self.cache.read(image, offset, length)
            if found is not None:
                return found
        pieces = download.open_image(self.stores, image, offset, length, prefer)
        if self.cache is not None and (offset, length) == (0, image["size"]):
            return self.cache.tee(image, pieces)
        return pieces

    # Deleting

    def delete(self, context: RequestContext, image_id: str) -> None:
        """Delete an image in whatever status it is; its bytes go with it.

        Once this returns nobody can see the image.  Bytes a store could not remove now are
        removed by the reconciler.
        """
        image = self.get(context, image_id)
        self.check_mutable(context, image, "delete_image")
        image = self.registry.delete_image(context, image_id)
        self.tell("image.delete", image, deleted=True)
        service = context.for_service()
        if self.cache is not None:
            self.cache.delete(image_id)
        if image["status"] in (states.UPLOADING, states.IMPORTING):
            self.importer.staging.discard(image_id)
        if image["status"] in (states.SAVING, states.IMPORTING):
            LOG.info("image %s deleted during its upload; the upload will notice", image_id)
            return
        if self.delayed_delete and image["locations"]:
            return
        if all([self.remove_bytes(image_id, place) for place in image["locations"]]):
            self.finish_delete(service, image_id)

    def remove_bytes(self, image_id: str, place: Mapping[str, Any]) -> bool:
        """Remove one copy of an image's data; whether none of it is left."""
        store = self.stores.get(place["store"])
        if store is None:
            LOG.error("image %s: store %s with its data is not enabled", image_id, place["store"])
            return False
        try:
            store.delete(place["url"])
        except exceptions.NotFound:
            LOG.warning("image %s: its data in store %s was gone already", image_id, store.name)
        except exceptions.GlanceError as error:
            LOG.error("image %s: its data in store %s will be removed later: %s", image_id,
                      store.name, error.message)
            return False
        return True

    def finish_delete(self, service: RequestContext, image_id: str) -> None:
        try:
            self.registry.delete_image(service, image_id, final=True)
        except exceptions.GlanceError as error:
            LOG.error("image %s stays in status pending_delete until the next round of the "
                      "reconciler: %s", image_id, error.message)

    # Sharing

    def list_members(self, context: RequestContext, image_id: str) -> Sequence[Member]:
        """Who a shared image is shared with, as far as the caller may know."""
        image = self.get(context, image_id)
        self.policy.check(context, "get_members", image)
        return self.registry.list_members(context, image_id)

    def get_member(self, context: RequestContext, image_id: str, member: str) -> Member:
        """One membership; `NotFound` also for other members' ones."""
        for found in self.list_members(context, image_id):
            if found["member"] == member:
                return found
        raise exceptions.NotFound(f"image {image_id} has no member {member[:64]!r}")

    def add_member(self, context: RequestContext, image_id: str, member: str, *,
                   can_share: bool | None = None) -> Member:
        """Share an image; the member decides whether it wants to see it in its lists."""
        image = self.get(context, image_id)
        if authorization.is_mutable(context, image):
            self.policy.check(context, "add_member", image)
        return self.registry.set_member(context, image_id, member, can_share=can_share,
                                        limit=self.limits.members)

    def set_member_status(self, context: RequestContext, image_id: str, member: str,
                          status: str) -> Member:
        """Accept, reject or postpone an image shared with the caller."""
        image = self.get(context, image_id)
        self.policy.check(context, "modify_member", image)
        return self.registry.set_member(context, image_id, member, status=status, create=False)

    def replace_members(self, context: RequestContext, image_id: str,
                        members: Sequence[Mapping[str, Any]]) -> None:
        """Make `members` ({member, can_share}) the whole list."""
        image = self.get(context, image_id)
        self.check_mutable(context, image, "add_member")
        self.registry.replace_members(context, image_id, members, self.limits.members)

    def delete_member(self, context: RequestContext, image_id: str, member: str) -> None:
        """Stop sharing an image with one member."""
        image = self.get(context, image_id)
        self.check_mutable(context, image, "delete_member")
        self.registry.delete_member(context, image_id, member)


def check_formats(image: Mapping[str, Any]) -> None:
    """Raise `Invalid` unless disk and container format go together."""
    disk, container = image["disk_format"], image["container_format"]
    amazon = states.AMAZON_FORMATS & {disk, container}
    if amazon and disk and container and disk != container:
        raise exceptions.Invalid(
            f"container_format: {container} does not go with disk_format {disk}; aki, ari and "
            "ami must be the same in both")


def check_uploadable(image: Mapping[str, Any]) -> None:
    """Raise unless the image can take data: `Conflict` for its status, `Invalid` for formats."""
    if image["status"] != states.QUEUED:
        raise exceptions.Conflict(
            f"image {image['id']} is {image['status']}; data can be uploaded only once, while "
            "it is queued")
    check_formats(image)
    for field in ("disk_format", "container_format"):
        if not image[field]:
            raise exceptions.Invalid(f"{field}: must be set before data can be uploaded")
