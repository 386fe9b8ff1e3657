# SPDX-License-Identifier: Apache-2.0
"""Writing one erasure coded object: each node gets a fragment of every segment.

A fragment counts only when it is made durable, and that is asked for once enough nodes said that
they have stored theirs: a client that was told 201 can be served from what is durable, and what a
proxy that died left behind does not hide the version before.
"""

import hashlib

from swift.common import ec
from swift.common.concurrency import run_in_thread
from swift.common.request import Abort, answer
from swift.proxy.backend import FAILURES, MAX_BODY, Answer
from swift.proxy.footers import MimeUpload, footers_of
from swift.proxy.put import LAST_CHUNK, chunk, long_chunk

# A segment from here on is hashed and encoded in a thread: hashing lets others run meanwhile.
THREADED = 65536


def assign(nodes, coding):
    """The fragment index for each of ``nodes``: a primary's own, and what is missing for others."""
    indexes = [None if 'handoff_index' in node else coding.index_of(node['index'])
               for node in nodes]
    lacking = {index: coding.duplication - indexes.count(index) for index in range(coding.unique)}
    # What no node has got yet goes first.
    holes = [index for tier in range(coding.duplication, 0, -1)
             for index, lack in lacking.items() if lack >= tier]
    return [holes.pop(0) if index is None and holes else index for index in indexes]


class EcUpload(MimeUpload):
    """A body on its way to all nodes, a fragment archive each; ``etag`` is known after `run`."""

    two_phases = True

    def __init__(self, coding, *args):
        self.coding = coding
        self.etag = None
        self.digest = hashlib.md5(usedforsecurity=False)
        self.archives = [hashlib.md5(usedforsecurity=False) for _ in range(coding.unique)]
        self.parts, self.have, self.total = [], 0, 0
        self.index = {}
        self.stored = 0
        super().__init__(*args)
        self.quorum = coding.quorum

    def stored_length(self):
        return None if self.length is None else self.coding.archive_size(self.length)

    # -- the body --------------------------------------------------------------
    def begin(self, replicas):
        indexes = assign([replica.node for replica in replicas], self.coding)
        self.index = dict(zip(replicas, indexes, strict=True))
        super().begin(replicas)

    def pass_on(self, data, replicas):
        self.parts.append(data)
        self.have += len(data)
        self.total += len(data)
        size = self.coding.segment_size
        if self.have < size:
            return
        data = b''.join(self.parts)
        whole = len(data) - len(data) % size
        for start in range(0, whole, size):
            self._send_segment(data[start:start + size], replicas)
        rest = data[whole:]
        self.parts, self.have = ([rest] if rest else []), len(rest)

    def _send_segment(self, segment, replicas):
        fragments = run_in_thread(self._encode, segment) if len(segment) >= THREADED \
            else self._encode(segment)
        for replica in replicas:
            if not replica.failed:
                self.put(replica, long_chunk(fragments[self.index[replica]]))

    def _encode(self, segment):
        self.digest.update(segment)
        fragments = self.coding.encode(segment)
        for digest, fragment in zip(self.archives, fragments, strict=True):
            digest.update(fragment)
        return fragments

    def finish(self, replicas):
        rest = b''.join(self.parts)
        if rest:
            self._send_segment(rest, replicas)
        environ = self.controller.req.environ
        footers = footers_of(environ)
        self.etag = self.digest.hexdigest()
        given = (footers.get('Etag') or environ.get('HTTP_ETAG', '')).strip('"').lower()
        if given and given != self.etag:
            raise Abort(answer(422))
        footers = {**self._about(), **{name: value for name, value in footers.items()
                                       if not name.lower().startswith(ec.PREFIX)}}
        for replica in replicas:
            if not replica.failed:
                index = self.index[replica]
                self.put(replica, self.tail({**footers, ec.FRAG_INDEX: str(index),
                                             'Etag': self.archives[index].hexdigest()}))

    def _about(self):
        """The metadata of all fragments alike; and what the container shall know of the object."""
        length, override = str(self.total), 'X-Backend-Container-Update-Override-'
        return {ec.ETAG: self.etag, ec.LENGTH: length, ec.SCHEME: self.coding.description,
                ec.SEGMENT: str(self.coding.segment_size),
                override + 'Etag': self.etag, override + 'Size': length}

    # -- the answers -------------------------------------------------------------
    def _collect(self, replicas):
        """Have the nodes make durable what they stored, if enough of them did."""
        self.await_replies([r for r in replicas if not r.failed], self._take_first,
                           lambda: self.stored >= self.quorum)
        if self.stored < self.quorum:
            self.app.logger.error('Object PUT %s: %s of %s nodes stored their fragment, %s are '
                                  'needed', self.path, self.stored, self.count, self.quorum)
            raise Abort(answer(503))
        commit = chunk(b'X-Document: put commit\r\n\r\nput_commit_confirmation\r\n--%b--'
                       % self.boundary) + LAST_CHUNK
        for replica in replicas:
            if not replica.failed:
                try:
                    replica.conn.send(commit, self.app.node_timeout)
                except FAILURES as e:
                    self._give_up(replica, e)
        super()._collect(replicas)

    def _take_first(self, replica, reply, left):
        if reply.status == 100:
            replica.conn.method = b'PUT'
            self.stored += 1
            return True
        body = reply.read_all(left, MAX_BODY)
        if not self.app.server_error(replica.node, 'Object', reply, self.what):
            self.answers.append(Answer(reply.status, reply, body, replica.node))
        replica.abandon()
        return True
