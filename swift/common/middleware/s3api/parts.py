# SPDX-License-Identifier: Apache-2.0
"""Parts that no object is made of any more: left to the object expirer, or deleted while the
client waits where the slo filter leaves nothing to it.
"""

from swift.common.expiry import DELETE_LATER
from swift.common.middleware.versions_common import denied
from swift.common.timestamp import Timestamp
from swift.proxy.cached_info import subrequest
from swift.proxy.controllers.info import fact


def drop_parts(store, container, names):
    """Delete objects of a container of parts, at once or soon."""
    names = list(names)
    if not names or _left_to_expirer(store, container, names):
        return
    for name in names:
        store.ask('DELETE', container, name).body()


def _left_to_expirer(store, container, names):
    """Whether the expirer took them, as of now: what is stored later under their names stays."""
    if not fact('slo', 'allow_async_delete') or not _may_delete(store, container, names[0]):
        return False
    status, _, pieces = subrequest(
        {**store.env, DELETE_LATER: (Timestamp.now(), names)}, store.app, 'UPDATE',
        store.path(container))
    close = getattr(pieces, 'close', None)
    if close is not None:
        close()
    return status // 100 == 2


def _may_delete(store, container, name):
    """The queue asks nobody; whoever may not write to the container has no say in it."""
    if store.trusted:
        return True
    path = store.path(container, name).encode('utf-8', 'surrogateescape').decode('latin-1')
    env = {**store.env, 'REQUEST_METHOD': 'DELETE', 'PATH_INFO': path}
    env.pop('swift.split_path', None)
    return denied(env, store.bucket_info(container)['write_acl']) is None
