# SPDX-License-Identifier: Apache-2.0
"""swift-recon-cron CONFIG: count updates of containers that wait, for the recon filter. For cron.

CONFIG is an object server's. Counting millions of files takes long: with this the answer to
/recon/async is that of the last count.
"""
from __future__ import annotations

import argparse
import os
import sys
import time

from swift.common import recon
from swift.common.conf import read_conf
from swift.common.durable import lock_file
from swift.common.exceptions import ConfigError, LockTimeout


def main(argv: list[str] | None = None) -> int:
    """Run the program; 1 when it could not, or another one runs."""
    parser = argparse.ArgumentParser(prog="swift-recon-cron", description=__doc__)
    parser.add_argument("config", help="configuration of an object server")
    args = parser.parse_args(argv)
    try:
        conf = read_conf(args.config, "filter:recon", required=False)
        folder = recon.cache_path(conf)
        lock = os.path.join(conf.get("recon_lock_path", folder), "swift-recon-object-cron")
        with lock_file(lock, timeout=0):
            recon.update(os.path.join(folder, "object.recon"), {
                "async_pending": recon.count_async(conf.get("devices", "/srv/node")),
                "async_pending_last": time.time()})
    except (ConfigError, OSError, LockTimeout) as exc:
        print(f"ERROR: {exc or 'another one runs'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
