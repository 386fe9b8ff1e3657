# SPDX-License-Identifier: Apache-2.0
"""What the auth filters share: refusing, reseller prefixes, and whose an S3 signature is."""

from typing import Any, NamedTuple
from urllib.parse import quote

from swift.common.exceptions import ConfigError
from swift.common.request import PathError, answer, split_path, wsgi_text


def read_prefixes(conf, name='reseller_prefix', default='AUTH'):
    """The reseller prefixes, each ended by ``_`` unless it is empty; the first is the main one."""
    prefixes = []
    for item in conf.get(name, default).split(','):
        item = item.strip()
        if item in ("''", '""'):
            item = ''
        if item and not item.endswith('_'):
            item += '_'
        if item not in prefixes:
            prefixes.append(item)
    return prefixes or ['']


def prefix_options(conf, prefixes, name, default=''):
    """An option that can be given for each prefix: ``SERVICE_require_group = service``."""
    return {prefix: conf.get(prefix + name, conf.get("''" + name if not prefix else '', default))
            if prefix else conf.get(name, default) for prefix in prefixes}


def account_prefix(account, prefixes):
    """The prefix an account belongs to, None when to none. ``AUTH_`` alone is no account."""
    best = None
    for prefix in prefixes:
        if account.startswith(prefix) and account != prefix and \
                (best is None or len(prefix) > len(best)):
            best = prefix
    return best


def need_auth_above(app, name):
    """ConfigError when the pipeline has an auth filter below the filter ``name``.

    What acts on behalf of a user before it is known who that is acts for everybody.
    """
    while app is not None:
        if hasattr(app, 'authorize'):
            raise ConfigError(f'pipeline: {name} must stand after the auth filter '
                              f'{type(app).__name__}')
        app = getattr(app, 'app', None)


def refuse(env, account=None):
    """403 for somebody; for nobody in particular 401 with a challenge, for the path's account."""
    if env.get('REMOTE_USER'):
        return answer(403)
    if account is None:
        try:
            account = split_path(env)[1]
        except PathError:
            pass
    return answer(401, headers=[challenge(wsgi_text(account) if account else None)])


def challenge(account):
    """The header that says where to log in: for an account, bytes as text, or None."""
    realm = quote(account.encode('latin-1')) if account else 'unknown'
    return 'Www-Authenticate', f'Swift realm="{realm}"'


class WrongSignature(Exception):
    """A signature that its key does not make."""


class JudgeUnavailable(Exception):
    """Whoever has to judge a signature does not say."""


class Signed(NamedTuple):
    """Who signed an S3 request, as an auth filter's ``identify_signer`` says.

    ``account`` is the account of the buckets, ``user`` the id as an owner, ``environ`` what the
    filter would put into a request's environ for this user. ``secret`` is None when the filter
    cannot know it.
    """

    account: str
    user: str
    secret: str | None
    environ: dict[str, Any]
