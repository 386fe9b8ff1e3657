# SPDX-License-Identifier: Apache-2.0
"""How much of what was stored is where the rings say: samples, spread over partitions.

`populate` stores a container and an object for some per cent of the partitions, `report` asks
every primary of each for its copy. Names are OpenStack Swift's, so either's report works on the
other's samples.
"""
from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from swift.common import node_client
from swift.common.concurrency import GreenPool, Timeout, sleep
from swift.common.conf import SWIFT_DIR
from swift.common.exceptions import ConfigError
from swift.common.ring import Ring
from swift.common.storage_policy import StoragePolicy, policies
from swift.operations.account_client import AccountClient

Say = Callable[[str], None]
_SHOWN = ("retries", "overlapping", "pct_found", "copies_found", "copies_expected")
DEFAULT_CONFIG = f"{SWIFT_DIR}/dispersion.conf"


def policy_named(name: str | None) -> StoragePolicy:
    """The storage policy of that name, or the default; ConfigError for none."""
    policy = policies().default if name is None else policies().by_name(name)
    if policy is None:
        raise ConfigError(f"no policy named {name!r}")
    return policy


def container_prefix(policy: StoragePolicy) -> str:
    """How the names of sample containers begin."""
    return f"dispersion_{policy.index}_"


def objects_container(policy: StoragePolicy) -> str:
    """The container of the sample objects."""
    return f"dispersion_objects_{policy.index}"


def _part(ring: Ring, *names: str) -> int:
    return ring.get_part(*names)                 # type: ignore[call-arg]  # two or three


@dataclass
class Populate:
    """Stores samples until `coverage` per cent of a ring's partitions have one."""

    client: AccountClient
    policy: StoragePolicy
    coverage: float
    concurrency: int
    no_overlap: bool = False
    say: Say = print

    def containers(self, ring: Ring, first: int = 0) -> int:
        """Sample containers; those with a number below `first` are there already."""
        known = self.client.listing(prefix=container_prefix(self.policy)) if self.no_overlap else []
        return self._fill("container", ring, container_prefix(self.policy), first, (), known)

    def objects(self, ring: Ring, first: int = 0) -> int:
        """Sample objects, in a container of their own."""
        container = objects_container(self.policy)
        self._put_container(container)
        known = self.client.listing(container, prefix="dispersion_") if self.no_overlap else []
        return self._fill("object", ring, "dispersion_", first, (container,), known)

    def _fill(self, kind: str, ring: Ring, prefix: str, first: int, above: tuple[str, ...],
              known: list[str]) -> int:
        start = time.monotonic()
        before = self.client.retried
        missing = set(range(ring.partition_count))
        missing -= {_part(ring, self.client.account, *above, name) for name in known}
        wanted = min(int(self.coverage / 100 * ring.partition_count), len(missing))
        pool = GreenPool(self.concurrency)
        failures: list[str] = []
        for number, name in self._names(ring, prefix, above, missing, wanted):
            if number >= first:
                pool.spawn_n(self._put, (*above, name), failures)
        pool.waitall()
        self.say(f"Created {wanted - len(failures)} {kind}s for dispersion reporting, "
                 f"{duration(time.monotonic() - start)}, {self.client.retried - before} retries")
        for failure in failures:
            self.say(f"ERROR: {failure}")
        if self.no_overlap:
            self.say(f"Total {kind} coverage is now "
                     f"{100 * (1 - len(missing) / ring.partition_count):.2f}%.")
        return len(failures)

    def _names(self, ring: Ring, prefix: str, above: tuple[str, ...], missing: set[int],
               wanted: int) -> Iterator[tuple[int, str]]:
        """(number, name) of `wanted` samples in partitions that have none, which are taken off."""
        number = 0
        while wanted:
            name = f"{prefix}{number}"
            part = _part(ring, self.client.account, *above, name)
            if part in missing:
                missing.discard(part)
                wanted -= 1
                yield number, name
            number += 1
            if number % 1000 == 0:
                sleep()

    def _put(self, names: tuple[str, ...], failures: list[str]) -> None:
        try:
            if len(names) == 1:
                self._put_container(names[0])
            else:
                self.client.request("PUT", *names, body=names[-1].encode(),
                                    headers={"X-Object-Meta-Dispersion": names[-1]})
        except Exception as exc:      # one that fails must not end the others: it is told
            failures.append(str(exc))

    def _put_container(self, name: str) -> None:
        self.client.request("PUT", name, headers={"X-Storage-Policy": self.policy.name})


@dataclass
class Report:
    """Asks for every copy of the samples."""

    client: AccountClient
    policy: StoragePolicy
    retries: int
    concurrency: int
    tell: Say                        # what is wrong with which server
    tell_not_found: bool = False
    tell_partitions: bool = False
    retried: int = 0
    missing: Counter[int] = field(default_factory=Counter)
    found: int = 0

    def containers(self, ring: Ring) -> dict[str, Any] | None:
        """What monitors get to know of containers; None without samples."""
        return self._ask_all("container", ring, (),
                             self.client.listing(prefix=container_prefix(self.policy)))

    def objects(self, ring: Ring) -> dict[str, Any] | None:
        """The same of objects."""
        container = objects_container(self.policy)
        if container not in self.client.listing(prefix=container):
            return None
        return self._ask_all("object", ring, (container,),
                             self.client.listing(container, prefix="dispersion_"))

    def _ask_all(self, kind: str, ring: Ring, above: tuple[str, ...], names: list[str]
                 ) -> dict[str, Any] | None:
        start = time.monotonic()
        self.retried, self.found, self.missing = 0, 0, Counter()
        by_part: dict[int, str] = {}
        for name in names:
            by_part.setdefault(_part(ring, self.client.account, *above, name), name)
        if not by_part:
            return None
        pool = GreenPool(self.concurrency)
        expected = 0
        for part, name in by_part.items():
            nodes = ring.get_part_nodes(part)
            expected += len(nodes)
            pool.spawn_n(self._ask, kind, part, nodes, (*above, name))
        pool.waitall()
        return {"retries": self.retried, "overlapping": len(names) - len(by_part),
                "pct_found": 100 * self.found / expected, "copies_found": self.found,
                "copies_expected": expected, "queried": len(names),
                "seconds": time.monotonic() - start, "parts": len(by_part),
                # of objects OpenStack Swift's counts also those that miss none
                **{f"missing_{count}": parts for count, parts in sorted(self.missing.items())
                   if count or kind == "object"}}

    def _ask(self, kind: str, part: int, nodes: list[dict], names: tuple[str, ...]) -> None:
        found = sum(self._has(node, kind, part, names) for node in nodes)
        self.found += found
        self.missing[len(nodes) - found] += 1
        if found < len(nodes) and self.tell_partitions:
            self.tell(f"# {kind.capitalize()} partition {part} missing {len(nodes) - found} "
                      f"cop{'y' if len(nodes) - found == 1 else 'ies'}")

    def _has(self, node: dict[str, Any], kind: str, part: int, names: tuple[str, ...]) -> bool:
        headers = {"X-Backend-Storage-Policy-Index": str(self.policy.index)} \
            if kind == "object" else {}
        path = node_client.path_of(node["device"], part, self.client.account, *names)
        why = ""
        for number in range(self.retries + 1):
            self.retried += number > 0
            try:
                answer = node_client.request(node["ip"], node["port"], "HEAD", path, headers,
                                             conn_timeout=5, node_timeout=15)
            except (OSError, ValueError, Timeout) as exc:
                why = str(exc) or type(exc).__name__
                sleep(min(0.1 * 2 ** number, 5))
                continue
            if answer.status // 100 == 2:
                return True
            why = f"answered {answer.status}"
            if answer.status in (404, 507):
                break
        if not why.endswith("404") or self.tell_not_found:
            self.tell(f"ERROR: {node['ip']}:{node['port']}/{node['device']}: "
                      f"{'/'.join(names)}: {why}")
        return False


def sentences(kind: str, result: dict[str, Any], ring: Ring) -> list[str]:
    """A report in words; those that begin with ! are alarming."""
    lines = [f"Queried {result['queried']} {kind}s for dispersion reporting, "
             f"{duration(result['seconds'])}, {result['retries']} retries"]
    if result["overlapping"]:
        lines.append(f"There were {result['overlapping']} overlapping partitions")
    copies = round(ring.replica_count)
    for name, parts in result.items():
        if not name.startswith("missing_") or name == "missing_0":
            continue
        count = int(name.removeprefix("missing_"))
        left = copies - count
        lines.append(
            f"{'!!! ' if left <= 0 else '! ' if left == 1 else ''}There "
            f"{'was' if parts == 1 else 'were'} {parts} partition{'s' * (parts != 1)} missing "
            f"{'all' if left <= 0 else count} cop{'y' if count == 1 else 'ies'}.")
    lines.append(f"{result['pct_found']:.2f}% of {kind} copies found ({result['copies_found']} of "
                 f"{result['copies_expected']})")
    lines.append(f"Sample represents {100 * result['parts'] / ring.partition_count:.2f}% of the "
                 f"{kind} partition space")
    return lines


def show(results: dict[str, Any], as_json: bool) -> int:
    """Print what was found; the exit code."""
    for kind, (result, ring) in results.items():
        if result is None:
            print(f"No {kind}s to query. Has swift-dispersion-populate been run?",
                  file=sys.stderr)
        elif not as_json:
            print("\n".join(sentences(kind, result, ring)))
    if as_json:
        print(json.dumps({kind: result and {
            name: value for name, value in result.items()
            if name in _SHOWN or name.startswith("missing_")}
            for kind, (result, _) in results.items()}))
    return 0 if results else 1


def duration(seconds: float) -> str:
    """7s, 12m, 3h: rounded to its greatest unit."""
    for limit, unit in ((3600, "h"), (60, "m")):
        if seconds >= limit:
            return f"{round(seconds / limit)}{unit}"
    return f"{round(seconds)}s"
