"""`lodestar studio` as people type it: users, addresses, a venture begun on the page, a choice made there, and no secret told."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from lodestar.cli._studio import ACTS, interview
from lodestar.cli.main import main
from lodestar.deploy.listening import LOOPBACK_HOSTS, in_background, listen
from lodestar.studio import access
from lodestar.studio.app import create_app
from lodestar.venture.compared import last_comparison
from lodestar.venture.record import latest_record
from lodestar.venture.venture import Venture

PASSWORD = "the star stands still"
ANSWERS = [
    "Listener",
    "classification",
    "Every shop hears its customers.",
    "owners of small shops",
    "accuracy",
    "0.7",
    "2099-01-31",
    "better",
]


@pytest.fixture(autouse=True)
def english(monkeypatch, tmp_path):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    monkeypatch.setattr(access, "SCRYPT", (16, 8, 1))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def venture(capsys) -> Path:
    assert main(["new", "x", "--template", "classification"]) == 0
    capsys.readouterr()
    return Path("x")


def refused(capsys, *arguments: str) -> str:
    assert main(["studio", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    return shown.err


@contextmanager
def opened(folder: Path) -> Iterator[httpx.Client]:
    """The studio as the command opens it, in this process."""
    with listen("127.0.0.1", 0) as listener:
        app = create_app(folder, hosts=LOOPBACK_HOSTS, acts=ACTS, interview=interview)
        with in_background(app, listener) as url, httpx.Client(base_url=url, headers={"origin": url}, timeout=120) as client:
            yield client


def test_a_password_comes_from_a_pipe_and_never_from_the_command_line(venture, capsys):
    command = [sys.executable, "-m", "lodestar.cli.main", "studio", "--venture", "x", "--add-user", "Ada", "--role", "founder", "--json"]
    done = subprocess.run(command, input=f"{PASSWORD}\n", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"user": "Ada", "role": "founder"}
    assert PASSWORD not in done.stdout + done.stderr
    (user,) = Venture.open(venture).ledger.people.all()
    assert access.is_password(PASSWORD, user.password)
    assert "only founder" in refused(capsys, "--venture", "x", "--remove-user", "Ada")


def test_mistakes_are_one_sentence(venture, capsys, tmp_path):
    assert "--add-user and --role belong together" in refused(capsys, "--venture", "x", "--add-user", "Ada")
    told = refused(capsys, "--venture", "x", "--host", "0.0.0.0")
    assert "nobody would have to log in; first let yourself in: lodestar studio --add-user NAME --role founder." in told
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.txt").write_text("not a venture")
    assert "no venture.yaml here" in refused(capsys, "--venture", "papers")
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is in use" in refused(capsys, "--venture", "x", "--port", str(port))


def test_nothing_that_is_said_or_kept_tells_a_secret(venture):
    access.add_user(Venture.open(venture).ledger.people, "Ada", "founder", PASSWORD, by="test")
    command = [sys.executable, "-m", "lodestar.cli.main", "studio", "--venture", "x", "--host", "0.0.0.0", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        url = json.loads("".join(process.stdout.readline() for _ in range(3)))["url"]
        with httpx.Client(base_url=url, headers={"origin": url}, timeout=120) as client:
            assert client.get("/").status_code == 303  # beyond this machine everybody logs in
            wrong = client.post("/login", data={"name": "Ada", "password": f"{PASSWORD}?"})
            assert wrong.status_code == 401
            assert client.post("/login", data={"name": "Ada", "password": PASSWORD}).status_code == 303
            token, page = client.cookies["lodestar_session"], client.get("/people").text
        process.terminate()
        said = process.stdout.read()
        assert process.wait(60) == 0
    kept = b"".join(path.read_bytes() for path in venture.rglob("*") if path.is_file()).decode("utf-8", "replace")
    for place in (said, page, wrong.text, kept):
        assert PASSWORD not in place
        assert token not in place
    assert "scrypt" not in page


def test_a_venture_is_begun_on_the_page(tmp_path):
    folder = tmp_path / "new"
    with opened(folder) as client:
        page = client.get("/").text
        given: list[str] = []
        while "Write venture.yaml" not in page:
            default = re.search(r'name="answer"[^>]*value="([^"]*)"', page)
            text = ANSWERS[len(given)] if len(given) < len(ANSWERS) else default[1] if default else ""
            if len(given) == 5:  # a mistake is told, and the question asked again with what was typed
                wrong = client.post("/begin", data={"given": given, "answer": "many", "step": "next"})
                assert (wrong.status_code, "is no number" in wrong.text, 'value="many"' in wrong.text) == (400, True, True)
            answer = client.post("/begin", data={"given": given, "answer": text, "step": "next"})
            assert answer.status_code == 200, answer.text
            page = answer.text
            given = re.findall(r'name="given" value="([^"]*)"', page)
        assert not folder.exists()
        back = client.post("/begin", data={"given": given, "step": "back"}).text
        assert len(re.findall('name="given"', back)) == len(given) - 1
        assert client.post("/begin", data={"given": given, "step": "write"}).headers["location"] == "/vision"
        assert "Every shop hears its customers." in client.get("/vision").text
        assert client.post("/begin", data={"given": given, "step": "write"}).status_code == 404
    file = Venture.open(folder).file
    assert (file.name, file.task, file.targets[0].at_least, file.targets[0].by) == ("Listener", "classification", 0.7, "2099-01-31")


def test_a_founder_chooses_on_the_page_as_the_command_does(venture, capsys):
    path = venture / "venture.yaml"
    value = yaml.safe_load(path.read_text("utf-8"))
    value["decision"] = {
        "strategies": [{"name": "none", "kind": "baseline"}, {"name": "small", "kind": "scratch", "model": {"size": "tiny"}}]
    }
    path.write_text(yaml.safe_dump(value, allow_unicode=True), "utf-8")
    with opened(venture) as client:
        assert 'action="/do/choose"' not in client.get("/decision").text  # before anything was compared
        assert main(["decide", "--venture", "x"]) == 0
        capsys.readouterr()
        page = client.get("/decision").text
        assert re.findall(r'<option value="(\w+)"', page[page.index('id="choose-option"') :])[:2] == ["none", "small"]
        form = {"option": "small", "because": "it is enough", "forecast": "accuracy", "probability": "0.8", "resolve_by": "2099-01-01"}
        sure = client.post("/do/choose", data={**form, "probability": "1"})
        assert (sure.status_code, "claim certainty" in sure.text, "it is enough" in sure.text) == (400, True, True)
        assert latest_record(Venture.open(venture)) is None
        told = client.post("/do/choose", data=form, follow_redirects=True)
        assert "Chosen: small, decision 1." in told.text
    now = Venture.open(venture)
    record, compared = latest_record(now), last_comparison(now)
    assert record is not None
    assert (record.choice, record.because, now.file.model.size) == ("small", "it is enough", "tiny")
    assert [forecast.probability for forecast in now.ledger.forecasts()] == [0.8]
    assert compared is not None
    assert compared.is_of(now)
