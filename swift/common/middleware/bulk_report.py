# SPDX-License-Identifier: Apache-2.0
"""The reports of requests that stand for many: in plain text or JSON, after the fact."""

import json
from xml.sax.saxutils import escape

from swift.common.middleware.listing_formats import best_match
from swift.common.request import answer

TYPES = ('text/plain', 'application/json', 'application/xml', 'text/xml')


def report_type(env):
    """The content type for a report: what Accept likes best; a 406 Response when none."""
    accept = env.get('HTTP_ACCEPT')
    if not accept or accept.strip() == '*/*':
        return 'text/plain'
    try:
        return best_match(accept, TYPES) or answer(406)
    except ValueError:
        return answer(400, 'Invalid Accept header')


def render(kind, facts, errors, root='delete'):
    """The report as bytes: ``facts`` in order, then ``errors`` as ``(name, status line)``."""
    if kind == 'application/json':
        return json.dumps({**facts, 'Errors': [list(e) for e in errors]}).encode()
    if kind.endswith('/xml'):
        inner = ''.join(f'<{_tag(k)}>{escape(str(v))}</{_tag(k)}>\n' for k, v in facts.items())
        listed = ''.join(f'<object><name>{escape(n)}</name><status>{escape(s)}</status></object>\n'
                         for n, s in errors)
        return f'<{root}>\n{inner}<errors>\n{listed}</errors>\n</{root}>\n'.encode(
            'utf-8', 'replace')
    lines = [f'{k}: {v}' for k, v in facts.items()] + ['Errors:']
    lines += [f'{name}, {status}' for name, status in errors]
    return ('\n'.join(lines) + '\n').encode('utf-8', 'surrogateescape')


def _tag(name):
    return name.lower().replace(' ', '_')
