# SPDX-License-Identifier: Apache-2.0
"""The network worker: FlatDHCP on this host.

Rows say what ought to be.  A message only says which row to look at, and :meth:`reconcile`, at
start and once a minute, looks at all of them; so a message that is lost or comes twice and a
worker that dies between two lines are made good.
"""

import contextlib
import datetime
import logging
import uuid
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any

from oslo_concurrency import lockutils
from oslo_config import cfg
from sqlalchemy.orm import Session

from nova import audit, exception, quota
from nova import rpc as nova_rpc
from nova.context import RequestContext, admin_context
from nova.db import floating_ips, instances, networks, ports, security_groups
from nova.db.models import Instance, Network, utcnow
from nova.network import vifs
from nova.network.api import API
from nova.network.driver import (
    FloatingRoute,
    HostInventory,
    HostNetwork,
    HostPort,
    NetworkDriver,
    load_driver,
)

LOG = logging.getLogger(__name__)

OPTS = [
    cfg.IntOpt("network_reconcile_interval", default=60, min=5,
               help="Seconds between two comparisons of this host's networks with the rows."),
]
CONF = cfg.CONF
CONF.import_opt("message_patience", "nova.config")
CONF.register_opts(OPTS)

# An instance's row can be a moment later than its port's; one so old has none any more.
ORPHAN_AGE = datetime.timedelta(minutes=10)
_PORTS = uuid.UUID("0b7c12fd-1a36-4b7b-8f5d-9d2ec85aee30")


class NetworkManager:
    """Gives instances their addresses and makes this host carry their networks."""

    def __init__(self, host: str, driver: NetworkDriver | None = None,
                 rpc: Any = nova_rpc) -> None:
        self.host = host
        self.driver = driver or load_driver()
        self.rpc = rpc
        self.api = API(rpc)
        self._served: set[str] = set()      # networks this process has seen carried here

    def start(self) -> None:
        """Make this host carry what it has to, before any message is taken."""
        self.driver.init_host()
        self.reconcile()

    def periodic_tasks(self) -> list[tuple[str, float, Callable[[], Any]]]:
        """Return what looks at everything and, more often, at what may have no message."""
        return [("reconcile", CONF.network_reconcile_interval, self.reconcile),
                ("take-up", CONF.message_patience, self.take_up)]

    def take_up(self) -> None:
        """Have floating addresses live here, or no more, whose rows say so and no message did."""
        for route in floating_ips.routes(host=self.host):
            if self._belongs_here(route) != (route.host == self.host):
                with _alone(f"Floating IP {route.address}"):
                    self.apply_floating_ip(admin_context(), route.id)

    # -- instances -----------------------------------------------------------------------------

    def allocate_for_instance(self, context: RequestContext,
                              instance_id: str) -> list[dict[str, Any]]:
        """Give an instance what its build request asks for and tell DHCP; answer its VIFs.

        Idempotent: what an earlier call has made is kept.  Ports of an attempt that fails are
        left to :meth:`deallocate_for_instance`, which the builder calls then.
        """
        with lockutils.lock(f"ports-of-{instance_id}"):
            instance = instances.get(instance_id)
            if instance.host is None:       # a message that comes late: its build was given up
                raise exception.InvalidState(
                    action="connect", instance_id=instance.id, vm_state=instance.vm_state,
                    task_state=instance.task_state)
            there = {view.port.device_index: view
                     for view in ports.find(device_ids=[instance_id])}
            for index, wanted in enumerate(self._wanted(instance)):
                if index not in there:
                    self._connect(instance, index, wanted)
        made = ports.find(device_ids=[instance_id])
        for view in made:
            if view.port.host != instance.host:
                ports.change(view.port.id, {"host": instance.host})
        self._tell_dhcp(context, {view.network.id: view.network for view in made})
        self.api.refresh_instances(
            context, referring=sorted({group for view in made for group in view.group_ids}),
            but=instance_id)
        return [vif.to_wire() for vif in vifs.of_instances([instance_id])[instance_id]]

    def _wanted(self, instance: Instance) -> list[dict[str, Any]]:
        asked = instance.build_request.get("networks")
        if asked is None:
            return [{"network_id": network.id}
                    for network in networks.owned(instance.project_id)]
        return list(asked)

    def _connect(self, instance: Instance, index: int, wanted: dict[str, Any]) -> None:
        """Plug the port asked for into an instance, or make one.

        InvalidState when its deletion has begun, or it was taken from its host, by then.
        """
        quota_left = quota.guard(instance.project_id, {"ports": 1})

        def stays(session: Session) -> None:
            instances.hold(session, instance.id, str(instance.host), "connect")

        def may(session: Session) -> None:
            quota_left(session)
            stays(session)

        plugged = {"device_owner": f"{ports.DEVICE_OWNER}{instance.availability_zone or 'nova'}",
                   "device_index": index, "host": instance.host, "status": "ACTIVE"}
        if wanted.get("port_id"):
            if not ports.plug(wanted["port_id"], instance.project_id, instance.id, guard=stays,
                              **plugged):
                raise exception.Conflict(f"Port {wanted['port_id']} is still in use, or gone.")
            return
        network = networks.get(wanted["network_id"], instance.project_id)
        groups = instance.build_request.get("security_groups") or []
        default = security_groups.default_id(instance.project_id)
        if not groups or default in groups:
            security_groups.ensure_default(instance.project_id)
        try:
            ports.create(
                # An id that follows from what it is for: made twice, it is there already.
                {"id": str(uuid.uuid5(_PORTS, f"{instance.id}/{index}")),
                 "network_id": network.id, "project_id": instance.project_id,
                 "device_id": instance.id, "owned_by_instance": True, **plugged},
                address=wanted.get("fixed_ip"),
                address_v6=lambda mac: vifs.address_v6(network, mac),
                group_ids=groups or [default],
                guard=may)
        except exception.AlreadyExists:
            LOG.info("Instance %s has its port %d already", instance.id, index)

    def deallocate_for_instance(self, context: RequestContext, instance_id: str,
                                from_host: str | None = None) -> None:
        """Take an instance's ports away; those made before it go back to their owner.  Idempotent.

        With ``from_host`` ("" is none) nothing is done for an instance that is not there any more.
        An address it still has a lease for is kept from others until that has run out.
        """
        with lockutils.lock(f"ports-of-{instance_id}"):
            row = instances.get_many([instance_id]).get(instance_id)
            if from_host is not None and row is not None and (row.host or "") != from_host:
                LOG.info("Instance %s is on %s by now: its ports stay", instance_id, row.host)
                return
            views = ports.find(device_ids=[instance_id])
            for view in views:
                if view.port.owned_by_instance:
                    ports.delete_port(view.port.id)
                else:
                    for public in view.floating:
                        floating_ips.associate(public.id, str(public.project_id), None)
                    ports.unplug(view.port.id, instance_id)
        for public in (one for view in views for one in view.floating):
            if public.host == self.host:
                self.apply_floating_ip(context, public.id)
            else:
                self.api.apply_floating(context, [public.id])
        self._tell_dhcp(context, {view.network.id: view.network for view in views})
        self.api.refresh_instances(
            context, referring=sorted({group for view in views for group in view.group_ids}))

    def _tell_dhcp(self, context: RequestContext, touched: dict[str, Network]) -> None:
        for network in touched.values():
            if network.host is None and networks.take(network.id, self.host):
                self.refresh_network(context, network.id)
            elif network.host == self.host and network.id in self._served:
                self._update_ports(network.id)
            elif network.host == self.host:
                self.refresh_network(context, network.id)   # raises why it cannot be served
            elif network.host is not None:
                self.api.refresh_network(context, network)

    # -- networks ------------------------------------------------------------------------------

    def refresh_network(self, context: RequestContext, network_id: str) -> None:
        """Have bridge, DHCP server and rules of a network be what its row says."""
        try:
            network = networks.get(network_id)
        except exception.NetworkNotFound:
            LOG.info("Network %s is gone", network_id)
            return
        if network.external or not network.cidr:
            return
        if network.host is None and networks.take(network.id, self.host):
            network.host = self.host
        if network.host != self.host:
            return
        self._ensure(network)
        self._apply_rules()

    def remove_network(self, context: RequestContext, network_id: str, bridge: str) -> None:
        """Take a deleted network off this host; one whose row is there is left alone."""
        if any(network.bridge == bridge for network in networks.find(host=self.host)):
            return
        self._served.discard(network_id)
        self._apply_rules()
        with lockutils.lock(f"network-{bridge}"):
            self.driver.remove_network(bridge)

    def _update_ports(self, network_id: str) -> None:
        """Tell the DHCP server of a network its guests, as they are when our turn comes."""
        network = networks.get(network_id)
        with lockutils.lock(f"network-{network.bridge}"):
            self.driver.update_ports(host_network(network), self._host_ports(network.id))

    def _ensure(self, network: Network) -> None:
        self._served.discard(network.id)
        with lockutils.lock(f"network-{network.bridge}"):
            self.driver.ensure_network(host_network(network), self._host_ports(network.id))
        self._served.add(network.id)

    @staticmethod
    def _host_ports(network_id: str) -> list[HostPort]:
        return [HostPort(mac, address, hostname or "")
                for mac, address, hostname in ports.dhcp_hosts(network_id)]

    def _apply_rules(self) -> None:
        """Make the host's rules be what the rows say at this moment."""
        with lockutils.lock("network-rules"):
            own = networks.find(host=self.host, external=False)
            self.driver.apply_rules(
                [host_network(network) for network in own if network.bridge],
                [FloatingRoute(route.address, route.fixed, route.bridge)
                 for route in floating_ips.routes(host=self.host)
                 if self._belongs_here(route) and route.host == self.host])

    # -- floating addresses --------------------------------------------------------------------

    def _belongs_here(self, route: Any) -> bool:
        return bool(route.fixed) and route.network_host == self.host

    def apply_floating_ip(self, context: RequestContext, floating_ip_id: str) -> None:
        """Have a floating address live here, or no more, as its row says."""
        with lockutils.lock(f"floating-{floating_ip_id}"):
            for route in floating_ips.routes(floating_id=floating_ip_id):
                self._apply_route(context, route)

    def _apply_route(self, context: RequestContext, route: Any) -> None:
        if self._belongs_here(route):
            if route.host not in (None, self.host):
                return      # the other host withdraws it first and tells us then
            # Written before it is done: killed in between, we know where to look.
            if not floating_ips.set_host(route.id, self.host, only_to=route.port_id):
                return      # it leads elsewhere by now: whoever changed that tells us next
            self._apply_rules()
            self.driver.bind_floating(route.address)
        elif route.host == self.host:
            self._withdraw(route)
            if route.network_host:
                self.api.apply_floating(context, [route.id])

    def _withdraw(self, route: Any) -> None:
        self._apply_rules()
        self.driver.unbind_floating(route.address)
        floating_ips.set_host(route.id, None, only_from=self.host)

    # -- everything ----------------------------------------------------------------------------

    def audit_host(self, context: RequestContext, repair: bool) -> list[dict[str, Any]]:
        """Compare this host with the rows; ``repair`` makes it right.  Answers findings."""
        return audit.on_this_host(audit.check_network(self.host, repair, self))

    def reconcile(self, orphan_age: datetime.timedelta = ORPHAN_AGE) -> None:
        """Compare the rows with this host and make the host right.

        What fails for one network is logged and keeps no other from being served.
        """
        context = admin_context()
        for network in networks.find(external=False):
            if network.host is None and network.cidr:
                networks.take(network.id, self.host)
        self._sweep_rows(context, orphan_age)
        own = networks.find(host=self.host, external=False)
        for network in own:
            with _alone(f"Network {network.id} on {network.bridge}"):
                self._ensure(network)
        self._apply_rules()
        there = self.driver.inventory()
        self._reconcile_floating(context, there)
        self._reconcile_leases({str(network.bridge): network for network in own}, there)
        self._remove_strays(there)

    def _sweep_rows(self, context: RequestContext, orphan_age: datetime.timedelta) -> None:
        """Let go of what instances that are gone still hold."""
        before = utcnow() - orphan_age
        for instance_id in {*dict(ports.orphans(before)), *dict(ports.stranded(before))}:
            LOG.warning("Instance %s is gone, or failed, and has ports: they are taken away",
                        instance_id)
            with _alone(f"The ports of {instance_id}"):
                self.deallocate_for_instance(context, instance_id)
        networks.expire_leases(utcnow() - datetime.timedelta(seconds=ports.QUARANTINE))

    def _reconcile_floating(self, context: RequestContext, there: HostInventory) -> None:
        live = set()
        for route in floating_ips.routes(host=self.host):
            here = self._belongs_here(route)
            if not (here and route.host == self.host and route.address in there.floating):
                with _alone(f"Floating IP {route.address}"):
                    self.apply_floating_ip(context, route.id)
            if here:
                live.add(route.address)
        for address in there.floating - live:
            LOG.warning("Floating IP %s is on this host and in no row: taken away", address)
            with _alone(f"Floating IP {address}"):
                self.driver.unbind_floating(address)

    def _reconcile_leases(self, own: dict[str, Network], there: HostInventory) -> None:
        """Write down what a DHCP server says that its messages have not told us."""
        for bridge, leased in there.leases.items():
            if bridge not in own:
                continue
            known = set(networks.leases(own[bridge].id))
            for mac, address in leased - known:
                networks.set_leased(own[bridge].id, address, mac, True)
            for mac, address in known - leased:
                networks.set_leased(own[bridge].id, address, mac, False)

    def _remove_strays(self, there: HostInventory) -> None:
        rows = [network for network in networks.find() if network.cidr]
        known = {network.bridge for network in rows}
        served = {network.bridge for network in rows if network.host == self.host}
        for bridge in (set(there.bridges) - known) | (set(there.dhcp_servers) - served):
            LOG.warning("Bridge %s is nobody's network: taken away", bridge)
            with _alone(f"Bridge {bridge}"), lockutils.lock(f"network-{bridge}"):
                self.driver.remove_network(bridge)


@contextlib.contextmanager
def _alone(what: str) -> Iterator[None]:
    """Log what fails for one thing, so that it stops no other."""
    try:
        yield
    except exception.NovaError as error:
        LOG.error("%s is not as it should be, the next look tries again: %s", what, error)


def host_network(network: Network) -> HostNetwork:
    """Return a network's row as a host needs it."""
    v6 = network.cidr_v6 and network.gateway_v6
    return HostNetwork(
        network_id=network.id, bridge=str(network.bridge), cidr=network.cidr,
        gateway=f"{network.gateway}/{ip_network(network.cidr).prefixlen}", mtu=network.mtu,
        bridge_interface=network.bridge_interface, dns_servers=tuple(network.dns_servers),
        cidr_v6=network.cidr_v6,
        gateway_v6=f"{network.gateway_v6}/{ip_network(str(network.cidr_v6)).prefixlen}"
        if v6 else None)
