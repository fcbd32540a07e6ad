"""`lodestar index` and `lodestar ask`: with terms alone, with an encoder and a reader, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lodestar import tasks
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.cli.main import main
from lodestar.model.config import ModelConfig
from lodestar.prepare import train_tokenizer


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "house.md").write_text("House rules.\nThe pool closes at nine.\n")
    (tmp_path / "rules" / "规定.txt").write_text("退房时把钥匙放进门边的盒子。\n")
    (tmp_path / "rules" / "empty.txt").write_text("")
    return tmp_path


def release(name: str, place: Path) -> str:
    """A model of a task with random weights, as a folder."""
    task = tasks.find(name)()
    task.fit(task.sample())
    tokenizer = train_tokenizer([text for example in task.sample() for text in task.texts(example)], 320)
    config = ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 128, **task.architecture())
    torch.manual_seed(0)
    save_bundle(place / name, Bundle(task.build(config), config, tokenizer, task.describe()))
    return str(place / name)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_folder_is_indexed_beside_itself_and_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run(capsys, "index", str(folder / "rules"))
    assert made == {
        "index": str(folder / "rules.index"), "passages": 2, "added": ["house.md", "规定.txt"], "changed": [], "removed": [],
        "unchanged": 0, "skipped": {"empty.txt": "there is no text in it"}, "vectors": False,
    }  # fmt: skip
    assert run(capsys, "index", str(folder / "rules"))["unchanged"] == 2
    answer = run(capsys, "ask", "When does the pool close?", "--index", str(folder / "rules.index"))
    assert (answer["answer"], answer["citations"][0]["file"], answer["citations"][0]["line"]) == ("The pool closes at nine.", "house.md", 2)
    assert main(["ask", "钥匙放在哪里？", "--index", str(folder / "rules.index")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("退房时把钥匙放进门边的盒子。")
    assert "规定.txt, line 1" in printed
    assert main(["ask", "Who painted the chapel?", "--index", str(folder / "rules.index")]) == 0
    assert capsys.readouterr().out.startswith("Not in the documents.")


def test_an_encoder_and_a_reader_are_taken_from_releases(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finder, reader, out = release("retrieval", folder), release("question-answering", folder), str(folder / "out")
    assert run(capsys, "index", str(folder / "rules"), "--out", out, "--model", finder)["vectors"]
    again = run(capsys, "index", str(folder / "rules"), "--out", out)  # the index keeps its encoder
    assert again["vectors"]
    assert again["unchanged"] == 2
    answer = run(capsys, "ask", "When does the pool close?", "--index", out, "--reader", reader)
    for cited in answer["citations"]:
        assert cited["file"] in ("house.md", "规定.txt")
    assert answer["citations"] or answer["nearest"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("index", "none"), "no such folder"),
        (("index", "rules", "--model", "none"), "there is no model here; give the folder of a release of the task retrieval"),
        (("index", "rules", "--model", "question-answering"), "trained for the task question-answering, not for retrieval"),
        (("index", "rules", "--out", "rules"), "holds something that is no index"),
        (("ask", "why?", "--index", "none"), "there is no index here"),
        (("ask", " ", "--index", "made"), "the question is blank"),
        (("ask", "why?", "--index", "made", "--reader", "none"), "of the task question-answering"),
        (("serve", "question-answering", "--index", "none"), "there is no index here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_one_sentence(
    folder: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if "question-answering" in arguments:
        release("question-answering", folder)
    if "made" in arguments:
        run(capsys, "index", "rules", "--out", "made")
    before = sorted(str(path) for path in folder.rglob("*"))
    assert main(list(arguments)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert sorted(str(path) for path in folder.rglob("*")) == before
