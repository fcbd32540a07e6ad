"""/v1/translate: texts, arrays and whole documents over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
import torch

from lodestar import tasks
from lodestar.deploy.service import Service
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def translator() -> Service:
    task = tasks.find("translation")({"beams": 2})
    sample = task.sample()
    task.fit(sample)
    tokenizer = train_tokenizer([text for pair in sample for text in task.texts(pair)], 400, task.special_tokens)
    shape: dict[str, Any] = {"width": 32, "depth": 1, "heads": 2, "context": 64, "initial_std": 0.3, **task.architecture()}
    config = ModelConfig(tokenizer.vocabulary_size, **shape)
    torch.manual_seed(0)
    return Service("tiny-translation", task, task.build(config).eval(), tokenizer, config)


@pytest.fixture
def client(translator: Service, start: Callable[..., AbstractContextManager[str]]) -> Iterator[httpx.Client]:
    with start(translator) as url, httpx.Client(base_url=url, timeout=60) as opened:
        yield opened


MARKDOWN = "# The boat\n\n- We sail at six. {name} has the key.\n- The map is `in/the/box`.\n\n```\nx = 1\n```\n"
TABLE = "| what | where |\n|---|---|\n| The lamp | https://example.org/pier |\n"
DOCUMENT: dict[str, Any] = {"target": "zh", "document": True, "format": "markdown", "glossary": {"boat": "小船"}}


def test_an_array_of_documents_is_answered_document_by_document(client: httpx.Client, translator: Service) -> None:
    answer = client.post("/v1/translate", json={"input": [MARKDOWN, TABLE, ""], **DOCUMENT})
    assert answer.status_code == 200
    body = answer.json()
    first, second, third = body["results"]
    for text, result in zip((MARKDOWN, TABLE, ""), (first, second, third), strict=True):
        alone = client.post("/v1/translate", json={"input": text, **DOCUMENT}).json()
        assert {name: alone[name] for name in result} == result
        assert (result["source"], result["target"]) == ("en", "zh")
    lines = first["text"].split("\n")
    assert [line[:2] for line in lines] == ["# ", "", "- ", "- ", "", "``", "x ", "``", ""]
    assert "小船" in lines[0]
    assert lines[2].count("{name}") == 1
    assert lines[3].count("`in/the/box`") == 1
    assert second["text"].split("\n")[1] == "|---|---|"
    assert all(line.count("|") == 3 for line in second["text"].split("\n")[:3])
    assert second["text"].count("https://example.org/pier") == 1
    assert third["text"] == ""
    offline = translator.task.answer(translator.model, translator.tokenizer, {"input": [MARKDOWN, TABLE, ""], **DOCUMENT})
    assert body["results"] == offline["results"]
    assert body["usage"]["prompt_tokens"] == offline["usage"]["prompt_tokens"] > 0


def test_subtitles_keep_their_times(client: httpx.Client) -> None:
    cues = "1\n00:00:01,000 --> 00:00:02,500\nThe lamp is green.\n\n2\n00:00:03,000 --> 00:00:04,000\nWho has the key?\n"
    asked = {"input": [cues], "source": "en", "target": "zh", "document": True, "format": "subtitles"}
    (result,) = client.post("/v1/translate", json=asked).json()["results"]
    assert [line for line in result["text"].split("\n") if "-->" in line] == [line for line in cues.split("\n") if "-->" in line]


@pytest.mark.parametrize(("request_", "sentence"), [
    ({"input": [], "target": "zh", "document": True}, "the list of inputs is empty"),
    ({"input": ["a", 1], "target": "zh", "document": True}, "input"),
    ({"input": ["a"], "target": "fr", "document": True}, "not trained from any language to fr; it translates en to zh, zh to en"),
    ({"input": ["a"], "document": True}, "send target: one of en, zh"),
    ({"input": ["a"], "target": "zh", "glossary": {"a": "b"}}, "are for documents; send document: true"),
    ({"input": ["a"], "target": "zh", "document": True, "format": "pdf"}, "format"),
])  # fmt: skip
def test_a_request_at_fault_is_refused_in_one_sentence(client: httpx.Client, request_: dict[str, Any], sentence: str) -> None:
    answer = client.post("/v1/translate", json=request_)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert sentence in message
    assert "\n" not in message
