# SPDX-License-Identifier: Apache-2.0
"""Answers of nodes about one erasure coded object, sorted by the version they speak of.

Nodes may hold fragments of several versions, and several of one. Whether a version can be read is
known when enough different fragments of it were answered, and one node said that it is durable.
"""

import json

from swift.common import ec
from swift.common.timestamp import Timestamp
from swift.proxy.backend import Answer

ABOUT = frozenset((200, 206, 304, 412, 416))      # statuses that speak of a version


def moment(text):
    """A header's time, None for none."""
    try:
        return Timestamp(text) if text else None
    except ValueError:
        return None


class Version:
    """One version: ``fragments`` are ``(reply, node)`` by index, all of one ``status``."""

    def __init__(self, time):
        self.time, self.durable, self.status, self.etag = time, False, None, None
        self.fragments = {}
        self.elsewhere = {}           # index -> nodes that have it besides what they answered

    def take(self, index, reply, node):
        """Whether the answer is one more fragment of this version."""
        etag = reply.headers.get(ec.ETAG.lower())
        if not self.fragments:
            self.status, self.etag = reply.status, etag
        elif (self.status, self.etag) != (reply.status, etag) or index in self.fragments:
            return False
        self.fragments[index] = reply, node
        return True

    def close(self, but=()):
        """Give the bodies up, all but those of some indexes."""
        for index, (reply, _) in self.fragments.items():
            if index not in but:
                reply.drain()

    @property
    def newest(self):
        """The reply with the newest metadata."""
        return max((reply for reply, _ in self.fragments.values()), key=lambda r: moment(
            r.headers.get('x-backend-timestamp')) or Timestamp(0))


class Answers:
    """All versions that were heard of, and ``rejected``: Answers that speak of none."""

    def __init__(self, coding):
        self.coding = coding
        self.versions = {}
        self.rejected = []
        self.deleted = None           # the newest time a node said it was deleted

    def _version(self, time):
        if time not in self.versions:
            self.versions[time] = Version(time)
        return self.versions[time]

    def add(self, reply, node):
        """Take a node's answer; False when it is not about a version (body still to be read)."""
        headers = reply.headers
        time = moment(headers.get('x-backend-data-timestamp'))
        index = headers.get(ec.FRAG_INDEX.lower(), '')
        if reply.status not in ABOUT or time is None or not index.isdigit():
            return False
        if not self._version(time).take(int(index), reply, node):
            reply.drain()
        durable = moment(headers.get('x-backend-durable-timestamp'))
        if durable is not None:
            self._version(durable).durable = True
        for stamp, indexes in self._others(headers).items():
            if (other := moment(stamp)) is not None:
                for i in indexes:
                    self._version(other).elsewhere.setdefault(i, []).append(node)
        return True

    @staticmethod
    def _others(headers):
        try:
            found = json.loads(headers.get('x-backend-fragments') or '{}')
        except ValueError:
            return {}
        return {k: v for k, v in found.items() if isinstance(v, list)} \
            if isinstance(found, dict) else {}

    def reject(self, answer):
        """Note an answer that speaks of no version."""
        self.rejected.append(answer)
        if answer.status == 404:
            gone = moment(answer.headers.get('x-backend-timestamp'))
            if gone is not None and (self.deleted is None or gone > self.deleted):
                self.deleted = gone

    # -- which version -----------------------------------------------------------
    def _rank(self, version):
        have = version.fragments.keys()
        missing = self.coding.data - len(have)
        with_others = self.coding.data - len(have | version.elsewhere.keys())
        return version.durable, missing <= 0, -max(0, with_others), version.time

    def ordered(self):
        """Versions, the one to read first."""
        return sorted(self.versions.values(), key=self._rank, reverse=True)

    @property
    def best(self):
        """The version to read, None when there is none that was not deleted since."""
        for version in self.ordered():
            if self.deleted is None or version.time >= self.deleted:
                return version
        return None

    def is_readable(self, version):
        """Whether enough is there to answer with this version."""
        return version is not None and version.durable and \
            len(version.fragments) >= self.coding.data

    def missing(self):
        """How many more answers are needed at least."""
        best = self.best
        if best is None:
            return 1
        have = len(best.fragments)
        if best.durable:
            return max(0, self.coding.data - have)
        # Nobody knows of it as durable yet: somebody else may.
        return max(1, self.coding.data - have,
                   min(self.coding.replicas - have, self.coding.parity))

    def alternates(self, asked):
        """Nodes that have fragments of the best version besides those they gave.

        ``asked`` are ``(device id, index)`` that were tried already.
        """
        best = self.best
        if best is None or not best.durable:
            return []
        return [(node, index) for index, nodes in best.elsewhere.items()
                if index not in best.fragments for node in nodes
                if (node['id'], index) not in asked]

    def preferences(self):
        """The X-Backend-Fragment-Preferences value for the next request."""
        return json.dumps([{'timestamp': version.time.internal,
                            'exclude': sorted(version.fragments)} for version in self.ordered()])

    def verdict_answers(self):
        """Answers to judge by when no version can be read."""
        best = self.best
        if best is not None and best.durable:
            # There is something newer than what those answers know of; it cannot be read now.
            return [a for a in self.rejected if (moment(
                a.headers.get('x-backend-timestamp')) or Timestamp(0)) > best.time]
        unseen = [Answer(404) for version in self.versions.values() for _ in version.fragments]
        return self.rejected + unseen
