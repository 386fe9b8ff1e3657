# SPDX-License-Identifier: Apache-2.0
"""The card by which a bridge goes on to other hosts: whose frames come in, and which go back.

Called by the network worker's driver each time its rules are made.  Two things depend on it:

What guests send is marked as theirs (:data:`FROM_GUEST`), as the machine's own neighbours may be
on the same wire.

While iptables sees bridged packets (``bridge-nf-call-iptables``, which security groups need), the
kernel does not route a packet for a floating address whose guest is on the network it came from:
it translates it while it is bridged and goes on bridging it.  When both guests are on other hosts
that means out by the card it came in by, which no bridge does unless the port is a *hairpin*.  So
the cards are made hairpins then, for these frames alone: those that were sent to this host's own
MAC, which never go anywhere else, are marked; whatever else would go back the way it came is
dropped; and what goes back carries the host's MAC, else the switch would look for the sender here.
"""

import re
from collections.abc import Collection, Mapping

from nova.db.ports import MAC_PREFIX
from nova.linux.bridge import Bridges
from nova.linux.iptables import Chains, Iptables
from nova.linux.run import CommandFailed, Runner

# A guest's MAC begins with this; its own host sees to it.
GUEST_MACS = f"{MAC_PREFIX}:00:00:00/ff:ff:ff:00:00:00"
FROM_GUEST = "0x4000"       # bits of the packet mark: a guest sent it,
_TO_US = "0x8000"           # and: it was sent to this host
_CARD = re.compile(r"-i (\S+) -o \1 ")
SEEN = "/proc/sys/net/bridge/bridge-nf-call-iptables"


class Wire:
    """The cards of this host's bridges."""

    def __init__(self, run: Runner, tables: Iptables, bridges: Bridges) -> None:
        self.run, self.tables, self.bridges = run, tables, bridges
        self._known = True      # that there are rules, after a restart

    def apply(self, cards: Collection[str]) -> None:
        """Have rules for just these cards, and the way back for as long as it is needed."""
        if not cards and not self._known:
            return
        macs = {card: link.mac for card in sorted(cards)
                if (link := self.bridges.link(card)) is not None}
        with self.tables.edit("bridge") as chains:
            # Without its rule a hairpin sends everything back: it ends first, and begins last.
            for card in self._ruled(chains) - macs.keys():
                self._set_hairpin(card, False)
            self._fill(chains, macs)
        for card in macs:
            self._set_hairpin(card, self._is_seen())
        self._known = bool(macs)

    def _ruled(self, chains: Chains) -> set[str]:
        return {found[1] for rule in chains["filter"].get(self.tables.chain("back"), ())
                if (found := _CARD.match(rule))}

    def _fill(self, chains: Chains, macs: Mapping[str, str]) -> None:
        filters, nat = chains["filter"], chains["nat"]
        for table in (filters, nat):
            table.clear()
        if not macs:
            return
        guests, back = self.tables.chain("guests"), self.tables.chain("back")
        mark = f"-j mark --mark-or {FROM_GUEST} --mark-target CONTINUE"
        nat[guests] = [f"-i tap+ {mark}"]
        nat[back], filters[back] = [], []
        for card, mac in macs.items():
            nat[guests] += [
                f"-s {GUEST_MACS} -i {card} {mark}",
                f"-d {mac} -i {card} -j mark --mark-or {_TO_US} --mark-target CONTINUE"]
            nat[back].append(f"-o {card} --mark {_TO_US}/{_TO_US} -j snat --to-src {mac} "
                             "--snat-target ACCEPT")
            filters[back].append(f"-i {card} -o {card} --mark ! {_TO_US}/{_TO_US} -j DROP")
        nat["PREROUTING"], nat["POSTROUTING"] = [f"-j {guests}"], [f"-j {back}"]
        filters["FORWARD"] = [f"-j {back}"]

    def _is_seen(self) -> bool:
        try:
            return self.run("cat", SEEN).strip() == "1"
        except CommandFailed:
            return False        # not even loaded

    def _set_hairpin(self, card: str, wanted: bool) -> None:
        link = self.bridges.link(card)
        if link is not None and link.bridge and link.hairpin != wanted:
            self.run("ip", "link", "set", "dev", card, "type", "bridge_slave", "hairpin",
                     "on" if wanted else "off")
