# SPDX-License-Identifier: Apache-2.0
"""Deleting static large objects with their segments: here and now, or by the object expirer."""

from urllib.parse import quote

from swift.common.expiry import DELETE_LATER, Later
from swift.common.middleware.bulk_report import render, report_type
from swift.common.middleware.segments import SegmentError, Segments, discard, drain, version_query
from swift.common.middleware.slo_manifest import load_parts
from swift.common.middleware.versions_common import denied
from swift.common.parallel import in_parallel
from swift.common.request import STATUS_LINES, Response, answer, split_path
from swift.common.timestamp import Timestamp
from swift.proxy.cached_info import info_of, subrequest


class ManifestDelete:
    """A DELETE with ?multipart-manifest=delete."""

    def __init__(self, slo, env):
        self.slo, self.env = slo, env
        self.segments = Segments(slo.app, env, env.get('swift.authorize'), 'SLO', slo.limits)
        self.deleted = self.missing = 0
        self.errors = []
        self.done = set()
        self.version = version_query(env)

    def response(self):
        """The Response, a report."""
        kind = report_type(self.env)
        if isinstance(kind, Response):
            return kind
        version, account, container, obj = split_path(self.env)
        path = f'/{version}/{account}/{container}/{obj}'
        status = self._with_segments(path, 0)
        if self.errors and status == 200:
            status = 400
        facts = {'Number Deleted': self.deleted, 'Number Not Found': self.missing,
                 'Response Body': '', 'Response Status': STATUS_LINES[status]}
        return Response(200, [('Content-Type', kind)], render(kind, facts, self.errors))

    def _with_segments(self, path, depth):
        """Delete a manifest's segments, then the manifest; a status for the report."""
        if path in self.done:
            return 200
        self.done.add(path)
        status, headers, pieces = self.segments.ask(
            'GET', path, query='' if depth else self.version)
        if status == 404:
            discard(pieces)
            self.missing += 1
            return 200
        if status != 200:
            discard(pieces)
            self._error(path, STATUS_LINES[status])
            return status if status in (401, 403) else 400
        if headers.get('x-static-large-object', '').lower() != 'true' or depth >= 10:
            discard(pieces)
            self._error(path, 'Not an SLO manifest')
            return 400
        try:
            parts = load_parts(drain(pieces, self.slo.max_size * 2),
                               '/'.join(path.split('/', 3)[:3]))
        except SegmentError:
            self._error(path, 'Unable to load SLO manifest')
            return 400
        for part in parts:
            if part.nested:
                self._with_segments(part.path, depth + 1)
        paths = dict.fromkeys(part.path for part in parts
                              if not part.nested and part.data is None
                              and part.path not in self.done)
        self.done.update(paths)
        for _ in in_parallel(self.slo.delete_concurrency, self._delete, paths):
            pass
        self._delete(path, '' if depth else self.version)
        return 200

    def _delete(self, path, query=''):
        status, _, pieces = self.segments.ask('DELETE', path, query=query)
        discard(pieces)
        if status // 100 == 2:
            self.deleted += 1
        elif status == 404:
            self.missing += 1
        else:
            self._error(path, STATUS_LINES.get(status, str(status)))

    def _error(self, path, text):
        self.errors.append((quote('/' + path.split('/', 3)[3], errors='surrogateescape'), text))


class DeleteLater:
    """A DELETE with ?multipart-manifest=delete&async=yes.

    The segments, all of one container and none of them a manifest, are queued for the object
    expirer as of the time of the request: what is put under their names later stays. Until it has
    come by they are listed and count as used.
    """

    def __init__(self, slo, env):
        self.slo, self.env = slo, env
        self.timestamp = Timestamp.now()
        self.version, self.account, self.container, self.obj = split_path(env)

    def refusal(self):
        """The Response that says why not; None once the segments are queued, the manifest is to
        be deleted then."""
        parts = self._parts()
        if isinstance(parts, Response):
            return parts
        if any(part.nested for part in parts):
            return answer(400, 'No segments may be large objects.')
        names = list(dict.fromkeys(tuple(part.path.split('/', 4)[3:]) for part in parts
                                   if part.data is None))
        containers = list(dict.fromkeys(container for container, _ in names))
        if len(containers) != 1:
            found = ', '.join(f'"{container}"' for container in containers)
            return answer(400, f'All segments must be in one container. Found segments in {found}')
        return self._may_not(names) or self._queue(containers[0], [name for _, name in names])

    def _parts(self):
        """The manifest's Parts, or the Response that says why there are none."""
        segments = Segments(self.slo.app, self.env, self.env.get('swift.authorize'), 'SLO',
                            self.slo.limits)
        status, headers, pieces = segments.ask('GET', self._path(self.container, self.obj),
                                               query=version_query(self.env))
        if status != 200:
            discard(pieces)
            return answer(status, 'SLO manifest not found' if status == 404 else None)
        if headers.get('x-static-large-object', '').lower() != 'true':
            discard(pieces)
            return answer(400, 'Not an SLO manifest')
        try:
            return load_parts(drain(pieces, self.slo.max_size * 2), self._path())
        except SegmentError:
            return answer(409, 'The manifest of the object is broken')

    def _path(self, *names):
        return '/'.join(('', self.version, self.account, *names))

    def _may_not(self, names):
        """The Response for who may not delete all of it, None for who may."""
        for container, obj in [(self.container, self.obj), *names]:
            acl = info_of(self.env, self.slo.app, self.account, container)['write_acl']
            path = self._path(container, obj).encode('utf-8', 'surrogateescape')
            refused = denied({**self.env, 'PATH_INFO': path.decode('latin-1')}, acl)
            if refused is not None:
                return refused
        return None

    def _queue(self, container, names):
        status, _, pieces = subrequest(
            {**self.env, DELETE_LATER: Later(self.timestamp, names), 'swift.source': 'SLO'},
            self.slo.app, 'UPDATE', self._path(container))
        discard(pieces)
        return None if status // 100 == 2 else answer(status)
