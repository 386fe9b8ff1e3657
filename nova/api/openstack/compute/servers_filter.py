# SPDX-License-Identifier: Apache-2.0
"""The query string of a list of servers: who may filter by what, and how it is found."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nova import exception, policy
from nova.api.openstack.compute.links import parse_time
from nova.api.openstack.validation import as_bool
from nova.api.openstack.wsgi import Request
from nova.compute.states import TaskState, VmState
from nova.db import instances
from nova.db.models import Instance

_BATCH = 500
_MAX_PATTERN = 255
_MAX_OPTIONAL = 4
_QUIET = [None, *(task for task in TaskState
                  if task not in (TaskState.REBOOTING, TaskState.REBOOTING_HARD))]
_STATUS: dict[str, tuple[VmState, list[Any]]] = {
    "ACTIVE": (VmState.ACTIVE, _QUIET),
    "BUILD": (VmState.BUILDING, _QUIET),
    "ERROR": (VmState.ERROR, _QUIET),
    "SHUTOFF": (VmState.STOPPED, _QUIET),
    "REBOOT": (VmState.ACTIVE, [TaskState.REBOOTING]),
}
_USER_COLUMNS = {"reservation_id": "reservation_id", "image": "image_id", "flavor": "flavor_id",
                 "access_ip_v4": "access_ip_v4", "access_ip_v6": "access_ip_v6"}
_ADMIN_COLUMNS = {
    "host": "host", "uuid": "id", "user_id": "user_id", "vm_state": "vm_state",
    "task_state": "task_state", "availability_zone": "availability_zone", "key_name": "key_name",
    "hostname": "hostname", "kernel_id": "kernel_id", "ramdisk_id": "ramdisk_id",
    "display_name": "display_name"}
_ADMIN_NUMBERS = {"power_state": "power_state", "progress": "progress",
                  "launch_index": "launch_index"}


class _Nothing(Exception):
    """The filter can match no server."""


def safe_pattern(text: str, name: str) -> re.Pattern[str] | None:
    """Return a pattern for a regular expression that cannot backtrack for long, else refuse it.

    None: the text has no special characters, look for it as it stands.  Groups, alternatives and
    counted repetitions are refused, and so are more than two open repetitions (one when the
    pattern does not start with ^): what is left takes time quadratic in a name's length at worst.
    """
    if len(text) > _MAX_PATTERN:
        raise exception.BadRequest(f"{name}: longer than {_MAX_PATTERN} characters.")
    if not re.search(r"[\\^$.|?*+(){}\[\]]", text):
        return None
    plain = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "x", text)
    allowed = 2 if plain.startswith("^") else 1
    if re.search(r"[(){}|]", plain) or len(re.findall(r"[*+]", plain)) > allowed \
            or plain.count("?") > _MAX_OPTIONAL:
        raise exception.BadRequest(
            f"{name}: only simple patterns are possible, without groups, alternatives, counts "
            "and with at most two of * and + after a leading ^ (else one).")
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise exception.BadRequest(f"{name}: not a regular expression: {error}.") from None


@dataclass
class Filter:
    """Which servers a list shows: columns for the database, and tests on what comes back."""

    columns: dict[str, Any] = field(default_factory=dict)
    tests: list[Callable[[Sequence[Instance]], list[Instance]]] = field(default_factory=list)
    nothing: bool = False

    @classmethod
    def of(cls, req: Request, network: Any) -> "Filter":
        """Read a query string; BadRequest names the field.  Unknown fields are ignored."""
        made = cls()
        try:
            made._scope(req)
            made._user(req)
            if req.context.is_admin:
                made._admin(req)
        except _Nothing:
            made.nothing = True
        made._address_tests(req, network)
        return made

    def _scope(self, req: Request) -> None:
        """Hold the list to the caller's project unless the policy lets him see others'."""
        project_id = req.last("project_id", req.last("tenant_id"))
        all_tenants = req.last("all_tenants")
        if all_tenants is not None and all_tenants != "" \
                and all_tenants.lower() not in ("0", "1", "true", "false", "t", "f", "yes", "no",
                                                "on", "off", "y", "n"):
            raise exception.BadRequest(f"all_tenants: {all_tenants[:32]!r} is not a boolean.")
        if all_tenants is not None and (all_tenants == "" or as_bool(all_tenants)):
            policy.authorize(req.context, "compute:servers:list:all_tenants")
            if project_id is not None:
                self.columns["project_id"] = project_id
            return
        self.columns["project_id"] = req.project_id

    def _user(self, req: Request) -> None:
        for name, column in _USER_COLUMNS.items():
            values = req.query.get(name)
            if values:
                self.columns[column] = [value.rpartition("/")[2] for value in values] \
                    if name in ("image", "flavor") else values
        if req.query.get("name"):
            self._by_name(req.query["name"][-1])
        if req.query.get("status"):
            self._by_status(req.query["status"])
        for name, key in (("changes-since", "changes_since"),
                          ("changes-before", "changes_before")):
            raw = req.last(name)
            if raw:
                self.columns[key] = parse_time(raw, name)

    def _by_name(self, text: str) -> None:
        pattern = safe_pattern(text, "name")
        if pattern is None:
            self.columns["name"] = text
        else:
            self.tests.append(lambda rows: [r for r in rows if pattern.search(r.display_name)])

    def _by_status(self, values: Sequence[str]) -> None:
        wanted = {value.upper() for value in values}
        hard = "HARD_REBOOT" in wanted
        known = [_STATUS[value] for value in wanted if value in _STATUS]
        if hard:
            self.columns["task_state"] = [TaskState.REBOOTING_HARD]
            known = [(vm, _QUIET) for vm, _ in known]
            if known:
                raise exception.BadRequest("status: HARD_REBOOT goes with no other status.")
            return
        if not known:
            raise _Nothing()
        self.columns["vm_state"] = sorted({vm for vm, _ in known})
        tasks = [task for _, tasks in known for task in tasks]
        self.columns["task_state"] = list(dict.fromkeys(tasks))
        if len(known) > 1 and "REBOOT" in wanted:
            pairs = {(vm, task) for vm, tasks in known for task in tasks}
            self.tests.append(
                lambda rows: [r for r in rows if (r.vm_state, r.task_state) in pairs])

    def _admin(self, req: Request) -> None:
        if as_bool(req.last("deleted") or "") or (req.last("status") or "").upper() == "DELETED":
            raise _Nothing()      # rows of deleted servers are gone
        for name, column in _ADMIN_COLUMNS.items():
            values = req.query.get(name)
            if values:
                self._and(column, [None if value.lower() == "none" and name == "task_state"
                                   else value for value in values])
        for name, column in _ADMIN_NUMBERS.items():
            raw = req.last(name)
            if raw is not None:
                if not re.match(r"[0-9]{1,9}\Z", raw):
                    raise exception.BadRequest(f"{name}: {raw[:32]!r} is not a number.")
                self._and(column, [int(raw)])
        raw = req.last("config_drive")
        if raw:
            self._and("config_drive", [as_bool(raw)])
        if req.query.get("locked"):
            self._and("locked", [as_bool(req.query["locked"][-1])])

    def _and(self, column: str, values: list[Any]) -> None:
        before = self.columns.get(column)
        if before is None:
            self.columns[column] = values
            return
        both = [value for value in (before if isinstance(before, list) else [before])
                if value in values]
        if not both:
            raise _Nothing()
        self.columns[column] = both

    def _address_tests(self, req: Request, network: Any) -> None:
        for name, version in (("ip", 4), ("ip6", 6)):
            text = req.last(name)
            if not text:
                continue
            pattern = safe_pattern(text, name)
            matches = pattern.search if pattern is not None else _contains(text)
            self.tests.append(_address_test(req, network, version, matches))

    def page(self, *, marker: str | None, limit: int,
             sort: Sequence[tuple[str, str]]) -> list[Instance]:
        """Return the first ``limit`` servers after ``marker`` that pass."""
        if self.nothing:
            return []
        if not self.tests:
            return instances.get_all(self.columns, marker=marker, limit=limit, sort=sort)
        found: list[Instance] = []
        while len(found) < limit:
            rows = instances.get_all(self.columns, marker=marker, limit=_BATCH, sort=sort)
            passed = rows
            for test in self.tests:
                passed = test(passed)
            found.extend(passed)
            if len(rows) < _BATCH:
                break
            marker = rows[-1].id
        return found[:limit]


def _contains(text: str) -> Callable[[str], bool]:
    return lambda address: text in address


def _address_test(req: Request, network: Any, version: int,
                  matches: Callable[[str], Any]) -> Callable[[Sequence[Instance]], list[Instance]]:
    def test(rows: Sequence[Instance]) -> list[Instance]:
        found: Mapping[str, Any] = network.addresses_for_instances(
            req.context, [row.id for row in rows]) if rows else {}
        return [row for row in rows
                if any(one["version"] == version and matches(one["addr"])
                       for those in found.get(row.id, {}).values() for one in those)]
    return test
