# SPDX-License-Identifier: Apache-2.0
"""What is done to a server: ``POST /servers/ID/action`` with the action's name as the one key."""

import functools
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from nova import exception
from nova.api.openstack.compute import servers_schema as schema
from nova.api.openstack.compute.servers import PASSWORD_BYTES
from nova.api.openstack.validation import as_bool
from nova.api.openstack.wsgi import Mark, Request, Resource, action
from nova.compute.api import API

PATH = "/servers/{server_id}/action"

_UNSUPPORTED = (
    "resize", "confirmResize", "revertResize", "rebuild", "createImage", "changePassword",
    "pause", "unpause", "suspend", "resume", "rescue", "unrescue", "shelve", "shelveOffload",
    "unshelve", "createBackup", "os-getVNCConsole", "os-getSPICEConsole",
    "os-getSerialConsole", "os-getRDPConsole", "os-getMKSConsole", "trigger_crash_dump",
    "forceDelete", "restore", "addFixedIp", "removeFixedIp", "attach")
_UNSUPPORTED_ADMIN = ("migrate", "os-migrateLive", "resetNetwork",
                      "injectNetworkInfo")


class ServerActions(Resource):
    """Actions on servers.  Those of the API that are not here answer 501."""

    def __init__(self, compute: API) -> None:
        self._compute = compute

    def handlers(self) -> Iterable[tuple[Mark, Callable]]:
        """Return the handlers below and one that refuses for each action that is not here."""
        yield from super().handlers()
        for names, rule in ((_UNSUPPORTED, "compute:unsupported"),
                            (_UNSUPPORTED_ADMIN, "compute:unsupported:admin")):
            for name in names:
                yield (Mark("POST", PATH, 202, None, rule, False, name),
                       functools.partial(self._refuse, name))

    def _refuse(self, name: str, req: Request, server_id: str) -> None:
        self._compute.get(req.context, server_id)
        raise exception.NotSupported(what=f"Action {name}")

    @action(PATH, "os-resetState", body=schema.RESET_STATE, policy="compute:servers:reset_state")
    def reset_state(self, req: Request, server_id: str, body: dict[str, Any]) -> None:
        self._compute.reset_state(req.context, server_id, body["state"])

    @action(PATH, "reboot", body=schema.REBOOT, policy="compute:servers:reboot")
    def reboot(self, req: Request, server_id: str, body: dict[str, Any]) -> None:
        self._compute.reboot(req.context, server_id, hard=body["type"].upper() == "HARD")

    @action(PATH, "evacuate", status=200, body=schema.EVACUATE,
            policy="compute:servers:evacuate")
    def evacuate(self, req: Request, server_id: str, body: dict[str, Any]) -> dict[str, Any]:
        if as_bool(body.get("onSharedStorage", False)):
            raise exception.NotSupported(what="evacuate.onSharedStorage: disks of other hosts")
        self._compute.evacuate(req.context, server_id, body.get("host"))
        return {"adminPass": body.get("adminPass") or secrets.token_urlsafe(PASSWORD_BYTES)}

    @action(PATH, "os-start", policy="compute:servers:start")
    def start(self, req: Request, server_id: str) -> None:
        self._compute.start(req.context, server_id)

    @action(PATH, "os-stop", policy="compute:servers:stop")
    def stop(self, req: Request, server_id: str) -> None:
        self._compute.stop(req.context, server_id)

    @action(PATH, "lock", policy="compute:servers:lock")
    def lock(self, req: Request, server_id: str) -> None:
        self._compute.set_locked(req.context, server_id, True)

    @action(PATH, "unlock", policy="compute:servers:unlock")
    def unlock(self, req: Request, server_id: str) -> None:
        self._compute.set_locked(req.context, server_id, False)

    @action(PATH, "os-getConsoleOutput", status=200, body=schema.CONSOLE,
            policy="compute:servers:console_output")
    def console_output(self, req: Request, server_id: str,
                       body: dict[str, Any]) -> dict[str, Any]:
        length = body.get("length")
        lines = None if length is None or int(length) < 0 else int(length)
        return {"output": self._compute.get_console_output(req.context, server_id, lines)}

    # ------------------------------------------------------------ the network's, by old names

    @action(PATH, "addSecurityGroup", body=schema.GROUP, policy="compute:servers:security_groups")
    def add_group(self, req: Request, server_id: str, body: dict[str, Any]) -> None:
        self._compute.add_security_group(req.context, server_id, body["name"])

    @action(PATH, "removeSecurityGroup", body=schema.GROUP,
            policy="compute:servers:security_groups")
    def remove_group(self, req: Request, server_id: str, body: dict[str, Any]) -> None:
        self._compute.remove_security_group(req.context, server_id, body["name"])

    @action(PATH, "addFloatingIp", body=schema.FLOATING_IP, policy="compute:servers:floating_ips")
    def add_floating(self, req: Request, server_id: str, body: dict[str, Any]) -> None:
        try:
            self._compute.add_floating_ip(
                req.context, server_id, body["address"], body.get("fixed_address"))
        except exception.Conflict as error:
            raise exception.BadRequest(f"addFloatingIp.address: {error}") from None

    @action(PATH, "removeFloatingIp", body=schema.FLOATING_IP_GONE,
            policy="compute:servers:floating_ips")
    def remove_floating(self, req: Request, server_id: str, body: dict[str, Any]) -> None:
        self._compute.remove_floating_ip(req.context, server_id, body["address"])
