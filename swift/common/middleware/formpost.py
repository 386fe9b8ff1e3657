# SPDX-License-Identifier: Apache-2.0
"""Uploads from an HTML form, allowed by a signature: a POST to a container, or a prefix in it.

The signature is an HMAC over path, redirect, max_file_size, max_file_count and expires, each on a
line, by a temporary URL key of the account or the container. Fields have to come before the files.
To stand before the auth filter.
"""

import binascii
import hmac
import time
from urllib.parse import quote, urlsplit

from swift.common.middleware.authbase import challenge
from swift.common.middleware.multipart_form import CHUNK, Form, FormError, boundary_of
from swift.common.middleware.segments import discard
from swift.common.middleware.signatures import (
    parse_signature,
    read_digests,
    shown_digests,
    signed_scope,
)
from swift.common.request import STATUS_LINES, PathError, Response, answer, split_path, wsgi_text
from swift.proxy.cached_info import subrequest
from swift.proxy.controllers.info import register

MAX_VALUE = 4096
DEFAULTS = ('x_delete_at', 'x_delete_after')
MESSAGES = {400: 'Bad Request', 401: 'Unauthorized'}


def form_text(path, redirect, max_file_size, max_file_count, expires):
    """What the signature of a form is made over: these, each on a line."""
    return '\n'.join(map(str, (path, redirect, max_file_size, max_file_count,
                               expires))).encode('utf-8', 'surrogateescape')


def sign_form(path, redirect, max_file_size, max_file_count, expires, key, digest):
    """The hexadecimal signature a form needs; ``key`` is a temporary URL key."""
    return hmac.new(key.encode(), form_text(path, redirect, max_file_size, max_file_count,
                                            expires), digest).hexdigest()


class Refused(Exception):
    """Ends the form's handling; a status and why."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.text = status, text


class TooLarge(ConnectionError):
    """A file is longer than the form allows: the upload breaks off, nothing is stored."""


class FileBody:
    """A file of a form as wsgi.input; raises TooLarge."""

    def __init__(self, part, limit):
        self.part, self.left = part, limit

    def read1(self, size=CHUNK):
        """Some bytes, b'' at the end."""
        data = self.part.read(size)
        while not data and not self.part.ended:
            data = self.part.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise TooLarge('max_file_size exceeded')
        return data

    def read(self, size=-1):
        """``size`` bytes, or all."""
        out = []
        while size != 0:
            data = self.read1(CHUNK if size < 0 else min(size, CHUNK))
            if not data:
                break
            out.append(data)
            size -= len(data) if size > 0 else 0
        return b''.join(out)


class FormPost:
    """Filter; option allowed_digests."""

    def __init__(self, app, conf):
        self.app = app
        self.digests = read_digests(conf)
        register('formpost', **shown_digests(self.digests))

    def __call__(self, env, start_response):
        kind = env.get('CONTENT_TYPE')
        if env['REQUEST_METHOD'] != 'POST' or not kind or \
                not kind.lower().startswith('multipart/form-data'):
            return self.app(env, start_response)
        try:
            _, _, container, _ = split_path(env)
            if container is None:
                return self.app(env, start_response)
            boundary = boundary_of(kind)
        except PathError:
            return self.app(env, start_response)
        except FormError as e:
            return answer(400, f'FormPost: {e}')(env, start_response)
        return Posted(self, env).response(boundary)(env, start_response)


class Posted:
    """One form."""

    def __init__(self, formpost, env):
        self.formpost, self.env = formpost, env
        self.fields = {}
        self.scope = None

    def response(self, boundary):
        """The Response: a redirect where the form names one."""
        try:
            status, text = self._store(Form(self.env['wsgi.input'], boundary))
        except FormError as e:
            status, text = 400, f'FormPost: {e}'
        except Refused as e:
            status, text = e.status, f'FormPost: {e.text}' if e.text else ''
        redirect = self.fields.get('redirect', '')
        if redirect and self.scope is not None and _is_address(redirect):
            mark = '&' if '?' in redirect else '?'
            where = f'{redirect}{mark}status={status}&message={quote(text)}'
            page = f'<html><body><p><a href="{quote(where, safe="/:?&=%")}">' \
                   'Click to continue...</a></p></body></html>'
            return Response(303, [('Location', wsgi_text(where)),
                                  ('Content-Type', 'text/html; charset=UTF-8')], page.encode())
        if status // 100 == 2:
            return Response(status, [('Content-Type', 'text/plain; charset=UTF-8')],
                            STATUS_LINES.get(status, str(status)).encode())
        return answer(status, text or None, [challenge(None)] if status == 401 else ())

    def _store(self, form):
        """``(status, text)`` after all files."""
        count, status, text = 0, 400, ''
        for part in form:
            if part.filename is None:
                if len(self.fields) > 100:
                    raise FormError('too many fields')
                self.fields[part.name] = part.text(MAX_VALUE)
                continue
            if not part.filename.strip():
                continue                      # a file input that was left empty
            count += 1
            if count > self._number('max_file_count'):
                raise Refused(400, 'max file count exceeded')
            if self.scope is None:
                self._check()
            status, text = self._put(part)
            if status // 100 != 2:
                return status, text
        if not count:
            raise Refused(400, 'no files to process')
        return status, text

    def _number(self, name):
        value = self.fields.get(name, '')
        if not (value.isascii() and value.isdigit() and len(value) < 19):
            raise Refused(400, f'{name} not an integer')
        return int(value)

    def _check(self):
        """Set the scope; Refused when the signature is not right."""
        if self._number('expires') < time.time():
            raise Refused(401, 'form expired')
        size, count = self._number('max_file_size'), self._number('max_file_count')
        try:
            digest, given = parse_signature(self.fields.get('signature', ''))
        except (ValueError, binascii.Error):
            raise Refused(401, 'invalid signature') from None
        path = self.env['PATH_INFO'].encode('latin-1').decode('utf-8', 'surrogateescape')
        text = form_text(path, self.fields.get('redirect', ''), size, count,
                         self.fields['expires'])
        _, account, container, _ = split_path(self.env)
        scope = None
        if digest in self.formpost.digests:
            scope = signed_scope(self.env, self.formpost.app, account, container, [text], digest,
                                 given)
        if scope is None:
            raise Refused(401, 'invalid signature')
        self.scope = account, container

    def _put(self, part):
        """``(status, text)`` of one file."""
        path = self.env['PATH_INFO'].encode('latin-1').decode('utf-8', 'surrogateescape')
        if split_path(self.env)[3] is None and not path.endswith('/'):
            path += '/'
        headers = {'Transfer-Encoding': 'chunked',
                   'Content-Type': wsgi_text(part.headers.get(
                       'content-type', 'application/octet-stream'))}
        if 'content-encoding' in part.headers:
            headers['Content-Encoding'] = wsgi_text(part.headers['content-encoding'])
        for name in DEFAULTS:
            if self.fields.get(name):
                headers[name.replace('_', '-').title()] = str(self._number(name))
        if '\0' in part.filename:
            raise Refused(400, 'a file name contains NULL')
        new = {**self.env, 'swift.source': 'FP', 'REMOTE_USER': '.wsgi.formpost',
               'swift.authorize': self._authorize, 'swift.authorize_override': True}
        body = FileBody(part, self._number('max_file_size'))
        status, _, pieces = subrequest(new, self.formpost.app, 'PUT', path + part.filename, headers,
                                       authorized=False, body=body)
        discard(pieces)
        if body.left < 0:
            raise Refused(400, 'max_file_size exceeded')
        return status, '' if status // 100 == 2 else STATUS_LINES.get(status, str(status))

    def _authorize(self, req):
        """Only objects of the container that was signed for."""
        try:
            _, account, container, obj = split_path(req.environ)
        except PathError:
            return answer(401)
        return None if (account, container) == self.scope and obj is not None else answer(401)


def _is_address(text):
    """Whether a redirect can be put into a header and leads to a web page."""
    return text.isprintable() and urlsplit(text).scheme in ('', 'http', 'https')


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: FormPost(app, conf)
