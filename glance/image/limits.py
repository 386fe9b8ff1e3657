# SPDX-License-Identifier: Apache-2.0
"""How much one image, and one project, may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_config import cfg

from glance import exceptions
from glance.context import RequestContext
from glance.image import fields
from glance.registry.client.base import RegistryClient

OPTIONS = [
    cfg.IntOpt("image_size_cap", default=1 << 40, min=1, max=1 << 62,
               help="Largest image in bytes."),
    cfg.IntOpt("image_property_quota", default=128, min=-1,
               help="Custom properties per image; -1 for any number."),
    cfg.IntOpt("image_tag_quota", default=128, min=-1,
               help="Tags per image; -1 for any number."),
    cfg.IntOpt("image_member_quota", default=128, min=-1,
               help="Members per image; -1 for any number."),
    cfg.IntOpt("image_count_total", default=-1, min=-1,
               help="Images per project; -1 for any number."),
    cfg.IntOpt("image_count_uploading", default=100, min=-1,
               help="Uploads per project at any one time; -1 for any number."),
    cfg.IntOpt("image_size_total", default=-1, min=-1,
               help="Bytes per project, uploads under way and data not yet removed included; "
                    "-1 for any number."),
    cfg.IntOpt("image_stage_total", default=-1, min=-1,
               help="Bytes per project that wait in the staging area; -1 for any number."),
    cfg.StrOpt("user_storage_quota", default="0", regex=r"^\d+ ?([KMGT]?B)?$",
               help="The older form of image_size_total, as a number with a unit (B, KB, MB, GB, "
                    "TB, powers of 1024); 0 for any number.  The smaller of the two counts."),
    cfg.IntOpt("limit_param_default", default=25, min=1,
               help="Images per page of a listing that asks for no limit."),
    cfg.IntOpt("api_limit_max", default=1000, min=1,
               help="Most images per page, whatever is asked for."),
]


class Limits:
    """The configured limits, and the questions asked of them."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        conf.register_opts(OPTIONS)
        self.size_cap: int = conf.image_size_cap
        self.properties: int = conf.image_property_quota
        self.tags: int = conf.image_tag_quota
        self.members: int = conf.image_member_quota
        self.images: int = conf.image_count_total
        self.uploads: int = conf.image_count_uploading
        self.bytes: int = _smaller(conf.image_size_total, _bytes(conf.user_storage_quota))
        self.staged: int = conf.image_stage_total
        self.page_default: int = conf.limit_param_default
        self.page_max: int = conf.api_limit_max

    def check_document(self, values: Mapping[str, Any]) -> None:
        """Raise `LimitExceeded` if an image would have too many properties or tags."""
        own = [name for name in values.get("properties", ())
               if not name.startswith(fields.RESERVED_PREFIX)]
        if 0 <= self.properties < len(own):
            raise exceptions.LimitExceeded(
                f"properties: an image may have at most {self.properties}")
        if 0 <= self.tags < len(set(values.get("tags", ()))):
            raise exceptions.LimitExceeded(f"tags: an image may have at most {self.tags}")

    def check_create(self, registry: RegistryClient, context: RequestContext,
                     owner: str | None) -> None:
        """Raise `LimitExceeded` if `owner` has all the images it may have."""
        if self.images >= 0 and registry.usage(
                context.for_service(), owner).images >= self.images:
            raise exceptions.LimitExceeded(f"a project may have at most {self.images} image(s)")

    def check_size(self, size: int) -> None:
        """Raise `LimitExceeded` for an image of more than `image_size_cap` bytes."""
        if size > self.size_cap:
            raise exceptions.LimitExceeded(
                f"size: an image may have at most {self.size_cap} bytes")

    def check_upload(self, registry: RegistryClient, context: RequestContext, owner: str | None,
                     announced: int, already_counted: int = 0) -> None:
        """Raise `LimitExceeded` if `owner` may not send (any more of) this upload.

        Called before an upload starts and from time to time during it; `already_counted` is the
        number of this upload's own rows among the uploads.
        """
        if self.uploads < 0 and self.bytes < 0 and self.staged < 0:
            return
        usage = registry.usage(context.for_service(), owner)
        if 0 <= self.uploads < usage.uploads + 1 - already_counted:
            raise exceptions.LimitExceeded(
                f"a project may send at most {self.uploads} image(s) at a time")
        if 0 <= self.staged < usage.staged:
            raise exceptions.LimitExceeded(
                f"a project may stage at most {self.staged} bytes of images")
        if 0 <= self.bytes < usage.bytes + usage.staged + announced:
            raise exceptions.LimitExceeded(
                f"a project may store at most {self.bytes} bytes of images")


_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}


def _bytes(text: str) -> int:
    """A number with a unit, in bytes; -1 for 0, which means any number."""
    number = text.rstrip("KMGTB ")
    return int(number) * _UNITS[text[len(number):].strip()] or -1


def _smaller(one: int, other: int) -> int:
    return max(one, other) if min(one, other) < 0 else min(one, other)
