"""Passwords, sessions, roles, and patience with those who guess."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from itertools import pairwise

import pytest

from lodestar.contracts.errors import UserError
from lodestar.studio import access
from lodestar.studio.access import Patience, Person, WaitError, WrongError, add_user, hash_password, is_password, log_in, token_hash

from .conftest import PASSWORDS


def test_a_hash_is_scrypt_as_the_standard_has_it():
    """RFC 7914, section 12: the third vector, in the form that hashes are kept in."""
    key = bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    )
    kept = f"scrypt$16384$8$1${b64encode(b'SodiumChloride').decode()}${b64encode(key).decode()}"
    assert is_password("pleaseletmein", kept)
    assert not is_password("pleaseletmeIn", kept)


def test_a_hash_is_salted_and_costs_what_is_advised():
    first, second = hash_password("correct horse"), hash_password("correct horse")
    assert first != second
    assert first.split("$")[:4] == ["scrypt", "32768", "8", "3"]
    salt, key = (b64decode(part) for part in first.split("$")[4:])
    assert len(salt) == 16
    assert hashlib.scrypt(b"correct horse", salt=salt, n=2**15, r=8, p=3, maxmem=2**27) == key


@pytest.mark.parametrize(
    ("name", "role", "password", "told"),
    [
        ("Cy", "viewer", "short", "10 to 1,024 characters"),
        ("Cy", "viewer", "x" * 1025, "10 to 1,024 characters"),
        ("Cy", "viewer", "aaaaaaaaaaaa", "guessed at once"),
        ("Cyrus the Great", "viewer", "cyrus the great", "guessed at once"),
        ("Cy", "boss", "a long enough one", "unknown role 'boss'"),
        ("Ada", "viewer", "a long enough one", "a user 'Ada' already"),
        (" Cy", "viewer", "a long enough one", "no space around"),
        ("C\x07y", "viewer", "a long enough one", "1 to 64 characters"),
        ("", "viewer", "a long enough one", "1 to 64 characters"),
    ],
)
def test_nobody_is_let_in_by_mistake(team, name, role, password, told):
    before = [(user.name, user.role) for user in team.ledger.people.all()]
    with pytest.raises(UserError, match=told):
        add_user(team.ledger.people, name, role, password, by="Ada")
    assert [(user.name, user.role) for user in team.ledger.people.all()] == before


def test_there_is_always_a_founder(venture, quick_hashes):
    people = venture.ledger.people
    with pytest.raises(UserError, match="first user must be a founder"):
        add_user(people, "Bo", "engineer", PASSWORDS["Bo"], by="test")
    add_user(people, "Ada", "founder", PASSWORDS["Ada"], by="test")
    add_user(people, "Bo", "engineer", PASSWORDS["Bo"], by="Ada")
    with pytest.raises(UserError, match="the only founder"):
        people.remove("Ada")
    with pytest.raises(UserError, match="did you mean 'Bo'"):
        people.remove("Boo")
    people.remove("Bo")
    assert [user.name for user in people.all()] == ["Ada"]


def test_a_role_may_what_those_before_it_may():
    least = {role: [Person("x", own).may(role) for own in access.ROLES] for role in access.ROLES}
    assert least == {"viewer": [True, True, True], "engineer": [False, True, True], "founder": [False, False, True]}


def test_a_session_is_kept_as_a_hash_and_ends_with_the_user_or_the_password(team):
    people = team.ledger.people
    tokens = [log_in(people, Patience(), "Bo", PASSWORDS["Bo"], "here") for _ in range(2)]
    assert all(people.in_session(token_hash(token), "2026-01-01T00:00:00Z") is not None for token in tokens)
    kept = b"".join(path.read_bytes() for path in team.state.rglob("*") if path.is_file())
    for secret in (*tokens, *PASSWORDS.values()):
        assert secret.encode() not in kept
    people.end_session(token_hash(tokens[0]))
    assert [people.in_session(token_hash(token), "2026-01-01T00:00:00Z") is not None for token in tokens] == [False, True]
    people.set_password("Bo", hash_password("another one by now"))
    assert people.in_session(token_hash(tokens[1]), "2026-01-01T00:00:00Z") is None
    third = log_in(people, Patience(), "Bo", "another one by now", "here")
    people.remove("Bo")
    assert people.in_session(token_hash(third), "2026-01-01T00:00:00Z") is None


def test_an_unknown_name_is_held_against_a_hash_as_well(team, monkeypatch):
    """So that the time of the answer does not tell who is a user."""
    asked: list[str] = []

    def ask(password: str, kept: str) -> bool:
        asked.append(kept)
        return is_password(password, kept)

    monkeypatch.setattr(access, "is_password", ask)
    for name in ("Ada", "Nobody"):
        with pytest.raises(WrongError):
            log_in(team.ledger.people, Patience(), name, "not the password", "here")
    costs = [kept.split("$")[:4] for kept in asked]
    assert costs[0][0] == "scrypt"
    assert costs[1] == ["scrypt", "32768", "8", "3"]


def test_each_wrong_password_beyond_the_first_few_doubles_the_wait(team, monkeypatch):
    moment = [1000.0]
    monkeypatch.setattr(access, "seconds", lambda: moment[0])
    patience, people, waits = Patience(), team.ledger.people, []
    for _ in range(Patience.FREE):
        with pytest.raises(WrongError):
            log_in(people, patience, "Ada", "wrong", "there")
    for _ in range(4):
        with pytest.raises(WaitError) as refused:
            log_in(people, patience, "Ada", PASSWORDS["Ada"], "there")  # the right one waits, too: nothing is told by it
        waits.append(refused.value.seconds)
        moment[0] += refused.value.seconds
        with pytest.raises(WrongError):
            log_in(people, patience, "Ada", "wrong", "there")
    assert [round(second / first, 6) for first, second in pairwise(waits)] == [2, 2, 2]
    with pytest.raises(WaitError):
        log_in(people, patience, "Bo", PASSWORDS["Bo"], "there")  # another name from that address waits as well
    assert log_in(people, patience, "Ada", PASSWORDS["Ada"], "elsewhere")  # and its owner, elsewhere, does not
    moment[0] += 40
    assert log_in(people, patience, "Ada", PASSWORDS["Ada"], "there")
    with pytest.raises(WrongError):
        log_in(people, patience, "Ada", "wrong", "there")


def test_what_is_counted_of_guesses_stays_in_bounds(monkeypatch):
    monkeypatch.setattr(Patience, "KEYS", 50)
    patience = Patience()
    for number in range(500):
        patience.try_((f"10.0.0.{number}",))
    assert len(patience._tries) == 50
