# SPDX-License-Identifier: Apache-2.0
"""Parts of the Volume API this cloud does not have: they say so, with 501.

Clients that look through everything there is of a project are shown that it has none of these.
"""

from collections.abc import Callable, Iterable
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

# What there can be none of, and so is listed: path, key of the list, policy.
_NONE_OF = (
    ("backups", "backups", "volume:unsupported"),
    ("os-volume-transfer", "transfers", "volume:unsupported"),
    ("consistencygroups", "consistencygroups", "volume:unsupported"),
    ("cgsnapshots", "cgsnapshots", "volume:unsupported"),
    ("qos-specs", "qos_specs", "volume:unsupported:admin"))


class NoneOf(Resource):
    """Lists that are empty."""

    def handlers(self) -> Iterable[Any]:
        """Return the handlers of the plain and the detailed list of each kind."""
        for name, key, rule in _NONE_OF:
            for path in (f"/{name}", f"/{name}/detail"):
                yield Mark("GET", path, 200, None, rule, False, None), self._list(key)

    @staticmethod
    def _list(key: str) -> Callable[[Request], dict[str, Any]]:
        return lambda req: {key: []}


class Missing(Resource):
    """Paths that answer 501 to every method, save what :class:`NoneOf` answers."""

    def handlers(self) -> Iterable[Any]:
        """Return one handler per method and path, made from the tables above."""
        for names, rule in ((_MISSING, "volume:unsupported"),
                            (_OPERATORS, "volume:unsupported:admin")):
            for name in names:
                listed = any(name == one for one, _, _ in _NONE_OF)
                for path in (f"/{name}", f"/{name}/{{rest:.*}}"):
                    for method in ("GET", "POST", "PUT", "DELETE"):
                        if listed and method == "GET" and path == f"/{name}":
                            continue
                        yield Mark(method, path, 200, None, rule, False, None), self.refuse

    def refuse(self, req: Request, rest: str = "") -> None:
        """Say what is not there."""
        raise exception.NotSupported(what=req.path_info[:128])
