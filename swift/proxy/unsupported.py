# SPDX-License-Identifier: Apache-2.0
"""Requests that ask for a feature whose filter is not in the pipeline: a 501, no quiet yes.

A filter that provides a feature says so by registering for ``/info`` under the feature's name.
"""

from swift.common.request import answer
from swift.proxy.controllers.info import registered

_HEADERS = {
    'HTTP_X_OBJECT_MANIFEST': 'dlo',
    'HTTP_X_SYMLINK_TARGET': 'symlink',
    'HTTP_X_VERSIONS_LOCATION': 'versioned_writes',
    'HTTP_X_HISTORY_LOCATION': 'versioned_writes',
    'HTTP_X_VERSIONS_ENABLED': 'object_versioning',
    'HTTP_X_CONTAINER_SYNC_TO': 'container_sync',
}
_QUERIES = {'multipart-manifest=put': 'slo', 'extract-archive': 'bulk_upload',
            'bulk-delete': 'bulk_delete'}


def refuse_unsupported(env):
    """A response that names the feature a PUT or POST needs and nobody here provides, or None."""
    for key, feature in _HEADERS.items():
        if env.get(key) and not registered(feature):
            return answer(501, f"{key[5:].replace('_', '-').title()}: {feature} is not supported")
    query = env.get('QUERY_STRING')
    if query:
        for text, feature in _QUERIES.items():
            if text in query and not registered(feature):
                return answer(501, f'{text}: {feature} is not supported')
    return None
