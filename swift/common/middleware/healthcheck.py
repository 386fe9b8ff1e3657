# SPDX-License-Identifier: Apache-2.0
"""``/healthcheck``: 200 OK while the server should get traffic."""

import os


class HealthCheck:
    """Filter; while the file of option ``disable_path`` exists the answer is 503."""

    def __init__(self, app, conf):
        self.app = app
        self.disable_path = conf.get('disable_path', '')

    def __call__(self, env, start_response):
        if env['PATH_INFO'] != '/healthcheck':
            return self.app(env, start_response)
        status, body = '200 OK', b'OK'
        if self.disable_path and os.path.exists(self.disable_path):
            status, body = '503 Service Unavailable', b'DISABLED BY FILE'
        start_response(status, [('Content-Type', 'text/plain'),
                                ('Content-Length', str(len(body)))])
        return [body]


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: HealthCheck(app, conf)
