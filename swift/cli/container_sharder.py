# SPDX-License-Identifier: Apache-2.0
"""swift-container-sharder CONFIG [once] [verbose] [--devices d1,d2] [--partitions 1,2]
[--no-auto-shard]
"""
from swift.common import concurrency

concurrency.patch()

import argparse

from swift.common.conf import config_list
from swift.common.daemon import run
from swift.container.sharder import ContainerSharder, Overrides


def main(argv: list[str] | None = None) -> int:
    """Run the daemon of a configuration file."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-d", "--devices", default="")
    parser.add_argument("-p", "--partitions", default="")
    parser.add_argument("--no-auto-shard", action="store_true")
    options, rest = parser.parse_known_args(argv)
    ContainerSharder.overrides = Overrides(
        set(config_list(options.devices)), set(config_list(options.partitions)),
        False if options.no_auto_shard else None)
    return run(ContainerSharder, "swift-container-sharder", rest)


if __name__ == "__main__":
    raise SystemExit(main())
