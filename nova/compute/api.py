# SPDX-License-Identifier: Apache-2.0
"""What front ends call for servers: checks first, then a row, then a hint to a worker.

Every method takes the caller's context and resolves every id in the caller's scope: what belongs
to another project does not exist.  A method first checks everything without touching anything,
then writes what is wanted in one transaction (with the line in the log of actions), then casts.
A lost cast is no harm: the row says what is wanted and reconcilers read rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oslo_log import log
from sqlalchemy.orm import Session

from nova import exception, quota, rpc
from nova.compute import block_devices, devices, evacuation
from nova.compute.attachments import Attachments
from nova.compute.boot import BootRequest, check_boot, owner_of
from nova.compute.methods import METHODS as COMPUTE_METHODS
from nova.compute.states import Desired, PowerState, TaskState, VmState
from nova.context import RequestContext
from nova.db import actions, ec2_ids, instances
from nova.db.models import Instance, InstanceAction, InstanceActionEvent, new_id, utcnow
from nova.image import api as image_api
from nova.network import api as network_api
from nova.scheduler.methods import METHODS as SCHEDULER_METHODS
from nova.volume import api as volume_api

LOG = log.getLogger(__name__)

MAX_CONSOLE_LINES = 10000
_NOT_IN_HOSTNAME = re.compile(r"[^a-z0-9.-]+")


def hostname_of(name: str, instance_id: str) -> str:
    """Return a name fit for DNS made of a server's name; of its id when nothing is left of it."""
    text = _NOT_IN_HOSTNAME.sub("", re.sub(r"[\s_]+", "-", name.lower())).strip(".-")
    return text[:63].rstrip(".-") or f"server-{instance_id}"


def scope_of(context: RequestContext) -> str | None:
    """Return the project a caller's look-ups by id are held to; None for an administrator."""
    return None if context.is_admin else context.project_id


def _guard(owner: str, delta: Mapping[str, int],
           reservation_id: str | None) -> Callable[[Session], None]:
    """Return the check of the quota, and that a chosen reservation is there for the first time."""
    check = quota.guard(owner, delta)

    def both(session: Session) -> None:
        check(session)      # locks the project: two of the same follow each other
        if reservation_id and ec2_ids.reserved(session, owner, reservation_id[:17]):
            raise exception.AlreadyExists(kind="Reservation", name=reservation_id)
    return both


class API:
    """Servers, as their owners deal with them."""

    def __init__(self, images: Any = None, network: Any = None, scheduler: Any = None,
                 compute: Any = None, volumes: Any = None) -> None:
        self.images = images or image_api.API()
        self.network = network or network_api.API(rpc)
        self.volumes = volumes or volume_api.API(rpc)
        self._scheduler = scheduler or rpc.Client(SCHEDULER_METHODS)
        self._compute = compute or rpc.Client(COMPUTE_METHODS)
        self.attachments = Attachments(self.volumes, self._unlocked, self._tell_of_volume)

    # ------------------------------------------------------------ looking

    def get(self, context: RequestContext, instance_id: str) -> Instance:
        """Return one server of the caller's project (an administrator: any); InstanceNotFound."""
        return instances.get(instance_id, scope_of(context))

    # ------------------------------------------------------------ making

    def create(self, context: RequestContext, request: BootRequest,
               reservation_id: str | None = None) -> list[Instance]:
        """Make between ``min_count`` and ``max_count`` servers, as many as the quota allows.

        A ``reservation_id`` of the caller's choosing is used once: AlreadyExists while a server
        of the project has one that starts with the same 17 characters.

        BadRequest names the field that refers to something that is not there or does not fit,
        OverQuota the resource.  The servers are BUILDING and on their way to the scheduler.
        """
        owner = owner_of(context)
        plan = check_boot(context, request, self.images, self.network, self.volumes)
        unique = reservation_id
        reservation_id = reservation_id or f"r-{new_id().replace('-', '')[:8]}"
        count = request.max_count
        while True:
            rows = [self._row(context, plan.columns, request, reservation_id, position, count)
                    for position in range(count)]
            volumes = block_devices.new_rows(context, self.volumes, rows, request.block_devices)
            delta = {"instances": count, "cores": count * plan.flavor.vcpus,
                     "ram": count * plan.flavor.memory_mb, **volumes.usage()}
            try:
                made = instances.create(
                    rows, actions=[self._action(context, row.id, "create") for row in rows],
                    guard=_guard(owner, delta, unique), also=volumes.add)
                break
            except exception.OverQuota:
                fits = quota.headroom(owner, {
                    "instances": 1, "cores": plan.flavor.vcpus, "ram": plan.flavor.memory_mb})
                if fits < request.min_count or fits >= count:
                    raise
                count = fits
        if volumes.volumes:
            self.volumes.created(context, [volume.id for volume in volumes.volumes])
        self._hint(self._scheduler, context, "schedule_instances",
                   instance_ids=[row.id for row in made])
        return made

    @staticmethod
    def _row(context: RequestContext, columns: Mapping[str, Any], request: BootRequest,
             reservation_id: str, position: int, count: int) -> Instance:
        instance_id = new_id()
        if request.block_devices:
            local = devices.local_devices(columns["ephemeral_gb"], columns["swap_mb"])
            columns = block_devices.with_plan(
                columns, block_devices.plan(request.block_devices, local.values()))
        name = request.name if count == 1 else f"{request.name[:240]}-{position + 1}"
        return Instance(
            **columns, id=instance_id, project_id=context.project_id, user_id=context.user_id,
            display_name=name, hostname=hostname_of(name, instance_id),
            reservation_id=reservation_id, launch_index=position,
            vm_state=VmState.BUILDING, task_state=TaskState.SCHEDULING,
            desired_state=Desired.ACTIVE)

    @staticmethod
    def _action(context: RequestContext, instance_id: str, name: str,
                project_id: str | None = None, done: bool = False) -> InstanceAction:
        now = utcnow()
        return InstanceAction(
            instance_id=instance_id, project_id=project_id or context.project_id,
            user_id=context.user_id, request_id=context.request_id, action=name,
            started_at=now, finished_at=now if done else None)

    # ------------------------------------------------------------ changing

    def delete(self, context: RequestContext, instance_id: str) -> None:
        """Have a server removed, whatever state it is in; asking again is no error.

        One that no host has taken yet is gone when this returns.
        """
        instance = self._unlocked(context, instance_id)
        try:
            instance = instances.begin_task(
                instance.id, TaskState.DELETING, verb="delete", desired_state=Desired.DELETED,
                log=self._action(context, instance.id, "delete", instance.project_id))
        except exception.InvalidState:
            # Being deleted already: tell the worker again, a hint may have been lost.
            instance = instances.get(instance.id)
        if instance.host is not None:
            self._tell(context, instance, "terminate_instance")
        elif self._free_volumes(context, instance) and self._free_addresses(context, instance):
            instances.delete_row(instance.id, from_host=None)

    def _free_volumes(self, context: RequestContext, instance: Instance) -> bool:
        """Free the volumes of a server without a host; False: a reconciler has to."""
        try:
            block_devices.end(context, self.volumes, instance)
        except exception.InvalidVolume as error:
            LOG.warning("Instance %s is deleted later: %s", instance.id, error)
            return False
        return True

    def _free_addresses(self, context: RequestContext, instance: Instance) -> bool:
        """Free what a server without a host may have left; False: a reconciler has to."""
        if not self.network.ports_of_instance(context, instance.id):
            return True
        try:
            self.network.deallocate_for_instance(context, instance.id)
        except (exception.RpcUnavailable, exception.RpcTimeout) as error:
            LOG.warning("Instance %s is deleted later: %s", instance.id, error)
            return False
        return True

    def start(self, context: RequestContext, instance_id: str) -> None:
        """Power a stopped server on; InvalidState for any other."""
        self._task(context, instance_id, TaskState.POWERING_ON, "start", "start_instance",
                   Desired.ACTIVE)

    def stop(self, context: RequestContext, instance_id: str) -> None:
        """Power a server off; InvalidState when it is not running."""
        self._task(context, instance_id, TaskState.POWERING_OFF, "stop", "stop_instance",
                   Desired.STOPPED)

    def reboot(self, context: RequestContext, instance_id: str, hard: bool) -> None:
        """Reboot a server, by asking its system or by cutting the power."""
        task = TaskState.REBOOTING_HARD if hard else TaskState.REBOOTING
        self._task(context, instance_id, task, "reboot", "reboot_instance", Desired.ACTIVE)

    def _task(self, context: RequestContext, instance_id: str, task: TaskState, verb: str,
              method: str, desired: Desired) -> None:
        instance = self._unlocked(context, instance_id)
        if instance.host is None:
            raise exception.InvalidState(action=verb, instance_id=instance.id,
                                         vm_state=instance.vm_state,
                                         task_state=instance.task_state)
        instance = instances.begin_task(
            instance.id, task, verb=verb, desired_state=desired,
            log=self._action(context, instance.id, verb, instance.project_id))
        self._tell(context, instance, method)

    def evacuate(self, context: RequestContext, instance_id: str,
                 target: str | None = None) -> None:
        """Have a server of a host that is down built again elsewhere, from its image.

        It keeps its id, ports and addresses; what was on its disks is gone.  BadRequest while
        its host is up, or for a ``target`` that is no host.
        """
        instance = self.get(context, instance_id)
        evacuation.check(instance, target)
        instances.begin_task(
            instance.id, TaskState.SCHEDULING, from_host=instance.host, verb="evacuate",
            vm_state=VmState.BUILDING, host=None, power_state=PowerState.NOSTATE,
            build_request=evacuation.request_of(instance, target, context.request_id),
            log=self._action(context, instance.id, "evacuate", instance.project_id))
        self._hint(self._scheduler, context, "schedule_instances", instance_ids=[instance.id])

    def _unlocked(self, context: RequestContext, instance_id: str) -> Instance:
        instance = self.get(context, instance_id)
        if instance.locked and not context.is_admin:
            raise exception.Conflict(f"Instance {instance_id} is locked.")
        return instance

    def _tell(self, context: RequestContext, instance: Instance, method: str) -> None:
        self._hint(self._compute, context, method, host=instance.host, instance_id=instance.id)

    def _tell_of_volume(self, context: RequestContext, instance: Instance, method: str,
                        attachment_id: str) -> None:
        self._hint(self._compute, context, method, host=instance.host,
                   attachment_id=attachment_id)

    @staticmethod
    def _hint(client: Any, context: RequestContext, method: str, **arguments: Any) -> None:
        """Cast; without a broker the row, which is written already, has to be hint enough."""
        try:
            client.cast(context, method, **arguments)
        except exception.RpcUnavailable as error:
            LOG.warning("%s not sent, a reconciler will find the row: %s", method, error)

    def set_locked(self, context: RequestContext, instance_id: str, locked: bool) -> None:
        """Keep a server from being changed by anybody but an administrator, or end that."""
        instance = self.get(context, instance_id)
        instances.update_columns(
            instance.id, locked=locked, log=self._action(
                context, instance.id, "lock" if locked else "unlock", instance.project_id, True))

    def reset_state(self, context: RequestContext, instance_id: str, state: str) -> None:
        """Write down that a server is active or failed, and that nobody is working on it."""
        instance = self.get(context, instance_id)
        instances.transition(
            instance.id, verb="reset_state", task_state=None, vm_state=VmState(state),
            log=self._action(context, instance.id, "reset_state", instance.project_id, True))

    def update(self, context: RequestContext, instance_id: str, columns: Mapping[str, Any],
               disk_config: str | None = None) -> Instance:
        """Set a server's name, description, access addresses or disk configuration."""
        instance = self._unlocked(context, instance_id)

        def apply(row: Instance) -> None:
            for name, value in columns.items():
                setattr(row, name, value)
            if disk_config is not None:
                row.build_request = {**row.build_request, "disk_config": disk_config}
        return instances.modify(instance.id, apply)

    # ------------------------------------------------------------ metadata

    def replace_metadata(self, context: RequestContext, instance_id: str,
                         metadata: Mapping[str, str]) -> dict[str, str]:
        """Make this a server's whole metadata and return it."""
        return self._change_metadata(context, instance_id, lambda _old: dict(metadata))

    def add_metadata(self, context: RequestContext, instance_id: str,
                     metadata: Mapping[str, str]) -> dict[str, str]:
        """Set some keys of a server's metadata and return the whole of it."""
        return self._change_metadata(context, instance_id, lambda old: {**old, **metadata})

    def delete_metadata(self, context: RequestContext, instance_id: str, key: str) -> None:
        """Remove one key of a server's metadata; NotFound when it is not there."""
        def without(old: dict[str, str]) -> dict[str, str]:
            if key not in old:
                raise exception.NotFound(f"Metadata item {key[:255]!r} was not found.")
            return {name: value for name, value in old.items() if name != key}
        self._change_metadata(context, instance_id, without)

    def _change_metadata(self, context: RequestContext, instance_id: str,
                         change: Any) -> dict[str, str]:
        instance = self._unlocked(context, instance_id)
        limit = quota.limits(instance.project_id)["metadata_items"]

        def apply(row: Instance) -> None:
            wanted = change(dict(row.metadata_ or {}))
            quota.check_count("metadata_items", len(wanted), limit)
            row.metadata_ = wanted
        return instances.modify(instance.id, apply).metadata_

    # ------------------------------------------------------------ asking the host

    def get_console_output(self, context: RequestContext, instance_id: str,
                           lines: int | None = None) -> str:
        """Return the last lines of a server's console; Conflict when no host has it yet."""
        instance = self.get(context, instance_id)
        if instance.host is None:
            raise exception.Conflict(f"Instance {instance_id} is not ready: no host has it yet.")
        arguments: dict[str, Any] = {"instance_id": instance.id}
        if lines is not None:
            arguments["lines"] = min(lines, MAX_CONSOLE_LINES)
        return self._compute.call(context, "get_console_output", host=instance.host, **arguments)

    def host_uptime(self, context: RequestContext, host: str) -> str:
        """Return the uptime line of a host."""
        return self._compute.call(context, "host_uptime", host=host)

    # ------------------------------------------------------------ security groups of a server

    def add_security_group(self, context: RequestContext, instance_id: str, name: str) -> None:
        """Put all of a server's ports into a group."""
        instance = self._unlocked(context, instance_id)
        self.network.add_security_group(context, instance.id, name)
        self._note(context, instance, "addSecurityGroup")

    def remove_security_group(self, context: RequestContext, instance_id: str,
                              name: str) -> None:
        """Take all of a server's ports out of a group."""
        instance = self._unlocked(context, instance_id)
        self.network.remove_security_group(context, instance.id, name)
        self._note(context, instance, "removeSecurityGroup")

    # ------------------------------------------------------------ floating addresses of a server

    def add_floating_ip(self, context: RequestContext, instance_id: str, address: str,
                        fixed_address: str | None = None) -> None:
        """Lead a floating address to a server; BadRequest while it has no address of its own."""
        instance = self.get(context, instance_id)
        if instance.host is None:
            raise exception.BadRequest(f"Instance {instance_id} has no address yet.")
        self.network.associate_floating_ip(context, address, instance.id, fixed_address)
        self._note(context, instance, "addFloatingIp")

    def remove_floating_ip(self, context: RequestContext, instance_id: str,
                           address: str) -> None:
        """Lead a floating address nowhere; Conflict when it is not the server's."""
        instance = self.get(context, instance_id)
        self.network.disassociate_floating_ip(context, address, instance.id)
        self._note(context, instance, "removeFloatingIp")

    def _note(self, context: RequestContext, instance: Instance, name: str) -> None:
        actions.add(self._action(context, instance.id, name, instance.project_id, True))


def actions_of(context: RequestContext, instance_id: str) -> Sequence[InstanceAction]:
    """Return the log of a server, newest first, also of one that is gone; InstanceNotFound."""
    found = actions.of_instance(instance_id, scope_of(context))
    if not found:
        instances.get(instance_id, scope_of(context))
    return found


def events_of(action: InstanceAction) -> Sequence[InstanceActionEvent]:
    """Return the steps of one line of the log, in order."""
    return actions.events_of(action.id)
