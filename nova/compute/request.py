# SPDX-License-Identifier: Apache-2.0
"""What a build needs beyond the columns of its row: the keys of ``instances.build_request``.

The API writes it once; a refusal by a host adds to ``refusals`` and nothing else is changed, so a
build can be taken up again from the row alone, by anybody, at any time.

========================  =====================================================================
``networks``              list of ``{"uuid"|"port"|"fixed_ip": ...}`` as asked for; None: default
``security_groups``       names or ids of groups for the ports made here
``scheduler_hints``       ``same_host`` and ``different_host``: lists of instance ids
``image_properties``      the custom properties of the root image, as they were when asked
``forced_host``           the one host an administrator named
``request_id``            of the request that asked for it, under which its action is logged
``refusals``              list of ``{"host": ..., "reason": ...}``, oldest first
``evacuated_from``        hosts it was taken from that may still have a guest of it
``evacuated_at``          when it last was, ISO 8601 in UTC: its build began then
========================  =====================================================================
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nova.db.models import Instance, utcnow


@dataclass(frozen=True)
class Refusal:
    """A host that was tried and could not."""

    host: str
    reason: str


@dataclass(frozen=True)
class BuildRequest:
    """The keys compute and scheduler read; what others put there is left alone."""

    scheduler_hints: Mapping[str, Any] = field(default_factory=dict)
    image_properties: Mapping[str, Any] = field(default_factory=dict)
    forced_host: str | None = None
    request_id: str | None = None
    refusals: tuple[Refusal, ...] = ()
    evacuated_from: tuple[str, ...] = ()
    evacuated_at: datetime.datetime | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> "BuildRequest":
        """Read a row's column; a missing key is its default."""
        values = values or {}
        return cls(
            scheduler_hints=values.get("scheduler_hints") or {},
            image_properties=values.get("image_properties") or {},
            forced_host=values.get("forced_host"),
            request_id=values.get("request_id"),
            evacuated_from=tuple(values.get("evacuated_from") or ()),
            evacuated_at=datetime.datetime.fromisoformat(values["evacuated_at"])
            if values.get("evacuated_at") else None,
            refusals=tuple(Refusal(one.get("host", ""), one.get("reason", ""))
                           for one in values.get("refusals") or ()))


def build_age(row: Instance) -> float:
    """Return for how many seconds an instance has been wanted: since it was made or evacuated."""
    begun = BuildRequest.of(row.build_request).evacuated_at or row.created_at
    return (utcnow() - begun).total_seconds()


def left_behind(values: Mapping[str, Any] | None, host: str) -> dict[str, Any]:
    """Return the column's new value after an instance was taken from a host that is down."""
    values = dict(values or {})
    known = list(values.get("evacuated_from") or ())
    values["evacuated_from"] = known if host in known else [*known, host]
    return values


def with_refusal(values: Mapping[str, Any] | None, host: str, reason: str) -> dict[str, Any]:
    """Return the column's new value after a host refused."""
    values = dict(values or {})
    values["refusals"] = [*(values.get("refusals") or ()), {"host": host, "reason": reason[:500]}]
    return values
