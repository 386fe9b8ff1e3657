# SPDX-License-Identifier: Apache-2.0
"""``/crossdomain.xml``: which sites' Flash may read from this one. To stand before the auth
filter."""

from swift.proxy.controllers.info import register

DEFAULT = '<allow-access-from domain="*" secure="false" />'


class CrossDomain:
    """Filter; option cross_domain_policy."""

    def __init__(self, app, conf):
        self.app = app
        policy = conf.get('cross_domain_policy', DEFAULT)
        self.body = ('<?xml version="1.0"?>\n<!DOCTYPE cross-domain-policy SYSTEM '
                     '"http://www.adobe.com/xml/dtds/cross-domain-policy.dtd" >\n'
                     f'<cross-domain-policy>\n{policy}\n</cross-domain-policy>').encode()
        register('crossdomain')

    def __call__(self, env, start_response):
        if env['PATH_INFO'] != '/crossdomain.xml' or env['REQUEST_METHOD'] not in ('GET', 'HEAD'):
            return self.app(env, start_response)
        start_response('200 OK', [('Content-Type', 'application/xml'),
                                  ('Content-Length', str(len(self.body)))])
        return [self.body]


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: CrossDomain(app, conf)
