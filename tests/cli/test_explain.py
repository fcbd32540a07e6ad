"""`lodestar explain`: what it is given, what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lodestar import tasks
from lodestar.build.bundle import Bundle, save_bundle
from lodestar.build.opening import open_bundle
from lodestar.cli.explain import _request
from lodestar.cli.main import main
from lodestar.explain.explanation import explain, to_json
from lodestar.explain.steps import finish
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer
from tests.text_tasks import TEXT_TASKS


def save(folder: Path, name: str) -> Bundle:
    """A task's model with random weights, as a folder."""
    task = tasks.find(name)()
    sample = list(task.sample())
    task.fit(sample)
    tokenizer = train_tokenizer([text for example in sample for text in task.texts(example)], 400, task.special_tokens)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 2, "heads": 2, "context": 128, "initial_std": 0.3}
    config = ModelConfig(**{**shape, **task.architecture()})
    torch.manual_seed(0)
    bundle = Bundle(task.build(config).eval(), config, tokenizer, task.describe())
    save_bundle(folder, bundle)
    return bundle


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in ("classification", "question-answering", "retrieval", "text-generation", "translation"):
        save(folder / name, name)
    return folder


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "en")
    monkeypatch.chdir(tmp_path)


ASKED: list[tuple[str, list[str], dict[str, Any], str | None]] = [
    ("classification", ["--text", "我爱学习编程"], {"input": "我爱学习编程"}, None),
    ("classification", ["--text", "Good.", "--output", "negative"], {"input": "Good."}, "negative"),
    (
        "question-answering", ["--text", "Who met Bob?", "--request", '{"context": "Ada met Bob in York."}'],
        {"question": "Who met Bob?", "context": "Ada met Bob in York."}, None,
    ),
    ("retrieval", ["--text", "Dogs?", "--request", '{"input": ["Dogs.", "Cats."]}'], {"input": ["Dogs?", "Dogs.", "Cats."]}, None),
    ("text-generation", ["--text", "The lamp", "--output", " is lit"], {"prompt": "The lamp"}, " is lit"),
    (
        "translation", ["--text", "A lamp.", "--request", '{"source": "en", "target": "zh"}', "--output", "灯。"],
        {"input": "A lamp.", "source": "en", "target": "zh"}, "灯。",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "request_", "output"), ASKED, ids=[f"{name}-{at}" for at, (name, *_) in enumerate(ASKED)])
def test_the_answer_of_a_task_is_explained_as_in_python(
    folders: Path, capsys: pytest.CaptureFixture[str], name: str, arguments: list[str], request_: dict[str, Any], output: str | None
) -> None:
    assert main(["explain", str(folders / name), *arguments, "--orders", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    task = tasks.load(json.loads((folders / name / "task.json").read_text("utf-8")))
    bundle = open_bundle(folders / name, task, dtype=torch.float32)
    reading = task.reading(bundle.model, bundle.tokenizer, request_, output)
    wanted = to_json(finish(explain(bundle.model, bundle.tokenizer, reading, orders=3)))
    assert {key: told[key] for key in wanted} == wanted
    assert told["page"] == "explanation.html"
    page = Path("explanation.html").read_text("utf-8")
    assert page.count('<svg class="plot"') == 3
    assert page.count('<svg class="map"') == 3 + (name == "translation")


def test_it_is_told_in_the_reader_s_language(folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODESTAR_LANGUAGE", "zh")
    arguments = ["explain", str(folders / "classification"), "--text", "我爱学习编程", "--orders", "3", "--method", "attention"]
    assert main([*arguments, "--layer", "2", "--head", "1", "--out", "为什么.html"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("答案：")
    assert "网页：为什么.html" in printed
    assert "第 2 层第 1 头。" in Path("为什么.html").read_text("utf-8")


REFUSED = [
    (["--text", " "], "--text: there is nothing to explain; give a text."),
    (["--text", "a", "--output", ""], "--output: there is nothing to explain"),
    (["--text", "a\ud800"], "--text: the text is no valid UTF-8"),
    (["--text", "a", "--request", "{"], "--request: is no JSON ("),
    (["--text", "a", "--request", "[1]"], "--request: is no JSON object"),
    (["--text", "a", "--request", '{"inptu": "b"}'], "unknown field 'inptu'; did you mean 'input'"),
    (["--text", "a", "--out", "no/such/page.html"], "no/such/page.html: its folder does not exist; name a file with --out."),
    (["--text", "a", "--out", "."], ".: is a folder"),
    (["--text", "a", "--layer", "3"], "there is no layer 3; the model has 2"),
    (["--text", "灯" * 200], "the context has 128 tokens, and the text takes"),
    (["--text", "a", "--output", "postive"], "unknown label 'postive'; did you mean 'positive'"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    folders: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["explain", str(folders / "classification"), *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("explanation.html").exists()


def test_a_model_is_named_or_there_is_a_venture(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--text", "a"]) == 2
    assert "venture" in capsys.readouterr().err
    Path("empty").mkdir()
    assert main(["explain", "empty", "--text", "a"]) == 2
    assert "config.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", TEXT_TASKS)
def test_every_task_s_request_is_made_of_one_text(name: str) -> None:
    """What `--text` becomes is what the task's own endpoint takes: the fields are among those of a request of its sample."""
    task = tasks.find(name)()
    task.fit(list(task.sample()))
    made = _request(task, "a text", None, {})
    known = task.request(task.sample()[0])
    assert set(made) <= set(known)
    for key, value in made.items():
        assert type(value) is type(known[key])
    assert "a text" in json.dumps(made)
