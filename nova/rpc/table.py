# SPDX-License-Identifier: Apache-2.0
"""What a worker may be asked: a table, published by the worker, checked on both sides.

    METHODS = MethodTable("compute", [
        Method("stop_instance", ("instance_id",), timeout=120, description="Power off a guest"),
    ])

Anything that is not in the table is refused before it reaches a handler.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Method:
    """One thing a worker does.

    ``args`` are the names every message must carry, ``optional`` those it may carry; all others
    are refused.  ``timeout`` is the default deadline of a call in seconds.  For choosing one:
    10 for a look into the database, 30 for a look at the hypervisor, 120 for work on a guest.
    """

    name: str
    args: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    timeout: int = 10
    description: str = ""


@dataclass
class MethodTable:
    """The methods of one topic, by name."""

    topic: str
    methods: Iterable[Method]
    by_name: dict[str, Method] = field(init=False)

    def __post_init__(self) -> None:
        self.by_name = {method.name: method for method in self.methods}

    def check(self, name: str, args: Iterable[str]) -> Method:
        """Return the method; ValueError names an unknown method or a wrong argument."""
        method = self.by_name.get(name)
        if method is None:
            raise ValueError(f"{self.topic} has no method {name!r}")
        given = set(args)
        missing = set(method.args) - given
        unknown = given - set(method.args) - set(method.optional)
        if missing or unknown:
            raise ValueError(f"{self.topic}.{name}: missing {sorted(missing)}, "
                             f"unknown {sorted(unknown)}")
        return method
