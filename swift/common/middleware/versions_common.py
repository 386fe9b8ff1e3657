# SPDX-License-Identifier: Apache-2.0
"""What both kinds of versioning share: requests in a filter's own name, and copies of objects."""

from swift.common.middleware.copy import SourceBody
from swift.common.middleware.segments import discard, drain
from swift.common.request import Request, Response, answer
from swift.proxy.cached_info import subrequest

DELETED = 'application/x-deleted;swift_versions_deleted=1'       # content type of delete markers
CARRIED = ('content-type', 'content-encoding', 'content-disposition', 'content-language',
           'cache-control', 'expires', 'x-robots-tag', 'x-object-manifest', 'x-static-large-object',
           'etag')
PREFIXES = ('x-object-meta-', 'x-object-sysmeta-')
MAX_ERROR = 1 << 20


def ask(env, app, method, path, headers=None, query='', body=None, reserved=True):
    """``(status, headers by lower-case name, pieces)`` of a request without authorization.

    Links are taken as the objects they are, and content types as they are stored.
    """
    new = {**env, 'swift.source': 'VW', 'swift.raw_link': True, 'swift.own_content_type': True}
    status, items, pieces = subrequest(new, app, method, path, headers, query, body=body,
                                       reserved=reserved)
    return status, {n.lower(): v for n, v in items}, pieces


def done(env, app, method, path, headers=None, reserved=True):
    """``(status, headers)`` of a request whose body is of no interest."""
    status, low, pieces = ask(env, app, method, path, headers, reserved=reserved)
    discard(pieces)
    return status, low


def store_copy(env, app, source, pieces, path, extra=None, keep_expiry=False, reserved=True):
    """The status of a PUT at ``path`` of what a GET gave; reads and closes ``pieces``."""
    headers = {n.title(): v for n, v in source.items()
               if n in CARRIED or n.startswith(PREFIXES)
               or keep_expiry and n == 'x-delete-at'}
    headers['Content-Length'] = source['content-length']
    headers.update(extra or {})
    try:
        status, _, answered = ask(env, app, 'PUT', path, headers, body=SourceBody(pieces),
                                  reserved=reserved)
        discard(answered)
    finally:
        discard(pieces)
    return status


def denied(env, acl):
    """The Response that refuses a request with this access list, or None. Asks only once more
    what the proxy will ask itself: nothing may be done for someone who may not write."""
    authorize = env.get('swift.authorize')
    if authorize is None:
        return None
    req = Request(env)
    req.acl = acl
    return authorize(req)


def run(app, env):
    """``(status, headers, pieces)`` of a request as it is."""
    got: list = []

    def start(status, headers, exc_info=None):
        got[:] = int(status[:3]), headers

    pieces = app(env, start)
    return got[0], got[1], pieces


def passed_on(status, headers, pieces):
    """A Response of what `run` gave, read whole: for answers to writes and for errors."""
    return Response(status, [h for h in headers if h[0].lower() != 'content-length'],
                    drain(pieces, MAX_ERROR))


def refusal(status):
    """What the client gets when keeping the old version failed with this status."""
    if status == 413:
        return answer(413)
    return answer(412 if status // 100 == 4 else 503)
