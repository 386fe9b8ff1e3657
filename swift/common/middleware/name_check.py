# SPDX-License-Identifier: Apache-2.0
"""Refuses names that other systems stumble over: forbidden characters, length, patterns."""

import re

from swift.common.conf import config_int
from swift.common.exceptions import ConfigError
from swift.common.request import answer
from swift.proxy.controllers.info import register

CHARACTERS = '\'"`<>'
PATTERN = r'/\./|/\.\./|/\.$|/\.\.$'


class NameCheck:
    """Filter; options forbidden_chars, maximum_length, forbidden_regexp (empty for none)."""

    def __init__(self, app, conf):
        self.app = app
        self.characters = conf.get('forbidden_chars', CHARACTERS)
        self.most = config_int(conf, 'maximum_length', 255, 1)
        pattern = conf.get('forbidden_regexp', PATTERN)
        try:
            self.pattern = re.compile(pattern) if pattern else None
        except re.error as e:
            raise ConfigError(f'forbidden_regexp: {e}') from e
        self.found = re.compile('[' + re.escape(self.characters) + ']').search \
            if self.characters else lambda text: None
        register('name_check', forbidden_chars=self.characters, maximum_length=self.most,
                 forbidden_regexp=pattern)

    def __call__(self, env, start_response):
        path = env['PATH_INFO']
        if self.found(path):
            return answer(400, 'Object/Container/Account name contains forbidden chars from '
                          f'{self.characters}')(env, start_response)
        if len(path) > self.most:
            return answer(400, f'Object/Container/Account name longer than the allowed maximum '
                          f'{self.most}')(env, start_response)
        if self.pattern is not None and self.pattern.search(path):
            return answer(400, 'Object/Container/Account name contains a forbidden substring from '
                          f'regular expression {self.pattern.pattern}')(env, start_response)
        return self.app(env, start_response)


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: NameCheck(app, conf)
