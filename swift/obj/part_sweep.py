# SPDX-License-Identifier: Apache-2.0
"""Parts of multipart uploads of the S3 API that no object is made of: the expirer's half.

The S3 API enters a row into the expirer's queue before it does what may leave parts behind: deletes
or replaces an object, ends an upload, deletes a bucket. The row says no more than where to look.
What is to be deleted is decided here, by what there is then; so it does not matter whether the one
who entered the row ended what it began, failed, or was killed at any point. Parts stay

* while their upload goes on: there is the empty object `<key>/<upload id>`, or
* while an object is made of them: the current one by that key, or a version of it, says so in its
  metadata. One whose X-Delete-At has passed is there until the expirer has deleted it.

When the expirer itself deletes an object that has expired, it does the same: first the row, then
the object, then it looks after the parts at once. Its row is due a day later at the earliest, for
who may have looked while the object was still there, and for an expirer that was killed.

Who cannot be asked may know of such an object: nothing is deleted, and the row stays, until all
nodes of the objects in question have answered. Each row is entered twice, the second time due a day
later. That is for what the first look came too early for: a part that was on its way when its
upload ended, one that was not listed yet, a writer that had entered the row but not yet written.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from swift.common import node_client
from swift.common.expiry import EXPIRED_TOO, UNUSED_PARTS, Task
from swift.common.middleware.versioned_containers import version_name
from swift.common.reserved import RESERVED, is_reserved, split_reserved
from swift.common.ring import Ring
from swift.common.shards import Namespace
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp

if TYPE_CHECKING:
    from swift.obj.expirer import ObjectExpirer

SEGMENTS = "+segments"
UPLOAD_ID = "x-object-sysmeta-s3api-upload-id"
_VERSIONS = "x-container-sysmeta-versions-container"
_LEGACY_VERSIONS = "x-container-sysmeta-versions-location"
MOST_KNOWN = 10_000                        # buckets remembered in a pass
_PLAIN = re.compile(r"[0-9a-f]{32}\Z")     # in a listing: the ETag of what is no upload


class Unknown(Exception):
    """A node that may know better did not answer."""


class _Container:
    """What is known of a container: whether it is, and whether anything is known of it, its
    headers, when it was last deleted. A deletion that some of its nodes alone know of is none: they
    may have thought it empty."""

    def __init__(self, answers: list[node_client.NodeAnswer]) -> None:
        known = [answer for answer in answers if "x-backend-put-timestamp" in answer.headers]
        self.exists = any(answer.status // 100 == 2 for answer in known)
        self.headers: dict[str, str] = {}
        for answer in sorted(known, key=lambda a: a.status // 100 == 2):
            self.headers.update(answer.headers)
        self.known = bool(known)
        self.deleted = max((Timestamp(answer.headers["x-backend-delete-timestamp"])
                            for answer in known), default=Timestamp.zero())
        if any(Timestamp(answer.headers["x-backend-status-changed-at"]) <= self.deleted
               for answer in known if answer.status // 100 == 2):
            self.deleted = Timestamp.zero()
        self.policy = policies().by_index(
            self.headers.get("x-backend-storage-policy-index", "0"))


class PartSweep:
    """Does what rows of parts ask for, with the means of an expirer."""

    def __init__(self, expirer: ObjectExpirer) -> None:
        self.expirer = expirer
        self._uploads: dict[tuple[str, str], bool] = {}

    def begin(self) -> None:
        """Forget what the last pass has found out."""
        self._uploads.clear()

    def made_of(self, task: Task) -> Task | None:
        """What is to be done about the parts of an object that has expired, in the end; None when
        it is made of no upload. Unknown when too few of its nodes answer."""
        account, container, name = task.names
        bucket, key = container, name
        if is_reserved(container):                    # it may be a version
            try:
                (_, bucket), (key, _) = split_reserved(container, 2), split_reserved(name, 2)
            except ValueError:
                return None
        if not self._has_uploads(account, bucket):
            return None
        headers = self._expired(*task.names)
        upload_id = headers.get(UPLOAD_ID, "")
        if not upload_id or "/" in upload_id:
            return None
        kind = f"{UNUSED_PARTS};t={headers.get('x-backend-data-timestamp', '')}"
        return Task(task.holder, task.row, task.at,
                    (account, bucket + SEGMENTS, f"{key}/{upload_id}"), kind.removesuffix(";t="))

    def _has_uploads(self, account: str, bucket: str) -> bool:
        """Whether a bucket has ever had any: there is a container for their parts."""
        names = (account, bucket + SEGMENTS)
        if names not in self._uploads:
            if len(self._uploads) >= MOST_KNOWN:
                self._uploads.clear()
            self._uploads[names] = any(
                "x-backend-put-timestamp" in answer.headers and answer.status // 100 == 2
                for answer in self._most_answers(self.expirer.ring("container"), names))
        return self._uploads[names]

    def _expired(self, account: str, container: str, name: str) -> dict[str, str]:
        """The headers of an object, expired or not, as far as its nodes tell; none without it."""
        found = self._most_answers(self.expirer.ring("container"), (account, container))
        index = next((answer.headers["x-backend-storage-policy-index"] for answer in found
                      if "x-backend-storage-policy-index" in answer.headers), "0")
        policy = policies().by_index(index)
        if policy is None:
            raise Unknown
        answers = self._most_answers(
            self.expirer.ring(policy.ring_name), (account, container, name),
            {"X-Backend-Storage-Policy-Index": str(policy.index), **EXPIRED_TOO})
        newest = max((answer for answer in answers if "x-backend-timestamp" in answer.headers),
                     key=lambda answer: Timestamp(answer.headers["x-backend-timestamp"]),
                     default=None)
        return {} if newest is None or newest.status // 100 != 2 else newest.headers

    def _most_answers(self, ring: Ring, names: tuple[str, ...],
                      headers: dict[str, str] | None = None) -> list[node_client.NodeAnswer]:
        """What most nodes of something say to HEAD; Unknown when fewer answer. One that is out for
        long is not to keep all that expires."""
        part, nodes = ring.get_nodes(*names)
        answers = [self._head(node, part, names, headers) for node in nodes]
        found = [answer for answer in answers if answer is not None]
        if len(found) <= len(nodes) // 2:
            raise Unknown
        return found

    def upload(self, task: Task) -> bool:
        """Delete an upload's parts unless they are in use; whether the row may go.

        The row's type may say by `t` when the object made of the upload was stored.
        """
        account, segments, name = task.names
        try:
            place = self._container(account, segments)
            if not place.exists:
                return True
            bucket = self._container(account, segments.removesuffix(SEGMENTS))
            # In this order: an upload ends after the object is made.
            if bucket.exists and self._newest(place, account, segments, name) or self._is_used(
                    bucket, account, segments.removesuffix(SEGMENTS), name,
                    task.kind.partition(";t=")[2]):
                return True
            parts = [row["name"] for row in self._list((account, segments), name + "/")]
        except Unknown:
            return False
        now = Timestamp.now()
        if not bucket.exists:
            parts.append(name)
        return all([self.expirer.delete_object((account, segments, part), now)
                    for part in parts])

    def bucket(self, task: Task) -> bool:
        """Delete what was in a bucket's container of parts when the bucket was deleted, and the
        container if it is empty then and the bucket has not come back; whether the row may go."""
        account, segments, bucket_name = task.names
        try:
            if not self._container(account, segments).exists:
                return True
            bucket = self._container(account, bucket_name)
            as_of = bucket.deleted if bucket.known else task.at
            old = list(self._old(bucket, (account, segments, bucket_name), as_of))
            emptied = all([self.expirer.delete_object((account, segments, name), as_of)
                           for name in old])
            left = next(self._list((account, segments)), None) is not None
        except Unknown:
            return False
        if bucket.exists or left:
            return emptied
        return self.expirer.delete_container(account, segments)

    def _old(self, bucket: _Container, names: tuple[str, str, str], as_of: Timestamp
             ) -> Iterator[str]:
        """Names of what is older than a bucket's deletion and not in use. An object whose row came
        too late for the deletion may be there yet."""
        account, segments, bucket_name = names
        used: dict[str, bool] = {}
        for row in self._list((account, segments)):
            name = row["name"]
            start, _, last = name.rpartition("/")
            upload = start if last.isascii() and last.isdigit() else name
            if Timestamp.from_isoformat(row["last_modified"]) >= as_of:
                continue
            if upload not in used:
                used[upload] = self._is_used(bucket, account, bucket_name, upload)
            if not used[upload]:
                yield name

    def _is_used(self, bucket: _Container, account: str, bucket_name: str, upload: str,
                 stamp: str = "") -> bool:
        """Whether an object of the bucket is made of an upload, `<key>/<upload id>`."""
        if not bucket.known:
            return False
        if _LEGACY_VERSIONS in bucket.headers:
            return True                # there is no telling what was copied where
        key, _, upload_id = upload.rpartition("/")
        if not key:
            return False
        # The current object first: it becomes a version before it is replaced.
        if self._newest(bucket, account, bucket_name, key).get(UPLOAD_ID) == upload_id:
            return True
        if _VERSIONS not in bucket.headers:
            return False
        name = unquote(bucket.headers[_VERSIONS])
        hidden = self._container(account, name)
        versions = [row["name"] for row in self._list((account, name), f"{RESERVED}{key}{RESERVED}")
                    if not _PLAIN.match(row["hash"])]
        if stamp:                      # this one may not be listed yet
            versions.append(version_name(key, Timestamp(stamp)))
        return any(self._newest(hidden, account, name, version).get(UPLOAD_ID) == upload_id
                   for version in versions)

    def _list(self, container: tuple[str, str], prefix: str = "") -> Iterator[dict[str, Any]]:
        """The entries of a container whose names begin with a prefix."""
        space = Namespace("", prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "")
        for _, row in self.expirer.rows(*container, space):
            if row["name"].startswith(prefix):
                yield row

    # -- what nodes say --------------------------------------------------

    def _container(self, account: str, container: str) -> _Container:
        return _Container(self._answers(self.expirer.ring("container"), (account, container),
                                        "x-backend-put-timestamp"))

    def _newest(self, container: _Container, *names: str) -> dict[str, str]:
        """The headers of an object as it was last written; none when it was deleted or never."""
        if container.policy is None:
            raise Unknown
        answers = self._answers(self.expirer.ring(container.policy.ring_name), names,
                                "x-backend-timestamp",
                                {"X-Backend-Storage-Policy-Index": str(container.policy.index),
                                 **EXPIRED_TOO})
        newest = max((answer for answer in answers if "x-backend-timestamp" in answer.headers),
                     key=lambda answer: Timestamp(answer.headers["x-backend-timestamp"]),
                     default=None)
        return {} if newest is None or newest.status // 100 != 2 else newest.headers

    def _answers(self, ring: Ring, names: tuple[str, ...], sign: str,
                 headers: dict[str, str] | None = None) -> list[node_client.NodeAnswer]:
        """What all nodes of something say to HEAD, and when none of them shows a sign of it, as
        many others, who may have stood in; Unknown when one of the nodes says nothing."""
        part, nodes = ring.get_nodes(*names)
        answers = [self._head(node, part, names, headers) for node in nodes]
        found = [answer for answer in answers if answer is not None]
        if len(found) < len(nodes):
            raise Unknown
        if not any(sign in answer.headers for answer in found):
            others = (self._head(node, part, names, headers)
                      for node in islice(ring.get_more_nodes(part), len(nodes)))
            found += [answer for answer in others if answer is not None]
        return found

    def _head(self, node: dict[str, Any], part: int, names: tuple[str, ...],
              headers: dict[str, str] | None) -> node_client.NodeAnswer | None:
        answer = self.expirer.request(node, "HEAD", node_client.path_of(
            node["device"], part, *names), headers or {})
        if answer is None or answer.status // 100 != 2 and answer.status != 404:
            return None
        return answer
