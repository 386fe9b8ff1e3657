# SPDX-License-Identifier: Apache-2.0
"""Many objects in one request: deleting a list of them, and storing the files of an archive.

Each object is a request of its own to the filters below, with the token of the client, so that
each is authorized, counted and limited as if the client had sent it. The answer is a report that
begins before the work is done; its status is in its text.
"""

import abc
import itertools
import tarfile
import time
import zlib
from typing import Any
from urllib.parse import quote, unquote

from swift.common.concurrency import sleep
from swift.common.conf import config_int
from swift.common.constraints import Constraints
from swift.common.middleware.bulk_report import render, report_type
from swift.common.middleware.segments import discard
from swift.common.parallel import in_parallel
from swift.common.request import (
    STATUS_LINES,
    PathError,
    Request,
    Response,
    answer,
    split_path,
    wsgi_text,
)
from swift.proxy.cached_info import subrequest
from swift.proxy.controllers.info import register

# Bytes read at a time: what they can grow to when they are a bomb has to fit into memory.
ARCHIVES = {'tar': ('r|', 65536), 'tar.gz': ('r|gz', 8192), 'tar.bz2': ('r|bz2', 512)}
EXTENSION_TYPES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE,
                   tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
MAX_EXTENSION = 1 << 20       # of a member's extended header, which is read whole
TOKENS = ('X-Auth-Token', 'X-Storage-Token', 'X-Service-Token')
RETRY_SECONDS = 1.5           # to the power of how often a container was not empty
META = 'SCHILY.xattr.user.meta.'
MIME = 'SCHILY.xattr.user.mime_type'


class Stop(Exception):
    """Ends the work; a status and why."""

    def __init__(self, status, text=''):
        super().__init__(text)
        self.status, self.text = status, text


class Member(tarfile.TarInfo):
    """A member whose extended headers are of a bounded size, and that is no sparse file."""

    def _proc_member(self, archive):
        if self.type in EXTENSION_TYPES and self.size > MAX_EXTENSION:
            raise tarfile.ReadError('an extended header is too long')
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError('sparse files are not supported')
        return super()._proc_member(archive)       # type: ignore[misc]


class Work(abc.ABC):
    """One request: what its kinds have in common."""

    root = 'delete'
    good = 200

    def __init__(self, bulk, env):
        self.bulk, self.env, self.req = bulk, env, Request(env)
        env.setdefault('swift.infocache', {})        # what one of many asks, the others know
        self.inner = {**env, 'swift.source': self.source}
        self.version, self.account, self.container, self.obj = split_path(env)
        self.tokens = {n: v for n in TOKENS if (v := self.req.get(n)) is not None}
        self.errors: list = []
        self.counts: dict = {}
        self.max_errors = bulk.max_failed

    def response(self):
        """The Response, whose body does the work."""
        if self.req.content_length is None and not self.req.chunked:
            return answer(411)
        kind = report_type(self.env)
        if isinstance(kind, Response):
            return kind
        return Response(200, [('Content-Type', kind)], self._report(kind))

    def _report(self, kind):
        begun, last = b'', time.monotonic()
        status, text = self.good, ''
        try:
            for _ in self.steps():
                if time.monotonic() - last > self.bulk.yield_frequency:
                    begun, last = b'\r\n\r\n', time.monotonic()
                    yield b' '
            if self.errors:
                status = 400
            elif not any(self.counts.values()):
                status, text = 400, self.nothing
        except Stop as e:
            status, text = e.status, e.text
        facts = {**self.counts, 'Response Body': text, 'Response Status': STATUS_LINES[status]}
        yield begun + render(kind, facts, self.errors, self.root)

    source, nothing = 'BD', 'Invalid bulk delete.'

    @abc.abstractmethod
    def steps(self):
        """Do the work; yields after each step."""

    def ask(self, method, name, headers=None, body=None):
        """The status of a request for ``name`` (container/object) with the client's token."""
        status, _, pieces = subrequest(
            self.inner, self.bulk.app, method, f'/{self.version}/{self.account}/{name}',
            {**self.tokens, **(headers or {})}, authorized=False, body=body)
        for _ in pieces:
            pass
        discard(pieces)
        return status

    def failed(self, name, status):
        """Note an error; Stop when there are too many, or the client is nobody."""
        self.errors.append((quote(name, errors='surrogateescape'),
                            STATUS_LINES.get(status, str(status))))
        if status == 401:
            raise Stop(401)
        if len(self.errors) >= self.max_errors:
            raise Stop(400, 'Max errors exceeded')


class Delete(Work):
    """POST or DELETE with ?bulk-delete: a quoted path a line."""

    def steps(self):
        self.counts = {'Number Deleted': 0, 'Number Not Found': 0}
        self.stop = None
        # What a container holds has to be gone before the container.
        for is_object, names in itertools.groupby(self._limited(), _is_object):
            count = self.bulk.delete_concurrency if is_object else 1
            for name, status in in_parallel(count, self._delete, names):
                self._note(name, status)
                yield
        if self.stop is not None:
            raise self.stop

    def _limited(self):
        """The names, until there is a reason to stop."""
        try:
            for count, name in enumerate(self._names(), 1):
                if count > self.bulk.max_deletes:
                    raise Stop(413, f'Maximum Bulk Deletes: {self.bulk.max_deletes} per request')
                if self.stop is not None:
                    return
                yield name
        except Stop as e:
            self.stop = self.stop or e

    def _delete(self, name):
        """``(name, status)`` of what has become of it."""
        if name.startswith('/') or '\0' in name:
            return name, 412
        if _is_object(name):
            return name, self.ask('DELETE', name)
        for attempt in range(self.bulk.container_retries + 1):
            if attempt:
                sleep(RETRY_SECONDS ** attempt)
            status = self.ask('DELETE', name.rstrip('/'))
            if status != 409:
                break
        return name, status

    def _note(self, name, status):
        if status // 100 == 2:
            self.counts['Number Deleted'] += 1
        elif status == 404:
            self.counts['Number Not Found'] += 1
        else:
            try:
                self.failed(name, status)
            except Stop as e:                # but the others' ends are still to be noted
                self.stop = self.stop or e

    def _names(self):
        source, limit = self.env['wsgi.input'], self.bulk.max_line
        while True:
            line = source.readline(limit + 1)
            if not line:
                return
            if len(line) > limit:
                raise Stop(400, 'Invalid File Name')
            try:
                name = unquote(line.strip().decode('utf-8'), errors='strict').lstrip('/')
            except UnicodeDecodeError:
                self.failed(line.strip().decode('utf-8', 'surrogateescape'), 412)
                continue
            if name:
                yield name


def _is_object(name):
    return name.partition('/')[2] != ''


class Extract(Work):
    """PUT with ?extract-archive=tar, tar.gz or tar.bz2."""

    source, root, good = 'EA', 'extract', 201
    nothing = 'Invalid Tar File: No Valid Files'

    def steps(self):
        self.counts = {'Number Files Created': 0}
        self.containers: set = set()
        mode: Any
        mode, size = ARCHIVES[self.req.params['extract-archive']]
        try:
            source: Any = Source(self.env['wsgi.input'])
            with tarfile.open(mode=mode, fileobj=source, bufsize=size, tarinfo=Member,
                              errors='surrogateescape') as archive:
                for member in archive:
                    # The archive would remember them all.
                    archive.members = []           # type: ignore[attr-defined]
                    if member.isreg():
                        self._store(archive, member)
                    yield
        except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as e:
            raise Stop(400, f'Invalid Tar File: {e}'[:200]) from None

    def _store(self, archive, member):
        parts = [p for p in member.name.split('/') if p not in ('', '.')]
        name = '/'.join(p for p in (self.container, self.obj and self.obj.rstrip('/'),
                                    *parts) if p)
        container, _, obj = name.partition('/')
        if '..' in parts or '\0' in name or not obj or not _is_text(name):
            return self.failed(member.name, 400)
        if member.size > self.bulk.constraints.max_file_size:
            return self.failed(name, 413)
        if self.bulk.constraints.check_name('container', container) or \
                self.bulk.constraints.check_name('object', obj):
            return self.failed(name, 400)
        if container not in self.containers and not self._container(container, name):
            return None
        headers = {'Content-Length': str(member.size)}
        for key, value in member.pax_headers.items():
            if key == MIME:
                headers['Content-Type'] = _header(value)
            elif key.startswith(META):
                headers['X-Object-Meta-' + _header(key[len(META):])] = _header(value)
        status = self.ask('PUT', name, headers, Content(archive.extractfile(member)))
        if status // 100 == 2:
            self.counts['Number Files Created'] += 1
            return None
        return self.failed(name, status)

    def _container(self, container, name):
        """Make the container if need be; whether it is there."""
        if len(self.containers) >= self.bulk.max_containers:
            raise Stop(400, f'More than {self.bulk.max_containers} containers to create from tar.')
        if self.ask('HEAD', container) // 100 != 2:
            status = self.ask('PUT', container)
            if status // 100 != 2:
                self.failed(name, status)
                return False
        self.containers.add(container)
        return True


class Source:
    """The archive's bytes. Its reader would go on asking beyond the end for as long as a member
    claims to be; after some times it gets an error."""

    def __init__(self, source):
        self.source, self.patience = source, 16

    def read(self, size):
        """``size`` bytes, fewer at the end."""
        data = self.source.read(size)
        if not data:
            self.patience -= 1
            if self.patience < 0:
                raise tarfile.ReadError('unexpected end of data')
        return data


class Content:
    """A member's content as ``wsgi.input``."""

    def __init__(self, source):
        self.source = source

    def read(self, size=-1):
        """``size`` bytes, or all."""
        return self.source.read(size)

    def read1(self, size=65536):
        """Some bytes, b'' at the end."""
        return self.source.read(size)


class Bulk:
    """Filter; options max_deletes_per_request, max_failed_deletes, max_failed_extractions,
    max_containers_per_extraction, yield_frequency, delete_concurrency,
    delete_container_retry_count."""

    def __init__(self, app, conf):
        self.app = app
        self.max_deletes = config_int(conf, 'max_deletes_per_request', 10000, 1)
        self.max_failed_deletes = config_int(conf, 'max_failed_deletes', 1000, 1)
        self.max_failed = config_int(conf, 'max_failed_extractions', 1000, 1)
        self.max_containers = config_int(conf, 'max_containers_per_extraction', 10000, 1)
        self.yield_frequency = config_int(conf, 'yield_frequency', 10, 1)
        self.delete_concurrency = config_int(conf, 'delete_concurrency', 2, 1)
        self.container_retries = config_int(conf, 'delete_container_retry_count', 0)
        self.constraints = limits = Constraints.load()
        self.max_line = 3 * (limits.max_container_name_length
                             + limits.max_object_name_length) + 3
        register('bulk_delete', max_deletes_per_request=self.max_deletes,
                 max_failed_deletes=self.max_failed_deletes)
        register('bulk_upload', max_containers_per_extraction=self.max_containers,
                 max_failed_extractions=self.max_failed)

    def __call__(self, env, start_response):
        query = env.get('QUERY_STRING')
        if not query or 'bulk-delete' not in query and 'extract-archive' not in query:
            return self.app(env, start_response)
        params, method = Request(env).params, env['REQUEST_METHOD']
        try:
            split_path(env)
        except PathError:
            return self.app(env, start_response)
        if 'bulk-delete' in params and method in ('POST', 'DELETE'):
            work: Work = Delete(self, env)
            work.max_errors = self.max_failed_deletes
        elif 'extract-archive' in params and method == 'PUT':
            if params['extract-archive'] not in ARCHIVES:
                return answer(400, 'Unsupported archive format: extract-archive is one of '
                              + ', '.join(ARCHIVES))(env, start_response)
            work = Extract(self, env)
        else:
            return self.app(env, start_response)
        return work.response()(env, start_response)


def _is_text(value):
    try:
        value.encode('utf-8')
    except UnicodeEncodeError:
        return False
    return True


def _header(value):
    """A value from an archive as one of a header: no line ends."""
    return wsgi_text(''.join(c for c in value if c >= ' ' and c != '\x7f'))


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: Bulk(app, conf)
