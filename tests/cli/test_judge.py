"""`lodestar judge` with a judge of our own: a chat model that is held to the form of a verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from lodestar.cli.main import cli, main


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory, save_llama: Callable[..., Path]) -> Path:
    return save_llama(tmp_path_factory.mktemp("judged") / "tiny-llama", context=1024)


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("records") / "conversations.jsonl"
    records = [{"prompt": question, "completion": "Look up."} for question in ("Which way is north?", "哪边是北？", "And south?")]
    file.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
    return file


def test_a_model_is_judged_against_the_records(llama: Path, conversations: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    judging = ["--data", str(conversations), "--judge", str(llama), "--max-tokens", "8", "--out", str(out), "--json"]
    told = CliRunner().invoke(cli, ["judge", "records", str(llama), *judging], catch_exceptions=False)
    assert told.exit_code == 0
    found = json.loads(told.stdout)
    assert found["wins"] + found["losses"] + found["ties"] == 3
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [row["a"]["answer"] for row in rows] == ["Look up."] * 3
    assert [row["winner"] for row in rows].count("B") == found["wins"]
    assert {row["b"]["model"] for row in rows} == {str(llama)}
    assert {row["judge"] for row in rows} == {found["judge"]} == {str(llama)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"B": "records"}, "A and B are the same"),
        ({"B": "no/such/folder"}, "no such folder"),
        ({"--judge": "http://127.0.0.1:9/v1"}, "needs to be told which model"),
        ({"--judge": "http://127.0.0.1:9/v1", "--judge-model": "critic"}, "cannot be asked"),
        ({"--judge": "http://127.0.0.1:9/v1", "--judge-model": "critic", "--key-env": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
        ({"--data": "nowhere.jsonl"}, "nowhere.jsonl"),
    ],
)
def test_mistakes_are_told_before_anything_is_answered(
    llama: Path, conversations: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], sentence: str
) -> None:
    given = {"A": "records", "B": str(llama), "--data": str(conversations), "--judge": str(llama), **change}
    options = [part for name, value in given.items() if name.startswith("--") for part in (name, value)]
    assert main(["judge", given["A"], given["B"], *options]) == 2
    assert sentence in capsys.readouterr().err
