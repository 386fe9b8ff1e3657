# SPDX-License-Identifier: Apache-2.0
"""Parts of the Volume API this cloud does not have: they say so, with 501."""

from collections.abc import Iterable
from typing import Any

from nova import exception
from nova.api.openstack.wsgi import Mark, Request, Resource

_MISSING = (
    "backups", "os-volume-transfer", "volume-transfers", "consistencygroups", "cgsnapshots",
    "groups", "group_snapshots", "messages", "resource_filters")
_OPERATORS = (
    "group_types", "qos-specs", "os-volume-manage", "os-snapshot-manage", "manageable_volumes",
    "manageable_snapshots", "clusters", "workers", "default-types", "os-hosts", "capabilities",
    "os-quota-class-sets", "os-volume-encryption-metadata")


class Missing(Resource):
    """Paths that answer 501 to every method."""

    def handlers(self) -> Iterable[Any]:
        """Return one handler per method and path, made from the tables above."""
        for names, rule in ((_MISSING, "volume:unsupported"),
                            (_OPERATORS, "volume:unsupported:admin")):
            for name in names:
                for path in (f"/{name}", f"/{name}/{{rest:.*}}"):
                    for method in ("GET", "POST", "PUT", "DELETE"):
                        yield Mark(method, path, 200, None, rule, False, None), self.refuse

    def refuse(self, req: Request, rest: str = "") -> None:
        """Say what is not there."""
        raise exception.NotSupported(what=req.path_info[:128])
