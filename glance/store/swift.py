# SPDX-License-Identifier: Apache-2.0
"""Images as objects of an object storage service, one container for all of them.

The account and its key are in the configuration and nowhere else: stored addresses read
``swift+config://STORE/CONTAINER/ID``.  An image of more than ``swift_store_large_object_size``, or
of unknown size, lies in segments ``ID-00001`` and on, named with size and hash by a manifest at
``ID`` (a static large object): it appears when the manifest is written, and no listing that lags
behind can make it shorter.
"""

from __future__ import annotations

import hashlib
import json
import logging
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import requests
from oslo_config import cfg

from glance import concurrency, exceptions
from glance.store.base import SAFE_ID, Stored, checked_id
from glance.store.objects import CHUNK, MIB, ObjectStore, connection_options, require

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.StrOpt("swift_store_auth_address",
               help="URL of the authentication service: Keystone's /v3, or /auth/v1.0."),
    cfg.StrOpt("swift_store_auth_version", default="3", choices=["1", "3"],
               help="3 for Keystone, 1 for an object storage service with accounts of its own."),
    cfg.StrOpt("swift_store_user", help="PROJECT:USER (version 3) or ACCOUNT:USER (version 1)."),
    cfg.StrOpt("swift_store_key", secret=True, help="That user's password or key."),
    cfg.StrOpt("swift_store_user_domain_id", default="default", help="Version 3: user's domain."),
    cfg.StrOpt("swift_store_project_domain_id", default="default",
               help="Version 3: project's domain."),
    cfg.StrOpt("swift_store_region", help="Version 3: region of the endpoint."),
    cfg.StrOpt("swift_store_service_type", default="object-store",
               help="Version 3: type of the service in the catalog."),
    cfg.StrOpt("swift_store_endpoint_type", default="public",
               help="Version 3: interface of the endpoint."),
    cfg.StrOpt("swift_store_endpoint",
               help="URL of the account, instead of the one the authentication service names."),
    cfg.StrOpt("swift_store_container", default="glance", help="Container of the images."),
    cfg.BoolOpt("swift_store_create_container_on_put", default=False,
                help="Make the container if it is missing."),
    cfg.IntOpt("swift_store_large_object_size", default=5120, min=1, max=5120,
               help="Images of more MiB than this are stored in segments."),
    cfg.IntOpt("swift_store_large_object_chunk_size", default=200, min=1, max=5120,
               help="Size of a segment in MiB; larger for images that would need more than "
                    "1000 of them."),
    *connection_options("swift_store"),
    cfg.IntOpt("swift_store_put_timeout", default=300, min=1,
               help="Seconds to wait for the answer to the last byte of an image."),
]
#: what a manifest may name, and an object may hold, by the defaults of the object storage
MAX_SEGMENTS = 1000
MAX_OBJECT = 5120 * MIB


class Login(Protocol):
    """How to get into an account: its URL and a token, both None before `renew`."""

    def renew(self, session: requests.Session, timeout: tuple[float, float]) -> tuple[str, str]:
        """(storage URL, fresh token); raises `Unavailable`."""


class LoginV1:
    """``GET auth_address`` with X-Auth-User and X-Auth-Key, as tempauth does it."""

    def __init__(self, address: str, user: str, key: str) -> None:
        self._address = address
        self._headers = {"X-Auth-User": user, "X-Auth-Key": key}

    def renew(self, session: requests.Session, timeout: tuple[float, float]) -> tuple[str, str]:
        """See `Login`."""
        response = session.get(self._address, headers=self._headers, timeout=timeout,
                               allow_redirects=False)
        url, token = (response.headers.get(name) for name in ("X-Storage-Url", "X-Auth-Token"))
        if response.status_code >= 300 or not url or not token:
            raise _LoginRefused(response.status_code)
        return url, token


class LoginV3:
    """Keystone, through keystoneauth."""

    def __init__(self, group: Any) -> None:
        from keystoneauth1.identity import v3

        project, _, user = (group.swift_store_user or "").partition(":")
        self._auth = v3.Password(
            group.swift_store_auth_address, username=user, password=group.swift_store_key,
            project_name=project, user_domain_id=group.swift_store_user_domain_id,
            project_domain_id=group.swift_store_project_domain_id)
        self._where = {"service_type": group.swift_store_service_type,
                       "interface": group.swift_store_endpoint_type,
                       "region_name": group.swift_store_region}

    def renew(self, session: requests.Session, timeout: tuple[float, float]) -> tuple[str, str]:
        """See `Login`."""
        from keystoneauth1 import exceptions as errors
        from keystoneauth1 import session as sessions

        keystone = sessions.Session(verify=session.verify, timeout=timeout[1])
        try:
            self._auth.invalidate()
            token = self._auth.get_token(keystone)
            url = self._auth.get_endpoint(keystone, **self._where)
        except errors.ClientException as error:
            raise _LoginRefused(getattr(error, "http_status", 0)) from None
        if not url or not token:
            raise _LoginRefused(0)
        return str(url), str(token)


class _LoginRefused(Exception):
    """The authentication service said no, with this status."""


class SwiftStore(ObjectStore):
    """One container of one account."""

    schemes = ("swift+config",)
    kind = "swift"

    def __init__(self, name: str, login: Login, *, container: str = "glance",
                 create_container: bool = False, endpoint: str | None = None,
                 verify: bool | str = True, large: int = MAX_OBJECT, segment: int = 200 * MIB,
                 connect_timeout: float = 10.0, timeout: float = 60.0,
                 put_timeout: float = 300.0) -> None:
        super().__init__(name, container)
        self._login = login
        self._endpoint = endpoint
        self._create_container = create_container
        self._large = large
        self._segment = segment
        self._timeout = (connect_timeout, timeout)
        self._put_timeout = (connect_timeout, put_timeout)
        self._session = requests.Session()
        self._session.verify = verify
        self._session.trust_env = False
        self._account: tuple[str, str] | None = None

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, name: str) -> SwiftStore:
        """The store that section ``[name]`` describes."""
        conf.register_opts(OPTIONS, name)
        group = conf[name]
        require(conf, name, "swift_store_auth_address", "swift_store_user", "swift_store_key")
        login: Login
        if group.swift_store_auth_version == "1":
            login = LoginV1(group.swift_store_auth_address, group.swift_store_user,
                            group.swift_store_key)
        else:
            login = LoginV3(group)
        return cls(name, login, container=group.swift_store_container,
                   create_container=group.swift_store_create_container_on_put,
                   endpoint=group.swift_store_endpoint, verify=group.swift_store_cacert or True,
                   large=group.swift_store_large_object_size * MIB,
                   segment=group.swift_store_large_object_chunk_size * MIB,
                   connect_timeout=group.swift_store_connect_timeout,
                   timeout=group.swift_store_timeout, put_timeout=group.swift_store_put_timeout)

    def check(self) -> None:
        if self._call("HEAD", "").status_code != 404:
            return
        if not self._create_container:
            raise exceptions.ConfigurationError(
                f"[{self.name}] swift_store_container: does not exist, and "
                "swift_store_create_container_on_put is false")
        self._call("PUT", "")

    def details(self) -> dict[str, Any]:
        return {"container": self._container, "large_object_size": self._large,
                "large_object_chunk_size": self._segment}

    def add(self, image_id: str, chunks: Iterable[bytes], size: int | None) -> Stored:
        checked_id(image_id)
        if (size or 0) > MAX_SEGMENTS * MAX_OBJECT:
            raise exceptions.LimitExceeded(
                f"size: store {self.name} takes at most {MAX_SEGMENTS * MAX_OBJECT} bytes per "
                "image")
        self.check()  # also finds an expired token before the first byte has travelled
        try:
            if size is not None and size <= self._large:
                count, _ = self._put_object(image_id, image_id, chunks, size, new=True)
            else:
                count = self._put_segments(image_id, chunks, size)
        except exceptions.Duplicate:
            raise
        except BaseException:  # whatever stopped it: no half of an image may stay
            self._remove_leftover(image_id)
            raise
        return Stored(url=self._url(image_id), size=count)

    def _put_object(self, image_id: str, name: str, chunks: Iterable[bytes], size: int | None, *,
                    new: bool) -> tuple[int, str]:
        """(bytes, md5) of one object, compared with what the service says it got."""
        counted = _Counted(chunks, size)
        body: Any = counted if size is None else _Sized(counted, size)
        headers = {"Content-Type": "application/octet-stream"}
        if new:
            headers["If-None-Match"] = "*"
        response = self._call("PUT", name, data=body, timeout=self._put_timeout, headers=headers)
        if response.status_code == 412:
            raise self._duplicate(image_id)
        md5 = counted.md5.hexdigest()
        if response.headers.get("ETag", "").strip('"') != md5:
            raise exceptions.CorruptData(
                f"the data of image {image_id} was damaged on its way to store {self.name}")
        return counted.count, md5

    def _put_segments(self, image_id: str, chunks: Iterable[bytes], size: int | None) -> int:
        if self._call("HEAD", image_id).status_code != 404:
            raise self._duplicate(image_id)
        source = _Pieces(chunks)
        limit = max(self._segment, -(-(size or 0) // MAX_SEGMENTS))
        manifest: list[dict[str, Any]] = []
        count = 0
        while source.has_more() or count < (size or 0):
            if len(manifest) == MAX_SEGMENTS:
                raise exceptions.LimitExceeded(
                    f"size: store {self.name} takes at most {count} bytes of an image whose size "
                    "is not announced")
            if manifest:
                self.check()  # the token may have expired meanwhile
            name = f"{image_id}-{len(manifest) + 1:05d}"
            expected = None if size is None else min(limit, size - count)
            got, md5 = self._put_object(image_id, name, source.take(limit), expected, new=False)
            manifest.append({"path": f"/{self._container}/{name}", "etag": md5,
                             "size_bytes": got})
            count += got
        if not manifest:
            return self._put_object(image_id, image_id, (), 0, new=True)[0]
        self.check()
        response = self._call(
            "PUT", image_id, query={"multipart-manifest": "put"}, timeout=self._put_timeout,
            data=json.dumps(manifest).encode(), headers={
                "Content-Type": "application/octet-stream", "If-None-Match": "*"})
        if response.status_code == 412:
            raise self._duplicate(image_id)
        return count

    def read(self, url: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        image_id = self._image_id(url)
        if length == 0:
            self.size(url)
            return iter(())
        headers = {}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            headers["Range"] = f"bytes={offset}-{last}"
        response = self._call("GET", image_id, headers=headers, stream=True)
        if response.status_code in (404, 416):
            response.close()
            raise self._missing(image_id)
        if headers and response.status_code != 206 and offset:
            response.close()
            raise exceptions.Unavailable(f"store {self.name} cannot deliver parts of images")
        return self._pieces(response, length)

    def _pieces(self, response: requests.Response, length: int | None) -> Iterator[bytes]:
        wanted = length
        if wanted is None and "Content-Length" in response.headers:
            wanted = int(response.headers["Content-Length"])
        return self._counted(response.iter_content(CHUNK), wanted,
                             (requests.RequestException,), response.close)

    def size(self, url: str) -> int:
        image_id = self._image_id(url)
        response = self._call("HEAD", image_id)
        if response.status_code == 404:
            raise self._missing(image_id)
        return int(response.headers["Content-Length"])

    def delete(self, url: str) -> None:
        image_id = self._image_id(url)
        response = self._call("HEAD", image_id)
        if response.status_code == 404:
            raise self._missing(image_id)
        self._remove(image_id, response)

    def _remove(self, image_id: str, head: requests.Response) -> None:
        """Segments first: as long as the manifest is there, somebody knows of the rest."""
        names: list[str] = []
        if head.headers.get("X-Static-Large-Object", "").lower() == "true":
            response = self._call("GET", image_id, query={"multipart-manifest": "get"})
            names = [entry["name"].rpartition("/")[2] for entry in response.json()]
        elif "X-Object-Manifest" in head.headers:  # as other image services write them
            names = list(self._names(f"{image_id}-"))
        for name in names:
            if name.startswith(image_id):
                self._call("DELETE", name)
        self._call("DELETE", image_id)

    def discard(self, image_id: str) -> None:
        head = self._call("HEAD", checked_id(image_id))
        if head.status_code != 404:
            self._remove(image_id, head)
        for name in list(self._names(f"{image_id}-")):
            self._call("DELETE", name)

    def list_ids(self) -> Iterator[str]:
        last = ""
        for name in self._names(""):
            image_id = name[:36]
            if image_id != last and SAFE_ID.fullmatch(image_id):
                last = image_id
                yield image_id

    def _names(self, prefix: str) -> Iterator[str]:
        """The objects in the container, page after page."""
        marker = ""
        while True:
            response = self._call("GET", "", query={"format": "json", "marker": marker,
                                                    "prefix": prefix})
            if response.status_code == 404:
                return
            entries = response.json() if response.content else []
            if not entries:
                return
            for entry in entries:
                marker = entry["name"]
                yield marker

    # The wire.  Neither errors nor the log name URL, user or token.

    def _call(self, method: str, name: str, *, headers: Mapping[str, str] | None = None,
              query: Mapping[str, str] | None = None, data: Any = None, stream: bool = False,
              timeout: tuple[float, float] | None = None) -> requests.Response:
        """The answer, if it is a success, 404, 412 or 416; everything else is an exception."""
        fresh = self._account is None
        try:
            response = self._send(method, name, headers, query, data, stream, timeout)
            if response.status_code == 401 and not fresh and data is None:
                response.close()
                self._account = None
                response = self._send(method, name, headers, query, data, stream, timeout)
        except _LoginRefused as error:
            LOG.error("store %s: the login was refused with status %s", self.name, error)
            raise exceptions.Unavailable(f"store {self.name} cannot be used now") from None
        except requests.RequestException as error:
            LOG.error("store %s: %s of an object failed: %s", self.name, method,
                      type(error).__name__)
            raise exceptions.Unavailable(f"store {self.name} does not answer") from None
        if response.status_code < 300 or response.status_code in (404, 412, 416):
            return response
        response.close()
        if response.status_code == 401:
            self._account = None
        LOG.error("store %s: %s of an object was answered with %d", self.name, method,
                  response.status_code)
        if response.status_code in (413, 507):
            raise exceptions.StorageFull(f"store {self.name} has no room for this image")
        raise exceptions.Unavailable(f"store {self.name} cannot be used now")

    def _send(self, method: str, name: str, headers: Mapping[str, str] | None,
              query: Mapping[str, str] | None, data: Any, stream: bool,
              timeout: tuple[float, float] | None) -> requests.Response:
        if self._account is None:
            url, token = self._login.renew(self._session, self._timeout)
            self._account = (self._endpoint or url).rstrip("/"), token
        base, token = self._account
        path = "/" + urllib.parse.quote(self._container, safe="") + (f"/{name}" if name else "")
        return self._session.request(
            method, base + path, headers={**(headers or {}), "X-Auth-Token": token},
            params=query, data=data, stream=stream, timeout=timeout or self._timeout,
            allow_redirects=False)


class _Pieces:
    """The bytes of an image, handed out a segment at a time."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""

    def has_more(self) -> bool:
        """Whether any byte is left; reads ahead by one chunk."""
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._held = chunk
        return True

    def take(self, limit: int) -> Iterator[bytes]:
        """Up to `limit` bytes."""
        while limit and self.has_more():
            piece, self._held = self._held[:limit], self._held[limit:]
            limit -= len(piece)
            yield piece


class _Counted:
    """Chunks on their way out, counted and hashed."""

    def __init__(self, chunks: Iterable[bytes], size: int | None) -> None:
        self._chunks = chunks
        self._size = size
        self.count = 0
        self.md5 = hashlib.md5(usedforsecurity=False)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.count += len(chunk)
            concurrency.blocking(self.md5.update, chunk)
            if chunk:  # an empty one would end a chunked body
                yield chunk
        # Not later: behind a Content-Length, the service would wait for the missing bytes.
        if self._size is not None and self.count != self._size:
            raise exceptions.ClientDisconnected(
                f"image data: {self._size} bytes were announced, {self.count} arrived")


class _Sized:
    """A body of known length, which requests sends with a Content-Length."""

    def __init__(self, chunks: _Counted, size: int) -> None:
        self._chunks = chunks
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)
