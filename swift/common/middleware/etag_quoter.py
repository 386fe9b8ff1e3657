# SPDX-License-Identifier: Apache-2.0
"""ETags in quotes, as RFC 9110 has them; Swift's clients have always got them bare.

For accounts or containers with X-Account-Rfc-Compliant-Etags or X-Container-Rfc-Compliant-Etags,
or, with enable_by_default, for all others.
"""

from swift.common.conf import config_true
from swift.common.request import PathError, Request, split_path
from swift.proxy.cached_info import get_account_info, get_container_info
from swift.proxy.controllers.info import register

SETTING = 'rfc-compliant-etags'


class EtagQuoter:
    """Filter; option enable_by_default."""

    def __init__(self, app, conf):
        self.app = app
        self.default = config_true(conf.get('enable_by_default', 'false'))
        register('etag_quoter', enable_by_default=self.default)

    def __call__(self, env, start_response):
        try:
            _, _, container, obj = split_path(env)
        except PathError:
            return self.app(env, start_response)
        if obj is None:
            return self._setting(env, start_response, 'Account' if container is None
                                 else 'Container')

        def start(status, headers, exc_info=None):
            for place, (name, value) in enumerate(headers):
                if len(name) == 4 and name.lower() == 'etag' and value[:1] not in ('"', 'W'):
                    if self._wanted(env):
                        headers = list(headers)
                        headers[place] = (name, f'"{value}"')
                    break
            return start_response(status, headers)

        return self.app(env, start)

    def _wanted(self, env):
        for info in (get_container_info(env, self.app), get_account_info(env, self.app)):
            value = info['sysmeta'].get(SETTING)
            if value:
                return config_true(value)
        return self.default

    def _setting(self, env, start_response, kind):
        """The setting's header, stored and shown."""
        header, stored = f'X-{kind}-Rfc-Compliant-Etags', f'X-{kind}-Sysmeta-Rfc-Compliant-Etags'
        if env['REQUEST_METHOD'] in ('PUT', 'POST'):
            req = Request(env)
            value = req.get(header)
            if value is not None:
                req.set(header, None)
                req.set(stored, str(config_true(value)) if value.strip() else '')

        def start(status, headers, exc_info=None):
            shown = next((v for n, v in headers if n.lower() == stored.lower()), None)
            return start_response(status, [*headers, (header, shown)] if shown else headers)

        return self.app(env, start)


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: EtagQuoter(app, conf)
