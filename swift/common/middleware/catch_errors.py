# SPDX-License-Identifier: Apache-2.0
"""The outermost filter: a transaction id for every request, and a 500 instead of a broken answer.

That bodies are as long as announced is seen to by the server underneath: what is too long is cut
off with an error in the log, what is too short closes the connection.
"""

import time
from os import urandom

from swift.common.exceptions import ChunkReadError, ChunkReadTimeout
from swift.common.log import get_logger
from swift.common.request import answer

_MAX_EXTRA = 32


def trans_id(suffix=''):
    """A transaction id: random digits, the time, and a suffix."""
    return f'tx{urandom(10).hex()[:21]}-{int(time.time()):010x}{suffix}'


class CatchErrors:
    """Filter; option ``trans_id_suffix``."""

    def __init__(self, app, conf):
        self.app = app
        self.logger = get_logger(conf, conf.get('log_name', 'catch-errors'))
        self.suffix = conf.get('trans_id_suffix', '')

    def __call__(self, env, start_response):
        suffix = self.suffix
        extra = env.get('HTTP_X_TRANS_ID_EXTRA')
        if extra:
            suffix += '-' + ''.join(c for c in extra[:_MAX_EXTRA] if c.isalnum() or c in '-_.~%')
        tx = env['swift.trans_id'] = trans_id(suffix)

        def start(status, headers, exc_info=None):
            headers = [*headers, ('X-Trans-Id', tx), ('X-Openstack-Request-Id', tx)]
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        try:
            return self.app(env, start)
        except ChunkReadTimeout:
            return answer(408)(env, start)
        except (ChunkReadError, ConnectionError):
            raise                  # the client is gone: the server closes the connection
        except Exception:  # the last line of defence: whatever it was, the client gets an answer
            self.logger.exception('Error: An error occurred (txn: %s)', tx)
            return answer(500, 'An error occurred')(env, start)


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: CatchErrors(app, conf)
