# SPDX-License-Identifier: Apache-2.0
"""Limits a reseller sets on accounts: X-Account-Quota-Bytes, -Count, and each with -Policy-<name>.

They are kept where the account's owner cannot reach them. The older X-Account-Meta-Quota-Bytes
is still understood. Resellers' own uploads are not limited.
"""

from swift.common import storage_policy
from swift.common.middleware.authbase import need_auth_above
from swift.common.middleware.container_quotas import as_limit, exceeded
from swift.common.request import PathError, Request, answer, split_path
from swift.proxy.cached_info import get_account_info, get_container_info
from swift.proxy.controllers.info import register

QUOTA, REMOVE = 'HTTP_X_ACCOUNT_QUOTA_', 'HTTP_X_REMOVE_ACCOUNT_QUOTA_'
LEGACY = 'HTTP_X_ACCOUNT_META_QUOTA_BYTES'
REMOVE_LEGACY = 'HTTP_X_REMOVE_ACCOUNT_META_QUOTA_BYTES'
SYSMETA = 'x-account-sysmeta-quota-'
KINDS = ('bytes', 'count')


class AccountQuotas:
    """Filter."""

    def __init__(self, app):
        need_auth_above(app, 'account-quotas')
        self.app = app
        self.policies = storage_policy.policies()
        register('account_quotas')

    def __call__(self, env, start_response):
        method = env['REQUEST_METHOD']
        try:
            _, _, container, obj = split_path(env)
        except PathError:
            return self.app(env, start_response)
        if obj is not None:
            refused = None
            if method == 'PUT' and env.get('reseller_request') is not True:
                refused = self._check(env)
            return (refused or self.app)(env, start_response)
        if container is not None:
            return self.app(env, start_response)
        if method in ('PUT', 'POST'):
            refused = self._settings(env)
            if refused is not None:
                return refused(env, start_response)
        return self.app(env, lambda status, headers, exc_info=None: start_response(
            status, self._shown(headers)))

    # -- setting and showing -------------------------------------------------
    def _settings(self, env):
        """Turn the headers that set a quota into stored ones; a Response when that may not be."""
        wanted = {}
        for key, value in list(env.items()):
            if key in (REMOVE_LEGACY, LEGACY) or key.startswith((QUOTA, REMOVE)):
                value = '' if key.startswith('HTTP_X_REMOVE_') else value
                name = key.rpartition('HTTP_X_ACCOUNT_META_QUOTA_')[2] if key == LEGACY else \
                    'BYTES' if key == REMOVE_LEGACY else \
                    key[len(REMOVE if key.startswith(REMOVE) else QUOTA):]
                wanted[name.replace('_', '-').lower()] = value
                if key not in (LEGACY, REMOVE_LEGACY):
                    del env[key]
        if not wanted:
            return None
        if env.get('reseller_request') is not True:
            return answer(403)
        for name, value in wanted.items():
            kind, _, policy_name = name.partition('-policy-')
            if kind not in KINDS:
                return answer(400, f'X-Account-Quota-{name.title()}: no such quota')
            if value and as_limit(value) is None:
                return answer(400, f'Invalid {kind} quota.')
            stored = kind
            if policy_name:
                policy = self._policy(policy_name)
                if policy is None:
                    return answer(400, f'X-Account-Quota-{name.title()}: no such policy')
                stored = f'{kind}-policy-{policy.index}'
            env['HTTP_' + (SYSMETA + stored).upper().replace('-', '_')] = value
            if stored == 'bytes':          # there is one place for it only
                env[LEGACY] = ''
                env.pop(REMOVE_LEGACY, None)
        return None

    def _policy(self, name):
        """A policy by its name as a header gives it, which knows no case and no underscore."""
        for policy in self.policies:
            if any(n.replace('_', '-').lower() == name for n in policy.names):
                return policy
        return None

    def _shown(self, headers):
        out = []
        for name, value in headers:
            low = name.lower()
            if low.startswith(SYSMETA) and value:
                kind, _, index = low[len(SYSMETA):].partition('-policy-')
                policy = self.policies.by_index(int(index)) if index.isdigit() else None
                if not index:
                    out.append((f'X-Account-Quota-{kind.title()}', value))
                elif policy is not None:
                    out.append((f'X-Account-Quota-{kind.title()}-Policy-{policy.name}', value))
            out.append((name, value))
        return out

    # -- enforcing -----------------------------------------------------------
    def _check(self, env):
        info = get_account_info(env, self.app)
        sysmeta = info['sysmeta']
        limits = {n[6:]: v for n, v in sysmeta.items() if n.startswith('quota-')}
        if 'bytes' not in limits and 'quota-bytes' in info['meta']:
            limits['bytes'] = info['meta']['quota-bytes']
        if not limits:
            return None
        req = Request(env)
        used = {'bytes': info['bytes'], 'count': info['total_object_count']}
        more = {'bytes': req.content_length or 0, 'count': 1}
        container = get_container_info(env, self.app)
        tail = f"-policy-{container['storage_policy']}"
        if any(kind + tail in limits for kind in KINDS):
            stored = info['storage_policies'].get(container['storage_policy'], {})
            used.update({'bytes' + tail: stored.get('bytes'),
                         'count' + tail: stored.get('object_count')})
        for name, value in limits.items():
            limit = as_limit(value)
            if limit is not None and name in used and \
                    int(used[name] or 0) + more[name.partition('-')[0]] > limit:
                return exceeded(req, container['write_acl'])
        return None


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    return AccountQuotas
