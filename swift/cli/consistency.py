# SPDX-License-Identifier: Apache-2.0
"""swift-consistency CONFIG... [--once]

All consistency daemons of a node - auditors, replicators, updaters, the reaper - as green threads
of one process. Which of them run is what sections the files have: [object-replicator] and so on.
"""
from swift.common import concurrency

concurrency.patch()

from swift.account.auditor import AccountAuditor
from swift.account.reaper import AccountReaper
from swift.account.replicator import AccountReplicator
from swift.common.conf import read_sections
from swift.common.daemon import Daemon, run_many
from swift.common.exceptions import ConfigError
from swift.common.process import parse_args
from swift.container.auditor import ContainerAuditor
from swift.container.reconciler import ContainerReconciler
from swift.container.replicator import ContainerReplicator
from swift.container.sharder import ContainerSharder
from swift.container.sync import ContainerSync
from swift.container.updater import ContainerUpdater
from swift.obj.auditor import ObjectAuditor
from swift.obj.expirer import ObjectExpirer
from swift.obj.reconstructor import ObjectReconstructor
from swift.obj.replicator import ObjectReplicator
from swift.obj.updater import ObjectUpdater

# In the order in which one pass of each does most good: pending news first, checks last.
DAEMONS: tuple[type[Daemon], ...] = (
    ObjectUpdater, ContainerUpdater, ObjectExpirer, ObjectReplicator, ObjectReconstructor,
    ContainerReplicator, AccountReplicator, AccountReaper, ContainerReconciler,
    ContainerSharder, ContainerSync,
    ObjectAuditor, ContainerAuditor, AccountAuditor)


def daemons_of(paths: list[str]) -> list[tuple[type[Daemon], str]]:
    """(class, file) of each daemon whose section is in one of the files."""
    sections = {path: read_sections(path) for path in paths}
    return [(cls, path) for cls in DAEMONS for path in paths if cls.section in sections[path]]


def main() -> int:
    """Run the daemons of all files given."""
    args = parse_args("swift-consistency", "All consistency daemons of a node in one process",
                      many=True)
    try:
        daemons = daemons_of(args.config)
    except ConfigError as exc:
        raise SystemExit(f"Cannot start: {exc}") from exc
    if not daemons:
        raise SystemExit("Cannot start: no file has the section of a consistency daemon")
    return run_many(daemons, args.once, args.verbose)


if __name__ == "__main__":
    raise SystemExit(main())
