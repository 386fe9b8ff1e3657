# SPDX-License-Identifier: Apache-2.0
"""Images of other regions: ``glance-download`` as the user who asks, with the user's own token.

The address of the other image service comes from the catalog of that token and from nowhere else.
Neither is written down: an import whose process dies cannot be taken up by another.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from oslo_config import cfg

from glance import client, exceptions
from glance.context import RequestContext
from glance.image import fields
from glance.image.staging import Pieces

LOG = logging.getLogger(__name__)

GROUP = "glance_download_properties"
OPTIONS = [
    cfg.ListOpt("extra_properties", default=["hw_", "trait:", "os_distro", "os_secure_boot",
                                             "os_type"],
                help="Properties taken over from an image of another region: names, or how names "
                     "begin."),
    cfg.StrOpt("cacert", help="Certificate authorities to trust for https; those of the system "
                              "by default."),
]
#: fields that are the other image's, for they say what its data is
FORMATS = ("disk_format", "container_format")
UNREACHABLE = "glance_image_id: no image data could be fetched from there"
_KIND = "image"


def endpoint(catalog: str | None, region: str, interface: str) -> str | None:
    """URL of the image service of a region, by the catalog auth_token hands on; None if it
    names none."""
    try:
        services = json.loads(catalog or "[]")
        for service in services:
            for place in service["endpoints"] if service["type"] == _KIND else ():
                if place.get("region") == region and place.get(f"{interface}URL"):
                    return str(place[f"{interface}URL"])
    except (ValueError, KeyError, TypeError, AttributeError):
        LOG.warning("a catalog of services cannot be understood")
    return None


class Source:
    """One image of another image service, for one caller.

    :param url: the service; None for one that is not in the catalog.
    """

    def __init__(self, context: RequestContext, url: str | None, image_id: str) -> None:
        self.context = context
        self._url = url
        self.image_id = image_id

    def open(self, cacert: str | None) -> tuple[dict[str, Any], Pieces]:
        """(document, data) of the image.

        :raises Invalid: there is no such image, or none of its data can be had.
        """
        if self._url is None:
            raise exceptions.Invalid("glance_region: the catalog names no image service there")
        remote = client.Client(self._url, self.context.token, verify=cacert or True)
        try:
            pieces, document = remote.download(self.image_id)
        except client.ImageError as error:
            LOG.warning("image %s of another region: %s", self.image_id, error)
            remote.close()
            raise exceptions.Invalid(UNREACHABLE) from None
        return document, Pieces(_closing(pieces, remote))


def _closing(pieces: Iterator[bytes], remote: client.Client) -> Iterator[bytes]:
    try:
        yield from pieces
    except client.ImageError as error:
        LOG.warning("the data of an image of another region broke off: %s", error)
        raise exceptions.CorruptData("the data broke off, or is not what was stored") from None
    finally:
        remote.close()


class Regions:
    """What is taken over from images of other regions.

    :param extra: names of properties, or how they begin.
    """

    def __init__(self, extra: list[str], cacert: str | None = None) -> None:
        self._extra = extra
        self.cacert = cacert

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Regions:
        """As ``[glance_download_properties]`` says."""
        conf.register_opts(OPTIONS, GROUP)
        return cls(conf[GROUP].extra_properties, conf[GROUP].cacert)

    def changes(self, document: Mapping[str, Any],
                may: Callable[[str], bool]) -> dict[str, Any]:
        """The formats and the ``properties`` that an image gets from another one.

        :param may: whether the caller may set a property of that name.
        :raises Invalid: formats or properties are not such as images have here.
        """
        formats = {name: document.get(name) for name in FORMATS}
        for name, value in formats.items():
            if not value:
                raise exceptions.Invalid(f"{name}: the other image has none")
        properties = {
            name: value for name, value in document.items()
            if name.startswith(tuple(self._extra)) and name not in fields.READ_ONLY
            and name not in fields.BASE and name not in fields.RESERVED
            and not name.startswith(fields.RESERVED_PREFIX) and may(name)}
        fields.check({**formats, **properties})
        return {**formats, "properties": properties}
