# SPDX-License-Identifier: Apache-2.0
"""How nova reaches the image service: with whose token, and what its errors become.

One client per process keeps its connections; whose token a call carries is decided call by call.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from keystoneauth1 import exceptions as keystone_exceptions
from keystoneauth1 import loading
from oslo_config import cfg

from glance import client as glance
from nova.context import RequestContext
from nova.exception import (
    BadRequest,
    Conflict,
    Forbidden,
    ImageNotFound,
    ImageServiceError,
)

GROUP = "glance"
OPTIONS = [
    cfg.URIOpt("endpoint_override", schemes=["http", "https"],
               help="URL of the image service; by default the one in Keystone's catalog."),
    cfg.StrOpt("region_name", help="Region to look the image service up in."),
    cfg.IntOpt("read_timeout", default=60, min=1,
               help="Seconds to wait for each piece of an answer of the image service."),
]
CONF = cfg.CONF
CONF.register_opts(OPTIONS, GROUP)
loading.register_session_conf_options(CONF, GROUP)
loading.register_auth_conf_options(CONF, GROUP)

_NO_AUTH = {None, "", "none", "noauth"}


class Transport:
    """Calls of the image service, each under the token of a caller or of the service itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._local = threading.local()
        self._session: Any = None
        self._client: glance.Client | None = None

    @contextmanager
    def calling(self, context: RequestContext | None, image_id: str = "") -> Iterator[Any]:
        """Give a client that acts for the caller (None: the service); errors become nova's."""
        self._local.token = self._token_of(context)
        try:
            yield self._connected()
        except (glance.NotFound, glance.Gone) as error:
            raise ImageNotFound(image_id=image_id) from error
        except glance.Forbidden as error:
            raise Forbidden(f"Image {image_id}: {error.message}") from error
        except glance.Conflict as error:
            raise Conflict(f"Image {image_id}: {error.message}") from error
        except glance.BadRequest as error:
            raise BadRequest(error.message) from error
        except glance.ImageError as error:
            raise ImageServiceError(reason=error.message) from error
        except keystone_exceptions.ClientException as error:
            # The text of these may carry URLs and names of accounts.
            raise ImageServiceError(
                reason=f"no token for it ({type(error).__name__})") from error
        finally:
            self._local.token = None

    def _token_of(self, context: RequestContext | None) -> Callable[[], str | None]:
        if context is not None and context.auth_token:
            return lambda: context.auth_token
        if context is not None and CONF.glance.auth_type not in _NO_AUTH:
            # Never with our own rights for somebody who shows none.
            raise ImageServiceError(reason="the caller's token did not come along")
        asked: list[bool] = []

        def service_token() -> str | None:
            if CONF.glance.auth_type in _NO_AUTH:
                return None
            session = self._keystone()
            if asked:       # asked again within one call: the token we have was refused
                session.invalidate()
            asked.append(True)
            return session.get_token()
        return service_token

    def _keystone(self) -> Any:
        with self._lock:
            if self._session is None:
                auth = loading.load_auth_from_conf_options(CONF, GROUP)
                self._session = loading.load_session_from_conf_options(CONF, GROUP, auth=auth)
            return self._session

    def _connected(self) -> glance.Client:
        client = self._client
        if client is None:
            client = self._client = glance.Client(
                self._endpoint(), lambda: self._local.token(),
                read_timeout=CONF.glance.read_timeout,
                verify=not CONF.glance.insecure and (CONF.glance.cafile or True))
        return client

    def _endpoint(self) -> str:
        if CONF.glance.endpoint_override:
            return CONF.glance.endpoint_override
        if CONF.glance.auth_type in _NO_AUTH:
            raise ImageServiceError(reason="neither [glance] endpoint_override nor auth_type set")
        found = self._keystone().get_endpoint(
            service_type="image", region_name=CONF.glance.region_name, interface="public")
        if not found:
            raise ImageServiceError(reason="it is not in Keystone's catalog")
        return found

    def pieces(self, image_id: str) -> Iterator[bytes]:
        """Yield an image's bytes, read by the service; errors on the way become nova's too."""
        with self.calling(None, image_id) as client:
            stream, _record = client.download(image_id, verify=False)
        try:
            yield from stream
        except glance.ImageError as error:
            raise ImageServiceError(reason=error.message) from error
        finally:
            stream.close()


def sorting(sort: Sequence[tuple[str, str]]) -> str | None:
    """Write (key, direction) pairs as Image API v2 wants them."""
    return ",".join(f"{key}:{direction}" for key, direction in sort) or None
