# SPDX-License-Identifier: Apache-2.0
"""Query parameters of listings, checked and passed on."""

from urllib.parse import quote

from swift.common.request import answer

PARAMETERS = ('limit', 'marker', 'end_marker', 'prefix', 'delimiter', 'path', 'reverse')


def check_listing(req, most):
    """A response when a parameter is wrong, else None; a HEAD lists nothing and may say what it
    likes."""
    if not req.environ.get('QUERY_STRING') or req.method == 'HEAD':
        return None
    params = req.params
    for name in PARAMETERS:
        value = params.get(name)
        if value is None:
            continue
        try:
            value.encode('utf-8')
        except UnicodeEncodeError:
            return answer(400, f'"{name}" parameter not valid UTF-8')
    limit = params.get('limit')
    if limit and limit.isascii() and limit.isdigit() and int(limit[:20]) > most:
        return answer(412, f'Maximum limit is {most}')
    return None


def listing_query(req):
    """The query for the backend: the known parameters, and the form all listings come in."""
    if not req.environ.get('QUERY_STRING') or req.method == 'HEAD':
        return 'format=json'
    params = req.params
    out = ['format=json']
    for name in PARAMETERS:
        value = params.get(name)
        if value is not None:
            if name == 'limit' and not (value.isascii() and value.isdigit()):
                continue             # as if it had not been given
            out.append(f"{name}={quote(value, safe='')}")
    return '&'.join(out)
