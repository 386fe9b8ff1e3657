# SPDX-License-Identifier: Apache-2.0
"""Is the database the one this code was written for?  Asked at start, without alembic."""

from sqlalchemy import exc, text

from nova.db.session import engine, is_disconnect, retry

HEAD = "0009"
"""The newest revision in ``nova/db/migrations/versions``."""


class WrongSchema(Exception):
    """The database is not at :data:`HEAD`; the message says what to do."""


@retry
def check() -> None:
    """Raise WrongSchema unless the configured database is at :data:`HEAD`."""
    try:
        with engine().connect() as connection:
            found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    except (exc.OperationalError, exc.ProgrammingError) as error:
        if is_disconnect(error):
            raise
        found = None        # no such table
    if found != HEAD:
        raise WrongSchema(f"The database is at revision {found or 'none'} and this code needs "
                          f"{HEAD}: run nova-manage db sync")
