# SPDX-License-Identifier: Apache-2.0
"""What the front ends and the compute worker ask of the network: looks go to the database,
changes of rows are made here, and what has to happen on a host is cast to the worker there.

The part of a ``build_request`` that is the network's, made by :meth:`API.validate_requested`:

``networks``
    None: the project's own networks, or the shared ones. []: no interface at all. Else a list of
    ``{"network_id": ..., "port_id": ... or None, "fixed_ip": ... or None}`` in the guest's order.
``security_groups``
    Ids of groups for the ports that are made; []: the project's default group.
"""

import logging
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from nova import exception
from nova import rpc as nova_rpc
from nova.compute.methods import METHODS as COMPUTE_METHODS
from nova.context import RequestContext
from nova.db import floating_ips, networks, ports, security_groups
from nova.db.models import FloatingIp, Network
from nova.db.ports import PortView
from nova.network import vifs
from nova.network.methods import METHODS
from nova.network.model import VIF
from nova.rpc.table import MethodTable

LOG = logging.getLogger(__name__)


def scope(context: RequestContext) -> str | None:
    """Return the project whose rows a caller may touch; None for one who sees all."""
    return None if context.is_admin else context.project_id or ""


class API:
    """The door to networks.  ``rpc`` is :mod:`nova.rpc` or, in a test, what stands for it."""

    def __init__(self, rpc: Any = nova_rpc) -> None:
        self.rpc = rpc

    # -- looks ---------------------------------------------------------------------------------

    def addresses_for_instances(self, context: RequestContext, instance_ids: Sequence[str],
                                ) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Return ``{id: {network name: [{addr, version, mac, type, port_id}]}}`` in two queries.

        ``type`` is ``fixed`` or ``floating``.  An instance without addresses maps to ``{}``.
        """
        found: dict[str, dict[str, list[dict[str, Any]]]] = {one: {} for one in instance_ids}
        for device, name, port, mac, address, public in ports.device_addresses(instance_ids):
            listed = found[device].setdefault(name, [])
            for addr, kind in [(address, "fixed"), *((one, "floating") for one in public)]:
                listed.append({"addr": addr, "version": ip_address(addr).version, "mac": mac,
                               "type": kind, "port_id": port})
        return found

    def get_instance_vifs(self, context: RequestContext, instance_id: str) -> list[VIF]:
        """Return an instance's interfaces in its order, with all rules expanded."""
        return vifs.of_instances([instance_id])[instance_id]

    def get_vifs_of_instances(self, context: RequestContext, instance_ids: Sequence[str],
                              ) -> dict[str, list[VIF]]:
        """As :meth:`get_instance_vifs` for many, in no more queries than for one."""
        return vifs.of_instances(instance_ids)

    def ports_of_instance(self, context: RequestContext, instance_id: str) -> list[PortView]:
        """Return an instance's ports in its order."""
        return ports.find(scope(context), device_ids=[instance_id])

    def default_networks(self, context: RequestContext) -> list[Network]:
        """Return the networks an instance of the caller's project is put on when it asks for none.

        The project's own networks, or those shared with everybody.
        """
        return networks.owned(context.project_id or "")

    def security_groups_of_instances(self, context: RequestContext,
                                     instance_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return ``{instance id: names of its groups}``; one without ports is left out."""
        return security_groups.names_of_devices(instance_ids)

    def security_groups_of_instance(self, context: RequestContext, instance_id: str,
                                    ) -> list[security_groups.GroupView]:
        """Return the groups an instance's ports are in, with their rules."""
        ids = {group for view in self.ports_of_instance(context, instance_id)
               for group in view.group_ids}
        return security_groups.find(ids=sorted(ids)) if ids else []

    # -- a build -------------------------------------------------------------------------------

    def validate_requested(self, context: RequestContext,
                           requested: Sequence[dict[str, Any]] | str | None,
                           groups: Iterable[str] | None) -> dict[str, Any]:
        """Check what a server is asked to be connected to; touch nothing.

        ``requested`` is None or "auto", "none", or a list of dicts with ``uuid`` or ``port`` and
        perhaps ``fixed_ip``; ``groups`` are names or ids.  Answers the two keys described above.
        BadRequest naming what there is not for this project, Conflict for what is ambiguous or in
        use.
        """
        try:
            chosen = security_groups.resolve(context.project_id or "", groups or ())
        except exception.SecurityGroupNotFound as error:
            raise exception.BadRequest(f"security_groups: {error}") from error
        return {"networks": self._check_networks(context, requested),
                "security_groups": [view.group.id for view in chosen]}

    def _check_networks(self, context: RequestContext,
                        requested: Sequence[dict[str, Any]] | str | None,
                        ) -> list[dict[str, Any]] | None:
        if requested == "none":
            return []
        if requested is None or requested == "auto":
            default = self.default_networks(context)
            if len(default) > 1:
                raise exception.Conflict("Multiple possible networks found, use a Network ID to "
                                         "be more specific.")
            if requested == "auto" and not default:
                raise exception.BadRequest("networks: there is no network to choose from.")
            return None
        if isinstance(requested, str):
            raise exception.BadRequest(f"networks: {requested!r} is neither auto nor none.")
        checked = [self._check_one(context, wanted) for wanted in requested]
        for key in ("port_id", "fixed_ip"):
            named = [(one["network_id"] if key == "fixed_ip" else None, one[key])
                     for one in checked if one[key]]
            if len(named) != len(set(named)):
                raise exception.BadRequest(f"networks: the same {key} is asked for twice.")
        return checked

    def _check_one(self, context: RequestContext, wanted: dict[str, Any]) -> dict[str, Any]:
        project_id = context.project_id or ""
        port_id, network_id, fixed_ip = (wanted.get(key) for key in ("port", "uuid", "fixed_ip"))
        try:
            if port_id:
                view = ports.get(port_id, project_id)
                if view.port.device_id:
                    raise exception.Conflict(f"Port {port_id} is still in use.")
                if network_id and network_id != view.network.id:
                    raise exception.BadRequest(
                        f"networks: port {port_id} is not on network {network_id}.")
                network, fixed_ip = view.network, None
            elif network_id:
                network = networks.get(network_id, project_id)
                if fixed_ip:
                    ports.check_free(network_id, fixed_ip)
            else:
                raise exception.BadRequest("networks: each needs a uuid or a port.")
        except exception.NotFound as error:
            raise exception.BadRequest(f"networks: {error}") from error
        if network.external:
            raise exception.BadRequest(
                f"networks: {network.id} is external; servers get floating IPs from it.")
        return {"network_id": network.id, "port_id": port_id or None, "fixed_ip": fixed_ip or None}

    def allocate_for_instance(self, context: RequestContext, instance_id: str) -> list[VIF]:
        """Have an instance's ports and addresses made, DHCP told and all; idempotent."""
        answer = self.rpc.call(context, METHODS, "allocate_for_instance", instance_id=instance_id)
        return [VIF.from_wire(one) for one in answer]

    def deallocate_for_instance(self, context: RequestContext, instance_id: str,
                                from_host: str | None = None) -> None:
        """Have an instance's addresses and ports taken away; idempotent.

        With ``from_host`` ("" is none) nothing is, when the instance is not there any more: whoever
        has lost it must not take from it what it has got elsewhere.
        """
        more = {} if from_host is None else {"from_host": from_host}
        self.rpc.call(context, METHODS, "deallocate_for_instance", instance_id=instance_id,
                      **more)

    # -- security groups -----------------------------------------------------------------------

    def add_security_group(self, context: RequestContext, instance_id: str, name: str) -> None:
        """Put all ports of an instance into a group of its project, by name or id."""
        self._edit_groups(context, instance_id, name, add=True)

    def remove_security_group(self, context: RequestContext, instance_id: str, name: str) -> None:
        """Take all ports of an instance out of a group; SecurityGroupNotFound if none is in it."""
        self._edit_groups(context, instance_id, name, add=False)

    def _edit_groups(self, context: RequestContext, instance_id: str, name: str, *,
                     add: bool) -> None:
        views = self.ports_of_instance(context, instance_id)
        if not views:
            raise exception.BadRequest(f"Instance {instance_id} has no port.")
        project_id = views[0].port.project_id
        [view] = security_groups.resolve(project_id, [name])
        group_id = view.group.id
        if add and view.group.default_of:
            security_groups.ensure_default(project_id)
        if not add and not any(group_id in one.group_ids for one in views):
            raise exception.SecurityGroupNotFound(
                f"Security group {name} is not associated with the instance {instance_id}.")
        for one in views:
            now = set(one.group_ids)
            wanted = now | {group_id} if add else now - {group_id}
            if wanted != now:
                ports.change(one.port.id, {}, wanted)
        self.refresh_instances(context, instance_ids=[instance_id])
        self.refresh_instances(context, referring=[group_id])

    def refresh_instances(self, context: RequestContext, *, instance_ids: Sequence[str] = (),
                          members: Sequence[str] = (), referring: Sequence[str] = (),
                          but: str | None = None) -> None:
        """Have rules applied anew: one message a host, however many instances.

        For the instances named, those in the groups ``members``, and those in groups that have a
        rule about one of ``referring``; not for ``but``, who knows already.
        """
        found = [ports.hosts_of(instance_ids)] if instance_ids else []
        if members:
            found.append(security_groups.affected(members, members=True, referring=False))
        if referring:
            found.append(security_groups.affected(referring, members=False, referring=True))
        self.refresh_hosts(context, *found, but=but)

    def refresh_hosts(self, context: RequestContext, *found: dict[str, list[str]],
                      but: str | None = None) -> None:
        """As :meth:`refresh_instances`, for instances looked up before by host."""
        by_host: dict[str, set[str]] = {}
        for hosts in found:
            for host, ids in hosts.items():
                by_host.setdefault(host, set()).update(set(ids) - {but})
        for host in sorted(host for host, ids in by_host.items() if ids):
            self._hint(context, COMPUTE_METHODS, "refresh_instance_network", host,
                       instance_ids=sorted(by_host[host]))

    # -- floating addresses --------------------------------------------------------------------

    def associate_floating_ip(self, context: RequestContext, address: str, instance_id: str,
                              fixed_address: str | None = None) -> FloatingIp:
        """Lead a floating address of the project to an instance's first, or the given, address."""
        floating = self._floating_by_address(context, address)
        for view in self.ports_of_instance(context, instance_id):
            own = [fixed.address for fixed in view.addresses if "." in fixed.address]
            if own and (fixed_address is None or fixed_address in own):
                return self.set_floating_port(context, floating, view.port.id)
        raise exception.BadRequest(
            f"Instance {instance_id} has no fixed IPv4 address {fixed_address or ''}".rstrip()
            + " to associate.")

    def disassociate_floating_ip(self, context: RequestContext, address: str,
                                 instance_id: str | None = None) -> FloatingIp:
        """Lead a floating address nowhere; Conflict when it is not the given instance's."""
        floating = self._floating_by_address(context, address)
        held = ports.find(ids=[floating.port_id]) if floating.port_id else []
        if not held or (instance_id and held[0].port.device_id != instance_id):
            raise exception.Conflict(f"Floating IP {address} is not associated.")
        return self.set_floating_port(context, floating, None)

    def _floating_by_address(self, context: RequestContext, address: str) -> FloatingIp:
        found = floating_ips.find(scope(context), addresses=[address])
        if not found:
            raise exception.FloatingIpNotFound(floating_id=address)
        return found[0]

    def set_floating_port(self, context: RequestContext, floating: FloatingIp,
                          port_id: str | None) -> FloatingIp:
        """Lead a floating address to a port of the same project, or nowhere, on the host too."""
        row = floating_ips.associate(floating.id, str(floating.project_id), port_id)
        self.apply_floating(context, [row.id])
        return row

    def release_floating(self, context: RequestContext, floating: FloatingIp) -> None:
        """Give a floating address back to its pool."""
        row = floating_ips.release(floating.id, str(floating.project_id))
        if row.host:
            self._cast(context, row.host, "apply_floating_ip", floating_ip_id=row.id)

    def apply_floating(self, context: RequestContext, floating_ids: Iterable[str]) -> None:
        """Have what the rows say of floating addresses done where they are and where they go."""
        for floating_id in floating_ids:
            for route in floating_ips.routes(floating_id=floating_id):
                for host in {route.host, route.network_host} - {None}:
                    self._cast(context, host, "apply_floating_ip", floating_ip_id=floating_id)

    # -- networks and ports --------------------------------------------------------------------

    def refresh_network(self, context: RequestContext, network: Network) -> None:
        """Have a network's bridge, DHCP server and rules made anew, wherever it is served."""
        self._cast(context, network.host, "refresh_network", network_id=network.id)

    def remove_network(self, context: RequestContext, network: Network) -> None:
        """Have what a deleted network left on its host taken away."""
        if network.host and network.bridge:
            self._cast(context, network.host, "remove_network", network_id=network.id,
                       bridge=network.bridge)

    def delete_port(self, context: RequestContext, view: PortView) -> None:
        """Delete a port that no instance has, its addresses and what leads to them."""
        live = [public.id for public in view.floating if public.host]
        if ports.delete_port(view.port.id):
            self.apply_floating(context, live)
            self.refresh_network(context, view.network)
            self.refresh_instances(context, referring=view.group_ids)

    def _cast(self, context: RequestContext, host: str | None, method: str, **args: Any) -> None:
        self._hint(context, METHODS, method, host, **args)

    def _hint(self, context: RequestContext, table: MethodTable, method: str, host: str | None,
              **args: Any) -> None:
        """Cast; without a broker the rows, which are written already, have to be hint enough."""
        try:
            self.rpc.cast(context, table, method, host=host, **args)
        except exception.RpcUnavailable as error:
            LOG.warning("%s not sent, a reconciler will find the rows: %s", method, error)
