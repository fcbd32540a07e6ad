"""A classifier from its template to the list of what to label next, and what the report shows of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lodestar.cli.main import main


@pytest.fixture(scope="module")
def venture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The template for intents, trained for a moment with every option on, and released."""
    folder = tmp_path_factory.mktemp("label") / "desk"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LODESTAR_LANGUAGE", "en")
        assert main(["new", "desk", "--template", "classification:intent", "--path", str(folder)]) == 0
        file = folder / "venture.yaml"
        fields = yaml.safe_load(file.read_text("utf-8"))
        fields |= {
            "options": {"ngrams": True, "precision": 0.5},
            "train": {"tokens": 4_000, "batch_tokens": 1024},
            "evaluate": {"resamples": 100},
            "targets": [{"metric": "coverage", "at_least": 0}],
            "north_star": "coverage",
        }
        file.write_text(yaml.safe_dump(fields, allow_unicode=True), "utf-8")
        assert main(["run", "--venture", str(folder)]) == 0
        assert main(["release", "--venture", str(folder)]) == 0
        yield folder


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    monkeypatch.chdir(tmp_path)


def test_what_validation_chose_is_in_the_release(venture: Path) -> None:
    state = json.loads((venture / "releases" / "v1" / "task.json").read_text())["state"]
    assert state["calibration"]["temperature"] > 0
    assert state["calibration"]["least_confidence"] is not None


def test_the_report_shows_the_pictures_and_mistakes_and_the_release_keeps_no_text_of_a_user(
    venture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = {path.name for path in (venture / "releases" / "v1").iterdir()}
    assert {"confusion.en.svg", "confusion.zh.svg", "reliability.en.svg", "findings.json"} <= released
    assert "mistakes.json" not in released
    held_out = json.loads(next(venture.glob("runs/evaluate-*/mistakes.json")).read_text())["mistakes"]
    capsys.readouterr()
    assert main(["report", "--venture", str(venture), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["mistakes"] == held_out != []
    assert any(path.endswith("confusion.en.svg") for path in value["pictures"])
    page = Path(value["report"]).read_text()
    assert "Its worst mistakes" in page
    assert page.count("data:image/svg+xml") == 2
    monkeypatch.setenv("LODESTAR_LANGUAGE", "zh")
    assert main(["report", "--venture", str(venture)]) == 0
    assert "最严重的错误" in Path(value["report"]).read_text()


def test_the_list_can_be_filled_in_and_trained_on(venture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["Where is it?", "我要退钱", "Where is it?", " ", *[f"message {number}" for number in range(30)]]
    Path("new.csv").write_text("body\n" + "\n".join(f'"{text}"' for text in texts) + "\n", "utf-8")
    arguments = ["label", "new.csv", "--venture", str(venture), "--column", "body", "--count", "12"]
    assert main([*arguments, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["texts"] == 32, "each once, and the blank one not at all"
    with Path("to-label.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [row["text"] for row in value["ranked"]]
    assert len({row["text"] for row in rows}) == 12
    assert {row["label"] for row in rows} == {""}
    assert all(row["reason"].startswith("between ") for row in rows)
    # Filled in, it is a source like any other: what it has besides is passed over.
    for row in rows:
        row["label"] = row["suggestion"]
    filled = venture / "filled.csv"
    with filled.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    file_ = venture / "venture.yaml"
    before = file_.read_text("utf-8")
    file_.write_text(before.replace("- intent.csv", "- intent.csv\n  - filled.csv"), "utf-8")
    assert main(["prepare", "--venture", str(venture)]) == 0
    file_.write_text(before, "utf-8")


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("text\na\n", ["--column", "body"], "no column 'body'; the columns found are text; name it with --column"),
        ("text\n \n", [], "the files hold no text; give files with texts to label"),
        ("text\na\n", ["--out", "nowhere/list.csv"], "its folder does not exist; name a file with --out"),
        ("text\na\n", ["--release", "v9"], "no release 'v9'; name one of v1"),
        (None, [], "new.csv"),
    ],
)
def test_what_cannot_be_ranked_is_told_in_one_sentence(
    venture: Path, capsys: pytest.CaptureFixture[str], content: str | None, arguments: list[str], message: str
) -> None:
    if content is not None:
        Path("new.csv").write_text(content)
    capsys.readouterr()
    assert main(["label", "new.csv", "--venture", str(venture), *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not Path("to-label.csv").exists()


@pytest.mark.parametrize("form", ["huggingface", "onnx"])
def test_no_open_format_takes_half_of_the_model(venture: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    assert main(["export", str(venture / "releases" / "v1"), "out", "--format", form]) == 2
    assert "n-grams beside its encoder, which no open format holds; export one that was trained" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_use_that_no_template_has_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "x", "--template", "classification:intents"]) == 2
    assert "did you mean 'classification:intent'?" in capsys.readouterr().err
    assert not Path("x").exists()
