# SPDX-License-Identifier: Apache-2.0
"""Every refusal of nova: a class, a machine code and one sentence.

The WSGI front ends turn ``status`` into the HTTP status and ``code`` into the key of the fault
body (OpenStack) or the error code (EC2); a worker's errors cross the wire as
``(class name, arguments)`` and are rebuilt by :mod:`nova.rpc` from :data:`BY_NAME` alone.
"""

from http import HTTPStatus
from typing import Any, ClassVar


class NovaError(Exception):
    """Base of all expected errors; ``str()`` is a sentence fit for the user."""

    status: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR
    code: ClassVar[str] = "computeFault"
    template: ClassVar[str] = "An unexpected condition occurred."

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.details = details
        super().__init__(message if message is not None else self.template.format(**details))


class BadRequest(NovaError):
    """The request cannot be understood; the message names the field."""

    status = HTTPStatus.BAD_REQUEST
    code = "badRequest"
    template = "The request is malformed."


class Forbidden(NovaError):
    """The caller may not do this."""

    status = HTTPStatus.FORBIDDEN
    code = "forbidden"
    template = "Policy doesn't allow this operation."


class OverQuota(Forbidden):
    """The project's limit would be exceeded."""

    template = "Quota exceeded for {resource}: requested {requested}, used {used} of {limit}."


class NotFound(NovaError):
    """There is no such thing, or it is somebody else's: the two look the same."""

    status = HTTPStatus.NOT_FOUND
    code = "itemNotFound"
    template = "The resource could not be found."


class InstanceNotFound(NotFound):
    template = "Instance {instance_id} could not be found."


class FlavorNotFound(NotFound):
    template = "Flavor {flavor_id} could not be found."


class ImageNotFound(NotFound):
    template = "Image {image_id} could not be found."


class KeyPairNotFound(NotFound):
    template = "Keypair {name} not found for user {user_id}."


class NetworkNotFound(NotFound):
    template = "Network {network_id} could not be found."


class SubnetNotFound(NotFound):
    template = "Subnet {subnet_id} could not be found."


class PortNotFound(NotFound):
    template = "Port {port_id} could not be found."


class FloatingIpNotFound(NotFound):
    template = "Floating IP {floating_id} could not be found."


class SecurityGroupNotFound(NotFound):
    template = "Security group {group_id} could not be found."


class SecurityGroupRuleNotFound(NotFound):
    template = "Security group rule {rule_id} could not be found."


class ServiceNotFound(NotFound):
    template = "Service {service_id} could not be found."


class HostNotFound(NotFound):
    template = "Compute host {host} could not be found."


class VolumeNotFound(NotFound):
    template = "Volume {volume_id} could not be found."


class SnapshotNotFound(NotFound):
    template = "Snapshot {snapshot_id} could not be found."


class VolumeTypeNotFound(NotFound):
    template = "Volume type {type_id} could not be found."


class VolumeAttachmentNotFound(NotFound):
    template = "Volume attachment {attachment_id} could not be found."


class VolumeHostNotFound(NotFound):
    template = "Volume host {host} could not be found."


class InvalidVolume(BadRequest):
    """A transition of a volume lost; the Volume API says 400 for it, not 409."""

    template = "Invalid volume: cannot {action} volume {volume_id} while it is {status}."


class InvalidSnapshot(BadRequest):
    """As InvalidVolume, for a snapshot."""

    template = "Invalid snapshot: cannot {action} snapshot {snapshot_id} while it is {status}."


class Conflict(NovaError):
    """Somebody was first, or the thing is in the wrong state for this."""

    status = HTTPStatus.CONFLICT
    code = "conflictingRequest"
    template = "The request conflicts with the current state of the resource."


class InvalidState(Conflict):
    """A transition lost: the row was not in one of the states it may start from."""

    template = ("Cannot '{action}' instance {instance_id} while it is in "
                "vm_state {vm_state} and task_state {task_state}.")


class AlreadyExists(Conflict):
    template = "{kind} {name} already exists."


class InUse(Conflict):
    template = "{kind} {name} is still in use."


class NoRoomForVolume(Conflict):
    """The host a volume is on cannot hold more of it."""

    template = "There is no room for {requested} GiB more where volume {volume_id} is."


class NoMoreAddresses(Conflict):
    template = "No more IP addresses available on network {network_id}."


class NoValidHost(NovaError):
    """The scheduler refused; ``details['refusals']`` maps filter name to number of hosts."""

    template = "No valid host was found. {reason}"


class ClaimFailed(NovaError):
    """A host cannot take the instance after all; scheduling goes on elsewhere."""

    template = "Host {host} has not enough {resource}: {requested} asked, {free} free."


class ImageUnacceptable(NovaError):
    """The image's bytes are not what its record says, or are not allowed to boot."""

    status = HTTPStatus.BAD_REQUEST
    code = "badRequest"
    template = "Image {image_id} is unacceptable: {reason}"


class ImageServiceError(NovaError):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "serviceUnavailable"
    template = "The image service cannot be used: {reason}"


class HypervisorError(NovaError):
    """The virt driver's back end said no; the message is the operator's to read."""

    template = "The hypervisor failed to {action}: {reason}"


class VolumeBackendError(NovaError):
    """A volume driver's back end said no; the message is the operator's to read."""

    template = "The volume driver failed to {action}: {reason}"


class RemoteError(NovaError):
    """A worker raised something that is not on the allow-list."""

    template = "The worker failed: {reason}"


class RpcTimeout(NovaError):
    """No answer before the deadline; the work may or may not have been done."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "serviceUnavailable"
    template = "No answer to {method} from {topic} within {seconds} seconds."


class RpcUnavailable(NovaError):
    """The message broker did not take a message for as long as we were to try."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "serviceUnavailable"
    template = "The message broker cannot be used now: {reason}."


class DatabaseUnavailable(NovaError):
    """The database could not be reached, or was too busy, for as long as we were to try."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "serviceUnavailable"
    template = "The database cannot be used now: {reason}."


class NotSupported(NovaError):
    """The call exists in the API but not here."""

    status = HTTPStatus.NOT_IMPLEMENTED
    code = "notImplemented"
    template = "{what} is not supported by this cloud."


def _subclasses(cls: type[NovaError]) -> list[type[NovaError]]:
    found = [cls]
    for child in cls.__subclasses__():
        found.extend(_subclasses(child))
    return found


BY_NAME: dict[str, type[NovaError]] = {cls.__name__: cls for cls in _subclasses(NovaError)}
