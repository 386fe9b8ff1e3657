# SPDX-License-Identifier: Apache-2.0
"""Lets nobody write: the whole cluster with `read_only`, or the accounts an operator marks.

X-Account-Sysmeta-Read-Only (true or false), set on the account's servers, counts more than the
option. Such requests are answered 405. To stand below what makes native requests of others (s3api,
bulk, tempurl, formpost) and above what turns a COPY into a PUT.
"""

from urllib.parse import unquote

from swift.common.conf import config_true
from swift.common.request import PathError, answer, split_path
from swift.proxy.cached_info import info_of
from swift.proxy.controllers.info import register

WRITES = frozenset(('COPY', 'POST', 'PUT', 'DELETE'))
SYSMETA = 'read-only'


class ReadOnly:
    """Filter; options read_only, allow_deletes."""

    def __init__(self, app, conf):
        self.app = app
        self.read_only = config_true(conf.get('read_only', 'false'))
        self.refused = WRITES - ({'DELETE'} if config_true(conf.get('allow_deletes', 'false'))
                                 else set())
        if self.read_only:
            register('read_only')

    def __call__(self, env, start_response):
        if env['REQUEST_METHOD'] not in self.refused:
            return self.app(env, start_response)
        try:
            version, account, _, _ = split_path(env)
        except PathError:
            return self.app(env, start_response)
        if version not in ('v1', 'v1.0'):
            return self.app(env, start_response)
        if env['REQUEST_METHOD'] == 'COPY' and 'HTTP_DESTINATION_ACCOUNT' in env:
            account = unquote(env['HTTP_DESTINATION_ACCOUNT'])
        if self._is_read_only(env, account):
            return answer(405, 'Writes are disabled for this account.')(env, start_response)
        return self.app(env, start_response)

    def _is_read_only(self, env, account):
        mark = info_of(env, self.app, account)['sysmeta'].get(SYSMETA)
        return config_true(mark) if mark else self.read_only


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: ReadOnly(app, conf)
