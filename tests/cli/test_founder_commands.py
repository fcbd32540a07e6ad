"""new, vision, status, release, report, schema, tasks: what a founder types first, in one process each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lodestar.cli.main import main
from lodestar.venture.vision import schema


@pytest.fixture(autouse=True)
def english(monkeypatch, tmp_path):
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    monkeypatch.chdir(tmp_path)


def said(capsys, *arguments: str) -> str:
    code = main(arguments)
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return shown.out


def json_of(capsys, *arguments: str) -> Any:
    return json.loads(said(capsys, *arguments, "--json"))


def test_new_makes_a_venture_that_vision_accepts(capsys):
    out = said(capsys, "new", "My Poet", "--template", "text-generation")
    assert "cd my-poet && lodestar vision" in out
    assert sorted(path.name for path in Path("my-poet").iterdir()) == [".gitignore", "venture.schema.json", "venture.yaml"]
    value = json_of(capsys, "vision", "--venture", "my-poet")
    assert value["warnings"] == []
    assert value["targets"] == 3
    assert "My Poet" in Path(value["brief"]).read_text()
    assert json_of(capsys, "status", "--venture", "my-poet")["next"]["command"] == "lodestar decide"


def test_new_refuses_a_folder_with_something_in_it(capsys):
    Path("full").mkdir()
    Path("full/mine").touch()
    assert main(["new", "x", "--template", "classification", "--path", "full"]) == 2
    assert "full: the folder is not empty" in capsys.readouterr().err
    assert [path.name for path in Path("full").iterdir()] == ["mine"]
    assert json_of(capsys, "new", "x", "--template", "classification", "--path", "empty/deep")["folder"] == "empty/deep"


def edit(old: str, new: str) -> None:
    path = Path("x/venture.yaml")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("command", ["vision", "run"])
def test_a_target_that_the_task_cannot_measure_is_refused_before_the_work(capsys, command):
    said(capsys, "new", "x", "--template", "classification")
    edit("metric: accuracy", "metric: bits_per_byte")
    edit("north_star: accuracy", "north_star: bits_per_byte")
    assert main(["vision", "--venture", "x"]) == 2
    err = capsys.readouterr().err
    assert (
        "x/venture.yaml: targets.0: the task 'classification' has no metric 'bits_per_byte'; it has accuracy, precision, recall, f1" in err
    )
    assert "latency_ms_p95" in err
    assert not Path("x/brief.html").exists()
    assert not Path("x/runs").exists()


def test_vision_warns_of_a_date_that_has_passed(capsys):
    said(capsys, "new", "x", "--template", "classification")
    path = Path("x/venture.yaml")
    path.write_text(re.sub(r"    by: .*", "    by: 2020-01-01", path.read_text(), count=1))
    assert main(["vision", "--venture", "x"]) == 0
    assert capsys.readouterr().err == "warning: targets.0: its date, 2020-01-01, has passed.\n"


def test_vision_names_what_cannot_be_measured_as_written_and_remarks_on_big_words(capsys):
    said(capsys, "new", "x", "--template", "classification")
    path = Path("x/venture.yaml")
    whole = path.read_text()
    path.write_text(re.sub(r"    (?:by|unit): .*\n", "", whole))
    assert main(["vision", "--venture", "x"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("lodestar: x/venture.yaml: targets.0: no date by which it is to hold")
    assert "targets.1: no unit, and 'latency_ms_p95' is measured in ms" in err
    assert not Path("x/brief.html").exists()
    path.write_text(re.sub("statement: .*", "statement: A perfect sorter.", whole))
    assert json_of(capsys, "vision", "--venture", "x")["warnings"][0]["en"].startswith("statement: 'perfect' claims a rank among others")


def test_the_vision_is_recorded_and_its_changes_are_told(capsys):
    said(capsys, "new", "x", "--template", "classification")
    assert "To record it: lodestar vision --record" in said(capsys, "vision", "--venture", "x")
    assert "No version is recorded yet." in said(capsys, "vision", "--history", "--venture", "x")
    out = said(capsys, "vision", "--record", "--by", "Ada", "--because", "we agreed", "--venture", "x")
    assert "by Ada: we agreed" in out
    assert "by Ada: we agreed" in Path("x/brief.html").read_text()
    assert not Path("x/brief.pdf").exists()
    printed = json_of(capsys, "vision", "--pdf", "--venture", "x")["pdf"]
    assert Path(printed).read_bytes().startswith(b"%PDF-")
    edit("a support team that reads every review by hand", "support teams")
    value = json_of(capsys, "vision", "--venture", "x")
    assert (value["version"], value["changes"][0]["en"]) == (
        1,
        "audience: “a support team that reads every review by hand” → “support teams”",
    )
    assert "changed since version 1" in json_of(capsys, "status", "--venture", "x")["stages"][0]["words"]["en"]
    said(capsys, "vision", "--record", "--by", "林", "--because", "there are many", "--venture", "x")
    found = json_of(capsys, "vision", "--history", "--venture", "x")
    assert [(each["by"], len(each["changes"])) for each in found["versions"]] == [("Ada", 0), ("林", 1)]
    assert found["changes"] == []
    assert "2 versions, each as it was recorded." in said(capsys, "vision", "--verify", "--venture", "x")
    path = Path("x/visions/0001.json")
    path.write_text(path.read_text().replace("we agreed", "they agreed"))
    for flag in ("--verify", "--history"):
        assert main(["vision", flag, "--venture", "x"]) == 2
        assert "0001.json: this record was changed after it was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--by", "Ada"], "--by and --because belong to a version; give --record, too"),
        (["--record", "--by", "Ada"], "needs the name of who records it, and the reason; give both --by and --because"),
        (["--record", "--history"], "--record and --pdf write, --history and --verify read"),
    ],
)
def test_a_version_is_not_recorded_by_halves(capsys, arguments, sentence):
    said(capsys, "new", "x", "--template", "classification")
    assert main(["vision", *arguments, "--venture", "x"]) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("x/visions").exists()
    assert not Path("x/brief.html").exists()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [("release", "nothing is evaluated yet; run `lodestar run`"), ("report", "nothing to report on yet; run `lodestar run`")],
)
def test_release_and_report_before_an_evaluation_say_what_to_run(capsys, command, sentence):
    said(capsys, "new", "x", "--template", "classification")
    before = sorted(Path("x").iterdir())
    assert main([command, "--venture", "x"]) == 2
    assert sentence in capsys.readouterr().err
    assert sorted(path for path in Path("x").iterdir() if path.name != ".lodestar") == before


def test_a_venture_in_use_says_who_holds_it(capsys):
    said(capsys, "new", "x", "--template", "classification")
    code = (
        "import sys; from pathlib import Path; from lodestar.venture.venture import Venture\n"
        "with Venture.open(Path('x')).hold('train'):\n    print('held', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert main(["release", "--venture", "x"]) == 2
        assert f"in use by 'train' (`-c`, process {holder.pid} on" in capsys.readouterr().err
        assert json_of(capsys, "status", "--venture", "x")["running"].startswith("'train'")
        holder.communicate("\n")
    assert json_of(capsys, "status", "--venture", "x")["running"] is None


def test_schema_prints_what_new_writes(capsys):
    assert json.loads(said(capsys, "schema")) == json_of(capsys, "schema") == schema()


def test_tasks_lists_every_task_with_its_metrics(capsys):
    value = json_of(capsys, "tasks")
    text = said(capsys, "tasks")
    assert {"text-generation", "code-generation", "classification"} <= {task["name"] for task in value}
    for task in value:
        assert task["name"] in text
        assert task["words"]["en"] in text
        assert task["words"]["zh"]
        for metric in task["metrics"]:
            assert f"- {metric['name']}" in text
