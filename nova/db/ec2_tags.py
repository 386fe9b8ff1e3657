# SPDX-License-Identifier: Apache-2.0
"""Tags of security groups, floating addresses and key pairs, which go with their rows.

Only the EC2 API shows and sets them: instances, volumes and snapshots have metadata instead.
"""

from collections.abc import Callable, Mapping
from typing import Any

from nova.db.models import FloatingIp, KeyPair, SecurityGroup
from nova.db.session import retry, writer

Tagged = SecurityGroup | FloatingIp | KeyPair


@retry
def change(kind: type[Tagged], row_id: Any, owner: str,
           change: Callable[[dict[str, str]], Mapping[str, str]]) -> dict[str, str] | None:
    """Let ``change`` make a row's new tags of its old ones; None when it is not its owner's.

    Its owner is a project, of a key pair a user.  What ``change`` raises undoes it.
    """
    with writer() as session:
        row: Any = session.get(kind, row_id, with_for_update=True)
        if row is None or (row.user_id if kind is KeyPair else row.project_id) != owner:
            return None
        row.tags = dict(change(dict(row.tags or {})))
        return row.tags
