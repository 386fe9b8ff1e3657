# SPDX-License-Identifier: Apache-2.0
"""swift-proxy-server CONFIG: the public API of the object store."""

from swift.common import concurrency

concurrency.patch()

import logging
import sys

from swift.common.process import parse_args
from swift.common.runner import run_server


def main(argv=None):
    """Run until a signal ends it."""
    # What no format of ours shows need not be found out for each line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    args = parse_args('swift-proxy-server', __doc__, argv)
    sys.exit(run_server(args.config, 'proxy-server', 8080, args.verbose, args.test_config))


if __name__ == '__main__':
    main()
