# SPDX-License-Identifier: Apache-2.0
"""The page that lists a directory of a static web site. All of it that users wrote is escaped."""

from datetime import datetime
from html import escape
from urllib.parse import quote

STYLE = ('h1 {font-size: 1em; font-weight: bold;} p {font-size: 2em} '
         'table {border-collapse: collapse; padding: 0;} td {padding: 0 1em 0 0.5em;} '
         'th {text-align: left; padding: 0 1em 0 0.5em;} .colsize {text-align: right;}')
SIGNATURE = ('temp_url_prefix', 'temp_url_expires', 'temp_url_sig', 'temp_url_ip_range')


def signature(params):
    """What links within a signed prefix need to have behind them, None when it is unsigned."""
    if 'temp_url_prefix' not in params or 'temp_url_sig' not in params:
        return None
    pairs = [f"{name}={quote(params[name], safe='/', errors='surrogateescape')}"
             for name in SIGNATURE if name in params]
    if 'inline' in params:
        pairs.append('inline')
    return '&'.join(pairs)


def stylesheet(css, depth):
    """The element that styles the page: the container's own style sheet, or ours."""
    if not css:
        return f'<style type="text/css">{STYLE}</style>'
    if not css.startswith(('/', 'http://', 'https://')):
        css = '../' * depth + quote(css, errors='surrogateescape')
    return f'<link rel="stylesheet" type="text/css" href="{escape(css)}" />'


def size_of(count):
    """A number of bytes for people."""
    power = min(5, max(0, (int(count).bit_length() - 1) // 10))
    return f"{count / (1 << 10 * power):.0f}{('', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi')[power]}"


def listing_page(web, root, prefix, entries, params):
    """The page as bytes; ``root`` is /v1/account/container, ``entries`` a listing's."""
    label = web.get('listings-label', '').strip()
    title = f'Listing of {(label or root)}/{prefix}'
    signed = signature(params)
    tail = '?' + signed if signed is not None else ''
    rows = []
    above = prefix.rstrip('/').rpartition('/')[0]
    above = above + '/' if above else ''
    if prefix and (signed is None or above.startswith(params['temp_url_prefix'])):
        rows.append(f'<tr class="item"><td class="colname"><a href="../{escape(tail)}">../</a></td>'
                    '<td class="colsize">&nbsp;</td><td class="coldate">&nbsp;</td></tr>')
    for entry in entries:
        if 'subdir' in entry:
            name = entry['subdir'][len(prefix):]
            rows.append(_row('subdir', name, tail, '&nbsp;', '&nbsp;'))
        elif entry['name'] != prefix:
            name = entry['name'][len(prefix):]
            when = datetime.fromisoformat(entry['last_modified']).strftime('%Y-%m-%d %H:%M:%S')
            kind = ' '.join('type-' + part for part in
                            entry['content_type'].partition(';')[0].split('/'))
            rows.append(_row(f'item {kind}', name, tail, size_of(entry['bytes']), when))
    page = ['<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN" '
            '"http://www.w3.org/TR/html4/loose.dtd">\n<html>\n<head>\n',
            f'<title>{escape(title)}</title>\n',
            stylesheet(web.get('listings-css', '').strip(), prefix.count('/')),
            f'\n</head>\n<body>\n<h1 id="title">{escape(title)}</h1>\n<table id="listing">\n'
            '<tr id="heading"><th class="colname">Name</th><th class="colsize">Size</th>'
            '<th class="coldate">Date</th></tr>\n', '\n'.join(rows),
            '\n</table>\n</body>\n</html>\n']
    return ''.join(page).encode('utf-8', 'surrogateescape')


def _row(kind, name, tail, size, date):
    link = './' + quote(name, errors='surrogateescape') + tail
    return (f'<tr class="{escape(kind)}"><td class="colname"><a href="{escape(link)}">'
            f'{escape(name)}</a></td><td class="colsize">{size}</td>'
            f'<td class="coldate">{date}</td></tr>')
