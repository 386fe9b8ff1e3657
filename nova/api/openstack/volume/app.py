# SPDX-License-Identifier: Apache-2.0
"""The Volume API v3 as one WSGI application: which resources there are."""

from http import HTTPStatus

import webob

from nova import exception
from nova.api.openstack.faults import compute_fault
from nova.api.openstack.volume import policies  # noqa: F401  (defines the rules)
from nova.api.openstack.volume.attachments import Attachments
from nova.api.openstack.volume.limits import Limits, QuotaSets
from nova.api.openstack.volume.metadata import SnapshotMetadata, VolumeMetadata
from nova.api.openstack.volume.operators import AvailabilityZones, Pools, Services
from nova.api.openstack.volume.snapshots import Snapshots
from nova.api.openstack.volume.types import TypeAccess, Types
from nova.api.openstack.volume.unsupported import Missing, NoneOf
from nova.api.openstack.volume.versions import Extensions, Versions, check_version
from nova.api.openstack.volume.volume_actions import VolumeActions
from nova.api.openstack.volume.volumes import Volumes
from nova.api.openstack.wsgi import Application, Request
from nova.volume.api import API


class OverLimit(exception.OverQuota):
    """What exceeds a quota is an entity too large in this API."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "overLimit"


class VolumeApplication(Application):
    """Errors as this API's clients know them."""

    def _fault(self, error: Exception, req: Request) -> webob.Response:
        if isinstance(error, exception.OverQuota):
            error = OverLimit(str(error))
        return super()._fault(error, req)


def make_app(api: API | None = None) -> Application:
    """Return the application; ``api`` is what it works on, by default the real thing."""
    api = api or API()
    return VolumeApplication(
        [Volumes(api), VolumeActions(api), VolumeMetadata(api), Snapshots(api),
         SnapshotMetadata(api), Attachments(), Types(), TypeAccess(), Limits(), QuotaSets(),
         Services(), AvailabilityZones(), Pools(), Extensions(), NoneOf(), Missing()],
        write_fault=compute_fault, prefixes=("/v3",), roots=[Versions()], project_in_path=True,
        check=check_version)
