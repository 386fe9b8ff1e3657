# SPDX-License-Identifier: Apache-2.0
"""glance-scrubber: removes the data of deleted images when delayed_delete left it."""

from glance import concurrency

concurrency.patch()

import argparse
import signal
import sys
import time

from oslo_config import cfg

from glance import config, exceptions
from glance.cmd.serve import reload
from glance.context import service_context
from glance.image import reconciler
from glance.image.service import ImageService

PROGRAM = "glance-scrubber"


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--config-file", action="append", default=[],
                        help="as for glance-api; may be repeated")
    parser.add_argument("--daemon", action="store_true",
                        help="one round every wakeup_time seconds; else one round and out")
    parser.add_argument("--restore", metavar="IMAGE",
                        help="make a deleted image whose data is there still active again")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one round, or for ever; returns the exit status."""
    args = _parse(argv)
    try:
        conf = config.load([f"--config-file={path}" for path in args.config_file], PROGRAM,
                           cfg.ConfigOpts())
        conf.register_opts(reconciler.OPTIONS)
        service = ImageService.from_conf(conf)
        if args.restore:
            image = service.registry.restore_image(service_context(), args.restore)
            print(f"{image['id']} is {image['status']} again")
            return 0
        rounds = reconciler.Reconciler(service, conf.upload_stall_timeout)
        signal.signal(signal.SIGHUP, lambda *_args: reload(conf, PROGRAM))
        while True:
            print(f"{rounds.scrub(conf.scrub_time)} image(s) scrubbed", flush=True)
            if not args.daemon:
                return 0
            time.sleep(conf.wakeup_time)
    except (exceptions.GlanceError, cfg.Error) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
