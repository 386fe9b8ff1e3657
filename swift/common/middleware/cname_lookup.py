# SPDX-License-Identifier: Apache-2.0
"""Follows the CNAME of a user's own domain to a name below the storage domain.

To stand before domain_remap, which takes that name apart.
"""

import ipaddress

import dns.exception
import dns.resolver

from swift.common.conf import config_int, config_list
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger
from swift.common.request import answer
from swift.proxy.controllers.info import register

MAX_TTL, MISSING_TTL = 3600, 60
LOOKUP_TIMEOUT = 5.0          # seconds for all name servers together


class CnameLookup:
    """Filter; options storage_domain, lookup_depth, nameservers."""

    def __init__(self, app, conf, lookup=None):
        self.app = app
        self.logger = get_logger(conf, conf.get('log_name', 'cname-lookup'))
        self.domains = ['.' + d.lstrip('.').lower() for d in
                        config_list(conf.get('storage_domain', 'example.com'))]
        self.depth = config_int(conf, 'lookup_depth', 1, 1)
        servers = config_list(conf.get('nameservers', ''))
        self.lookup = lookup or self._resolver(servers)
        register('cname_lookup', lookup_depth=self.depth)

    @staticmethod
    def _resolver(servers):
        """A function that gives ``(CNAME or None, seconds it is good for)`` of a name."""
        resolver = dns.resolver.Resolver(configure=not servers)
        if servers:
            hosts = [s.rpartition(':') if s.count(':') == 1 else (s, '', '') for s in servers]
            try:
                resolver.nameservers = [h[0] for h in hosts]
                resolver.nameserver_ports = {h[0]: int(h[2]) for h in hosts if h[2]}
            except ValueError as e:
                raise ConfigError(f'nameservers: {e}') from e

        def lookup(name):
            try:
                found = resolver.resolve(name, 'CNAME', search=False, lifetime=LOOKUP_TIMEOUT)
            except dns.exception.DNSException:
                return None, MISSING_TTL
            ttl = found.rrset.ttl if found.rrset is not None else MISSING_TTL
            return found[0].target.to_text(omit_final_dot=True), min(ttl, MAX_TTL)
        return lookup

    def _ours(self, host):
        low = host.lower()
        return any(low.endswith(d) or low == d[1:] for d in self.domains)

    def __call__(self, env, start_response):
        given = env.get('HTTP_HOST') or env.get('SERVER_NAME', '')
        host, port = given, ''
        if given.count(':') == 1:
            host, _, port = given.partition(':')
        if self._ours(host) or _is_address(host):
            return self.app(env, start_response)
        name = host
        for _ in range(self.depth):
            found = self._cname(env, name)
            if not found:
                break
            name = found
            if self._ours(name):
                self.logger.debug('Mapped %s to %s', given, name)
                env['HTTP_HOST'] = f'{name}:{port}' if port else name
                return self.app(env, start_response)
        text = 'CNAME lookup failed to resolve to a valid domain' if name == host else \
            f'CNAME lookup failed after {self.depth} tries'
        return answer(400, text)(env, start_response)

    def _cname(self, env, name):
        cache, key = env.get('swift.cache'), 'cname-' + name
        if cache is not None:
            known = cache.get(key)
            if known is not None:
                return known
        found, seconds = self.lookup(name)
        if cache is not None and seconds:
            cache.set(key, found or '', seconds)
        return found


def _is_address(host):
    try:
        ipaddress.ip_address(host.strip('[]'))
    except ValueError:
        return not host or host == 'localhost'
    return True


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: CnameLookup(app, conf)
