# SPDX-License-Identifier: Apache-2.0
"""Asking every storage server of a kind the same question under /recon/, and summing up answers."""
from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any

from swift.common import node_client
from swift.common.concurrency import GreenPool, Timeout
from swift.common.ring import Ring
from swift.common.ring.devices import bracket

Host = tuple[str, int]
Say = Callable[[str], None]
CONCURRENCY = 30
_STATS = ("failure", "success", "attempted")
_PASSES = ("audit_time", "bytes_processed", "passes", "errors", "quarantined")

# check -> (what it says first, path under /recon/ with {kind}, [(label, keys to the number)])
FIGURES: dict[str, tuple[str, str, list[tuple[str, tuple[str, ...]]]]] = {
    "async": ("Checking async pendings", "async", [("async_pending", ("async_pending",))]),
    "replication": ("Checking on replication", "replication/{kind}", [
        ("replication_time", ("replication_time",)),
        *((f"replication_{name}", ("replication_stats", name)) for name in _STATS)]),
    "reconstruction": ("Checking on reconstructors", "reconstruction/{kind}", [
        ("object_reconstruction_time", ("object_reconstruction_time",))]),
    "sharding": ("Checking on sharders", "sharding/{kind}", [
        ("sharding_time", ("sharding_time",)),
        *((name, ("sharding_stats", name)) for name in _STATS)]),
    "updater": ("Checking updater times", "updater/{kind}",
                [("updater_last_sweep", ("{kind}_updater_sweep",))]),
    "expirer": ("Checking on expirers", "expirer/{kind}", [
        ("object_expiration_pass", ("object_expiration_pass",)),
        ("expired_last_pass", ("expired_last_pass",))]),
    "auditor": ("Checking auditor stats", "auditor/{kind}", [
        *((f"{{kind}}_{name}", (f"{{kind}}_{name}",)) for name in (
            "auditor_pass_completed", "audits_failed", "audits_passed")),
        ("last_pass", ("{kind}_audits_since",))]),
    "object_auditor": ("Checking auditor stats", "auditor/object", [
        (f"{mode}_{name}_last_path", (f"object_auditor_stats_{mode}", name))
        for mode in ("ALL", "ZBF") for name in _PASSES]),
    "loadstats": ("Checking load averages", "load", [
        (f"{name}_load_avg", (name,)) for name in ("1m", "5m", "15m")]),
    "quarantined": ("Checking quarantine", "quarantined", [
        (f"quarantined_{name}", (name,)) for name in ("objects", "containers", "accounts")]),
    "sockstat": ("Checking socket usage", "sockstat", [
        (name, (name,)) for name in ("tcp_in_use", "tcp_mem_allocated_bytes", "tcp6_in_use",
                                     "time_wait", "orphan")]),
    "driveaudit": ("Checking drive-audit errors", "driveaudit",
                   [("drive_audit_errors", ("drive_audit_errors",))]),
}
# Of these a host without a number has not had a pass yet, which is no failure to answer.
_AFTER_A_PASS = ("_stats", "_updater_sweep", "_auditor_pass_completed", "_audits_")
_MOMENTS = ("last_pass",)                     # told as times, not as numbers
OF_OBJECTS = ("async", "expirer", "reconstruction")
OF_CONTAINERS = ("sharding",)
# check -> when a pass ended
_ENDED = {"replication": "replication_last", "reconstruction": "object_reconstruction_last",
          "sharding": "sharding_last"}
_GRAPH = 69                   # characters of the longest bar


def hosts_of(ring: Ring, region: int | None = None, zone: int | None = None) -> list[Host]:
    """Each server of a ring once; those of a region or zone only, if given."""
    return sorted({(dev["ip"], dev["port"]) for dev in ring.devs if dev
                   and region in (None, dev["region"]) and zone in (None, dev["zone"])})


class Recon:
    """Questions to the hosts of one kind of server; `say` gets lines for the operator."""

    def __init__(self, kind: str, hosts: list[Host], say: Say, timeout: float,
                 verbose: bool = False, suppress: bool = False) -> None:
        self.kind, self.hosts, self.say = kind, hosts, say
        self.timeout, self.verbose, self.suppress = timeout, verbose, suppress

    def ask(self, path: str, hosts: list[Host] | None = None) -> dict[Host, Any]:
        """What each host answers to /recon/`path`; hosts that fail are left out, and told."""
        found: dict[Host, Any] = {}
        pool = GreenPool(CONCURRENCY)
        for host in self.hosts if hosts is None else hosts:
            pool.spawn_n(self._ask_one, host, path, found)
        pool.waitall()
        return dict(sorted(found.items()))

    def _ask_one(self, host: Host, path: str, found: dict[Host, Any]) -> None:
        url = f"http://{bracket(host[0])}:{host[1]}/recon/{path}"
        try:
            answer = node_client.request(*host, "GET", f"/recon/{path}", {}, b"", self.timeout,
                                         self.timeout)
            if answer.status != 200:
                raise ValueError(f"HTTP {answer.status}")
            found[host] = json.loads(answer.body)
        except (OSError, ValueError, Timeout) as exc:
            if not self.suppress:
                self.say(f"-> {url}: {exc or type(exc).__name__}")
            return
        if self.verbose:
            self.say(f"-> {url}: {found[host]}")

    # -- figures ---------------------------------------------------------

    def figures(self, check: str) -> None:
        """One check of FIGURES: lowest, highest, average and sum of each number."""
        if check == "auditor" and self.kind == "object":
            check = "object_auditor"
        title, path, numbers = FIGURES[check]
        self.say(title)
        answers = self.ask(path.format(kind=self.kind))
        for label, keys in numbers:
            path_of = [key.format(kind=self.kind) for key in keys]
            values = [_dig(answer, path_of) for answer in answers.values()]
            if any(part in path_of[0] for part in _AFTER_A_PASS):
                values = [value for value in values if value is not None]
            (self._tell_moments if label in _MOMENTS else self._sum_up)(
                label.format(kind=self.kind), values)
        if check in _ENDED:
            self._tell_ends({host: _dig(answer, [_ENDED[check]])
                             for host, answer in answers.items()})

    def _tell_ends(self, ends: dict[Host, Any]) -> None:
        """Who ended a pass first and last, of those that tell."""
        known = sorted((end, host) for host, end in ends.items() if isinstance(end, (int, float)))
        for which, (end, host) in zip(("Oldest", "Most recent"), known[:1] + known[-1:],
                                      strict=False):
            when = "NEVER" if not end else f"{_moment(end)} ({_ago(time.time() - end)})"
            self.say(f"{which} completion was {when} by {bracket(host[0])}:{host[1]}.")

    def _tell_moments(self, label: str, values: list[Any]) -> None:
        moments = [value for value in values if isinstance(value, (int, float))]
        if moments:
            self.say(f"[{label}] oldest: {_moment(min(moments))}, newest: {_moment(max(moments))}, "
                     f"avg: {_moment(sum(moments) / len(moments))}")

    def _sum_up(self, label: str, values: list[Any]) -> None:
        numbers = [value for value in values if isinstance(value, (int, float))]
        if not numbers:
            self.say(f"[{label}] - No hosts returned valid data.")
            return
        missing = len(values) - len(numbers)
        self.say(f"[{label}] low: {int(min(numbers))}, high: {int(max(numbers))}, "
                 f"avg: {sum(numbers) / len(numbers):.1f}, total: {int(sum(numbers))}, "
                 f"Failed: {100 * missing / len(values):.1f}%, no_result: {missing}, "
                 f"reported: {len(numbers)}")

    # -- other checks ----------------------------------------------------

    def unmounted(self) -> None:
        """Devices that should be mounted and are not."""
        self.say(f"Getting unmounted drives from {len(self.hosts)} hosts...")
        for host, entries in self.ask("unmounted").items():
            for entry in entries:
                self.say(f"Not mounted: {entry['device']} on {bracket(host[0])}:{host[1]}")

    def disk_usage(self, top: int = 0, lowest: int = 0, for_people: bool = False) -> None:
        """How full devices are: a graph, the bytes, and as many of the fullest and the emptiest."""
        self.say("Checking disk usage now")
        # A host may have a server for each of its disks; all of them tell of all disks.
        one_each = self.ask("diskusage", list(dict(self.hosts).items()))
        disks = [(100 * entry["used"] / entry["size"], host[0], entry)
                 for host, entries in one_each.items() for entry in entries
                 if entry.get("mounted") is True and entry.get("size")]
        for host in one_each:
            if not any(place == host[0] for _, place, _ in disks):
                self.say(f"-> {bracket(host[0])}:{host[1]}: Error. No drive info available.")
        if not disks:
            self.say("No hosts returned valid data.")
            return
        self._graph(Counter(int(share) for share, _, _ in disks))
        used, free = (sum(entry[name] for _, _, entry in disks) for name in ("used", "avail"))
        told: Callable[[int], str] = size_for_people if for_people else str
        shares = [share for share, _, _ in disks]
        self.say(f"Disk usage: space used: {told(used)} of {told(used + free)}")
        self.say(f"Disk usage: space free: {told(free)} of {told(used + free)}")
        self.say(f"Disk usage: lowest: {min(shares):.2f}%, highest: {max(shares):.2f}%, "
                 f"avg: {100 * used / ((used + free) or 1):.2f}%")
        disks.sort(key=lambda disk: -disk[0])
        for title, count, some in (("TOP", top, disks[:top]),
                                   ("LOWEST", lowest, disks[::-1][:lowest])):
            if count:
                self.say(f"{title} {count}")
            for share, place, entry in some:
                self.say(f"{share:.2f}%  {place:<15} {entry['device']}")

    def _graph(self, devices: Counter[int]) -> None:
        """How many devices are how full, in per cent."""
        self.say("Distribution Graph:")
        scale = _GRAPH / max(devices.values())
        for share, count in sorted(devices.items()):
            self.say(f"{share:3d}%{count:5d} {'*' * int(count * scale)}")

    def digests(self, what: str, path: str, files: list[Path]) -> None:
        """Whether all hosts have the same files as this machine."""
        self.say(f"Checking {what}")
        ours = {name.name: md5(name.read_bytes(), usedforsecurity=False).hexdigest()
                for name in files}
        self._compare(path, lambda answer: [
            f"{name} doesn't match on disk md5sum" for name, digest in answer.items()
            if ours.get(name.rsplit("/", 1)[-1], digest) != digest])

    def server_type(self) -> None:
        """Whether what listens is of the kind the ring says."""
        self.say(f"Validating server type '{self.kind}' on {len(self.hosts)} hosts...")
        wrong = failed = 0
        for host in self.hosts:
            try:
                answer = node_client.request(*host, "OPTIONS", "/", {}, b"", self.timeout,
                                             self.timeout)
            except (OSError, Timeout):
                failed += 1
                continue
            found = answer.headers.get("server", "").partition("/")[0]      # without a release
            if found != f"{self.kind}-server":
                wrong += 1
                self.say(f"!! {bracket(host[0])}:{host[1]} is a {found or 'server of no name'}")
        self._tally(len(self.hosts) - wrong - failed, failed, "ok")

    def time_sync(self, now: Callable[[], float], jitter: float) -> None:
        """Whether the hosts' clocks are within `jitter` seconds of ours."""
        self.say("Checking time-sync")
        self._compare("time", lambda answer: [] if abs(now() - float(answer)) <= jitter +
                      self.timeout else [f"is at {answer}, here it is {now():.2f}"])

    def versions(self) -> None:
        """Whether all hosts run the same release."""
        self.say("Checking versions")
        answers = self.ask("version")
        found = sorted({str(answer.get("version")) for answer in answers.values()})
        self.say(f"Versions {'matched' if len(found) == 1 else 'not matched'} "
                 f"({', '.join(found)}), {len(self.hosts) - len(answers)} error[s] while checking "
                 "hosts.")

    def _compare(self, path: str, problems_of: Callable[[Any], list[str]]) -> None:
        answers = self.ask(path)
        matched = 0
        for host, answer in answers.items():
            problems = problems_of(answer)
            matched += not problems
            for problem in problems:
                self.say(f"!! http://{bracket(host[0])}:{host[1]}/recon/{path}: {problem}")
        self._tally(matched, len(self.hosts) - len(answers), "matched")

    def _tally(self, fine: int, failed: int, word: str) -> None:
        self.say(f"{fine}/{len(self.hosts)} hosts {word}, {failed} error[s] while checking hosts.")


def size_for_people(size: int) -> str:
    """Bytes in whole units of a thousand: 12 GB."""
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB", "EB", "ZB"):
        if size < 1000:
            return f"{size} {unit}"
        size //= 1000
    return f"{size} YB"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _ago(seconds: float) -> str:
    """A length of time in the largest unit there is at least one of."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= length:
            return f"{int(seconds / length)} {unit} ago"
    return f"{max(0, int(seconds))} seconds ago"


def _dig(answer: Any, keys: list[str]) -> Any:
    for key in keys:
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer
