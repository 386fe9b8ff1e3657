# SPDX-License-Identifier: Apache-2.0
"""Client of the Image service API v2.

::

    client = Client("http://127.0.0.1:9292", token="...")
    image = client.create(name="cirros", disk_format="qcow2", container_format="bare")
    with open("cirros.qcow2", "rb") as source:
        client.upload(image["id"], source)
    pieces, meta = client.download(image["id"])

Data streams in both directions, memory stays flat.  Works on green threads and on plain ones; one
client may be used by several threads.  Every error is an `ImageError`.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

import requests

#: seconds to wait for a connection, and for each piece of an answer
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
#: seconds to wait for the answer to an upload: the store has to make the data safe first
UPLOAD_TIMEOUT = 600.0
CHUNK = 1 << 20
PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
OCTETS = "application/octet-stream"

_FIELDS = frozenset({
    "id", "name", "visibility", "protected", "os_hidden", "tags", "disk_format",
    "container_format", "min_disk", "min_ram", "owner"})


class ImageError(Exception):
    """Anything that kept a call from succeeding.

    :ivar code: HTTP status, None when there was no answer.
    :ivar request_id: the service's id for the request, to look up in its log.
    """

    def __init__(self, message: str, code: int | None = None,
                 request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.request_id = request_id


class BadRequest(ImageError):
    """The service refused a value; the message names the field."""


class Unauthorized(ImageError):
    """The token is missing, wrong or expired."""


class Forbidden(ImageError):
    """The caller may not do this, or the image is protected or deactivated."""


class NotFound(ImageError):
    """No such image, or not for this caller."""


class Conflict(ImageError):
    """The image is in a state that does not allow this."""


class Gone(ImageError):
    """The image was deleted during the call."""


class TooLarge(ImageError):
    """A quota, a size limit, or the store's room is used up."""


class UnsupportedFormat(ImageError):
    """The data is not of the declared format, or of one that is refused as unsafe."""


class Unavailable(ImageError):
    """The service does not answer, answers too late, or says to try again later."""


class CorruptDownload(ImageError):
    """The data that arrived is not the data that was stored."""


_BY_CODE: dict[int, type[ImageError]] = {
    400: BadRequest, 401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone,
    413: TooLarge, 415: UnsupportedFormat, 416: BadRequest, 503: Unavailable, 502: Unavailable,
    504: Unavailable}


class Client:
    """One endpoint, one identity.

    :param endpoint: URL of the service, with or without ``/v2``.
    :param token: an X-Auth-Token, or a function that returns a fresh one; a function is asked
        again, once per call, when the service answers 401.
    :param verify: True, False, or the path of a CA bundle, for https.
    :param request_id: an own request id (``req-<uuid>``) for the service to log beside its own.
    """

    def __init__(self, endpoint: str, token: str | Callable[[], str] | None = None, *,
                 connect_timeout: float = CONNECT_TIMEOUT, read_timeout: float = READ_TIMEOUT,
                 upload_timeout: float = UPLOAD_TIMEOUT, verify: bool | str = True,
                 request_id: str | None = None) -> None:
        base = endpoint.rstrip("/")
        for suffix in ("/v2", "/v1"):
            base = base.removesuffix(suffix)
        self._base = base
        self._token = token
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._upload_timeout = upload_timeout
        self._session = requests.Session()
        self._session.verify = verify
        self._session.trust_env = False  # no proxy for a service of one's own cloud
        self._request_id = request_id

    def close(self) -> None:
        """Close the connections kept open."""
        self._session.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # Images

    def get_image(self, image_id: str) -> dict[str, Any]:
        """The image's document: fields and custom properties side by side, ``tags`` a list."""
        return self._json("GET", _path(image_id))

    def list_images(self, *, limit: int | None = None, page_size: int | None = None,
                    sort: str | None = None, marker: str | None = None,
                    **filters: Any) -> Iterator[dict[str, Any]]:
        """All images that match, page after page.

        :param limit: stop after so many.
        :param sort: ``key:dir,key:dir``.
        :param filters: as in the query string: ``name``, ``status="in:active,queued"``,
            ``visibility``, ``tag`` (a list for several), ``size_min``, any custom property.
        """
        query: list[tuple[str, str]] = []
        for name, value in filters.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            query += [(name, _text(item)) for item in values if item is not None]
        for name, value in (("sort", sort), ("marker", marker), ("limit", page_size or limit)):
            if value is not None:
                query.append((name, str(value)))
        path = "/v2/images" + ("?" + urllib.parse.urlencode(query) if query else "")
        seen = 0
        while path:
            page = self._json("GET", path)
            for image in page["images"]:
                yield image
                seen += 1
                if limit is not None and seen >= limit:
                    return
            path = page.get("next", "")

    def create(self, **fields: Any) -> dict[str, Any]:
        """Register an image without data; keywords are fields and custom properties."""
        return self._json("POST", "/v2/images", json_body=fields)

    def update(self, image_id: str, *, remove: Sequence[str] = (),
               **changes: Any) -> dict[str, Any]:
        """Set fields and custom properties, and remove properties; all of it or nothing."""
        operations = [{"op": "add" if name not in _FIELDS else "replace",
                       "path": "/" + _pointer(name), "value": value}
                      for name, value in changes.items()]
        operations += [{"op": "remove", "path": "/" + _pointer(name)} for name in remove]
        return self._json("PATCH", _path(image_id), json_body=operations,
                          content_type=PATCH_TYPE)

    def delete(self, image_id: str) -> None:
        """Delete the image and its data."""
        self._request("DELETE", _path(image_id)).close()

    def deactivate(self, image_id: str) -> None:
        """Stop downloads of the image."""
        self._request("POST", _path(image_id, "actions", "deactivate")).close()

    def reactivate(self, image_id: str) -> None:
        """Allow downloads again."""
        self._request("POST", _path(image_id, "actions", "reactivate")).close()

    def add_tag(self, image_id: str, tag: str) -> None:
        """Tag the image."""
        self._request("PUT", _path(image_id, "tags", tag)).close()

    def delete_tag(self, image_id: str, tag: str) -> None:
        """Remove a tag."""
        self._request("DELETE", _path(image_id, "tags", tag)).close()

    # Data

    def upload(self, image_id: str, source: IO[bytes] | Iterator[bytes],
               size: int | None = None, *, store: str | None = None,
               progress: Callable[[int], None] | None = None) -> None:
        """Send the image's data; the image is active when this returns.

        :param source: something with ``read``, or an iterator of byte strings.
        :param size: number of bytes if known; found out for real files.  Unknown is fine.
        :param progress: told the number of bytes sent so far.
        """
        headers = {} if store is None else {"X-Image-Meta-Store": store}
        self._put_data(_path(image_id, "file"), source, size, headers, progress)

    def _put_data(self, path: str, source: Any, size: int | None, headers: Mapping[str, str],
                  progress: Callable[[int], None] | None) -> None:
        self._request("PUT", path, headers={**headers, "Content-Type": OCTETS},
                      data=body_of(source, size, progress), timeout=self._upload_timeout).close()

    def stage(self, image_id: str, source: IO[bytes] | Iterator[bytes], size: int | None = None, *,
              progress: Callable[[int], None] | None = None) -> None:
        """Send data for a later import; as `upload`."""
        self._put_data(_path(image_id, "stage"), source, size, {}, progress)

    def import_image(self, image_id: str, method: str = "glance-direct", *,
                     uri: str | None = None, stores: Sequence[str] | None = None,
                     all_stores: bool = False, all_stores_must_succeed: bool = True) -> None:
        """Start an import; how it goes is told by the image and by `image_tasks`."""
        document: dict[str, Any] = {"method": {"name": method}}
        if uri is not None:
            document["method"]["uri"] = uri
        if stores:
            document["stores"] = list(stores)
        if all_stores:
            document["all_stores"] = True
        if not all_stores_must_succeed:
            document["all_stores_must_succeed"] = False
        self._request("POST", _path(image_id, "import"), data=json.dumps(document).encode(),
                      headers={"Content-Type": "application/json"}).close()

    def image_tasks(self, image_id: str) -> list[dict[str, Any]]:
        """The tasks of an image, newest first."""
        return self._json("GET", _path(image_id, "tasks"))["tasks"]

    def stores(self) -> list[dict[str, Any]]:
        """The stores there are: ``id``, ``default``, ``read-only``."""
        return self._json("GET", "/v2/info/stores")["stores"]

    def download(self, image_id: str, *, offset: int = 0, length: int | None = None,
                 verify: bool = True) -> tuple[Iterator[bytes], dict[str, Any]]:
        """(pieces, document) of an image.

        The pieces end with `CorruptDownload` when a whole image does not have the hash the service
        recorded, or too few bytes came: data is good only once the iterator is exhausted.  An
        image that has no data yet is `NotFound`.

        :param verify: check the hash while the data streams; pass False when the caller hashes.
        """
        meta = self.get_image(image_id)
        headers = {}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            headers["Range"] = f"bytes={offset}-{last}"
        response = self._request("GET", _path(image_id, "file"), headers=headers)
        if response.status_code == 204:
            response.close()
            raise NotFound(f"image {image_id} has no data: it is {meta['status']}", 204)
        whole = response.status_code == 200
        return received(response, meta if verify and whole else {}), meta

    # The service's cache, for administrators

    def cached_images(self) -> dict[str, Any]:
        """``cached_images`` and ``queued_images``."""
        return self._json("GET", "/v2/cache")

    def cache_image(self, image_id: str) -> None:
        """Have an image cached."""
        self._request("PUT", "/v2/cache/" + urllib.parse.quote(image_id, safe="")).close()

    def delete_cached_image(self, image_id: str) -> None:
        """Take an image from cache and queue."""
        self._request("DELETE", "/v2/cache/" + urllib.parse.quote(image_id, safe="")).close()

    def clear_cache(self, target: str = "") -> None:
        """Empty ``cache`` or ``queue``, or both."""
        self._request("DELETE", "/v2/cache", headers={
            "X-Image-Cache-Clear-Target": target} if target else {}).close()

    # Members

    def members(self, image_id: str) -> list[dict[str, Any]]:
        """Who the image is shared with."""
        return self._json("GET", _path(image_id, "members"))["members"]

    def add_member(self, image_id: str, member: str) -> dict[str, Any]:
        """Share the image with a project."""
        return self._json("POST", _path(image_id, "members"), json_body={"member": member})

    def update_member(self, image_id: str, member: str, status: str) -> dict[str, Any]:
        """As the member: ``accepted``, ``rejected`` or ``pending``."""
        return self._json("PUT", _path(image_id, "members", member), json_body={"status": status})

    def delete_member(self, image_id: str, member: str) -> None:
        """Stop sharing the image with a project."""
        self._request("DELETE", _path(image_id, "members", member)).close()

    # The wire

    def _json(self, method: str, path: str, *, json_body: Any = None,
              content_type: str = "application/json") -> Any:
        data, headers = None, {}
        if json_body is not None:
            data = json.dumps(json_body).encode()
            headers["Content-Type"] = content_type
        response = self._request(method, path, headers=headers, data=data)
        try:
            return response.json()
        except ValueError:
            raise ImageError("the image service's answer is not JSON", response.status_code,
                             _request_id(response)) from None
        except requests.RequestException as error:
            raise Unavailable(f"the image service's answer broke off: {error}") from None
        finally:
            response.close()

    def _request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None,
                 data: Any = None, timeout: float | None = None) -> requests.Response:
        response = self._send(method, path, headers, data, timeout)
        if (response.status_code == 401 and callable(self._token)
                and (data is None or isinstance(data, bytes))):
            response.close()
            response = self._send(method, path, headers, data, timeout)
        if response.status_code >= 300:
            raise _error(response)
        return response

    def _send(self, method: str, path: str, headers: Mapping[str, str] | None, data: Any,
              timeout: float | None) -> requests.Response:
        sent = dict(headers or {})
        token = self._token() if callable(self._token) else self._token
        if token:
            sent["X-Auth-Token"] = token
        if self._request_id:
            sent["X-Openstack-Request-Id"] = self._request_id
        try:
            return self._session.request(
                method, self._base + path, headers=sent, data=data, stream=True,
                allow_redirects=False,
                timeout=(self._connect_timeout, timeout or self._read_timeout))
        except requests.RequestException as error:
            raise Unavailable(
                f"the image service at {self._base} does not answer "
                f"({type(error).__name__})") from error


def _path(image_id: str, *more: str) -> str:
    pieces = ("v2", "images", image_id, *more)
    return "/" + "/".join(urllib.parse.quote(piece, safe="") for piece in pieces)


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _request_id(response: requests.Response) -> str | None:
    return response.headers.get("X-Openstack-Request-Id")


def _error(response: requests.Response) -> ImageError:
    """The typed error for a refusal, with the service's own sentence."""
    message = response.reason or "error"
    try:
        document = response.json()
        message = str(document["error"]["message"])
    except (ValueError, KeyError, TypeError, requests.RequestException):
        pass  # a proxy's answer, or one that broke off: the reason phrase has to do
    finally:
        response.close()
    kind = _BY_CODE.get(response.status_code, ImageError)
    return kind(message, response.status_code, _request_id(response))


def body_of(source: Any, size: int | None, progress: Callable[[int], None] | None) -> Any:
    """A request body of image data, of known length where that can be found out."""
    if size is None:
        size = _size_of(source)
    body: Any = _pieces(source, progress)
    return body if size is None else _Sized(body, size)


def _size_of(source: Any) -> int | None:
    try:
        position = source.tell()
        size = os.fstat(source.fileno()).st_size
    except (AttributeError, OSError, ValueError):
        return None
    return size - position if size >= position and size else None


def _pieces(source: Any, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    pieces = iter(lambda: source.read(CHUNK), b"") if hasattr(source, "read") else source
    sent = 0
    for piece in pieces:
        if not piece:  # an empty piece would end a chunked body
            continue
        yield piece
        sent += len(piece)
        if progress is not None:
            progress(sent)


class _Sized:
    """An iterable body of known length, which requests sends with a Content-Length."""

    def __init__(self, pieces: Iterator[bytes], size: int) -> None:
        self._pieces = pieces
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


def received(response: requests.Response, expected: Mapping[str, Any]) -> Iterator[bytes]:
    """The body in pieces, checked against what the image's document says."""
    digest = None
    if expected.get("os_hash_algo") in hashlib.algorithms_available:
        digest = hashlib.new(expected["os_hash_algo"])
    length = int(response.headers.get("Content-Length", "-1"))
    seen = 0
    try:
        for piece in response.iter_content(CHUNK):
            seen += len(piece)
            if digest is not None:
                digest.update(piece)
            yield piece
    except requests.RequestException as error:
        raise CorruptDownload(
            f"the download broke off after {seen} bytes ({type(error).__name__})",
            None, _request_id(response)) from None
    finally:
        response.close()
    if length >= 0 and seen != length:
        raise CorruptDownload(f"the download broke off: {seen} of {length} bytes came",
                              None, _request_id(response))
    if digest is not None and digest.hexdigest() != expected["os_hash_value"]:
        raise CorruptDownload("the downloaded data does not have the recorded hash",
                              None, _request_id(response))
