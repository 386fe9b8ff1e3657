# SPDX-License-Identifier: Apache-2.0
"""Links of the Compute API: "self" below the version, "bookmark" without one, and times."""

import datetime
import functools

from nova import exception
from nova.api.openstack.wsgi import Request


def both(req: Request, path: str) -> list[dict[str, str]]:
    """Return the self and bookmark links of ``path`` ("servers/ID")."""
    return [{"rel": "self", "href": f"{req.base}/{path}"},
            {"rel": "bookmark", "href": f"{req.root}/{path}"}]


def bookmark(req: Request, path: str) -> list[dict[str, str]]:
    """Return the bookmark link alone."""
    return [{"rel": "bookmark", "href": f"{req.root}/{path}"}]


def seconds(moment: datetime.datetime | None) -> str | None:
    """Return a naive UTC time as the API writes it: ``2011-04-01T12:00:00Z``."""
    return None if moment is None else moment.isoformat(timespec="seconds") + "Z"


def micros(moment: datetime.datetime | None) -> str | None:
    """Return a naive UTC time with six digits and without a zone, as most admin resources do."""
    return None if moment is None else moment.isoformat(timespec="microseconds")


@functools.lru_cache(maxsize=64)
def parse_time(text: str, name: str) -> datetime.datetime:
    """Return an ISO 8601 time as naive UTC; BadRequest names the field."""
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise exception.BadRequest(f"{name}: {text[:64]!r} is not an ISO 8601 time.") from None
    return moment
