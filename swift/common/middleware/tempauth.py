# SPDX-License-Identifier: Apache-2.0
"""Authentication and authorization by the configuration file alone.

Users are options ``user_<account>_<user> = <key> [group...] [storage url]``. A token is not stored
anywhere: it carries its user and the time it ends, signed with a secret of the cluster and the
user's key, so that every proxy with the same configuration accepts it and a changed key ends it.
"""

import base64
import hashlib
import hmac
import time
from typing import Any

from swift.common.acl import clean_acl, parse_account_acl, parse_acl, referrer_allowed
from swift.common.conf import config_int, config_true
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger
from swift.common.middleware.authbase import (
    Signed,
    WrongSignature,
    account_prefix,
    challenge,
    prefix_options,
    read_prefixes,
    refuse,
)
from swift.common.request import PathError, Request, Response, answer, real_text, split_path
from swift.common.statsd import Statsd
from swift.common.storage import hash_secrets
from swift.proxy.cached_info import get_account_info
from swift.proxy.controllers.info import register

REFUSALS = {401: 'unauthorized', 403: 'forbidden'}
_CACHE = 10_000            # verified tokens remembered


class User:
    """One user of the configuration."""

    def __init__(self, account, name, key, groups, url):
        self.account, self.name, self.key, self.groups, self.url = account, name, key, groups, url


def read_users(conf):
    """Users by ``account:user``; ConfigError for an option that cannot be one."""
    users = {}
    for option, value in conf.items():
        if not option.startswith(('user_', 'user64_')):
            continue
        kind, *names = option.split('_')
        if len(names) != 2:
            raise ConfigError(f'{option}: account and user must not hold an underscore; write them '
                              'base64-encoded as user64_<account>_<user>')
        if kind == 'user64':
            names = [base64.b64decode(n + '=' * (-len(n) % 4)).decode('utf-8') for n in names]
        words = value.split()
        if not words:
            raise ConfigError(f'{option} has no key')
        key, groups, url = words[0], words[1:], None
        if groups and ('://' in groups[-1] or '$HOST' in groups[-1]):
            url = groups.pop()
        users[f'{names[0]}:{names[1]}'] = User(names[0], names[1], key, groups, url)
    return users


class TempAuth:
    """Filter; options reseller_prefix, <prefix>_require_group, auth_prefix, token_life,
    token_secret, storage_url_scheme, allow_overrides, user_*."""

    def __init__(self, app, conf):
        self.app = app
        self.logger = get_logger(conf, conf.get('log_name', 'tempauth'))
        self.prefixes = read_prefixes(conf)
        self.main = self.prefixes[0]
        self.require = prefix_options(conf, self.prefixes, 'require_group')
        auth = conf.get('auth_prefix', '/auth/').strip('/')
        self.auth_prefix = f'/{auth}/' if auth else '/auth/'
        self.token_life = config_int(conf, 'token_life', 86400, 1)
        self.scheme = conf.get('storage_url_scheme', 'default')
        self.allow_overrides = config_true(conf.get('allow_overrides', 't'))
        self.users = read_users(conf)
        secret = conf.get('token_secret', '').encode() or b'\0'.join(hash_secrets())
        self.secret = hashlib.sha256(b'tempauth\0' + secret).digest()
        self.verified = {}
        self.statsd = Statsd.of(conf, f'tempauth.{self.main}')
        if self.statsd is not None:            # else no request is to ask whether it is
            self.authorize = self._measured(self.authorize)   # type: ignore[method-assign]
            self.handle_auth = self._measured(                # type: ignore[method-assign]
                self.handle_auth, {401: 'token_denied'})
            self._invalid = self._measured(self._invalid)     # type: ignore[method-assign]
        register('tempauth', account_acls=True)

    def _measured(self, decide, names=REFUSALS):
        """As ``decide``, whose answer statsd is told of when it is a refusal."""
        statsd: Any = self.statsd
        def measured(what):
            response = decide(what)
            if response is not None and response.status in names:
                statsd.count(names[response.status], 1)
            return response
        return measured

    # -- tokens --------------------------------------------------------------
    def _signature(self, user, text):
        key = self.secret + hashlib.sha256(user.key.encode()).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:40]

    def make_token(self, user):
        """A token for a user, and when it ends."""
        # Whole minutes: a user who asks again at once gets the same token.
        expires = int(time.time() // 60 * 60) + self.token_life
        text = f'{expires}:{user.account}:{user.name}'
        body = base64.urlsafe_b64encode(text.encode()).decode().rstrip('=')
        return f'{self.main}tk{body}.{self._signature(user, text)}', expires

    def check_token(self, token):
        """The groups of a valid token, comma separated; None for any other."""
        known = self.verified.get(token)
        if known is not None:
            if known[0] > time.time():
                return known[1]
            del self.verified[token]
            return None
        start = self.main + 'tk'
        if not token.startswith(start) or not token.isascii():
            return None
        body, _, signature = token[len(start):].partition('.')
        try:
            text = base64.urlsafe_b64decode(body + '=' * (-len(body) % 4)).decode()
            expires, name = text.split(':', 1)
            ends = int(expires)
        except ValueError:
            return None
        user = self.users.get(name)
        # An unknown user costs the same as a wrong signature.
        right = self._signature(user or User('', '', '', (), None), text)
        if not hmac.compare_digest(right, signature) or user is None or ends <= time.time():
            return None
        groups = self.groups_of(user)
        if len(self.verified) >= _CACHE:
            self.verified.clear()
        self.verified[token] = (ends, groups)
        return groups

    def groups_of(self, user):
        """``account:user,account,...``; .admin stands for owning the account under each prefix."""
        groups = [f'{user.account}:{user.name}', user.account]
        groups += [g for g in user.groups if g != '.admin']
        if '.admin' in user.groups:
            groups += [prefix + user.account for prefix in self.prefixes]
        return ','.join(groups)

    def identify_signer(self, signature):
        """The Signed of an S3 signature made with a user's key; None for unknown access keys."""
        user = self.users.get(signature.access_key)
        right = signature.made_with(user.key if user is not None else '\0 never a key')
        if user is None:
            return None
        if not right:
            raise WrongSignature
        groups = self.groups_of(user)
        environ = {'REMOTE_USER': groups, 'swift.authorize': self.authorize,
                   'swift.clean_acl': clean_acl}
        if '.reseller_admin' in user.groups:
            environ['reseller_request'] = True
        account = user.url.rstrip('/').rpartition('/')[2] if user.url else self.main + user.account
        return Signed(account, signature.access_key, user.key, environ)

    # -- each request --------------------------------------------------------
    def __call__(self, env, start_response):
        path = env['PATH_INFO']
        if path.startswith(self.auth_prefix):
            return self.handle_auth(env)(env, start_response)
        if self.allow_overrides and env.get('swift.authorize_override'):
            return self.app(env, start_response)
        token = env.get('HTTP_X_AUTH_TOKEN') or env.get('HTTP_X_STORAGE_TOKEN')
        service = env.get('HTTP_X_SERVICE_TOKEN')
        groups = None
        if token and token.startswith(self.main + 'tk'):
            groups = self.check_token(token)
            if groups is None:
                return self._invalid(env)(env, start_response)
            if service:
                more = self.check_token(service)
                if more is not None:        # else it only lacks what a service may do
                    groups += ',' + more
        if groups is not None:
            env['REMOTE_USER'] = groups
            env['swift.access_logging'] = {'user_id': groups.partition(',')[0]}
            # It has done its work; a filter for other tokens shall not ask anybody about it.
            env['swift.token'] = token
            env.pop('HTTP_X_AUTH_TOKEN', None)
            env.pop('HTTP_X_STORAGE_TOKEN', None)
            env['swift.authorize'] = self.authorize
            env['swift.clean_acl'] = clean_acl
            if '.reseller_admin' in groups.split(','):
                env['reseller_request'] = True
        elif self._ours(env):
            env.setdefault('swift.authorize', self.authorize)
            env.setdefault('swift.clean_acl', clean_acl)
        elif 'swift.authorize' not in env and path.count('/') > 1:
            env['swift.authorize'] = lambda req: refuse(req.environ)
        return self.app(env, start_response)

    def _ours(self, env):
        try:
            return account_prefix(split_path(env)[1], self.prefixes) is not None
        except PathError:
            return False

    @staticmethod
    def _invalid(env):
        env.pop('REMOTE_USER', None)
        return refuse(env)

    # -- authorization -------------------------------------------------------
    def authorize(self, req):
        """None when the request may be done, else the response that refuses it."""
        env = req.environ
        try:
            _, account, container, obj = split_path(env)
        except PathError:
            return answer(404)
        prefix = account_prefix(account, self.prefixes)
        user = env.get('REMOTE_USER')
        if prefix is None:
            return refuse(env, account)
        groups = user.split(',') if user else []
        if '.reseller_admin' in groups and account[len(prefix):len(prefix) + 1] != '.':
            env['swift_owner'] = True
            return None
        if '.reseller_reader' in groups and req.method in ('GET', 'HEAD') and \
                account[len(prefix):len(prefix) + 1] != '.':
            return None
        if account in groups and (container is not None or req.method not in ('PUT', 'DELETE')):
            need = self.require[prefix]
            if not need or need in groups:
                env['swift_owner'] = True
                return None
        if req.method == 'OPTIONS':
            return None
        referrers, allowed = parse_acl(req.acl)
        if referrers and req.method in ('GET', 'HEAD') and \
                referrer_allowed(env.get('HTTP_REFERER'), referrers) and \
                (obj is not None or '.rlistings' in allowed):
            return None
        need = self.require[prefix]
        if groups and (not need or need in groups):
            if any(g in allowed for g in groups if not g.startswith('.')):
                return None
            return self._by_account_acl(req, groups, container, account)
        return refuse(env, account)

    def _by_account_acl(self, req, groups, container, account):
        info = get_account_info(req.environ, self.app)
        text = info['sysmeta'].get('core-access-control')
        acl = parse_account_acl(real_text(text)) if text else None
        if acl:
            mine = set(groups)
            if mine & set(acl.get('admin', ())):
                req.environ['swift_owner'] = True
                return None
            reading = req.method in ('GET', 'HEAD')
            if mine & set(acl.get('read-write', ())) and (reading or container is not None):
                return None
            if mine & set(acl.get('read-only', ())) and reading:
                return None
        return refuse(req.environ, account)

    # -- logging in ----------------------------------------------------------
    def handle_auth(self, env):
        """``GET /auth/v1.0``, ``/auth/v1/<account>/auth``: a token for a name and a key."""
        req = Request(env)
        if req.method not in ('GET', 'HEAD'):
            return answer(405, headers=[('Allow', 'GET, HEAD')])
        parts = env['PATH_INFO'][len(self.auth_prefix):].removesuffix('/').split('/')
        account, user = None, req.get('X-Auth-User') or req.get('X-Storage-User')
        if parts[0] in ('v1', 'v1.0', '1.0') and len(parts) == 3 and parts[2] == 'auth':
            account = parts[1]
        elif parts not in (['v1.0'], ['v1'], ['1.0'], ['auth']):
            return answer(400, 'the path is neither v1.0 nor v1/<account>/auth')
        key = req.get('X-Auth-Key') or req.get('X-Storage-Pass')
        realm = [challenge(account or (user or '').rpartition(':')[0] or None)]
        if not user or not key:
            return answer(401, headers=realm)
        if ':' not in user:
            if account is None:
                return answer(401, headers=realm)
            user = f'{account}:{user}'
        elif account is not None and user.split(':', 1)[0] != account:
            return answer(401, headers=realm)
        try:
            user, key = real_text(user), real_text(key)
        except UnicodeDecodeError:
            return answer(401, headers=realm)
        env['swift.access_logging'] = {'user_id': user}          # whether it is let in or not
        found = self.users.get(user)
        right = found.key if found is not None else '\0 never a key'
        if not hmac.compare_digest(right.encode(), key.encode()) or found is None:
            return answer(401, headers=realm)
        return self._logged_in(env, found)

    def _logged_in(self, env, user):
        token, expires = self.make_token(user)
        url = user.url
        if url is None:
            url = f'$HOST/v1/{self.main}{user.account}'
        scheme = env['wsgi.url_scheme'] if self.scheme == 'default' else self.scheme
        host = env.get('HTTP_HOST') or f"{env['SERVER_NAME']}:{env['SERVER_PORT']}"
        url = url.replace('$HOST', f'{scheme}://{host}')
        return Response(200, [
            ('Content-Type', 'text/html; charset=UTF-8'), ('X-Auth-Token', token),
            ('X-Storage-Token', token), ('X-Storage-Url', url),
            ('X-Auth-Token-Expires', str(int(expires - time.time())))])


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: TempAuth(app, conf)
