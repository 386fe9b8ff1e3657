# SPDX-License-Identifier: Apache-2.0
"""Images as objects of a bucket, through boto3; large ones in parts.

The keys are in the configuration and nowhere else: stored addresses read
``s3+config://STORE/BUCKET/ID``.  An object appears when it, or its last part, is complete; parts of
an upload that died are found and removed by `discard`.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from oslo_config import cfg

from glance import concurrency, exceptions
from glance.store.base import SAFE_ID, Stored, checked_id
from glance.store.objects import CHUNK, MIB, ObjectStore, connection_options, require

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.URIOpt("s3_store_host", schemes=["http", "https"],
               help="URL of the service; Amazon's, by the region, when left out."),
    cfg.StrOpt("s3_store_region_name", default="us-east-1", help="Region to sign requests for."),
    cfg.StrOpt("s3_store_access_key", help="Access key id."),
    cfg.StrOpt("s3_store_secret_key", secret=True, help="Secret access key."),
    cfg.StrOpt("s3_store_bucket", default="glance", help="Bucket of the images."),
    cfg.BoolOpt("s3_store_create_bucket_on_put", default=False,
                help="Make the bucket if it is missing."),
    cfg.StrOpt("s3_store_bucket_url_format", default="auto",
               choices=["auto", "virtual", "path"],
               help="Whether the bucket is part of the host name or of the path."),
    cfg.IntOpt("s3_store_large_object_chunk_size", default=10, min=5, max=1024,
               help="Images of more MiB than this are sent in parts of this size; one part per "
                    "upload is kept in memory.  A service takes 10000 parts."),
    *connection_options("s3_store"),
]
MAX_PARTS = 10000
_MISSING = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NotFound",
                      "InvalidRange", "416"})
_FULL = frozenset({"EntityTooLarge", "QuotaExceeded", "InsufficientStorage", "507", "413"})
_EXISTS = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})


class S3Store(ObjectStore):
    """One bucket of one service.

    :param client: a boto3 S3 client, with timeouts and without retries of its own.
    """

    schemes = ("s3+config",)
    kind = "s3"

    def __init__(self, name: str, client: Any, *, bucket: str = "glance",
                 create_bucket: bool = False, part: int = 10 * MIB) -> None:
        super().__init__(name, bucket)
        self._client = client
        self._create_bucket = create_bucket
        self._part = part

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, name: str) -> S3Store:
        """The store that section ``[name]`` describes."""
        conf.register_opts(OPTIONS, name)
        group = conf[name]
        require(conf, name, "s3_store_access_key", "s3_store_secret_key")
        client = make_client(
            group.s3_store_host, group.s3_store_access_key, group.s3_store_secret_key,
            region=group.s3_store_region_name, style=group.s3_store_bucket_url_format,
            cacert=group.s3_store_cacert, connect_timeout=group.s3_store_connect_timeout,
            timeout=group.s3_store_timeout)
        return cls(name, client, bucket=group.s3_store_bucket,
                   create_bucket=group.s3_store_create_bucket_on_put,
                   part=group.s3_store_large_object_chunk_size * MIB)

    def details(self) -> dict[str, Any]:
        return {"bucket": self._container, "chunk_size": self._part}

    def check(self) -> None:
        try:
            with self._translated("the bucket"):
                self._client.head_bucket(Bucket=self._container)
        except exceptions.NotFound:
            if not self._create_bucket:
                raise exceptions.ConfigurationError(
                    f"[{self.name}] s3_store_bucket: does not exist, and "
                    "s3_store_create_bucket_on_put is false") from None
            with self._translated("the bucket"):
                self._client.create_bucket(Bucket=self._container)

    def add(self, image_id: str, chunks: Iterable[bytes], size: int | None) -> Stored:
        checked_id(image_id)
        if (size or 0) > self._part * MAX_PARTS:
            raise exceptions.LimitExceeded(
                f"size: store {self.name} takes at most {self._part * MAX_PARTS} bytes per image")
        self.check()
        if self._head(image_id) is not None:
            raise self._duplicate(image_id)
        try:
            count = self._put(image_id, _parts(chunks, self._part))
            if size is not None and count != size:
                raise exceptions.ClientDisconnected(
                    f"image data: {size} bytes were announced, {count} arrived")
        except exceptions.Duplicate:
            raise
        except BaseException:  # whatever stopped it: no half of an image may stay
            self._remove_leftover(image_id)
            raise
        return Stored(url=self._url(image_id), size=count)

    def _put(self, image_id: str, parts: Iterator[tuple[bytes, bool]]) -> int:
        """Send what fits into one part as one object, everything else in parts."""
        piece, is_last = next(parts)
        what = f"image {image_id}"
        if is_last:
            with self._translated(what):
                self._client.put_object(Bucket=self._container, Key=image_id, Body=piece,
                                        ContentMD5=_md5(piece), IfNoneMatch="*",
                                        ContentType="application/octet-stream")
            return len(piece)
        with self._translated(what):
            upload = self._client.create_multipart_upload(
                Bucket=self._container, Key=image_id,
                ContentType="application/octet-stream")["UploadId"]
        etags: list[str] = []
        count = 0
        while True:
            with self._translated(what):
                etags.append(self._client.upload_part(
                    Bucket=self._container, Key=image_id, UploadId=upload,
                    PartNumber=len(etags) + 1, Body=piece,
                    ContentMD5=concurrency.blocking(_md5, piece))["ETag"])
            count += len(piece)
            if is_last:
                break
            if len(etags) == MAX_PARTS:
                raise exceptions.LimitExceeded(
                    f"size: store {self.name} takes at most {count} bytes per image")
            piece, is_last = next(parts)
        with self._translated(what):
            self._client.complete_multipart_upload(
                Bucket=self._container, Key=image_id, UploadId=upload, IfNoneMatch="*",
                MultipartUpload={"Parts": [{"PartNumber": number, "ETag": etag}
                                           for number, etag in enumerate(etags, 1)]})
        return count

    def _head(self, image_id: str) -> dict[str, Any] | None:
        try:
            with self._translated(f"image {image_id}"):
                return self._client.head_object(Bucket=self._container, Key=image_id)
        except exceptions.NotFound:
            return None

    def read(self, url: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        image_id = self._image_id(url)
        whole = self.size(url)
        if length is None:
            length = max(0, whole - offset)
        if length == 0:
            return iter(())
        with self._translated(f"image {image_id}"):
            answer = self._client.get_object(
                Bucket=self._container, Key=image_id, Range=f"bytes={offset}-{offset + length - 1}")
        from botocore import exceptions as errors

        body = answer["Body"]
        return self._counted(iter(functools.partial(body.read, CHUNK), b""), length,
                             (errors.BotoCoreError, OSError), body.close)

    def size(self, url: str) -> int:
        image_id = self._image_id(url)
        found = self._head(image_id)
        if found is None:
            raise self._missing(image_id)
        return int(found["ContentLength"])

    def delete(self, url: str) -> None:
        self.size(url)  # the service would not say that there is nothing
        image_id = self._image_id(url)
        with self._translated(f"image {image_id}"):
            self._client.delete_object(Bucket=self._container, Key=image_id)

    def discard(self, image_id: str) -> None:
        checked_id(image_id)
        for found in self._uploads(image_id):
            with contextlib.suppress(exceptions.NotFound), self._translated(f"image {image_id}"):
                self._client.abort_multipart_upload(
                    Bucket=self._container, Key=image_id, UploadId=found["UploadId"])
        with contextlib.suppress(exceptions.NotFound), self._translated(f"image {image_id}"):
            self._client.delete_object(Bucket=self._container, Key=image_id)

    def _uploads(self, prefix: str) -> list[dict[str, Any]]:
        try:
            with self._translated("unfinished uploads"):
                pages = self._client.get_paginator("list_multipart_uploads").paginate(
                    Bucket=self._container, Prefix=prefix)
                return [found for page in pages for found in page.get("Uploads", ())]
        except exceptions.NotFound:
            return []

    def list_ids(self) -> Iterator[str]:
        seen = {found["Key"] for found in self._uploads("")}
        try:
            with self._translated("the bucket"):
                for page in self._client.get_paginator("list_objects_v2").paginate(
                        Bucket=self._container):
                    seen.update(found["Key"] for found in page.get("Contents", ()))
        except exceptions.NotFound:
            return
        yield from sorted(key for key in seen if SAFE_ID.fullmatch(key))

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Errors of the service as ours; neither they nor the log name URL, keys or its words."""
        from botocore import exceptions as errors

        try:
            yield
        except errors.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
            if {code, status} & _MISSING:
                raise exceptions.NotFound(f"no {what} in store {self.name}") from None
            if {code, status} & _EXISTS:
                raise exceptions.Duplicate(
                    f"{what} has data in store {self.name} already") from None
            LOG.error("store %s: %s: %s was answered with %s", self.name, what,
                      error.operation_name, status)
            if {code, status} & _FULL:
                raise exceptions.StorageFull(
                    f"store {self.name} has no room for this image") from None
            raise exceptions.Unavailable(f"store {self.name} cannot be used now") from None
        except (errors.BotoCoreError, OSError) as error:
            LOG.error("store %s: %s: %s", self.name, what, type(error).__name__)
            raise exceptions.Unavailable(f"store {self.name} does not answer") from None


def make_client(url: str | None, access_key: str, secret_key: str, *, region: str = "us-east-1",
                style: str = "auto", cacert: str | None = None, connect_timeout: float = 10.0,
                timeout: float = 60.0) -> Any:
    """A boto3 client that gives up in time and sends nothing twice on its own."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3", endpoint_url=url, aws_access_key_id=access_key, aws_secret_access_key=secret_key,
        region_name=region, verify=cacert or True,
        config=Config(connect_timeout=connect_timeout, read_timeout=timeout, proxies={},
                      retries={"total_max_attempts": 1}, s3={"addressing_style": style},
                      # each body has its MD5 already; other services know no newer ones
                      request_checksum_calculation="when_required",
                      response_checksum_validation="when_required"))


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _parts(chunks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """The same bytes in pieces of `size`, each with whether it is the last; at least one."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) > size:
            with memoryview(held) as view:
                piece = bytes(view[:size])
            del held[:size]
            yield piece, False
    yield bytes(held), True
