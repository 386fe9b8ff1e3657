# SPDX-License-Identifier: Apache-2.0
"""swift-ring-builder-analyzer SCENARIO: what a series of changes would do to a ring, step by step.

A scenario is JSON; no ring is touched but what "save" writes:

    {"part_power": 10, "replicas": 3, "overload": 0.1, "random_seed": 203488,
     "rounds": [[["add", "r1z1-10.0.0.1:6200/sda", 100], ["add", "r1z2-10.0.0.2:6200/sda", 100],
                 ["add", "r1z3-10.0.0.3:6200/sda", 100]],
                [["set_weight", 0, 150], ["remove", 1], ["save", "after.builder"]]]}

After the commands of a round the ring is rebalanced until nothing moves any more.
"""
from __future__ import annotations

import argparse
import json
import random
import sys
from typing import Any

from swift.common.ring import RingBuilder, devices
from swift.common.ring.builder import RingBuilderError

MAX_REBALANCES = 100
Command = list[Any]


class ScenarioError(Exception):
    """The scenario cannot be run; the message says where and why."""


def _number(value: Any, least: float = 0) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and \
        least <= value < float("inf")


# key -> (what it must be, test)
_KEYS = {
    "part_power": ("a whole number from 1 to 32",
                   lambda v: _number(v, 1) and v <= 32 and v == int(v)),
    "replicas": ("a number of at least 1", lambda v: _number(v, 1)),
    "overload": ("a number of at least 0", _number),
    "random_seed": ("a whole number", lambda v: _number(v) and v == int(v)),
    "rounds": ("a list of lists of commands", lambda v: isinstance(v, list) and all(
        isinstance(commands, list) for commands in v)),
}
# command -> tests of its arguments
_COMMANDS = {
    "add": (lambda v: isinstance(v, str), _number),
    "set_weight": (lambda v: _number(v) and v == int(v), _number),
    "remove": (lambda v: _number(v) and v == int(v),),
    "save": (lambda v: isinstance(v, str) and v,),
}


def parse(text: str) -> dict[str, Any]:
    """The scenario, its devices parsed; ScenarioError for what is none."""
    try:
        scenario = json.loads(text)
    except ValueError as exc:
        raise ScenarioError(f"not JSON: {exc}") from None
    if not isinstance(scenario, dict):
        raise ScenarioError("not an object")
    for key, (what, fits) in _KEYS.items():
        if key not in scenario:
            raise ScenarioError(f"{key} missing")
        if not fits(scenario[key]):
            raise ScenarioError(f"{key} must be {what}")
    for number, commands in enumerate(scenario["rounds"]):
        for place, command in enumerate(commands):
            _check(command, f"round {number}, command {place}")
    return scenario


def _check(command: Any, where: str) -> None:
    name = command[0] if isinstance(command, list) and command else None
    if name not in _COMMANDS:
        raise ScenarioError(f"Unknown command ({where}): {name!r} should be one of "
                            + ", ".join(_COMMANDS))
    tests = _COMMANDS[name]
    if len(command) != len(tests) + 1 or not all(
            fits(value) for fits, value in zip(tests, command[1:], strict=True)):
        raise ScenarioError(f"Bad arguments of {name} ({where}): {command[1:]!r}")
    if name == "add":
        try:
            command[1] = {"region": 1, **devices.parse_add(command[1])}
        except ValueError as exc:
            raise ScenarioError(f"{exc} ({where})") from None


def run(scenario: dict[str, Any]) -> None:
    """Play the scenario on a builder of its own and print what each rebalance did."""
    builder = RingBuilder(int(scenario["part_power"]), scenario["replicas"], 1)
    builder.set_overload(scenario["overload"])
    seeds = random.Random(scenario["random_seed"])
    for number, commands in enumerate(scenario["rounds"], 1):
        print(f"Round {number}")
        for command in commands:
            _do(builder, *command)
        for turn in range(1, MAX_REBALANCES + 1):
            builder.pretend_min_part_hours_passed()
            moved, balance, removed = builder.rebalance(seed=seeds.random())
            print(f"\tRebalance {turn}: moved {moved} parts, balance is {balance:.6f}, "
                  f"{removed} removed devs")
            if not moved and not removed:
                break


def _do(builder: RingBuilder, name: str, what: Any, weight: Any = None) -> None:
    if name == "add":
        builder.add_dev(dict(what, weight=weight))
    elif name == "set_weight":
        builder.set_dev_weight(int(what), weight)
    elif name == "remove":
        builder.remove_dev(int(what))
    else:
        builder.save(what)


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(prog="swift-ring-builder-analyzer", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario_path")
    parser.add_argument("-c", "--check", action="store_true", help="only check the scenario")
    args = parser.parse_args(argv)
    try:
        with open(args.scenario_path, encoding="utf-8") as source:
            scenario = parse(source.read())
        if not args.check:
            run(scenario)
    except (ScenarioError, UnicodeDecodeError) as exc:
        print(f"Invalid scenario {args.scenario_path}: {exc}", file=sys.stderr)
        return 1
    except (RingBuilderError, ValueError) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"ERROR: {exc.filename}: {exc.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
