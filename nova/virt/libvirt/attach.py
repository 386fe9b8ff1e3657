# SPDX-License-Identifier: Apache-2.0
"""Volumes in and out of guests, running or not.

What a guest has is read off its domain: a disk whose serial number is a volume's id.  The
definition, which the next start uses, is made to say the same as the running machine.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import libvirt

from nova.exception import HypervisorError
from nova.virt.driver import AttachedVolume
from nova.virt.libvirt import volumes, xml
from nova.virt.libvirt.guest import CHANGE_TIMEOUT, Libvirt

LOG = logging.getLogger(__name__)

ASK_AGAIN = 4.0          # seconds after which a guest that kept a volume is asked again
POLL_SECONDS = 0.25

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG


class GuestVolumes:
    """The volumes of the guests behind one libvirtd."""

    def __init__(self, connection: Libvirt) -> None:
        self.libvirt = connection

    def in_use(self) -> dict[str, dict[str, str]]:
        """Return what running guests have open: device by volume id, by instance."""
        def look(connection: libvirt.virConnect) -> dict[str, dict[str, str]]:
            found = {}
            for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
                try:
                    text = domain.XMLDesc(0)
                except libvirt.libvirtError as error:
                    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                        continue
                    raise
                disks = volumes.of_domain(text)
                if disks and xml.label_of(text) is not None:
                    found[domain.UUIDString()] = {
                        one: volumes.device_of(disk) for one, disk in disks.items()}
            return found
        return self.libvirt.call("list guests' volumes", look)

    # -- in ----------------------------------------------------------------------------------

    def attach(self, instance_id: str, volume: AttachedVolume, initiator: str) -> None:
        """Give a guest a volume; see :meth:`nova.virt.driver.ComputeDriver.attach_volume`.

        A guest that is off and was never defined gets it with its first start.
        """
        text = volumes.as_text(volumes.disk(volume, initiator))

        def attach(domain: libvirt.virDomain) -> None:
            for flag in _sides(domain):
                if volume.volume_id not in _volumes(domain, flag):
                    domain.attachDeviceFlags(text, flag)
        with self.secrets([volume]):
            self.libvirt.on_domain("attach a volume", instance_id, attach, None, CHANGE_TIMEOUT)
        try:
            self.check_sizes(instance_id, [volume])
        except HypervisorError:
            self.detach(instance_id, volume.volume_id, CHANGE_TIMEOUT)
            raise

    def check_sizes(self, instance_id: str, attached: Sequence[AttachedVolume]) -> None:
        """Refuse volumes that turn out to be of another size, now that QEMU has them open."""
        def sizes(domain: libvirt.virDomain) -> dict[str, int]:
            if not domain.isActive():
                return {}
            return {one: domain.blockInfo(volumes.device_of(disk))[0]
                    for one, disk in _volumes(domain, _LIVE).items()}
        if not attached:
            return
        found = self.libvirt.on_domain("look at a guest's volumes", instance_id, sizes, {})
        for volume in attached:
            if volume.volume_id in found:
                volumes.check_size(volume.connection, found[volume.volume_id])

    @contextmanager
    def secrets(self, attached: Sequence[AttachedVolume]) -> Iterator[None]:
        """Let libvirt know the volumes' passwords for as long as it takes to hand them to QEMU.

        What a kill -9 leaves of it is in libvirtd's memory alone, and overwritten next time.
        """
        known = [volume.connection for volume in attached if volume.connection.auth_secret]
        if not known:
            yield
            return

        def tell(connection: libvirt.virConnect) -> None:
            for one in known:
                made = connection.secretDefineXML(volumes.secret(one.volume_id))
                made.setValue(str(one.auth_secret).encode())

        def forget(connection: libvirt.virConnect) -> None:
            for one in known:
                try:
                    connection.secretLookupByUUIDString(one.volume_id).undefine()
                except libvirt.libvirtError as error:
                    if error.get_error_code() != libvirt.VIR_ERR_NO_SECRET:
                        raise
        self.libvirt.call("keep a volume's password", tell)
        try:
            yield
        finally:
            try:
                self.libvirt.call("forget a volume's password", forget)
            except HypervisorError as error:    # the guest has its volume, or has it not
                LOG.warning("A volume's password is still in libvirtd's memory: %s", error)

    # -- out ---------------------------------------------------------------------------------

    def detach(self, instance_id: str, volume_id: str, timeout: float,
               keep_waiting: Callable[[], bool] | None = None) -> None:
        """Take a volume from a guest, see :meth:`nova.virt.driver.ComputeDriver.detach_volume`.

        A guest that is still booting hears nothing: it is asked again.  The definition loses
        the volume only after the running machine has.
        """
        until = time.monotonic() + timeout
        asked_at, refusal = float("-inf"), "the guest does not let go"
        while True:
            ask = time.monotonic() - asked_at >= ASK_AGAIN
            gone, error = self.libvirt.on_domain(
                "detach a volume", instance_id, lambda domain, ask=ask: _take(  # type: ignore[misc]
                    domain, volume_id, ask), (True, None), CHANGE_TIMEOUT)
            if gone:
                return
            if ask:
                asked_at = time.monotonic()
            refusal = error or refusal
            if time.monotonic() >= until or (keep_waiting is not None and not keep_waiting()):
                raise HypervisorError(action="detach a volume",
                                      reason=f"after {timeout:g} seconds: {refusal}")
            time.sleep(POLL_SECONDS)


def _sides(domain: libvirt.virDomain) -> list[int]:
    """Return what of a guest there is to change: the running machine first."""
    return [_LIVE, _CONFIG] if domain.isActive() else [_CONFIG]


def _volumes(domain: libvirt.virDomain, side: int) -> dict[str, Any]:
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE if side == _CONFIG else 0
    return volumes.of_domain(domain.XMLDesc(flags))


def _take(domain: libvirt.virDomain, volume_id: str, ask: bool) -> tuple[bool, str | None]:
    """Ask once if ``ask``; return (it is gone, why not)."""
    refusal = None
    if domain.isActive():
        disk = _volumes(domain, _LIVE).get(volume_id)
        if disk is not None and ask:
            try:
                domain.detachDeviceFlags(volumes.as_text(disk), _LIVE)
            except libvirt.libvirtError as error:
                # Being asked already, gone or off in this moment: the next look says which.
                refusal = error.get_error_message()
                LOG.info("Volume %s of %s: %s", volume_id, domain.UUIDString(), refusal)
        if domain.isActive() and volume_id in _volumes(domain, _LIVE):
            return False, refusal
    disk = _volumes(domain, _CONFIG).get(volume_id)
    if disk is not None:
        domain.detachDeviceFlags(volumes.as_text(disk), _CONFIG)
    return True, None
