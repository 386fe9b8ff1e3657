# SPDX-License-Identifier: Apache-2.0
"""What swift-manage-shard-ranges does to a container's database: find, show, replace, enable.

Each function is a sub-command: it gets the database and the parsed arguments, prints for the
operator and returns the exit code. Results go to standard output as JSON in OpenStack Swift's
form, everything else to standard error.
"""
from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote

from swift.common.db import Broker
from swift.common.shards import ShardRange, State, combined, now
from swift.container.backend import ContainerBroker
from swift.container.cleaving_context import CleavingContext
from swift.container.shard_broker import ENABLED, SHARDING, UNSHARDED, covers
from swift.container.shard_finder import Found, find_ranges, make_ranges
from swift.container.shard_paths import gaps, overlaps
from swift.container.shard_table import Which

OK, FAILED, BAD_ARGUMENTS, QUIT = 0, 1, 2, 3
Args = argparse.Namespace


class Refused(Exception):
    """A sub-command cannot do what it is asked for; (exit code, reason)."""


def say(text: str) -> None:
    """A line for the operator."""
    print(text, file=sys.stderr)


def show_json(data: Any) -> None:
    """The result."""
    print(json.dumps(data, sort_keys=True, indent=2))


def described(shard: ShardRange) -> dict[str, Any]:
    """A range with the name of its state."""
    return {**shard.row(), "state": shard.state_name}


def ask(question: str, answers: Sequence[str]) -> str:
    """What the operator answers; the last of `answers` without a terminal."""
    while True:
        try:
            answer = input(question)
        except (EOFError, KeyboardInterrupt):
            return answers[-1]
        if answer in answers:
            return answer
        say(f"Answer one of {', '.join(answers)}.")


def may_go_on(args: Args) -> bool:
    """Whether the operator wants the changes that were shown."""
    if args.dry_run:
        wanted = False
    else:
        wanted = args.yes or ask("Apply these changes to the database? [yes/no] ",
                                 ("yes", "no")) == "yes"
    if not wanted:
        say("Nothing was changed.")
    return wanted


def load(path: str, needed: tuple[str, ...]) -> list[dict[str, Any]]:
    """The list of ranges in a file (- is standard input); Refused when it is none."""
    try:
        if path == "-":
            data = json.load(sys.stdin)
        else:
            with open(path, encoding="utf-8") as source:
                data = json.load(source)
        if not isinstance(data, list):
            raise ValueError("it is no list")
        for row in data:
            for name in needed:
                row[name]
        return data
    except OSError as exc:
        raise Refused(BAD_ARGUMENTS, f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, TypeError, KeyError) as exc:
        raise Refused(BAD_ARGUMENTS, f"{path} holds no shard ranges: {exc!r}") from exc


def own_range(broker: ContainerBroker, args: Args) -> ShardRange:
    """The container's own range; Refused for a shard that has none: a default one would make it
    answer for all names."""
    if broker.path.startswith(args.shards_account_prefix) and \
            broker.own_range_or_none() is None:
        raise Refused(BAD_ARGUMENTS, "this shard has no range of its own")
    return broker.own_range()


# -- looking -----------------------------------------------------------------

def _found(broker: ContainerBroker, args: Args) -> tuple[list[Found], float]:
    start = time.monotonic()
    found: list[Found] = []
    done = False
    while not done:
        existing = [ShardRange("x/x", now(), str(one["lower"]), str(one["upper"]),
                               object_count=int(one["object_count"])) for one in found]
        more, done = find_ranges(broker, args.rows_per_shard, args.minimum_shard_size, 50,
                                 existing)
        found += more
        if not more:
            break
        if not done:
            say(f"{len(found)} ranges after {time.monotonic() - start:.1f} s, going on")
    return found, time.monotonic() - start


def find(broker: ContainerBroker, args: Args) -> int:
    """Where the container would be divided; nothing is changed."""
    found, seconds = _found(broker, args)
    show_json(found)
    say(f"{len(found)} ranges with {sum(int(one['object_count']) for one in found)} objects,"
        f" found in {seconds:.3f} s")
    return OK


def show(broker: ContainerBroker, args: Args) -> int:
    """The shard ranges the database holds."""
    includes = args.includes
    if includes is not None and args.quoted:
        includes = unquote(includes)
    ranges = broker.shard_ranges(Which(includes=includes, deleted=args.include_deleted))
    if not ranges:
        say("There are no shard ranges.")
    elif args.brief:
        show_json([(shard.lower, shard.upper) for shard in ranges])
    else:
        show_json([described(shard) for shard in ranges])
    return OK


def info(broker: ContainerBroker, _args: Args) -> int:
    """How far the container is with sharding."""
    own = broker.own_range_or_none()
    stat = broker.stat()
    print(f"Sharding enabled = {broker.sharding_enabled()}")
    print("Own shard range: " + (json.dumps(described(own), sort_keys=True, indent=2)
                                 if own else "None"))
    print(f"db_state = {stat['db_state']}\nobject_count = {stat['object_count']}\n"
          f"bytes_used = {stat['bytes_used']}")
    if stat["db_state"] == SHARDING:
        print(f"Retiring db id: {Broker.stat(broker.oldest())['id']}")
        context = json.dumps(asdict(CleavingContext.load(broker)), sort_keys=True, indent=2)
        print(f"Cleaving context: {context}")
    print("Metadata:")
    for name, (value, _) in broker.metadata().items():
        print(f"  {name} = {value}")
    return OK


# -- changing ----------------------------------------------------------------

def delete(broker: ContainerBroker, args: Args) -> int:
    """Mark all shard ranges deleted."""
    ranges = broker.shard_ranges()
    if not ranges:
        say("There are no shard ranges to delete.")
        return OK
    while not args.force:
        say(f"This will delete {len(ranges)} shard ranges.")
        state = broker.db_state()
        if state != UNSHARDED:
            begun = sum(shard.state != State.FOUND for shard in ranges)
            say(f"WARNING: the database is {state}, {begun} of them are in use. Other replicas "
                "may know more of them, and objects may become impossible to list.")
        answer = ask("Show them [s], delete them [yes] or leave them [q]? ", ("s", "yes", "q"))
        if answer == "q":
            return QUIT
        if answer == "yes":
            break
        show_json([described(shard) for shard in ranges])
    timestamp = now()
    for shard in ranges:
        shard.set_deleted(timestamp)
    broker.merge_shard_ranges(ranges)
    say(f"Deleted {len(ranges)} shard ranges.")
    return OK


def merge(broker: ContainerBroker, args: Args) -> int:
    """Merge ranges of a file, by the rules replicas merge them by."""
    own_range(broker, args)
    try:
        new = [ShardRange.of(row) for row in load(args.input, ("lower", "upper", "object_count"))]
    except (ValueError, KeyError, TypeError) as exc:
        raise Refused(BAD_ARGUMENTS, f"{args.input} holds no whole shard ranges: {exc!r}") from exc
    existing = broker.shard_ranges(Which(deleted=True))
    outcome = combined(new, existing)
    if args.verbose:
        say("What will be there then:")
        show_json([shard.row() for shard in outcome])
    if overlaps(outcome):
        say("WARNING: some of these ranges will overlap")
    before = gaps(existing)
    if any(not any(old.lower <= gap.lower and gap.upper == old.upper for old in before)
           for gap in gaps(outcome)):
        say("WARNING: there will be gaps between these ranges")
    if not may_go_on(args):
        return QUIT
    broker.busy_seconds = args.replace_timeout
    broker.merge_shard_ranges(new)
    say(f"Merged {len(new)} shard ranges; container-replicator brings them to the other replicas.")
    return OK


def _replace(broker: ContainerBroker, args: Args, data: list[Any], seconds: float = 0) -> int:
    own = own_range(broker, args)
    ranges = make_ranges(broker, data, args.shards_account_prefix)
    _check(own, ranges)
    if args.verbose:
        say("New shard ranges:")
        show_json([shard.row() for shard in ranges])
    broker.busy_seconds = max(seconds, args.replace_timeout)
    code = delete(broker, args)
    if code != OK:
        return code
    broker.merge_shard_ranges(ranges)
    say(f"Stored {len(ranges)} shard ranges; container-replicator brings them to the other "
        "replicas.")
    if args.enable:
        return enable(broker, args)
    say("The sub-command enable lets the sharder use them.")
    return OK


def _check(own: ShardRange, ranges: list[ShardRange]) -> None:
    if not covers(ranges, own):
        raise Refused(FAILED, f"the {len(ranges)} shard ranges do not adjoin from "
                              f"{own.lower!r} to {own.upper!r}")


def replace(broker: ContainerBroker, args: Args) -> int:
    """Put ranges of a file, as `find` writes them, in the place of all there are."""
    return _replace(broker, args, load(args.input, ("lower", "upper", "object_count", "index")))


def find_and_replace(broker: ContainerBroker, args: Args) -> int:
    """Find ranges and put them in the place of all there are."""
    found, seconds = _found(broker, args)
    return _replace(broker, args, found, seconds)


def enable(broker: ContainerBroker, args: Args) -> int:
    """Let the sharder divide the container among its ranges."""
    own = own_range(broker, args)
    _check(own, broker.shard_ranges())
    if own.state not in (State.ACTIVE, State.SHARDING):
        raise Refused(FAILED, f"the container is {own.state_name}, not active or sharding")
    if own.state == State.SHARDING and own.epoch:
        say(f"The container is sharding already, with epoch {own.epoch}: nothing to do.")
    else:
        epoch = now()
        own.set_state(State.SHARDING, epoch)
        own.epoch = epoch
        stat = broker.stat()
        own.set_counts(stat["object_count"], stat["bytes_used"])
        broker.busy_seconds = args.enable_timeout
        broker.merge_shard_ranges([own])
        broker.update_metadata({ENABLED: ("True", epoch)})
        say(f"The container is {own.state_name} now, with epoch {epoch}.")
    say("container-sharder, on all nodes, divides it.")
    return OK
