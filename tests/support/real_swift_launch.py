# SPDX-License-Identifier: Apache-2.0
"""Runs a program of real OpenStack Swift with its configuration outside /etc/swift.

Its servers look for swift.conf in `swift_dir`, its daemons and tools only in /etc/swift; naming
the folder before the program is loaded covers both. Executed by real Swift's own Python, so this
file imports nothing of ours.

usage: real_swift_launch.py MODULE[:FUNCTION] ARGUMENT...      SWIFT_DIR names the folder
"""
import importlib
import os
import sys


def main() -> None:
    module, _, function = sys.argv[1].partition(":")
    from swift.common import utils
    utils.set_swift_dir(os.environ["SWIFT_DIR"])
    from swift.common import constraints, storage_policy
    storage_policy.reload_storage_policies()
    constraints.reload_constraints()
    sys.argv = [module, *sys.argv[2:]]
    sys.exit(getattr(importlib.import_module(module), function or "main")())


if __name__ == "__main__":
    main()
