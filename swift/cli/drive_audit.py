# SPDX-License-Identifier: Apache-2.0
"""swift-drive-audit CONFIG: unmount the drives the kernel's log tells errors of. For cron.

CONFIG has a section [drive-audit]; etc/swift/drive-audit.conf-sample tells its options.
"""
from __future__ import annotations

import argparse
import sys

from swift.common.conf import config_true, read_conf
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger
from swift.operations.drives import DriveAudit


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(prog="swift-drive-audit", description=__doc__)
    parser.add_argument("config", help="configuration file")
    args = parser.parse_args(argv)
    try:
        conf = read_conf(args.config, "drive-audit")
        logger = get_logger(conf, conf.get("log_name", "drive-audit"),
                            config_true(conf.get("log_to_console", "false")))
        DriveAudit(conf, logger).run()
    except (ConfigError, LookupError, OSError) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
