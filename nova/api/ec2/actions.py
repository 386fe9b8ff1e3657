# SPDX-License-Identifier: Apache-2.0
"""The table of actions: each is one function from a :class:`Call` to the members of its answer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nova.compute.api import API
from nova.context import RequestContext


@dataclass(frozen=True)
class Call:
    """One request: who asks, what it says (by the names of the shape), what it works on."""

    context: RequestContext
    params: Mapping[str, Any]
    compute: API
    endpoint: str = ""

    @property
    def project_id(self) -> str:
        """The caller's project: all that is looked up here is held to it."""
        return self.context.project_id or ""


Function = Callable[[Call], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Action:
    """A built action: the rule it asks and the parameters it understands."""

    name: str
    policy: str
    takes: frozenset[str]
    run: Function


TABLE: dict[str, Action] = {}


def action(name: str, *, policy: str, takes: Iterable[str] = ()) -> Callable[[Function], Function]:
    """Put a function into the table; what AWS has and ``takes`` does not name is refused."""
    def enter(function: Function) -> Function:
        if name in TABLE:
            raise ValueError(f"{name} is built twice")
        TABLE[name] = Action(name, policy, frozenset(takes) | {"DryRun"}, function)
        return function
    return enter
