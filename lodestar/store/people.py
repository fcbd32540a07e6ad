"""Who may come in: the users of a venture's studio and their sessions, as the ledger keeps them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal

from sqlalchemy import String, delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ..contracts.errors import UserError, unknown

Role = Literal["viewer", "engineer", "founder"]
Opened = Callable[[], AbstractContextManager[Session]]


class _Base(DeclarativeBase):
    pass


class UserRow(_Base):
    """One person."""

    __tablename__ = "users"
    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[Role] = mapped_column(String)
    password: Mapped[str]
    """Its hash, with the parameters that it was made with."""
    created: Mapped[str]
    added_by: Mapped[str]


class SessionRow(_Base):
    """One browser that is logged in."""

    __tablename__ = "sessions"
    token: Mapped[str] = mapped_column(primary_key=True)
    """The SHA-256 of what the browser holds: who reads the ledger is not logged in by it."""
    name: Mapped[str]
    expires: Mapped[str]


class People:
    """The users and their sessions. Every method is one transaction, as the ledger's are.

    Args:
        reading, writing: the ledger's transactions.
    """

    def __init__(self, reading: Opened, writing: Opened) -> None:
        self._reading, self._writing = reading, writing

    def all(self) -> Sequence[UserRow]:
        """Everybody, by name."""
        with self._reading() as session:
            return list(session.scalars(select(UserRow).order_by(UserRow.name)))

    def find(self, name: str) -> UserRow | None:
        """The user of this name; None where there is none."""
        with self._reading() as session:
            return session.get(UserRow, name)

    def add(self, user: UserRow) -> None:
        """Let somebody in; raises `UserError` where the name is taken."""
        with self._writing() as session:
            if session.get(UserRow, user.name) is not None:
                raise UserError(f"there is a user {user.name!r} already", fix="choose another name, or remove that user first")
            session.add(user)

    def remove(self, name: str) -> None:
        """Let somebody in no longer: their sessions end, too.

        Raises:
            UserError: there is no such user, or nobody else could let anybody in again.
        """
        with self._writing() as session:
            user = session.get(UserRow, name)
            if user is None:
                raise unknown("user", name, session.scalars(select(UserRow.name)))
            founders = list(session.scalars(select(UserRow.name).where(UserRow.role == "founder")))
            if founders == [name]:
                raise UserError(f"{name!r} is the only founder, and somebody must be able to add users", fix="add another founder first")
            session.execute(delete(SessionRow).where(SessionRow.name == name))
            session.delete(user)

    def set_password(self, name: str, password: str) -> None:
        """Keep another password's hash; whoever is logged in by the old one is no longer."""
        with self._writing() as session:
            session.get_one(UserRow, name).password = password
            session.execute(delete(SessionRow).where(SessionRow.name == name))

    def begin_session(self, begun: SessionRow, now: str) -> None:
        """Note that a browser is logged in; those that have expired by `now` are forgotten."""
        with self._writing() as session:
            session.execute(delete(SessionRow).where(SessionRow.expires <= now))
            session.add(begun)

    def in_session(self, token: str, now: str) -> UserRow | None:
        """Whose session this is; None where it has ended, or never was."""
        query = select(UserRow).join(SessionRow, SessionRow.name == UserRow.name)
        with self._reading() as session:
            return session.scalar(query.where(SessionRow.token == token, SessionRow.expires > now))

    def end_session(self, token: str) -> None:
        """Log a browser out."""
        with self._writing() as session:
            session.execute(delete(SessionRow).where(SessionRow.token == token))
