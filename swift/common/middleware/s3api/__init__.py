# SPDX-License-Identifier: Apache-2.0
"""Amazon's S3 API on the object store: buckets are containers of the account of who signs.

The filter stands above the auth filters and asks them who a signature belongs to; see `app`.
"""

from swift.common.middleware.s3api.app import S3Api


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: S3Api(app, conf)
