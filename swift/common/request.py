# SPDX-License-Identifier: Apache-2.0
"""Requests and responses of the proxy: thin views of a WSGI environ, made for the hot path.

All header values and paths in an environ are "bytes as text" (latin-1, PEP 3333); names of
accounts, containers and objects are real text, decoded from UTF-8 once.
"""

import functools
import html
from calendar import timegm
from email.utils import formatdate, parsedate
from http.client import responses as _reasons
from urllib.parse import parse_qsl, quote

REASONS = dict(_reasons)
REASONS.update({413: 'Request Entity Too Large', 416: 'Requested Range Not Satisfiable',
                498: 'Rate Limited', 499: 'Client Disconnect', 507: 'Insufficient Storage'})
STATUS_LINES = {code: f'{code} {reason}' for code, reason in REASONS.items()}
_SENTENCES = {
    202: 'The request is accepted for processing.',
    400: 'The server could not comply with the request since it is either malformed or otherwise '
         'incorrect.',
    401: 'This server could not verify that you are authorized to access the document you '
         'requested.',
    403: 'Access was denied to this resource.',
    404: 'The resource could not be found.',
    405: 'The method is not allowed for this resource.',
    408: 'The server has waited too long for the request to be sent by the client.',
    409: 'There was a conflict when trying to complete your request.',
    410: 'This resource is no longer available.',
    411: 'Content-Length header required.',
    412: 'A precondition for this request was not met.',
    413: 'The body of your request was too large for this server.',
    416: 'The Range requested is not available.',
    422: 'Unable to process the contained instructions.',
    499: 'The client was disconnected during request.',
    501: 'The requested function is not supported.',
    503: 'The server is currently unavailable. Please try again at a later time.',
    507: 'There was not enough space to save the resource.',
}


ALLOW_RESERVED = 'HTTP_X_BACKEND_ALLOW_RESERVED_NAMES'


class PathError(ValueError):
    """The path is not /version/account[/container[/object]] in UTF-8; ``status`` to answer with."""

    def __init__(self, text, status=404):
        super().__init__(text)
        self.status = status


class Request:
    """A WSGI environ with what the proxy and its filters ask of it."""

    __slots__ = ('environ', 'method', 'acl', '_params')

    def __init__(self, environ):
        self.environ = environ
        self.method = environ['REQUEST_METHOD']
        self.acl = None
        self._params = None

    def get(self, name, default=None):
        """A header by its usual name, as bytes-as-text; ``default`` when it was not sent."""
        key = name.upper().replace('-', '_')
        if key not in ('CONTENT_TYPE', 'CONTENT_LENGTH'):
            key = 'HTTP_' + key
        return self.environ.get(key, default)

    def set(self, name, value):
        """Set a header, or take it away with None."""
        key = name.upper().replace('-', '_')
        if key not in ('CONTENT_TYPE', 'CONTENT_LENGTH'):
            key = 'HTTP_' + key
        if value is None:
            self.environ.pop(key, None)
        else:
            self.environ[key] = value

    @property
    def path(self):
        """The path, bytes as text."""
        return self.environ['PATH_INFO']

    @property
    def params(self):
        """Query parameters as real text (invalid UTF-8 is kept by surrogateescape)."""
        if self._params is None:
            query = self.environ.get('QUERY_STRING')
            self._params = dict(parse_qsl(query, keep_blank_values=True,
                                          errors='surrogateescape')) if query else {}
        return self._params

    @property
    def content_length(self):
        """Length of the body, None when unknown."""
        value = self.environ.get('CONTENT_LENGTH')
        return int(value) if value else None

    @property
    def chunked(self):
        return self.environ.get('HTTP_TRANSFER_ENCODING', '').lower() == 'chunked'

    @property
    def client_ip(self):
        """The address the request came from, by the nearest proxies' word if they give it."""
        env = self.environ
        ip = env.get('HTTP_X_CLUSTER_CLIENT_IP')
        if not ip and 'HTTP_X_FORWARDED_FOR' in env:
            ip = env['HTTP_X_FORWARDED_FOR'].split(',')[0].strip()
        return ip or env.get('REMOTE_ADDR', '-')

    def header_items(self):
        """``(Name-Like-This, value)`` of all headers."""
        for key, value in self.environ.items():
            if key.startswith('HTTP_'):
                yield key[5:].replace('_', '-').title(), value
            elif key in ('CONTENT_TYPE', 'CONTENT_LENGTH') and value:
                yield key.replace('_', '-').title(), value


def split_path(environ):
    """``(version, account, container, object)`` as text, None for what is not there.

    The split is remembered as long as PATH_INFO is the same string. Raises PathError for fewer
    than two parts, empty parts before others, and text that is not UTF-8.
    """
    path = environ['PATH_INFO']
    known = environ.get('swift.split_path')
    if known is not None and known[0] is path:
        return known[1]
    parts = split_plain(path, ALLOW_RESERVED in environ)
    environ['swift.split_path'] = (path, parts)
    return parts


def split_plain(path, reserved=False):
    """`split_path` of a bytes-as-text path; ``reserved`` lets reserved names pass."""
    if not path.isascii():
        try:
            path = path.encode('latin-1').decode('utf-8')
        except UnicodeError:
            raise PathError('Invalid UTF8 or contains NULL', 412) from None
    if '\0' in path and not reserved:
        raise PathError('Invalid UTF8 or contains NULL', 412)
    parts = path.split('/', 4)
    if not parts[0] and parts[1:2] != [''] and parts[2:] in ([], ['']):
        raise PathError('Bad URL', 412)
    if len(parts) < 3 or parts[0] or not parts[1] or not parts[2]:
        raise PathError('Invalid path: ' + quote(path))
    count = len(parts)
    if count == 3:
        return parts[1], parts[2], None, None
    if count == 4:
        return parts[1], parts[2], parts[3] or None, None
    if not parts[3]:
        raise PathError('Invalid path: ' + quote(path))
    return parts[1], parts[2], parts[3], parts[4] or None


def wsgi_text(text):
    """Real text as bytes-as-text, for header values."""
    return text if text.isascii() else text.encode('utf-8', 'surrogateescape').decode('latin-1')


def real_text(text):
    """Bytes-as-text as real text; raises UnicodeDecodeError for what is not UTF-8."""
    return text if text.isascii() else text.encode('latin-1').decode('utf-8')


class Response:
    """A status, headers and a body; also a WSGI application that answers with them."""

    __slots__ = ('status', 'headers', 'body')

    def __init__(self, status=200, headers=None, body=b''):
        self.status = status
        self.headers = headers if headers is not None else []
        self.body = body          # bytes, or an iterable of bytes

    def get(self, name, default=None):
        """A header's value."""
        name = name.lower()
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return default

    def set(self, name, value):
        """Replace a header (None takes it away)."""
        low = name.lower()
        self.headers = [h for h in self.headers if h[0].lower() != low]
        if value is not None:
            self.headers.append((name, value))

    def __call__(self, environ, start_response):
        body = self.body
        if isinstance(body, bytes):
            if self.get('Content-Length') is None:
                self.headers.append(('Content-Length', str(len(body))))
            body = [body]
        start_response(STATUS_LINES.get(self.status) or f'{self.status} Unknown', self.headers)
        return body


class Abort(Exception):
    """Ends the handling of a request with a response."""

    def __init__(self, response):
        super().__init__(response.status)
        self.response = response


def answer(status, text=None, headers=()):
    """The usual answer of a status: an error page for errors, an empty body otherwise.

    ``text`` is escaped; it says which field or rule was the reason.
    """
    headers = list(headers)
    if status < 400 and status != 202 or status == 416 and text is None:
        if status < 300:
            headers.append(('Content-Type', 'text/html; charset=UTF-8'))
        return Response(status, headers, b'')
    if text is None:
        sentence = _SENTENCES.get(status, '')
        body = f'<html><h1>{REASONS.get(status, "Error")}</h1><p>{sentence}</p></html>'
    else:
        body = html.escape(text, quote=False)
    headers.append(('Content-Type', 'text/html; charset=UTF-8'))
    return Response(status, headers, body.encode('utf-8', 'surrogateescape'))


@functools.lru_cache(maxsize=64)
def http_date(seconds):
    """A point in time, whole seconds, as HTTP writes it."""
    return formatdate(seconds, usegmt=True)


def parse_http_date(text):
    """Seconds since 1970 of an HTTP date; None when it is none."""
    try:
        parsed = parsedate(text)
        if parsed is None or parsed[0] < 1970:
            return None
        return timegm(parsed)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


