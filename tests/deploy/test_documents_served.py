"""A reader served with documents: a question without a text is answered from them, over HTTP and on the page's own terms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from lodestar import tasks
from lodestar.contracts.errors import UserError
from lodestar.deploy.documents.indexing import index_folder
from lodestar.deploy.documents.library import Library
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.model.config import ModelConfig
from lodestar.prepare import train_tokenizer

TEXT = "The pool closes at nine in the evening.\n泳池晚上九点关门。\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("documents")
    (made / "docs").mkdir()
    (made / "docs" / "rules.md").write_text(TEXT)
    index_folder(made / "docs", made / "index")
    return made


def load_encoder(folder: Path) -> object:
    raise AssertionError(folder)


def service(name: str) -> Service:
    task = tasks.find(name)()
    task.fit(task.sample())
    tokenizer = train_tokenizer([TEXT], 300)
    config = ModelConfig(tokenizer.vocabulary_size, 32, 1, 2, 128, **task.architecture())
    torch.manual_seed(0)
    return Service("reader", task, task.build(config).eval(), tokenizer, config)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    reader = service("question-answering").with_library(Library.open(folder / "index", load_encoder))  # type: ignore[arg-type]
    reader.task.options["no_answer"] = "no"
    with serving(reader) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def test_a_question_without_a_text_is_answered_from_the_documents(client: httpx.Client) -> None:
    assert client.get("/api/release").json()["documents"] == {"passages": 1}
    answer = client.post("/v1/answer", json={"question": "When does the pool close?"}).json()
    assert answer["object"] == "answer"
    assert answer["usage"]["prompt_tokens"] > 0
    (cited,) = answer["citations"] or answer["nearest"]
    assert cited["file"] == "rules.md"
    assert cited["passage"] == TEXT.strip()
    if answer["answer"] is not None:  # what a reader of random weights makes of it is its own affair; its place must be right
        assert cited["passage"][cited["start"] : cited["end"]] == answer["answer"]
        assert 1 <= cited["line"] <= cited["last_line"] <= 2
    elsewhere = client.post("/v1/answer", json={"question": "Who painted the chapel's ceiling?"}).json()
    assert elsewhere["answer"] is None


def test_a_question_with_a_text_is_answered_from_the_text(client: httpx.Client) -> None:
    answer = client.post("/v1/answer", json={"question": "Where?", "context": "The key lies in the box."}).json()
    assert "citations" not in answer
    assert {"answer", "start", "end"} <= set(answer)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"question": " "}, "blank"),
        ({"question": ["a", "b"]}, "question"),
        ({"query": "x"}, "question"),
        ({"question": "x" * 3000}, "2,000"),
    ],
)
def test_what_is_no_question_is_refused_in_one_sentence(client: httpx.Client, body: dict[str, object], message: str) -> None:
    refused = client.post("/v1/answer", json=body)
    assert refused.status_code == 400
    assert message in refused.json()["error"]["message"]


def test_a_model_that_reads_nothing_takes_no_documents(folder: Path) -> None:
    with pytest.raises(UserError, match="a model of the task retrieval reads no documents"):
        service("retrieval").with_library(Library.open(folder / "index", load_encoder))  # type: ignore[arg-type]
