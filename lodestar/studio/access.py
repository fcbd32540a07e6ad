"""Who is there, and what they may do: roles, passwords, sessions, and patience with those who guess."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from base64 import b64decode, b64encode
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import get_args

from ..contracts.clock import now, seconds, timestamp
from ..contracts.errors import UserError, unknown
from ..contracts.language import Words, say
from ..store.people import People, Role, SessionRow, UserRow

ROLES: tuple[Role, ...] = get_args(Role)
"""From the one who may least: whoever may do what is one's, may do what stands before it."""
ROLE_WORDS = {"viewer": Words("viewer", "访客"), "engineer": Words("engineer", "工程师"), "founder": Words("founder", "创始人")}
SESSION_HOURS = 12
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 1024
LONGEST_NAME = 64

SCRYPT = (2**15, 8, 3)
"""N, r and p: 32 MB and some tenths of a second for a guess (OWASP's password storage cheat sheet)."""
_HASHES_AT_ONCE = threading.Semaphore(2)


@dataclass(frozen=True)
class Person:
    """Whoever is asking."""

    name: str
    role: Role
    local: bool = False
    """Whether nobody has to log in, since there are no users and the page is reached from this machine alone."""

    def may(self, least: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(least)


def refusal(person: Person, least: Role) -> str:
    """Why somebody may not do something that asks for this role."""
    needed, own = ROLE_WORDS[least], ROLE_WORDS[person.role]
    article = "an" if needed.en[0] in "aeiou" else "a"
    return say(
        f"This takes {article} {needed.en}; you are here as {own.en}.",
        f"此操作需要{needed.zh}身份；您当前的身份是{own.zh}。",
    )  # fmt: skip


# Passwords


def hash_password(password: str) -> str:
    """A salted hash that tells what it was made with: `scrypt$N$r$p$SALT$KEY` (RFC 7914)."""
    salt = secrets.token_bytes(16)
    cost = "$".join(map(str, SCRYPT))
    return f"scrypt${cost}${b64encode(salt).decode()}${b64encode(_derive(password, salt, *SCRYPT)).decode()}"


def is_password(password: str, kept: str) -> bool:
    """Whether `password` is the one that `kept` was made of, told in a time that does not depend on where they differ."""
    _, n, r, p, salt, key = kept.split("$")
    return hmac.compare_digest(_derive(password, b64decode(salt), int(n), int(r), int(p)), b64decode(key))


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    with _HASHES_AT_ONCE:  # so that a crowd of guesses takes neither all memory nor every core
        return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r)


_NOBODYS = f"scrypt${'$'.join(map(str, SCRYPT))}${b64encode(bytes(16)).decode()}${b64encode(bytes(64)).decode()}"
"""What the password of an unknown user is held against: to ask takes as long, and the answer is no."""


def add_user(people: People, name: str, role: str, password: str, *, by: str) -> UserRow:
    """Let somebody in, with a role.

    Raises:
        UserError: the name or the password cannot be one, the name is taken, the role is none, or the first user is no founder.
    """
    if not name.strip() or name != name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise UserError(
            f"a user's name has 1 to {LONGEST_NAME} characters, and no space around them", where="name", fix="choose another name"
        )
    if role not in ROLES:
        raise unknown("role", role, ROLES)
    if role != "founder" and not people.all():
        raise UserError("the first user must be a founder, who can add the others", where="role", fix="add a founder first")
    check_password(password, name)
    user = UserRow(name=name, role=role, password=hash_password(password), created=timestamp(), added_by=by)
    people.add(user)
    return user


def check_password(password: str, name: str) -> None:
    """Refuse what is guessed at once; length is what makes a password hard to guess (NIST SP 800-63B), so no rule asks for signs."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UserError(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD:,} characters", where="password", fix="a few words make a good one"
        )
    if password.casefold() == name.casefold() or len(set(password)) < 4:
        raise UserError("this password is guessed at once", where="password", fix="take a few words that do not belong together")


# Sessions


class WrongError(Exception):
    """The name and the password do not belong together; which of them is wrong is not told."""


class WaitError(Exception):
    """Too many wrong passwords: another may be tried after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(seconds)


class Patience:
    """Slows down whoever guesses passwords: after FREE wrong ones, each further one doubles the wait.

    A try is counted before it is judged, so that many at once are no way around. What is counted is kept in memory and in bounds.
    """

    FREE = 5
    LONGEST_SECONDS = 900.0
    KEYS = 10_000

    def __init__(self) -> None:
        self._tries: OrderedDict[tuple[str, ...], tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def try_(self, *keys: tuple[str, ...]) -> None:
        """Count one more try under each key; raises `WaitError`, and counts nothing, where one of them has to wait."""
        moment = seconds()
        with self._lock:
            wait = max(self._wait(key, moment) for key in keys)
            if wait > 0:
                raise WaitError(wait)
            for key in keys:
                self._tries[key] = (self._tries.get(key, (0, 0.0))[0] + 1, moment)
                self._tries.move_to_end(key)
            while len(self._tries) > self.KEYS:
                self._tries.popitem(last=False)

    def forgive(self, *keys: tuple[str, ...]) -> None:
        """The password was right."""
        with self._lock:
            for key in keys:
                self._tries.pop(key, None)

    def _wait(self, key: tuple[str, ...], moment: float) -> float:
        count, last = self._tries.get(key, (0, 0.0))
        if moment - last > self.LONGEST_SECONDS:
            self._tries.pop(key, None)
            return 0.0
        needed = min(2.0 ** (count - self.FREE), self.LONGEST_SECONDS) if count >= self.FREE else 0.0
        return needed - (moment - last)


def log_in(people: People, patience: Patience, name: str, password: str, address: str) -> str:
    """The token of a new session, for the browser to hold.

    Raises:
        WrongError: no such user, or another password.
        WaitError: too many wrong ones came from this address. By the name alone nobody is held up: else whoever knows a name could lock
            its owner out.
    """
    keys = ((address,), (address, name))
    patience.try_(*keys)
    user = people.find(name)
    right = is_password(password[: LONGEST_PASSWORD + 1], user.password if user is not None else _NOBODYS)
    if user is None or not right:
        raise WrongError
    patience.forgive(*keys)
    token = secrets.token_urlsafe(32)
    expires = (now() + timedelta(hours=SESSION_HOURS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    people.begin_session(SessionRow(token=token_hash(token), name=name, expires=expires), timestamp())
    return token


def token_hash(token: str) -> str:
    """What the ledger knows a session by."""
    return hashlib.sha256(token.encode()).hexdigest()
