# SPDX-License-Identifier: Apache-2.0
"""What the Network API has in other clouds: there is none of it here, and none can be made."""

from collections.abc import Callable, Iterable
from typing import Any

from nova import exception
from nova.api.openstack.wsgi import Mark, Request, Resource, route

# Path, key of the list, policy of the list.
NONE_OF = (
    ("routers", "routers", "network:others:list"),
    ("agents", "agents", "network:agents:list"),
    ("subnetpools", "subnetpools", "network:others:list"),
    ("address-scopes", "address_scopes", "network:others:list"),
    ("address-groups", "address_groups", "network:others:list"),
    ("rbac-policies", "rbac_policies", "network:others:list"),
    ("trunks", "trunks", "network:others:list"),
    ("qos/policies", "policies", "network:others:list"),
    ("segments", "segments", "network:others:list"),
    ("flavors", "flavors", "network:others:list"),
    ("service-providers", "service_providers", "network:others:list"),
    ("local_ips", "local_ips", "network:others:list"),
    ("default-security-group-rules", "default_security_group_rules", "network:others:list"),
    ("metering/metering-labels", "metering_labels", "network:others:list"),
)


class NoneOf(Resource):
    """Lists that are empty; their members are not found and making one answers 501."""

    def handlers(self) -> Iterable[tuple[Mark, Callable]]:
        """Return four handlers for each kind of thing there is none of."""
        for path, key, rule in NONE_OF:
            yield Mark("GET", f"/{path}", 200, None, rule, False, None), self._list(key)
            yield (Mark("POST", f"/{path}", 201, None, "network:others:create", False, None),
                   self._create(path))
            for method in ("GET", "PUT", "DELETE"):
                yield (Mark(method, f"/{path}/{{thing_id}}", 200, None, rule, False, None),
                       self._missing(path))

    @staticmethod
    def _list(key: str) -> Callable:
        return lambda req: {key: []}

    @staticmethod
    def _create(path: str) -> Callable:
        def create(req: Request) -> None:
            raise exception.NotSupported(what=f"/{path}")
        return create

    @staticmethod
    def _missing(path: str) -> Callable:
        def missing(req: Request, thing_id: str) -> None:
            raise exception.NotFound(f"There is no {thing_id[:64]!r} among the {path}.")
        return missing


class AvailabilityZones(Resource):
    """``/availability_zones``: the one there is."""

    @route("GET", "/availability_zones", policy="network:others:list")
    def index(self, req: Request) -> dict[str, Any]:
        return {"availability_zones": [
            {"name": "nova", "resource": "network", "state": "available"}]}
