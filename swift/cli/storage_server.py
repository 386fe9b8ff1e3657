# SPDX-License-Identifier: Apache-2.0
"""swift-storage-server CONFIG...

Account, container and object server in one process, each on the port of its own configuration
file: a node that is small, or that is all there is, does with one Python instead of three. A file
may also hold a [storage-daemons] section with `consistency = true`; then the daemons of such files
run here as well, as in swift-consistency.
"""
from swift.common import concurrency

concurrency.patch()

from swift.common.conf import config_true, read_sections
from swift.common.exceptions import ConfigError
from swift.common.process import parse_args
from swift.common.runner import Plan, check_configuration, run_servers

PORTS = {"object-server": 6200, "container-server": 6201, "account-server": 6202}


def plans_of(paths: list[str]) -> list[Plan]:
    """One server for each [app:*-server] section of the files."""
    plans: list[Plan] = []
    for path in paths:
        found = [name[4:] for name in read_sections(path) if name[4:] in PORTS
                 and name.startswith("app:")]
        if not found:
            raise ConfigError(f"{path} has no section of an account, container or object server")
        plans.extend(Plan(path, name, PORTS[name]) for name in found)
    return plans


def wants_daemons(paths: list[str]) -> list[str]:
    """The files that ask for their consistency daemons in the same process."""
    return [path for path in paths
            if config_true(read_sections(path).get("storage-daemons", {}).get("consistency", ""))]


def main() -> int:
    """Run the servers of all files given."""
    args = parse_args("swift-storage-server", "Account, container and object server in one process",
                      many=True)
    try:
        plans = plans_of(args.config)
        with_daemons = wants_daemons(args.config)
    except ConfigError as exc:
        raise SystemExit(f"Cannot start: {exc}") from exc

    if args.test_config:
        return check_configuration(plans)

    def start_daemons() -> None:
        from swift.cli.consistency import daemons_of
        from swift.common.daemon import make, start_all
        start_all([make(cls, path, args.verbose) for cls, path in daemons_of(with_daemons)])

    return run_servers(plans, args.verbose, workers=1,
                       extra=start_daemons if with_daemons else None)


if __name__ == "__main__":
    raise SystemExit(main())
