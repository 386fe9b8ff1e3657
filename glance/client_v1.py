# SPDX-License-Identifier: Apache-2.0
"""Images over API version 1, for services that speak nothing newer: fields in headers.

The names of the calls are those of 2011's client.  Errors are those of `glance.client`.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from glance import client

_META = "x-image-meta-"
_PROPERTY = "property-"
_NUMBERS = ("size", "min_ram", "min_disk")
_BOOLEANS = ("is_public", "protected", "deleted")


def to_headers(fields: Mapping[str, Any]) -> dict[str, bytes]:
    """Fields, and ``properties``, as headers; None is an empty value, text is UTF-8."""
    headers: dict[str, bytes] = {}
    for name, value in fields.items():
        if name == "properties":
            headers |= {f"{_META}{_PROPERTY}{key}": _text(item) for key, item in value.items()}
        elif name == "copy_from":
            headers["x-glance-api-copy-from"] = _text(value)
        else:
            headers[_META + name] = _text(value)
    return headers


def _text(value: Any) -> bytes:
    return ("" if value is None else str(value)).encode()


def from_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """The image that an answer's headers describe."""
    image: dict[str, Any] = {"properties": {}}
    for header, text in headers.items():
        name = header.lower().removeprefix(_META)
        if name == header.lower():
            continue
        value: Any = text.encode("latin-1").decode("utf-8", "replace")
        if name.startswith(_PROPERTY):
            image["properties"][name.removeprefix(_PROPERTY)] = value
        elif name in _NUMBERS:
            image[name] = int(value or 0)
        elif name in _BOOLEANS:
            image[name] = value.lower() == "true"
        else:
            image[name] = value or None
    return image


class ClientV1(client.Client):
    """One endpoint, one identity; see `glance.client.Client` for the parameters."""

    def get_images(self, **filters: Any) -> list[dict[str, Any]]:
        """The brief list: id, name, size, formats, checksum."""
        return self._json("GET", "/v1/images" + _query(filters))["images"]

    def get_images_detailed(self, **filters: Any) -> list[dict[str, Any]]:
        """Whole documents; filters as in ``name=``, ``size_min=``, ``property-x=``, ``limit=``."""
        return self._json("GET", "/v1/images/detail" + _query(filters))["images"]

    def get_image_meta(self, image_id: str) -> dict[str, Any]:
        """One image without its data."""
        response = self._request("HEAD", _path("images", image_id))
        response.close()
        return from_headers(response.headers)

    def get_image_data(self, image_id: str) -> tuple[dict[str, Any], Iterator[bytes]]:
        """(image, pieces): data is good only once the pieces are exhausted."""
        response = self._request("GET", _path("images", image_id))
        return from_headers(response.headers), client.received(response, {})

    def add_image(self, fields: Mapping[str, Any],
                  source: IO[bytes] | Iterator[bytes] | None = None,
                  size: int | None = None) -> dict[str, Any]:
        """Register an image, with its data if `source` is given; ``location`` and ``copy_from``
        among the fields say where it is instead."""
        return self._send_image("POST", _path("images"), fields, source, size)

    def update_image(self, image_id: str, fields: Mapping[str, Any],
                     source: IO[bytes] | Iterator[bytes] | None = None, size: int | None = None, *,
                     purge_props: bool = True) -> dict[str, Any]:
        """Change fields; properties not sent again are dropped unless told otherwise."""
        headers = {"X-Glance-Registry-Purge-Props": str(purge_props).lower()}
        return self._send_image("PUT", _path("images", image_id), fields, source, size, headers)

    def _send_image(self, method: str, path: str, fields: Mapping[str, Any], source: Any,
                    size: int | None, more: Mapping[str, str] | None = None) -> dict[str, Any]:
        headers: dict[str, Any] = {**to_headers(fields), **(more or {})}
        data = None
        if source is not None:
            headers["Content-Type"] = client.OCTETS
            data = client.body_of(source, size, None)
        response = self._request(method, path, headers=headers, data=data,
                                 timeout=self._upload_timeout)
        try:
            return response.json()["image"]
        finally:
            response.close()

    def delete_image(self, image_id: str) -> None:
        """Delete an image and its data."""
        self._request("DELETE", _path("images", image_id)).close()

    def get_image_members(self, image_id: str) -> list[dict[str, Any]]:
        """``member_id`` and ``can_share`` of each."""
        return self._json("GET", _path("images", image_id, "members"))["members"]

    def replace_members(self, image_id: str, members: Sequence[Mapping[str, Any]]) -> None:
        """Make these the whole list."""
        self._request("PUT", _path("images", image_id, "members"),
                      headers={"Content-Type": "application/json"},
                      data=json.dumps({"memberships": list(members)}).encode()).close()

    def add_image_member(self, image_id: str, member: str, can_share: bool = False) -> None:
        """Share an image."""
        self._request("PUT", _path("images", image_id, "members", member),
                      headers={"Content-Type": "application/json"},
                      data=json.dumps({"member": {"can_share": can_share}}).encode()).close()

    def delete_image_member(self, image_id: str, member: str) -> None:
        """Stop sharing it."""
        self._request("DELETE", _path("images", image_id, "members", member)).close()


def _path(*pieces: str) -> str:
    return "/v1/" + "/".join(urllib.parse.quote(piece, safe="") for piece in pieces)


def _query(filters: Mapping[str, Any]) -> str:
    return "?" + urllib.parse.urlencode(filters) if filters else ""
