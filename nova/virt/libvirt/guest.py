# SPDX-License-Identifier: Apache-2.0
"""Calls to libvirt: each in a real thread, each with a time limit, errors as ours.

The connection is opened at the first call and again when libvirtd was restarted; guests go on
meanwhile, and are found again by their UUID.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import libvirt

from nova import concurrency
from nova.compute.states import PowerState
from nova.exception import HypervisorError, InstanceNotFound
from nova.virt.driver import GuestInfo
from nova.virt.libvirt import xml

LOG = logging.getLogger(__name__)
T = TypeVar("T")

OPEN_TIMEOUT = 20        # seconds to get a connection
LOOK_TIMEOUT = 30        # to ask something
CHANGE_TIMEOUT = 120     # to define, start, destroy
START_TIMEOUT = 120      # for a start that another connection has under way to come to its end
POLL_SECONDS = 0.1       # between two looks at such a start

_POWER_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: PowerState.NOSTATE,
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    # The guest is on its way down: it runs until it is gone.
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.SUSPENDED,
}
_LOST = {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}
_UNDEFINE_FLAGS = (libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                   | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                   | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)


class CallTimeout(Exception):
    """libvirt did not answer in time."""


def _silence(_context: Any, _error: Any) -> None:
    """Errors come as exceptions; libvirt need not print them as well."""


class Libvirt:
    """One connection to one libvirtd, renewed when it breaks."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._connection: libvirt.virConnect | None = None
        self._lock = threading.Lock()

    # -- calling -----------------------------------------------------------------------------

    def call(self, action: str, function: Callable[[libvirt.virConnect], T],
             timeout: float = LOOK_TIMEOUT) -> T:
        """Return ``function(connection)`` run in a real thread.

        HypervisorError names the action; a libvirt error that means "no such domain" passes
        through for the caller to judge.  A connection that turns out to be broken is opened anew
        and the call made once more: all of them may be made twice.
        """
        for attempt in (1, 2):
            connection = self._connect()
            try:
                return self._timed(timeout, function, connection)
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    raise
                if attempt == 1 and self._broken(connection, error):
                    LOG.warning("The connection to libvirt broke: %s", error)
                    continue
                raise HypervisorError(action=action, reason=error.get_error_message()) from error
            except CallTimeout as error:
                self._forget(connection)
                raise HypervisorError(
                    action=action,
                    reason=f"libvirt gave no answer within {timeout:g} seconds") from error
        raise AssertionError("unreachable")

    @staticmethod
    def _timed(timeout: float, function: Callable[..., T], *args: Any) -> T:
        with concurrency.Timeout(timeout, CallTimeout()):
            return concurrency.run_in_thread(function, *args)

    def _connect(self) -> libvirt.virConnect:
        with self._lock:
            if self._connection is not None and _alive(self._connection):
                return self._connection
            libvirt.registerErrorHandler(_silence, None)
            try:
                self._connection = self._timed(OPEN_TIMEOUT, libvirt.open, self.uri)
            except libvirt.libvirtError as error:
                raise HypervisorError(action=f"connect to {self.uri}",
                                      reason=error.get_error_message()) from error
            except CallTimeout as error:
                raise HypervisorError(action=f"connect to {self.uri}",
                                      reason=f"no answer in {OPEN_TIMEOUT} seconds") from error
            return self._connection

    def _broken(self, connection: libvirt.virConnect, error: libvirt.libvirtError) -> bool:
        if error.get_error_domain() in _LOST or not _alive(connection):
            self._forget(connection)
            return True
        return False

    def _forget(self, connection: libvirt.virConnect) -> None:
        with self._lock:
            if self._connection is connection:
                self._connection = None

    # -- the host ----------------------------------------------------------------------------

    def capabilities(self) -> str:
        """Return the host's capabilities as XML."""
        return self.call("read the host's capabilities", lambda c: c.getCapabilities())

    def host_info(self) -> tuple[str, int, int]:
        """Return (host name, hypervisor's version, processors)."""
        def look(connection: libvirt.virConnect) -> tuple[str, int, int]:
            return connection.getHostname(), connection.getVersion(), connection.getInfo()[2]
        return self.call("read the host's resources", look)

    # -- guests ------------------------------------------------------------------------------

    def guests(self) -> dict[str, GuestInfo]:
        """Return the guests that carry our label, by UUID."""
        def look(connection: libvirt.virConnect) -> dict[str, GuestInfo]:
            found = {}
            for domain in connection.listAllDomains():
                try:
                    info = _info(domain)
                except libvirt.libvirtError as error:
                    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                        continue        # gone since it was listed
                    raise
                if info is not None:
                    found[info.id] = info
            return found
        return self.call("list guests", look)

    def guest(self, instance_id: str) -> GuestInfo | None:
        """Return what is known of a guest of ours; None when there is none."""
        return self.on_domain("look at a guest", instance_id, _info, None)

    def settled_guest(self, instance_id: str) -> GuestInfo | None:
        """As guest(), after a start that is under way came to its end.

        libvirtd goes on with a start whose caller was killed; until then the guest is paused,
        and nothing says yet whether it will run.  HypervisorError after START_TIMEOUT.
        """
        until = time.monotonic() + START_TIMEOUT
        while self.on_domain("look at a guest", instance_id, _is_starting, False):
            if time.monotonic() >= until:
                raise HypervisorError(
                    action="start a guest",
                    reason=f"another start of it is not over after {START_TIMEOUT} seconds")
            time.sleep(POLL_SECONDS)
        return self.guest(instance_id)

    def taps(self, instance_id: str) -> list[str]:
        """Return the host's devices a guest is plugged into."""
        return self.on_domain("look at a guest", instance_id,
                               lambda domain: xml.taps_of(domain.XMLDesc(0)), [])

    def define_and_start(self, instance_id: str, domain_xml: str) -> None:
        """Make the domain what the XML says and start it; one that runs is left alone."""
        def start(connection: libvirt.virConnect) -> None:
            domain = connection.defineXML(domain_xml)
            if not domain.isActive():
                domain.create()
        self.call("start a guest", start, CHANGE_TIMEOUT)

    def destroy(self, instance_id: str) -> None:
        """Stop a guest at once; one that is off, or not there, is success."""
        def stop(domain: libvirt.virDomain) -> None:
            try:
                domain.destroy()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                    raise
        self.on_domain("stop a guest", instance_id, stop, None, CHANGE_TIMEOUT)

    def undefine(self, instance_id: str) -> None:
        """Forget a guest that is off; one that is not there is success."""
        self.on_domain("remove a guest", instance_id,
                        lambda domain: domain.undefineFlags(_UNDEFINE_FLAGS), None)

    def ask_to_power_off(self, instance_id: str) -> None:
        """Press the guest's power button; InstanceNotFound when there is no guest."""
        missing = object()
        done = self.on_domain(
            "ask a guest to power off", instance_id,
            lambda domain: domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN),
            missing)
        if done is missing:
            raise InstanceNotFound(instance_id=instance_id)

    def on_domain(self, action: str, instance_id: str, function: Callable[..., Any],
                  missing: Any, timeout: float = LOOK_TIMEOUT) -> Any:
        """Return ``function(domain)`` for a guest of ours, ``missing`` when there is none.

        Called as :meth:`call` says: it may be called twice.
        """
        def run(connection: libvirt.virConnect) -> Any:
            domain = connection.lookupByUUIDString(instance_id)
            if xml.label_of(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)) is None:
                return missing          # somebody else's domain of that UUID
            return function(domain)
        try:
            return self.call(action, run, timeout)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return missing
            raise


def _alive(connection: libvirt.virConnect) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _is_starting(domain: libvirt.virDomain) -> bool:
    return tuple(domain.state()) == (libvirt.VIR_DOMAIN_PAUSED,
                                     libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)


def _info(domain: libvirt.virDomain) -> GuestInfo | None:
    label = xml.label_of(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    if label is None:
        return None
    state, max_memory, _memory, vcpus, _time = domain.info()
    return GuestInfo(
        id=domain.UUIDString(), power_state=_POWER_STATES.get(state, PowerState.NOSTATE),
        project_id=label.project_id, memory_mb=max_memory // 1024, vcpus=vcpus,
        process_id=None)
