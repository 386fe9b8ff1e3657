# SPDX-License-Identifier: Apache-2.0
"""State of nova: models, one query module per subject, migrations.

A query module is plain functions that open their own short transaction and return detached
model objects.
"""

from nova.db.session import configure, engine, reader, retry, writer

__all__ = ["configure", "engine", "reader", "retry", "writer"]
