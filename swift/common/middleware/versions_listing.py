# SPDX-License-Identifier: Apache-2.0
"""Listing of all versions of a container's objects: two listings, merged by name.

One is the container's own, which says which version is current, and has the objects that are no
links; the other one that of the hidden container of versions. Newest come first.
"""

from urllib.parse import quote

from swift.common.conf import config_true
from swift.common.request import answer
from swift.common.reserved import RESERVED, split_reserved
from swift.common.timestamp import Timestamp

PAGE = 1000
AFTER = ':'                   # sorts after each character of a timestamp
LATEST = 10 ** 15 - 1
DELETED = 'application/x-deleted;swift_versions_deleted=1'


class Pages:
    """The entries of one listing, fetched as they are needed; `seek` steps over some.

    ``fetch(marker)`` gives the entries after it, fewer than ``size`` only at the end.
    """

    def __init__(self, fetch, marker, size, entries=None):
        self.fetch, self.marker, self.size = fetch, marker, size
        self.entries = entries
        self.at, self.ended = 0, entries is not None and len(entries) < size
        if entries:
            self.marker = entries[-1]['name']

    def peek(self):
        """The next entry, None at the end."""
        while self.entries is None or self.at >= len(self.entries):
            if self.ended:
                return None
            self.entries, self.at = self.fetch(self.marker), 0
            self.ended = len(self.entries) < self.size
            if self.entries:
                self.marker = self.entries[-1]['name']
        return self.entries[self.at]

    def pop(self):
        """The next entry, taken."""
        entry = self.peek()
        self.at += 1
        return entry

    def seek(self, marker, beyond):
        """Step over what ``beyond(name)`` is not true of: up to ``marker``."""
        for at in range(self.at, len(self.entries or ())):
            if beyond(self.entries[at]['name']):
                self.at = at
                return
        if not self.ended:
            self.entries, self.marker = None, marker
        else:
            self.at = len(self.entries)


class VersionListing:
    """One request's listing. ``problem`` is a Response when its parameters are wrong."""

    def __init__(self, params, most):
        get = params.get
        self.problem = None
        self.marker, self.end = get('marker', ''), get('end_marker', '')
        self.prefix, self.delimiter = get('prefix', ''), get('delimiter', '')
        self.reverse = config_true(get('reverse', ''))
        self.version_marker = get('version_marker', '')
        limit = get('limit', '')
        self.limit = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 19 else most
        if self.limit > most:
            self.problem = answer(412, f'Maximum limit is {most}')
        if any(RESERVED in text for text in (self.marker, self.end, self.prefix, self.delimiter)):
            self.problem = answer(412, 'a parameter contains NULL')
        if self.version_marker:
            if not self.marker:
                self.problem = answer(400, 'version_marker param requires marker')
            elif self.version_marker != 'null':
                try:
                    stamp = Timestamp(self.version_marker)
                    self.after = Timestamp(0, delta=LATEST - stamp.raw).normal
                except ValueError:
                    self.problem = answer(400, 'Invalid version_marker param')
        self.size = PAGE if self.delimiter else max(1, min(self.limit, PAGE))

    def _query(self, prefix, marker, end):
        text = f'format=json&limit={self.size}'
        for name, value in (('prefix', prefix), ('marker', marker), ('end_marker', end)):
            if value:
                text += f'&{name}={quote(value, errors="surrogateescape")}'
        return text + ('&reverse=on' if self.reverse else '')

    def first_query(self):
        """The query for the first page of the container's own listing."""
        return self._query(self.prefix, self.marker, self.end)

    def items(self, first, container, hidden, page):
        """The entries. ``first`` is what `first_query` gave, ``page(container, query)`` gives
        further pages."""
        own = Pages(lambda m: page(container, self._query(self.prefix, m, self.end)),
                    self.marker, self.size, first)
        if hidden is None:
            versions = Pages(None, '', 1, [])
        else:
            end = self._place(self.end, not self.reverse) if self.end else ''
            versions = Pages(lambda m: page(hidden, self._query(RESERVED + self.prefix, m, end)),
                             self._first_marker(), self.size)
        current = None
        # Versions of the marker itself are still to come. After `null`, which of them is current
        # is left open, as OpenStack Swift does (its bug 2147042).
        if self.version_marker not in ('', 'null'):
            found = page(container, f'format=json&limit=1&prefix={quote(self.marker)}')
            if found and found[0]['name'] == self.marker:
                current = found[0]
        out: list = []
        self._merge(own, versions, current, out)
        return out

    @staticmethod
    def _place(name, before):
        """A marker before, or after, all versions of a name."""
        return f'{RESERVED}{name}{RESERVED}' + ('' if before else AFTER)

    def _first_marker(self):
        if not self.marker:
            return ''
        if self.version_marker == 'null':
            # The one that is no version comes first of its name; backwards, last.
            return self._place(self.marker, True)
        if self.version_marker:
            return f'{RESERVED}{self.marker}{RESERVED}{self.after}'
        return self._place(self.marker, self.reverse)

    def _merge(self, own, versions, current, out):
        while len(out) < self.limit:
            mine, theirs = own.peek(), versions.peek()
            names = [] if mine is None else [mine['name']]
            if theirs is not None:
                names.append(split_reserved(theirs['name'], 2)[0])
            resumed = False
            if current is not None or self.version_marker and theirs is not None and \
                    names[-1] == self.marker:
                name, resumed = self.marker, True
            elif not names:
                return
            else:
                name = max(names) if self.reverse else min(names)
            if not resumed and self._folded(name, own, versions, out):
                continue
            if not resumed and mine is not None and mine['name'] == name:
                current = own.pop()
            self._of_one(name, current, versions, resumed, out)
            current = None
            if resumed:
                self.version_marker = ''

    def _folded(self, name, own, versions, out):
        """Whether a name goes into a group that the delimiter makes; steps over it then."""
        if not self.delimiter:
            return False
        at = name.find(self.delimiter, len(self.prefix))
        if at < 0 or not name.startswith(self.prefix):
            return False
        group = name[:at + len(self.delimiter)]
        if group != self.marker:
            out.append({'subdir': group})
        if self.reverse:
            own.seek(group, lambda n: n < group)
            versions.seek(RESERVED + group, lambda n: n < RESERVED + group)
        else:
            last = group + '\U0010ffff'
            own.seek(last, lambda n: n > last)
            versions.seek(RESERVED + last, lambda n: n > RESERVED + last)
        return True

    def _of_one(self, name, current, versions, resumed, out):
        """The entries of one name."""
        from swift.common.middleware.versioned_containers import place_of
        place = place_of(current) if current is not None else None
        null = None
        if current is not None and place is None:
            null = {**current, 'version_id': 'null', 'is_latest': True}
        null_due = null is not None and not (
            resumed and (not self.reverse or self.version_marker == 'null'))
        if null_due and not self.reverse:
            out.append(null)
        newest = not (resumed and not self.reverse) or self.version_marker == 'null'
        while len(out) < self.limit:
            entry = versions.peek()
            if entry is None:
                break
            of, stamp = split_reserved(entry['name'], 2)
            if of != name:
                break
            versions.pop()
            item = self._version(entry, name, stamp)
            if self.reverse:
                following = versions.peek()
                newest = following is None or split_reserved(following['name'], 2)[0] != name
            if place is not None:
                item['is_latest'] = place[2] == item['version_id']
            else:
                item['is_latest'] = current is None and newest and \
                    item['content_type'] == DELETED
            newest = False
            out.append(item)
        if null_due and self.reverse and len(out) < self.limit:
            out.append(null)

    @staticmethod
    def _version(entry, name, stamp):
        item = dict(entry)
        item['name'] = name
        item['version_id'] = Timestamp(0, delta=LATEST - Timestamp(stamp).raw).normal
        return item


