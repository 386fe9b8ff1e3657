# SPDX-License-Identifier: Apache-2.0
"""Times of tasks as they travel: text over REST, moments in the database."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from glance import exceptions

#: how long a finished task can be looked at
LIFETIME = datetime.timedelta(hours=48)


def expiry() -> str:
    """When a task that finishes now may be forgotten."""
    moment = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + LIFETIME
    return moment.isoformat(timespec="seconds")


def parse_times(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with ``expires_at`` checked."""
    text = values.get("expires_at")
    if text is not None:
        try:
            datetime.datetime.fromisoformat(text)
        except ValueError:
            raise exceptions.Invalid("expires_at: not an ISO 8601 time") from None
    return dict(values)
