# SPDX-License-Identifier: Apache-2.0
"""``/info``: what this cluster can do and which limits it has."""

import hmac
import json
import time

from swift.common.request import Response, answer

_info: dict = {'swift': {}}
_admin: dict = {}


def register(name='swift', admin=False, **facts):
    """Facts a filter adds; ``admin`` ones are shown to holders of the admin key only."""
    (_admin if admin else _info).setdefault(name, {}).update(facts)


def registered(name):
    """Whether a filter of this process provides a feature."""
    return name in _info


def fact(name, fact_name):
    """What a filter of this process says of a feature; None without the filter."""
    return _info.get(name, {}).get(fact_name)


class InfoController:
    """GET and HEAD of ``/info``; the administrator's part needs a signature."""

    def __init__(self, app, req):
        self.app, self.req = app, req

    def handle(self):
        """The response. Pages of any origin may see what anybody may ask."""
        response = self._response()
        origin = self.req.get('Origin')
        if origin and response.status == 200 and self.req.method != 'OPTIONS':
            response.headers += [('Access-Control-Allow-Origin', origin),
                                 ('Access-Control-Expose-Headers', 'x-trans-id')]
        return response

    def _response(self):
        if self.req.method == 'OPTIONS':
            return Response(200, [('Allow', 'GET, HEAD, OPTIONS'),
                                  ('Content-Type', 'text/html; charset=UTF-8')])
        if self.req.method not in ('GET', 'HEAD'):
            return answer(405, headers=[('Allow', 'GET, HEAD, OPTIONS')])
        if not self.app.expose_info:
            return answer(403)
        signature = self.req.params.get('swiftinfo_sig', '')
        asked = bool(signature or self.req.params.get('swiftinfo_expires'))
        if asked and not self.app.admin_key:
            return answer(403)
        if asked and not self._signed(signature):
            return answer(401, headers=[('Www-Authenticate', 'Swift realm="unknown"')])
        shown = {k: dict(v) for k, v in _info.items()}
        shown.setdefault('swift', {}).update(self.app.info['swift'])
        for section in self.app.disallowed_sections:
            path = section.split('.')
            at = shown
            for key in path[:-1]:
                at = at.get(key, {})
            if isinstance(at, dict):
                at.pop(path[-1], None)
        if signature:
            shown['admin'] = {**_admin, 'disallowed_sections': self.app.disallowed_sections}
        return Response(200, [('Content-Type', 'application/json; charset=UTF-8')],
                        json.dumps(shown, sort_keys=True).encode())

    def _signed(self, signature):
        expires = self.req.params.get('swiftinfo_expires', '')
        if not (expires.isascii() and expires.isdigit()
                and len(expires) < 16 and int(expires) > time.time()):
            return False
        methods = ('GET', 'HEAD') if self.req.method == 'HEAD' else ('GET',)
        given = signature.encode('utf-8', 'surrogateescape')
        good = False
        for method in methods:
            text = f'{method}\n{expires}\n/info'
            for algorithm in ('sha1', 'sha256', 'sha512'):
                right = hmac.new(self.app.admin_key.encode(), text.encode(), algorithm)
                good |= hmac.compare_digest(right.hexdigest().encode(), given)
        return good
