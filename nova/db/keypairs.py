# SPDX-License-Identifier: Apache-2.0
"""Public keys of users, by name."""

from collections.abc import Callable

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nova.db.models import KeyPair
from nova.db.session import again, reader, retry, writer
from nova.exception import AlreadyExists, BadRequest, KeyPairNotFound


def create(user_id: str, name: str, fingerprint: str, public_key: str, key_type: str = "ssh",
           guard: Callable[[Session], None] | None = None,
           tags: dict[str, str] | None = None) -> KeyPair:
    """Add a key; AlreadyExists when the user has one of that name.

    ``guard`` runs in the same transaction first; what it raises undoes it.
    """
    try:
        return _create(user_id, name, fingerprint, public_key, key_type, guard, tags)
    except IntegrityError:
        raise AlreadyExists(f"Key pair '{name}' already exists.") from None


@retry
def _create(user_id: str, name: str, fingerprint: str, public_key: str, key_type: str,
            guard: Callable[[Session], None] | None,
            tags: dict[str, str] | None) -> KeyPair:
    with writer() as session:
        if again() and (made := session.scalars(select(KeyPair).where(
                KeyPair.user_id == user_id, KeyPair.name == name,
                KeyPair.public_key == public_key)).one_or_none()) is not None:
            return made
        if guard is not None:
            guard(session)
        key = KeyPair(user_id=user_id, name=name, fingerprint=fingerprint, public_key=public_key,
                      type=key_type, tags=tags)
        session.add(key)
        session.flush()
        return key


@retry
def get(user_id: str, name: str) -> KeyPair:
    """Return a user's key; KeyPairNotFound when there is none of that name."""
    with reader() as session:
        found = session.scalars(select(KeyPair).where(
            KeyPair.user_id == user_id, KeyPair.name == name)).one_or_none()
    if found is None:
        raise KeyPairNotFound(name=name[:255], user_id=user_id)
    return found


@retry
def get_all(user_id: str, *, marker: str | None = None, limit: int | None = None,
            ) -> list[KeyPair]:
    """Return a user's keys by name, a page at a time; ``marker`` is the last name seen."""
    query = select(KeyPair).where(KeyPair.user_id == user_id).order_by(KeyPair.name)
    with reader() as session:
        if marker is not None:
            if session.scalars(query.where(KeyPair.name == marker)).first() is None:
                raise BadRequest(f"marker [{marker[:64]}] not found")
            query = query.where(KeyPair.name > marker)
        return list(session.scalars(query.limit(limit) if limit is not None else query))


@retry
def remove(user_id: str, name: str) -> None:
    """Remove a user's key; KeyPairNotFound when there is none of that name."""
    with writer() as session:
        gone = session.execute(
            delete(KeyPair).where(KeyPair.user_id == user_id, KeyPair.name == name))
        if not gone.rowcount:  # type: ignore[attr-defined]
            raise KeyPairNotFound(name=name[:255], user_id=user_id)


def count(session: Session, user_id: str) -> int:
    """Return how many keys a user has, in the caller's transaction."""
    return session.scalars(
        select(func.count(KeyPair.id)).where(KeyPair.user_id == user_id)).one()
