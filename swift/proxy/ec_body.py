# SPDX-License-Identifier: Apache-2.0
"""The body of an erasure coded object: fragments are read side by side, decoded and passed on.

A node that fails in the middle is replaced by any other with a fragment of the same version that
is not among those being read.
"""

from swift.common.ec import BadFragment
from swift.common.exceptions import ChunkReadError
from swift.proxy.backend import FAILURES
from swift.proxy.ec_ranges import skip_to_fragment
from swift.proxy.get import SourceLost


class Source:
    """One archive being read."""

    def __init__(self, index, reply, node):
        self.index, self.reply, self.node = index, reply, node

    def read(self, size, most, timeout):
        """``size`` bytes; ChunkReadError when there are fewer."""
        parts, have = [], 0
        while have < size:
            data = self.reply.read(min(most, size - have), timeout)
            if not data:
                raise ChunkReadError('a fragment archive is shorter than the others')
            parts.append(data)
            have += len(data)
        return parts[0] if len(parts) == 1 else b''.join(parts)


def extent(reply):
    """``(start, stop)`` of what a reply gives of its archive; ValueError."""
    if reply.status != 206:
        if reply.left is None:
            raise ValueError('a fragment archive without a length')
        return 0, reply.left
    text = reply.headers.get('content-range', '').partition(' ')[2].partition('/')[0]
    first, _, last = text.partition('-')
    return int(first), int(last) + 1


class Decoder:
    """Iterate over it for the object's bytes from ``start`` to ``stop``.

    ``sources`` are as many `Source`s as the coding has data fragments. ``replace(used, position,
    end)`` gives a Source of none of the indexes ``used`` that begins at ``position``, or raises
    SourceLost.
    """

    def __init__(self, app, coding, sources, start, stop, replace, what):
        self.app, self.coding, self.sources = app, coding, sources
        self.start, self.length = start, stop - start
        self.replace, self.what = replace, what
        self.timeout = app.recoverable_node_timeout
        self.position, self.end = extent(sources[0].reply)      # of the archives
        if any(extent(source.reply) != (self.position, self.end) for source in sources):
            raise ValueError('fragment archives of different length')
        self.lead = skip_to_fragment(self.position, coding.fragment_size)

    def __iter__(self):
        try:
            self._drop_lead()
            skip = self.start - \
                self.position // self.coding.fragment_size * self.coding.segment_size
            left = self.length
            while left > 0:
                segment = self._segment()
                if skip >= len(segment):
                    skip -= len(segment)
                    continue
                piece = segment[skip:skip + left] if skip or left < len(segment) else segment
                skip = 0
                left -= len(piece)
                yield piece
        finally:
            self.close()

    def close(self):
        """Give up what was not read."""
        for source in self.sources:
            source.reply.drain()

    def _drop_lead(self):
        """Pass over what an answer for the last bytes begins with: the end of a fragment."""
        if self.lead:
            self._row(self.lead)

    def _row(self, size):
        """The next ``size`` bytes of each archive; nodes that fail are replaced."""
        row = {}
        while True:
            for source in list(self.sources):
                if source.index in row:
                    continue
                try:
                    row[source.index] = source.read(size, self.app.object_chunk_size,
                                                    self.timeout)
                except FAILURES as e:
                    self._lose(source, e)
            if len(row) == len(self.sources):
                self.position += size
                return row

    def _lose(self, source, error):
        self.app.failed(source.node, 'Object', error, 'reading ' + self.what)
        source.reply.close()
        used = {s.index for s in self.sources}
        self.sources[self.sources.index(source)] = self.replace(used, self.position, self.end)

    def _segment(self):
        size = min(self.coding.fragment_size, self.end - self.position)
        if size <= 0:
            raise SourceLost('fragment archives are shorter than their object')
        row = self._row(size)
        while True:
            try:
                # PyECLib keeps the interpreter to itself: a thread would only cost.
                return self.coding.decode(list(row.values()))
            except BadFragment as e:
                self.position -= size
                row = self._without_broken(row, size, e)

    def _without_broken(self, row, size, error):
        """The row once more, with others in the place of those whose fragment is broken."""
        good = {}
        for source in list(self.sources):
            try:
                self.coding.check(row[source.index])
                good[source.index] = row[source.index]
            except BadFragment as e:
                self._lose(source, ChunkReadError(f'a broken fragment: {e}'))
        if len(good) == len(row):
            raise SourceLost(f'fragments do not make a segment: {error}')
        for source in list(self.sources):
            while source.index not in good:
                try:
                    good[source.index] = source.read(size, self.app.object_chunk_size,
                                                     self.timeout)
                    self.coding.check(good[source.index])
                except (BadFragment, *FAILURES) as e:
                    good.pop(source.index, None)
                    at = self.sources.index(source)
                    self._lose(source, e)
                    source = self.sources[at]
        self.position += size
        return good
