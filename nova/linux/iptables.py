# SPDX-License-Identifier: Apache-2.0
"""Chains of one worker in the host's packet filters, changed in one step and only where needed.

A worker owns the chains whose names begin with ``<prefix>-<worker>-`` and the jumps to them from
the built-in ones; nothing else is ever touched.  What is there is read from the kernel each time,
so a restart, a second process or somebody's flush leave nothing to be confused about::

    with Iptables("network", run).edit("ipv4") as chains:
        chains["nat"]["nova-network-PREROUTING"] = ["-d 169.254.169.254/32 ... -j DNAT ..."]
        chains["nat"]["PREROUTING"] = ["-j nova-network-PREROUTING"]

Rules are written as ``iptables-save`` prints them; one written otherwise works, but is loaded
again at every edit.  Each table changes as a whole or not at all.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from oslo_concurrency import lockutils

from nova.linux.run import RULES, Runner

# A chain's name in the kernel has at most 28 characters; of these the prefix may take 6.
MAX_CHAIN = 28
LOCK_PATH = "/run"
WAIT = "10"     # seconds iptables itself waits for its lock

Chains = dict[str, dict[str, list[str]]]


@dataclass(frozen=True)
class Family:
    """One packet filter: its two commands, its tables and what declares a chain."""

    save: tuple[str, ...]
    restore: tuple[str, ...]
    tables: tuple[str, ...]
    declaration: str


FAMILIES = {
    "ipv4": Family(("iptables-save",), ("iptables-restore", "--noflush", "-w", WAIT),
                   ("filter", "nat", "mangle"), ":{} - [0:0]"),
    "ipv6": Family(("ip6tables-save",), ("ip6tables-restore", "--noflush", "-w", WAIT),
                   ("filter", "mangle"), ":{} - [0:0]"),
    # Only the nft variant: it alone changes in one step, and needs no module of its own.
    "bridge": Family(("ebtables-nft-save",), ("ebtables-nft-restore", "--noflush"),
                     ("filter", "nat"), ":{} RETURN"),
}


class Iptables:
    """The chains of one worker of one cloud on this host."""

    def __init__(self, worker: str, run: Runner, prefix: str = "nova") -> None:
        self.run = run
        self.prefix = prefix
        self.worker = worker

    def chain(self, name: str) -> str:
        """Return the full name of one of our chains; ValueError when the kernel has no room."""
        full = f"{self.prefix}-{self.worker}-{name}"
        if len(full) > MAX_CHAIN:
            raise ValueError(f"chain name {full} is longer than {MAX_CHAIN} characters")
        return full

    def read(self, family: str) -> Chains:
        """Return our chains as they are: ``{table: {chain: rules}}``.

        Under the name of a built-in chain are only its jumps to ours.
        """
        return self._ours(self._load(family))

    def _load(self, family: str) -> Chains:
        return parse(self.run(*FAMILIES[family].save, timeout=RULES))

    def _ours(self, live: Chains) -> Chains:
        own = f"{self.prefix}-{self.worker}-"
        return {table: {name: [rule for rule in rules
                               if name.startswith(own) or target(rule).startswith(own)]
                        for name, rules in chains.items()
                        if name.startswith(own)
                        or any(target(rule).startswith(own) for rule in rules)}
                for table, chains in live.items()}

    @contextlib.contextmanager
    def edit(self, family: str) -> Iterator[Chains]:
        """Give our chains to be changed in place, then make the kernel have what is left there.

        The dict has an entry for each table of the family.  Everybody of this cloud on this host
        waits meanwhile, so do nothing slow inside.  CommandFailed when the kernel refuses; then
        nothing has changed in the table that was refused.
        """
        with lockutils.lock(f"iptables-{self.prefix}", lock_file_prefix="nova-", external=True,
                            lock_path=LOCK_PATH):
            live = self._load(family)
            wanted: Chains = {table: {} for table in FAMILIES[family].tables}
            wanted.update(self._ours(live))
            yield wanted
            text = self.difference(live, wanted, FAMILIES[family].declaration)
            if text:
                self.run(*FAMILIES[family].restore, stdin=text, timeout=RULES)

    def difference(self, live: Chains, wanted: Chains, declaration: str) -> str:
        """Return the restore input that leads from what is to what is wanted; "" for nothing."""
        have = self._ours(live)
        text = []
        for table, chains in wanted.items():
            lines = self._table_difference(live.get(table, {}), have.get(table, {}), chains,
                                           declaration)
            if lines:
                text += [f"*{table}", *lines, "COMMIT"]
        return "\n".join(text) + "\n" if text else ""

    def _table_difference(self, live: dict[str, list[str]], have: dict[str, list[str]],
                          wanted: dict[str, list[str]], declaration: str) -> list[str]:
        own = f"{self.prefix}-{self.worker}-"
        gone = [name for name in have if name.startswith(own) and name not in wanted]
        changed = [name for name, rules in wanted.items()
                   if name.startswith(own) and have.get(name) != rules]
        # Declaring a chain that exists empties it; all of that is one step for the kernel.
        lines = [declaration.format(name) for name in (*changed, *gone)]
        for name in sorted({*have, *wanted}):
            if not name.startswith(own):
                lines += self._jumps(name, live.get(name, []), wanted.get(name, []))
        for name in changed:
            lines += [f"-A {name} {rule}" for rule in wanted[name]]
        return lines + [f"-X {name}" for name in gone]

    def _jumps(self, builtin: str, live: list[str], wanted: list[str]) -> list[str]:
        """Return what makes a built-in chain jump to ours as wanted.

        What restricts guests comes first of all, before any worker that lets packets pass.
        """
        own, first = f"{self.prefix}-{self.worker}-", f"{self.prefix}-compute-"
        there = [rule for rule in live if target(rule).startswith(own)]
        ahead = [rule for rule in live[:live.index(there[0])]
                 if target(rule).startswith(f"{self.prefix}-")] if there else []
        misplaced = own == first and bool(ahead)
        keep = [] if misplaced else [rule for rule in wanted if rule in there]
        drop = list(there)
        for rule in keep:
            drop.remove(rule)
        rest = list(live)
        for rule in drop:
            rest.remove(rule)
        position = 1
        if own != first:
            position += max((number for number, rule in enumerate(rest, 1)
                             if target(rule).startswith(first)), default=0)
        missing = [rule for rule in wanted if rule not in keep]
        return ([f"-D {builtin} {rule}" for rule in drop]
                + [f"-I {builtin} {position} {rule}" for rule in reversed(missing)])

    def clear(self, family: str) -> None:
        """Take away all chains of ours in a family, and the jumps to them."""
        with self.edit(family) as chains:
            for table in chains.values():
                table.clear()


def parse(saved: str) -> Chains:
    """Return ``{table: {chain: rules}}`` of the output of a save command."""
    found: Chains = {}
    table: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            table = found.setdefault(line[1:].strip(), {})
        elif line.startswith(":"):
            table.setdefault(line[1:].split()[0], [])
        elif line.startswith("-A "):
            _, name, rule = line.split(" ", 2)
            table.setdefault(name, []).append(rule.rstrip())
    return found


def target(rule: str) -> str:
    """Return what a rule jumps to, "" for none."""
    words = rule.split()
    for flag in ("-j", "-g"):
        if flag in words[:-1]:
            return words[words.index(flag) + 1]
    return ""
