"""What a server writes into the ledger: requests and feedback, users as hashes alone, and the time that it was there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lodestar.cli import _serving
from lodestar.cli.main import main
from lodestar.contracts.errors import UserError
from lodestar.venture.users import SALT_FILE, user_hash
from lodestar.venture.venture import Venture
from tests.postgresql import PASSWORD


@pytest.fixture
def venture(tmp_path: Path) -> Venture:
    assert main(["new", "x", "--template", "classification", "--path", str(tmp_path / "x")]) == 0
    return Venture.open(tmp_path / "x")


def facts(id: str, user: str | None = None, status: int = 200) -> dict[str, Any]:
    return {
        "id": id, "route": "/v1/classify", "at": "2026-12-01T00:00:00.000Z", "status": status, "release": "v1", "arm": None,
        "user": user, "retries": 1,
        "prompt_tokens": 3, "completion_tokens": 0, "first_token_ms": None, "latency_ms": 5.0,
    }  # fmt: skip


def test_requests_and_feedback_are_kept_and_a_name_is_not(venture):
    with _serving.on_record(venture, "v1") as record:
        record.note(facts("clsf-1", user="ada@example.org"))
        record.note(facts("clsf-2", user="ada@example.org"))
        record.note(facts("clsf-3"))
        record.note({"route": "/v1/feedback", "id": "clsf-1", "rating": "down", "comment": "late", "outcome": None})
        assert [record.answered(id) for id in ("clsf-1", "clsf-9")] == [True, False]
    first, second, third = venture.ledger.requests()
    assert first.user_hash == second.user_hash == user_hash(venture, "ada@example.org")
    assert (third.user_hash, third.retries, third.release) == (None, 1, "v1")
    (said,) = venture.ledger.feedback()
    assert (said.request, said.release, said.rating, said.comment, said.outcome) == ("clsf-1", "v1", "down", "late", None)
    kept = b"".join(path.read_bytes() for path in venture.state.rglob("*") if path.is_file())
    assert b"ada@example.org" not in kept


def test_a_hash_is_the_venture_s_own_and_its_salt_is_a_secret(venture, tmp_path):
    assert main(["new", "y", "--template", "classification", "--path", str(tmp_path / "y")]) == 0
    other = Venture.open(tmp_path / "y")
    assert user_hash(venture, "ada") == user_hash(venture, "ada") != user_hash(other, "ada")
    assert (venture.state / SALT_FILE).stat().st_mode & 0o077 == 0


def test_nobody_is_hashed_where_nobody_is_named(venture):
    with _serving.on_record(venture, "v1") as record:
        record.note(facts("clsf-1"))
    assert not (venture.state / SALT_FILE).exists()


def test_the_time_that_a_server_is_there_is_noted_while_it_is_there(venture, monkeypatch):
    monkeypatch.setattr(_serving, "PRESENCE_SECONDS", 0.01)
    with _serving.on_record(venture, "v1"):
        (first,) = venture.ledger.servers()
        while venture.ledger.servers()[0].seen == first.started:
            pass
        during = venture.ledger.servers()[0].seen
    (last,) = venture.ledger.servers()
    assert first.started < during <= last.seen


def test_a_ledger_that_is_away_for_a_while_is_told_when_it_is_back(venture, postgresql, monkeypatch):
    monkeypatch.setattr(_serving, "PRESENCE_SECONDS", 0.01)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with venture.path.open("a", encoding="utf-8") as file:
        file.write(f"\nledger: {postgresql.new_database()}\n")
    venture = Venture.open(venture.folder)
    with _serving.on_record(venture, "v1"):
        postgresql.stop()
        with pytest.raises(UserError, match="nothing answers there"):
            venture.ledger.servers()
        postgresql.start()
        back = venture.ledger.servers()[0].seen
        while venture.ledger.servers()[0].seen == back:
            pass


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--canary", "v2", "--adapter", "mate=folder"],
            "an adapter is for one model, and two are served; leave --adapter or --canary out",
        ),
        (["model", "--canary", "v2"], "a folder has no ledger to compare by; name a release of the venture in its place"),
        (["--canary", "v2"], "nothing has been released yet; run `lodestar release`"),
    ],
)
def test_a_canary_that_cannot_be_is_one_sentence(venture, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(venture.folder)
    (venture.folder / "model").mkdir()
    (venture.folder / "model" / "config.json").write_text("{}")
    assert main(["serve", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not venture.ledger_path.exists()
