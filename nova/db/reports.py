# SPDX-License-Identifier: Apache-2.0
"""What workers say of their hosts, written down.  For compute_nodes and volume_hosts."""

from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from nova.db.models import ComputeNode
from nova.db.session import retry, writer
from nova.db.volume_models import VolumeHost

Row = TypeVar("Row", ComputeNode, VolumeHost)

# Written by claims alone.
_NOT_TO_SET = {"id", "host", "generation", "created_at", "updated_at"}


@retry
def report(model: type[Row], host: str, values: dict[str, Any]) -> Row:
    """Return the row of a host with these values, made when there is none.

    A row that says the same already is left alone.
    """
    if wrong := _NOT_TO_SET & values.keys():
        raise ValueError(f"{sorted(wrong)} are not a worker's to set")
    try:
        return _write(model, host, values)
    except IntegrityError:      # two first reports at once
        return _write(model, host, values)


def _write(model: type[Row], host: str, values: dict[str, Any]) -> Row:
    with writer() as session:
        row = session.scalars(select(model).where(model.host == host)).one_or_none()
        if row is None:
            row = model(host=host, **values)
            session.add(row)
        for name, value in values.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
        session.flush()
        session.refresh(row)
        return row
