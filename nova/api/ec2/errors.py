# SPDX-License-Identifier: Apache-2.0
"""Refusals as the EC2 API words them: a code of AWS's, a sentence, an HTTP status."""

from typing import Any

from oslo_policy import policy

from nova import exception


class Ec2Error(Exception):
    """What the client is told; ``code`` is one of AWS's."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        self.code, self.status = code, status
        super().__init__(message)


# The first class that fits decides.
_CODES: list[tuple[type[exception.NovaError], str]] = [
    (exception.InstanceNotFound, "InvalidInstanceID.NotFound"),
    (exception.ImageNotFound, "InvalidAMIID.NotFound"),
    (exception.KeyPairNotFound, "InvalidKeyPair.NotFound"),
    (exception.SecurityGroupNotFound, "InvalidGroup.NotFound"),
    (exception.SecurityGroupRuleNotFound, "InvalidPermission.NotFound"),
    (exception.FloatingIpNotFound, "InvalidAllocationID.NotFound"),
    (exception.NetworkNotFound, "InvalidVpcID.NotFound"),
    (exception.SubnetNotFound, "InvalidSubnetID.NotFound"),
    (exception.FlavorNotFound, "InvalidInstanceType"),
    (exception.VolumeNotFound, "InvalidVolume.NotFound"),
    (exception.SnapshotNotFound, "InvalidSnapshot.NotFound"),
    (exception.VolumeAttachmentNotFound, "InvalidAttachment.NotFound"),
    (exception.InvalidVolume, "IncorrectState"),
    (exception.InvalidSnapshot, "IncorrectState"),
    (exception.InvalidState, "IncorrectInstanceState"),
    (exception.NoMoreAddresses, "InsufficientAddressCapacity"),
    (exception.InUse, "DependencyViolation"),
    (exception.AlreadyExists, "InvalidParameterValue"),
    (exception.Conflict, "OperationNotPermitted"),
    (exception.NotSupported, "UnsupportedOperation"),
    (exception.BadRequest, "InvalidParameterValue"),
    (exception.ImageUnacceptable, "InvalidParameterValue"),
    (exception.NotFound, "InvalidParameterValue"),
]
_QUOTAS = {
    "instances": "InstanceLimitExceeded", "cores": "InstanceLimitExceeded",
    "ram": "InstanceLimitExceeded", "floating_ips": "AddressLimitExceeded",
    "security_groups": "SecurityGroupLimitExceeded",
    "security_group_rules": "RulesPerSecurityGroupLimitExceeded",
    "metadata_items": "TagLimitExceeded", "volumes": "VolumeLimitExceeded",
    "gigabytes": "VolumeLimitExceeded", "snapshots": "SnapshotLimitExceeded"}
_UNAVAILABLE = (exception.DatabaseUnavailable, exception.RpcUnavailable, exception.RpcTimeout,
                exception.ImageServiceError)


def error_of(error: Exception) -> Ec2Error | None:
    """Return what a client is told of an expected error; None for a bug of ours."""
    if isinstance(error, Ec2Error):
        return error
    if isinstance(error, exception.OverQuota):
        code = _QUOTAS.get(str(error.details.get("resource")), "ResourceLimitExceeded")
        return Ec2Error(code, str(error))
    if isinstance(error, (exception.Forbidden, policy.PolicyNotAuthorized)):
        return Ec2Error("UnauthorizedOperation",
                        "You are not authorized to perform this operation.", 403)
    if isinstance(error, _UNAVAILABLE):
        return Ec2Error("Unavailable", str(error), 503)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return Ec2Error(code, str(error))
    return None


def unsupported(what: str) -> Ec2Error:
    """Return the refusal of something that AWS has and this cloud does not."""
    return Ec2Error("UnsupportedOperation", f"{what} is not supported by this cloud.")


def invalid(parameter: str, value: Any, why: str = "") -> Ec2Error:
    """Return the refusal of a parameter's value."""
    shown = ascii(str(value)[:128])
    return Ec2Error("InvalidParameterValue", f"Value ({shown}) for parameter {parameter} is "
                                             f"invalid. {why}".rstrip())
