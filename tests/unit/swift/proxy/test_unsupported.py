# SPDX-License-Identifier: Apache-2.0
"""Features whose filter is not in the pipeline are refused by name."""

import pytest

from swift.proxy import unsupported
from swift.proxy.controllers import info


@pytest.mark.parametrize(('key', 'says'), [
    ('HTTP_X_SYMLINK_TARGET', b'symlink'), ('HTTP_X_VERSIONS_LOCATION', b'versioned_writes'),
    ('HTTP_X_VERSIONS_ENABLED', b'object_versioning'), ('HTTP_X_OBJECT_MANIFEST', b'dlo')])
def test_what_is_not_in_the_pipeline_says_so(monkeypatch, key, says):
    monkeypatch.setattr(info, '_info', {'swift': {}})
    response = unsupported.refuse_unsupported({key: 'x', 'QUERY_STRING': ''})
    assert response.status == 501 and says in response.body
    monkeypatch.setattr(info, '_info', {says.decode(): {}})
    assert unsupported.refuse_unsupported({key: 'x', 'QUERY_STRING': ''}) is None
