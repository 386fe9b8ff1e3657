# SPDX-License-Identifier: Apache-2.0
"""Accounts and containers as host names: ``container.account.storage.example.com``.

An account's first underscore may be written as a dash, and its reseller prefix in any case, as host
names know neither underscores nor capitals.
"""

from urllib.parse import quote, urlsplit, urlunsplit

from swift.common.conf import config_list, config_true
from swift.common.exceptions import ConfigError
from swift.common.request import answer
from swift.proxy.controllers.info import register


class DomainRemap:
    """Filter; options storage_domain, path_root, reseller_prefixes, default_reseller_prefix,
    mangle_client_paths."""

    def __init__(self, app, conf):
        self.app = app
        self.domains = ['.' + d.lstrip('.').lower() for d in
                        config_list(conf.get('storage_domain', 'example.com'))]
        if not self.domains:
            raise ConfigError('domain_remap: storage_domain is empty')
        self.root = conf.get('path_root', 'v1').strip('/')
        prefixes = config_list(conf.get('reseller_prefixes', 'AUTH'))
        self.prefixes = {p.rstrip('_').lower(): p.rstrip('_') for p in prefixes}
        default = conf.get('default_reseller_prefix', '').strip().rstrip('_')
        self.default = default or None
        self.mangle = config_true(conf.get('mangle_client_paths', 'no'))
        register('domain_remap', default_reseller_prefix=self.default)

    def __call__(self, env, start_response):
        host = env.get('HTTP_HOST') or env.get('SERVER_NAME', '')
        if ':' in host:
            host = host.rpartition(':')[0]
        low = host.lower()
        for domain in self.domains:
            if low.endswith(domain):
                return self._remap(env, start_response, host[:-len(domain)])
        return self.app(env, start_response)

    def _account(self, name):
        """The account a part of a host name stands for; None for what is none of ours."""
        if not self.prefixes:
            return name
        if '_' not in name:
            name = name.replace('-', '_', 1)
        for low, prefix in self.prefixes.items():
            if name.lower().startswith(low + '_'):
                return f'{prefix}_{name[len(low) + 1:]}'
        return f'{self.default}_{name}' if self.default is not None else None

    def _remap(self, env, start_response, name):
        parts = name.split('.')
        if len(parts) > 2 or not all(parts):
            return answer(400, 'Bad domain in host header')(env, start_response)
        account = self._account(parts[-1])
        if account is None:
            return self.app(env, start_response)
        path = env['PATH_INFO']
        lead = f'/{self.root}/'
        if self.mangle and (path + '/').startswith(lead):
            path = '/' + path[len(lead):]
        base = f'{lead}{account}' + (f'/{parts[0]}' if len(parts) > 1 else '')
        env['PATH_INFO'] = base + path
        if 'RAW_PATH_INFO' in env:
            env['RAW_PATH_INFO'] = quote(env['PATH_INFO'].encode('latin-1'))
        env.pop('swift.split_path', None)

        def start(status, headers, exc_info=None):
            return start_response(status, [
                (n, self._outside(v, base)) if n == 'Location' else (n, v) for n, v in headers])

        return self.app(env, start)

    @staticmethod
    def _outside(location, base):
        """A Location below the account or container, as it is called by the host's name."""
        parts = urlsplit(location)
        base = quote(base.encode('latin-1'))
        if parts.path != base and not parts.path.startswith(base + '/'):
            return location
        return urlunsplit(parts._replace(path=parts.path[len(base):] or '/'))


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: DomainRemap(app, conf)
