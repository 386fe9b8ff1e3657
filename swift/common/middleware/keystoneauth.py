# SPDX-License-Identifier: Apache-2.0
"""Authorization by what Keystone says of a token (after keystonemiddleware's auth_token).

An account is a reseller prefix and a project id. Whoever has an operator role on the project owns
the account; others need a container's access list: ``project:user``, ``project:*``, ``*:user``,
``*:*`` (ids always; names only when user, project and the account's own project are in the default
domain, since names mean nothing across domains), a role name, or referrers.

Which domain an account's project is in is kept with the account when one of its own first writes,
and shown as X-Account-Project-Domain-Id. `_unknown` is that of accounts someone else has made.
"""

from swift.common.acl import clean_acl, parse_acl, referrer_allowed
from swift.common.conf import config_list, config_true
from swift.common.log import get_logger
from swift.common.middleware.authbase import (
    account_prefix,
    prefix_options,
    read_prefixes,
    refuse,
)
from swift.common.request import PathError, answer, real_text, split_path
from swift.proxy.cached_info import get_account_info

DOMAIN, DOMAIN_SYSMETA = 'X-Account-Project-Domain-Id', 'x-account-sysmeta-project-domain-id'
UNKNOWN = '_unknown'

class Identity:
    """Who asks, as auth_token found out."""

    __slots__ = ('user_id', 'user_name', 'project_id', 'project_name', 'roles', 'service_roles',
                 'in_default_domain', 'project_domain')

    def __init__(self, env, default_domain):
        def text(key):
            return real_text(env.get('HTTP_X_' + key) or '')

        self.user_id, self.user_name = text('USER_ID'), text('USER_NAME')
        self.project_id, self.project_name = text('PROJECT_ID'), text('PROJECT_NAME')
        self.roles = {r.lower() for r in config_list(text('ROLES'))}
        self.service_roles = set()
        if env.get('HTTP_X_SERVICE_IDENTITY_STATUS') == 'Confirmed':
            self.service_roles = {r.lower() for r in config_list(text('SERVICE_ROLES'))}
        self.project_domain = text('PROJECT_DOMAIN_ID')
        self.in_default_domain = \
            default_domain == self.project_domain == text('USER_DOMAIN_ID')


class KeystoneAuth:
    """Filter; options reseller_prefix, <prefix>_operator_roles, <prefix>_service_roles,
    reseller_admin_role, project_reader_roles, system_reader_roles, default_domain_id,
    allow_names_in_acls, allow_overrides, is_admin (refused)."""

    def __init__(self, app, conf):
        self.app = app
        self.logger = get_logger(conf, conf.get('log_name', 'keystoneauth'))
        self.prefixes = read_prefixes(conf)
        split = lambda options: {p: {r.lower() for r in config_list(v)}  # noqa: E731
                                 for p, v in options.items()}
        self.operator = split(prefix_options(conf, self.prefixes, 'operator_roles',
                                             conf.get('operator_roles', 'admin, swiftoperator')))
        self.service = split(prefix_options(conf, self.prefixes, 'service_roles'))
        self.project_readers = split(prefix_options(conf, self.prefixes, 'project_reader_roles',
                                                    conf.get('project_reader_roles', '')))
        self.reseller_admin = conf.get('reseller_admin_role', 'ResellerAdmin').lower()
        self.system_readers = {r.lower() for r in
                               config_list(conf.get('system_reader_roles', ''))}
        self.default_domain = conf.get('default_domain_id', 'default')
        self.names = config_true(conf.get('allow_names_in_acls', 'true'))
        self.allow_overrides = config_true(conf.get('allow_overrides', 't'))

    def __call__(self, env, start_response):
        if self.allow_overrides and env.get('swift.authorize_override'):
            return self.app(env, start_response)
        if env.get('HTTP_X_IDENTITY_STATUS') == 'Confirmed':
            try:
                self.admit(env)
            except UnicodeDecodeError:
                return answer(401)(env, start_response)
        elif 'swift.authorize' in env:
            pass                          # another auth filter has spoken for this request
        elif self._ours(env):
            env.pop('REMOTE_USER', None)
            env['swift.authorize'] = self.authorize
            env['swift.clean_acl'] = clean_acl
        elif env['PATH_INFO'].count('/') > 1:
            env['swift.authorize'] = lambda req: refuse(req.environ)
        return self.app(env, _showing_domain(start_response))

    def admit(self, env):
        """Put into an environ what its confirmed identity headers mean; the Identity."""
        identity = Identity(env, self.default_domain)
        env['keystone.identity'] = identity
        env['REMOTE_USER'] = identity.user_id
        env['swift.access_logging'] = {'user_id': identity.user_id}
        env['swift.authorize'] = self.authorize
        env['swift.clean_acl'] = clean_acl
        if self.reseller_admin in identity.roles:
            env['reseller_request'] = True
        return identity

    def _ours(self, env):
        try:
            return account_prefix(split_path(env)[1], self.prefixes) is not None
        except PathError:
            return False

    def authorize(self, req):
        """None when the request may be done, else the response that refuses it."""
        env = req.environ
        try:
            _, account, container, obj = split_path(env)
        except PathError:
            return answer(404)
        prefix = account_prefix(account, self.prefixes)
        identity = env.get('keystone.identity')
        if prefix is None:
            return refuse(env, account)
        if req.method == 'OPTIONS':
            return None
        if identity is not None:
            self._note_domain(req, identity, prefix)
            if self._owns(identity, prefix, account):
                # Making and deleting accounts is for reseller admins, even in one's own name.
                if container is not None or req.method not in ('PUT', 'DELETE') or \
                        self.reseller_admin in identity.roles:
                    env['swift_owner'] = True
                    return None
            elif self._reads(identity, prefix, account, req.method):
                return None
        referrers, allowed = parse_acl(req.acl)
        if referrers and req.method in ('GET', 'HEAD') and \
                referrer_allowed(env.get('HTTP_REFERER'), referrers) and \
                (obj is not None or '.rlistings' in allowed):
            return None
        if identity is not None and container is not None and allowed and self._listed(
                identity, allowed, self.names and self._names_count(env, identity, prefix)):
            return None
        return refuse(env, account)

    # -- domains ---------------------------------------------------------
    def _note_domain(self, req, identity, prefix):
        """Keep the domain of the account's project with a request that may make the account."""
        env = req.environ
        _, account, container, obj = split_path(env)
        if obj is not None or req.method not in ('PUT', 'POST') or \
                (container is not None and req.method != 'PUT'):
            return
        info = get_account_info(env, self.app)
        there = info['status'] // 100 == 2 and info.get('account_really_exists', True)
        known = info['sysmeta'].get('project-domain-id')
        own = account == prefix + identity.project_id
        new = None
        if not there:
            new = identity.project_domain if own else UNKNOWN
        elif own and (known == UNKNOWN or
                      known is None and identity.project_domain == self.default_domain):
            new = identity.project_domain
        elif own and known is not None and known != identity.project_domain:
            self.logger.warning('%s: its project is in domain %r, the token says %r', account,
                                known, identity.project_domain)
        if new:
            req.set(DOMAIN_SYSMETA, new)

    def _names_count(self, env, identity, prefix):
        """Whether names in a container's list can mean this user: all are in the default domain."""
        if not identity.in_default_domain:
            return False
        if split_path(env)[1] == prefix + identity.project_id:
            return True
        info = get_account_info(env, self.app)
        return info['status'] // 100 == 2 and info.get('account_really_exists', True) and \
            info['sysmeta'].get('project-domain-id') in (None, self.default_domain)

    def _owns(self, identity, prefix, account):
        if self.reseller_admin in identity.roles:
            return not account[len(prefix):].startswith('.')
        if account != prefix + identity.project_id or not identity.project_id:
            return False
        if not identity.roles & self.operator[prefix]:
            return False
        need = self.service[prefix]
        return not need or bool(need & identity.service_roles)

    def _reads(self, identity, prefix, account, method):
        if method not in ('GET', 'HEAD'):
            return False
        if identity.roles & self.system_readers:
            return True
        return account == prefix + identity.project_id and bool(
            identity.roles & self.project_readers[prefix])

    @staticmethod
    def _listed(identity, allowed, names):
        """Whether a container's list has this user, project or role; by their names if `names`."""
        projects, users = {identity.project_id, '*'}, {identity.user_id, '*'}
        if names:
            projects.add(identity.project_name)
            users.add(identity.user_name)
        projects.discard('')
        users.discard('')
        for entry in allowed:
            project, colon, user = entry.partition(':')
            if colon:
                if project in projects and user in users:
                    return True
            elif entry.lower() in identity.roles:
                return True
        return False


def _showing_domain(start_response):
    """A start_response that shows the domain an account has stored."""
    def start(status, headers, exc_info=None):
        for name, value in headers:
            if name.lower() == DOMAIN_SYSMETA:
                headers = [*headers, (DOMAIN, value)]
                break
        return start_response(status, headers, exc_info) if exc_info else \
            start_response(status, headers)
    return start


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: KeystoneAuth(app, conf)
