# SPDX-License-Identifier: Apache-2.0
"""glance-api: the image service's public face."""

from glance import concurrency

concurrency.patch()

import functools
import sys

from oslo_config import cfg

from glance import config, exceptions
from glance.api import app
from glance.cache import prefetch
from glance.cmd.serve import serve
from glance.image import reconciler
from glance.image.service import ImageService

PROGRAM = "glance-api"


def main(argv: list[str] | None = None) -> int:
    """Run the service; returns the exit status."""
    cfg.CONF.register_opts([config.PORT_API])
    cfg.CONF.register_opts([*config.SERVER_OPTIONS, *reconciler.OPTIONS,
                             *prefetch.OPTIONS])
    conf = config.load(sys.argv[1:] if argv is None else argv, PROGRAM)
    try:
        service = ImageService.from_conf(conf)
        service.check()
        rounds = reconciler.Reconciler(service, conf.upload_stall_timeout)
        rounds.run_once(at_start=True)
        wsgi_app = app.load(conf, PROGRAM, service)
        concurrency.spawn_periodic(conf.reconcile_interval, rounds.run_once, "reconciler")
        if service.cache is not None:
            concurrency.spawn_periodic(
                conf.cache_prefetcher_interval,
                functools.partial(prefetch.run_once, service, service.cache), "cache prefetcher")
        serve(conf, PROGRAM, wsgi_app)
    except exceptions.GlanceError as error:
        print(f"{PROGRAM}: {error.message}", file=sys.stderr)
        return 1
    service.worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
