# SPDX-License-Identifier: Apache-2.0
"""nova-manage audit: everything has its row, every row has its thing.

Each worker looks at its own host; where messages never leave a process, this one looks.  A check
is a function that takes the host's name and whether to repair, and yields
:class:`nova.audit.Finding`; :data:`nova.audit.CHECKS` lists them.
"""

import argparse

from oslo_config import cfg

from nova import audit, rpc
from nova.cmd.manage import table

DESCRIPTION = "Compare the database with what is on the hosts"
CONF = cfg.CONF


def commands(category) -> None:
    """The category is its only command."""
    parser = category.alone(_audit)
    parser.add_argument("--repair", action="store_true",
                        help="put right what can be, with nothing of a guest's lost")
    parser.add_argument("--check", action="append", help="only this check; may be repeated")
    parser.add_argument("--host", help="only this host's workers look (those of all hosts)")
    parser.add_argument("--local", action="store_true",
                        help="look here, without any worker, at what the configuration names")
    table.json_option(parser)


def _audit(args: argparse.Namespace) -> int:
    if args.local or not rpc.configured_to_reach_others():
        findings = audit.run(args.host or CONF.host, repair=args.repair, only=args.check)
    else:
        rpc.configure()
        findings = audit.run_everywhere(host=args.host, repair=args.repair, only=args.check)
    if findings or args.json:
        table.show(("check", "kind", "thing", "what", "repaired"),
                   [(f.check, f.kind, f.thing, f.what, f.repaired) for f in findings], args.json)
    if not args.json:
        left = sum(not finding.repaired for finding in findings)
        print(f"{len(findings)} findings, {left} left")
    return 1 if any(not finding.repaired for finding in findings) else 0
