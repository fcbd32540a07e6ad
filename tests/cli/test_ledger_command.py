"""`lodestar ledger`: where the ledger is, and its way from the file into a database, with a real server at the other end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lodestar.cli.main import main
from lodestar.contracts.clock import precise_timestamp
from lodestar.contracts.forecast import Forecast, Resolution
from lodestar.store import moving
from lodestar.store.ledger import ROWS, FeedbackRow, Ledger, Request
from lodestar.store.people import SessionRow, UserRow
from lodestar.venture.venture import Venture
from tests.postgresql import PASSWORD


@pytest.fixture
def venture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    assert main(["new", "poet", "--template", "text-generation"]) == 0
    monkeypatch.chdir("poet")
    return tmp_path / "poet"


@pytest.fixture
def address(postgresql, monkeypatch) -> str:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return str(postgresql.new_database())


def fill(ledger: Ledger, requests: int = 5) -> None:
    """Something of everything."""
    ledger.fail_run(ledger.start_run("train", "a"), "没有磁盘")
    ledger.add_release("v1", "hash", {"名": [1.5, None]}, [{"kept": True}])
    for number in range(requests):
        ledger.add_request(Request(time=f"t{number}", release="v1", route="/", tokens_in=1, tokens_out=0, latency_ms=0.1 + 0.2, status=200))
    ledger.add_feedback(FeedbackRow(time="t", release="v1", request="a", outcome=True))
    ledger.start_server("v1", "2026-01-01T00:00:00Z")
    fields = {"id": "f1", "statement": "雨", "by": "Ada", "made": "2026-12-01", "resolve_by": "2026-12-31", "probability": 0.7}
    ledger.add_forecasts([Forecast.parse(fields, where="x")])
    ledger.resolve_forecast("f1", Resolution(outcome=True, when=date(2027, 1, 1), source="person", reference="Ada"))
    ledger.add_event("x", {})
    ledger.people.add(UserRow(name="Ada", role="founder", password="hash", created="t", added_by="-"))
    ledger.people.begin_session(SessionRow(token="k", name="Ada", expires="u"), "t")


def everything(ledger: Ledger) -> list[Any]:
    with ledger._database.transaction(write=False) as transaction:
        return [sorted(transaction.find(kind), key=repr) for kind in ROWS]


def test_the_ledger_moves_whole_and_is_written_on_where_it_went(venture, address, capsys, monkeypatch):
    monkeypatch.setattr(moving, "PAGE", 2)
    before = (venture / "venture.yaml").read_text("utf-8")
    file = Venture.open(venture).ledger
    fill(file)
    kept = everything(file)
    assert all(kept), "a table that is empty would not be seen to be lost"
    capsys.readouterr()
    assert main(["ledger", "move", "--to", address]) == 0
    assert "Moved and compared: 1 attempts at steps, 1 releases, 5 requests" in capsys.readouterr().out
    assert (venture / "venture.yaml").read_text("utf-8") == f"{before.rstrip()}\n\nledger: {address}\n"
    moved = Venture.open(venture).ledger
    assert everything(moved) == kept
    assert moved.start_run("train", "b") == 2, "numbers go on where they were"
    assert not (venture / ".lodestar" / "ledger.sqlite").exists()
    assert main(["ledger"]) == 0
    assert capsys.readouterr().out == (
        f"The ledger is {address}: 2 attempts at steps, 1 releases, 5 requests, 1 opinions, 1 servers, 1 forecasts, 1 events, "
        "1 users, 1 sessions.\n"
    )
    assert main(["ledger", "move", "--to", address]) == 2
    assert "the ledger is in a database already" in capsys.readouterr().err


def test_a_move_that_was_cut_off_after_the_copy_is_finished_by_the_next(venture, address):
    opened = Venture.open(venture)
    fill(opened.ledger)
    moving.copy_ledger(f"sqlite:///{opened.ledger_path}", address)
    assert main(["ledger", "move", "--to", address]) == 0
    assert Venture.open(venture).file.ledger == address


def test_what_cannot_be_moved_stays_as_it_was(venture, address, capsys):
    opened = Venture.open(venture)
    fill(opened.ledger)
    kept, text = everything(opened.ledger), opened.path.read_bytes()

    def refused(to: str) -> str:
        assert main(["ledger", "move", "--to", to]) == 2
        assert opened.path.read_bytes() == text
        assert everything(opened.ledger) == kept
        return capsys.readouterr().err

    assert "nothing answers there" in refused("postgresql://ada@127.0.0.1:1/team")
    assert "the ledger is in a file already" in refused("sqlite:///elsewhere")
    assert "holds a password" in refused(address.replace("ada@", "ada:secret@"))
    other = Ledger(address)
    other.add_event("of another venture", {})
    assert "this database holds another ledger; name an empty one" in refused(address)
    assert len(other.events()) == 1
    opened.ledger.start_server("v1", precise_timestamp())
    kept = everything(opened.ledger)
    assert "a server of v1 wrote to the ledger at" in refused(address)


def test_a_password_in_venture_yaml_is_refused_without_showing_it(venture, capsys):
    with (venture / "venture.yaml").open("a", encoding="utf-8") as file:
        file.write("\nledger: postgresql://ada:s3cret@db.example.com/team\n")
    assert main(["ledger"]) == 2
    said = capsys.readouterr().err
    assert "in 'ledger': the address of the ledger holds a password; leave it out, and set PGPASSWORD or write it into ~/.pgpass." in said
    assert "s3cret" not in said


def test_without_its_server_a_command_changes_nothing(venture, capsys):
    with (venture / "venture.yaml").open("a", encoding="utf-8") as file:
        file.write("\nledger: postgresql://ada@127.0.0.1:1/team\n")
    before = {*venture.rglob("*")}
    asked = ["--who", "Ada", "--resolve-by", "2099-01-01", "--probability", "0.5"]
    for command in (["run"], ["ledger"], ["status"], ["forecast", "add", "Rain.", *asked]):
        assert main(command) == 2, command
        assert capsys.readouterr().err == (
            "lodestar: postgresql://ada@127.0.0.1:1/team: the ledger cannot be reached: nothing answers there; "
            "start PostgreSQL, or check the host and the port.\n"
        )
    made = {str(path.relative_to(venture)) for path in {*venture.rglob("*")} - before}
    assert made <= {".lodestar", ".lodestar/lock", ".lodestar/measures.json"}, "a lock, and what is remembered to be quick"
    assert main(["doctor"]) == 2
    assert "The ledger does not answer. postgresql://ada@127.0.0.1:1/team: the ledger cannot be reached" in capsys.readouterr().out


def test_a_ledger_that_is_not_there_yet_is_not_made_by_looking(venture, capsys):
    capsys.readouterr()
    assert main(["ledger"]) == 0
    assert "nothing is in it yet" in capsys.readouterr().out
    assert not (venture / ".lodestar" / "ledger.sqlite").exists()


@pytest.mark.parametrize("ending", [".md", ".zh.md"])
def test_the_guide_runs_as_written(ending, venture, postgresql, monkeypatch):
    """Its commands with the server's name replaced, and its port and password where libpq looks for them."""
    page = (Path(__file__).parents[2] / "docs" / f"ledger{ending}").read_text("utf-8")
    script = "".join(re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)).replace("db.example.com", "127.0.0.1")
    assert "lodestar ledger move" in script
    Venture.open(venture).ledger.add_event("x", {})
    name = f"poet_{len(ending)}"
    programs = [Path(sys.executable).parent, postgresql._programs]
    environment = {
        **os.environ, "PGPASSWORD": PASSWORD, "PGPORT": str(postgresql.port), "PATH": ":".join([*map(str, programs), os.environ["PATH"]])
    }  # fmt: skip
    script = re.sub(r"\bpoet\b", name, script)
    done = subprocess.run(["bash", "-e", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"The ledger is postgresql://ada@127.0.0.1/{name}: 1 events." in done.stdout
