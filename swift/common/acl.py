# SPDX-License-Identifier: Apache-2.0
"""Access control lists of containers and accounts: cleaning, parsing, matching.

A container list has groups (``account``, ``account:user``, ``.rlistings``) and referrers
(``.r:*``, ``.r:.example.com``, ``.r:-bad.example.com``). An account list is JSON with the keys
``read-only``, ``read-write`` and ``admin``.
"""

import json
from urllib.parse import unquote, urlsplit

ACCOUNT_KEYS = ('admin', 'read-write', 'read-only')
_REFERRER_KINDS = ('.r', '.ref', '.referer', '.referrer')


def clean_acl(name, value):
    """The list as it is stored; ValueError says what is wrong.

    ``name`` is the header: referrers grant reading only, so a header with ``write`` has none.
    """
    out = []
    for item in value.split(','):
        item = item.strip()
        if not item:
            continue
        kind, colon, rest = item.partition(':')
        if not colon:
            out.append(item)
            continue
        kind, rest = kind.strip(), rest.strip()
        if not kind.startswith('.'):
            out.append(item)
            continue
        if kind not in _REFERRER_KINDS:
            raise ValueError(f'Unknown designator {kind!r} in ACL: {item!r}')
        if 'write' in name.lower():
            raise ValueError(f'Referrers not allowed in write ACL: {item!r}')
        deny = rest.startswith('-')
        host = rest[1:].strip() if deny else rest
        if host.startswith('*') and host != '*':
            host = host[1:]
        if not host or host == '.':
            raise ValueError(f'No host/domain value after referrer designation in ACL: {item!r}')
        out.append(f".r:{'-' if deny else ''}{host}")
    return ','.join(out)


def parse_acl(text):
    """``(referrers, groups)`` of a stored list; referrers without their ``.r:``."""
    referrers, groups = [], []
    for item in (text or '').split(','):
        if item.startswith('.r:'):
            referrers.append(item[3:])
        elif item:
            groups.append(unquote(item))
    return referrers, groups


def referrer_allowed(referrer, referrers):
    """Whether the Referer header's host is allowed; the last entry that matches decides.

    A referrer that cannot be parsed matches ``*`` only.
    """
    allow = False
    if referrers:
        try:
            host = urlsplit(referrer or '').hostname or 'unknown'
        except ValueError:
            host = 'unknown'
        for entry in referrers:
            deny = entry.startswith('-')
            wanted = entry[1:] if deny else entry
            if wanted == '*' or wanted == host or \
                    (wanted[:1] == '.' and host.endswith(wanted)):
                allow = not deny
    return allow


def parse_account_acl(text):
    """An account list as a dictionary; None when it is no such list, {} when it is empty."""
    if not text:
        return {}
    try:
        acl = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return acl if isinstance(acl, dict) else None


def check_account_acl(text):
    """What is wrong with an account list, or None."""
    acl = parse_account_acl(text)
    if acl is None:
        return 'Syntax error, not a JSON object'
    for key, users in acl.items():
        if key not in ACCOUNT_KEYS:
            return f'Key {key!r} not recognized'
        if not isinstance(users, list):
            return f'Value for key {key!r} is not a list'
        if not all(isinstance(user, str) for user in users):
            return f'Elements of {key!r} are not all strings'
    return None


def format_account_acl(acl):
    """The stored form: compact JSON, ASCII, sorted."""
    return json.dumps(acl, separators=(',', ':'), sort_keys=True)
