# SPDX-License-Identifier: Apache-2.0
"""The steps by which an operator increases the partition power of an object ring.

    prepare_increase_partition_power    write_ring, to all nodes; swift-object-relinker relink
    increase_partition_power            write_ring, to all nodes; swift-object-relinker cleanup
    finish_increase_partition_power     write_ring, to all nodes

Instead of the second, cancel_increase_partition_power goes back: write_ring, cleanup, finish.
Meanwhile replicators wait, and devices can be neither added nor removed.
"""
from __future__ import annotations

import os

from swift.common.ring.builder import RingBuilder, RingBuilderError

_SPREAD = "Write the ring (write_ring) and bring it to all nodes"
# step -> (what the step before has to be, what comes next)
STEPS = {
    "prepare_increase_partition_power": (
        "Ring is already prepared for partition power increase.",
        f"{_SPREAD}; when all proxies and object servers have it, run \"swift-object-relinker "
        "relink\" on every node before increase_partition_power."),
    "increase_partition_power": (
        "Ring partition power cannot be increased: it was not prepared, or is increased already.",
        f"{_SPREAD}, then run \"swift-object-relinker cleanup\" on every node before "
        "finish_increase_partition_power."),
    "cancel_increase_partition_power": (
        "Ring partition power increase cannot be canceled: it was not prepared, or is done.",
        f"{_SPREAD}, then remove the links (\"swift-object-relinker cleanup\") on every node "
        "before finish_increase_partition_power."),
    "finish_increase_partition_power": (
        "Ring partition power increase cannot be finished: none is at that step.",
        f"{_SPREAD}: replicators work again."),
}


def step(builder_file: str, name: str) -> str:
    """Take one of STEPS on a builder file; what to do next. RingBuilderError when it cannot be."""
    if "object" not in os.path.basename(builder_file):
        raise RingBuilderError("Partition power increase is only supported for object rings.")
    try:
        builder = RingBuilder.load(builder_file)
    except FileNotFoundError:
        raise RingBuilderError(f"Ring Builder file does not exist: {builder_file}") from None
    why_not, next_step = STEPS[name]
    if not getattr(builder, name)():
        raise RingBuilderError(why_not)
    builder.save(builder_file)
    return f"{_state(builder)}\n{next_step}"


def _state(builder: RingBuilder) -> str:
    if builder.next_part_power is None:
        return f"The partition power is {builder.part_power}."
    if builder.next_part_power == builder.part_power:
        return f"The partition power is now {builder.part_power}."
    return f"The next partition power is now {builder.next_part_power}."


def advice(builder: RingBuilder) -> str:
    """What an operator who looks at a builder in the middle of it has to do."""
    at = "increase_partition_power" if builder.next_part_power == builder.part_power else \
        "prepare_increase_partition_power"
    return f"{_state(builder)} {STEPS[at][1]}"


def refuse_while_growing(builder: RingBuilder, what: str) -> None:
    """RingBuilderError in the middle of it."""
    if builder.next_part_power:
        raise RingBuilderError("Partition power increase in progress. You need to finish the "
                               f"increase first before {what}.")
