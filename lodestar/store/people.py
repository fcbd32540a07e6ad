"""Who may come in: the users of a venture's studio and their sessions, as the ledger keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..contracts.errors import UserError, unknown
from .database import Database, Row

Role = Literal["viewer", "engineer", "founder"]


@dataclass(kw_only=True)
class UserRow(Row):
    """One person."""

    table: ClassVar[str] = "users"
    counted: ClassVar[str | None] = None
    name: str
    role: Role
    password: str = field(repr=False)
    """Its hash, with the parameters that it was made with."""
    created: str
    added_by: str


@dataclass(kw_only=True)
class SessionRow(Row):
    """One browser that is logged in."""

    table: ClassVar[str] = "sessions"
    counted: ClassVar[str | None] = None
    token: str
    """The SHA-256 of what the browser holds: who reads the ledger is not logged in by it."""
    name: str
    expires: str


class People:
    """The users and their sessions. Every method is one transaction, as the ledger's are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Sequence[UserRow]:
        """Everybody, by name."""
        with self._database.transaction(write=False) as transaction:
            return transaction.find(UserRow, "ORDER BY name")

    def find(self, name: str) -> UserRow | None:
        """The user of this name; None where there is none."""
        with self._database.transaction(write=False) as transaction:
            return next(iter(transaction.find(UserRow, "WHERE name = ?", name)), None)

    def add(self, user: UserRow) -> None:
        """Let somebody in; raises `UserError` where the name is taken."""
        with self._database.transaction(write=True) as transaction:
            transaction.be_only_writer(UserRow)
            if transaction.find(UserRow, "WHERE name = ?", user.name):
                raise UserError(f"there is a user {user.name!r} already", fix="choose another name, or remove that user first")
            transaction.add(user)

    def remove(self, name: str) -> None:
        """Let somebody in no longer: their sessions end, too.

        Raises:
            UserError: there is no such user, or nobody else could let anybody in again.
        """
        with self._database.transaction(write=True) as transaction:
            transaction.be_only_writer(UserRow)
            roles = {user.name: user.role for user in transaction.find(UserRow)}
            if name not in roles:
                raise unknown("user", name, roles)
            if [other for other, role in roles.items() if role == "founder"] == [name]:
                raise UserError(f"{name!r} is the only founder, and somebody must be able to add users", fix="add another founder first")
            transaction.execute("DELETE FROM sessions WHERE name = ?", name)
            transaction.execute("DELETE FROM users WHERE name = ?", name)

    def set_password(self, name: str, password: str) -> None:
        """Keep another password's hash; whoever is logged in by the old one is no longer."""
        with self._database.transaction(write=True) as transaction:
            kept = transaction.execute("UPDATE users SET password = ? WHERE name = ? RETURNING name", password, name)
            assert kept, f"there is no user {name!r}"
            transaction.execute("DELETE FROM sessions WHERE name = ?", name)

    def begin_session(self, begun: SessionRow, now: str) -> None:
        """Note that a browser is logged in; those that have expired by `now` are forgotten."""
        with self._database.transaction(write=True) as transaction:
            transaction.execute("DELETE FROM sessions WHERE expires <= ?", now)
            transaction.add(begun)

    def in_session(self, token: str, now: str) -> UserRow | None:
        """Whose session this is; None where it has ended, or never was."""
        theirs = "WHERE name = (SELECT name FROM sessions WHERE token = ? AND expires > ?)"
        with self._database.transaction(write=False) as transaction:
            return next(iter(transaction.find(UserRow, theirs, token, now)), None)

    def end_session(self, token: str) -> None:
        """Log a browser out."""
        with self._database.transaction(write=True) as transaction:
            transaction.execute("DELETE FROM sessions WHERE token = ?", token)
