# SPDX-License-Identifier: Apache-2.0
"""The cache filter: puts ``swift.cache`` into each request's environ (egg name ``memcache``)."""

from swift.common.memcached import make_cache


class CacheFilter:
    """Filter; options as of `swift.common.memcached.make_cache`."""

    def __init__(self, app, conf):
        self.app = app
        self.cache = make_cache(conf)

    def __call__(self, env, start_response):
        env['swift.cache'] = self.cache
        return self.app(env, start_response)


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: CacheFilter(app, conf)
