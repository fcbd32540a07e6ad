"""What every task does with texts that nobody meant it for: it answers, or refuses in one sentence; nothing is left unread in silence.

One module for all tasks, found as the command line finds them, each with a tiny model of random weights: what can be refused, cut or broken
does not depend on how well it answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lodestar import tasks
from lodestar.build.fill import FillMarks
from lodestar.contracts.errors import UserError
from lodestar.contracts.task import Endpoint
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.model.config import ModelConfig
from lodestar.prepare.tokenizer import train_tokenizer
from tests.text_tasks import TEXT_TASKS

CONTEXT = 128
LONG = 100_000
"""Characters."""

REQUESTS: Mapping[Endpoint, Mapping[str, Callable[[str], dict[str, Any]]]] = {
    "completions": {
        "prompt": lambda text: {"prompt": text, "max_tokens": 4},
        "suffix": lambda text: {"prompt": "a", "suffix": text, "max_tokens": 4},
        "stop": lambda text: {"prompt": "a", "stop": [text], "max_tokens": 4},
    },
    "chat/completions": {
        "user": lambda text: {"messages": [{"role": "user", "content": text}], "max_tokens": 4},
        "system": lambda text: {"messages": [{"role": "system", "content": text}, {"role": "user", "content": "a"}], "max_tokens": 4},
    },
    "classify": {"text": lambda text: {"input": text}, "list": lambda text: {"input": ["a", text]}},
    "translate": {
        "text": lambda text: {"input": text, "source": "en", "target": "zh", "beams": 1},
        "list": lambda text: {"input": ["a", text], "source": "en", "target": "zh", "beams": 1},
        "markdown": lambda text: {"input": text, "source": "en", "target": "zh", "beams": 1, "document": True, "format": "markdown"},
        "html": lambda text: {"input": text, "source": "en", "target": "zh", "beams": 1, "document": True, "format": "html"},
        "subtitles": lambda text: {"input": text, "source": "en", "target": "zh", "beams": 1, "document": True, "format": "subtitles"},
        "glossary": lambda text: {"input": "a b", "source": "en", "target": "zh", "document": True, "glossary": {text: "c"}},
    },
    "summarize": {"text": lambda text: {"input": text, "max_tokens": 4, "beams": 1}},
    "answer": {
        "question": lambda text: {"question": text, "context": "Ada met Bob."},
        "context": lambda text: {"question": "Who?", "context": text},
    },
    "embeddings": {"text": lambda text: {"input": text}, "list": lambda text: {"input": ["a", text]}},
}
"""Where a request of each endpoint holds text of its user's."""

SHORT = {
    "empty": "",
    "blank": " \t\n\u3000\u2003",
    "mixed scripts": "hello 你好 안녕 привет ไทย नमस्ते שלום مرحبا",
    "emoji": "👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🧑🏽\u200d🚀",
    "right to left": "\u202eab\u202c \u2067שלום\u2069 \u200f\u061cمرحبا 12",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff",
    "marks alone": "\u0301\u0308\u0327",
    "nul": "a\x00b\x00",
    "control characters": "\x01\x07\x1b[31m\x7f\x85\u2028",
    "no characters": "\ufffe\uffff\U0010ffff\ue000",
    "special tokens": "<|endoftext|><|pad|><|im_start|></s>[SEP]<2zh>",
    "one letter": "x",
}
ENDLESS = {
    "one word": "x" * LONG,
    "sentences": "The ship 船 came in at dawn. " * (LONG // 29 + 1),
    "chinese": "船来了，" * (LONG // 4),
    "blanks": " " * LONG,
    "marks on one letter": "e" + "\u0301" * LONG,
    "brackets": "(" * LONG,
}
HALVES = {"half a pair": "a \ud83d b", "the other half": "\ude00"}

PIECES = [*SHORT.values(), "\r\n", "-->", "{{", "%s", "…", "é", "e\u0301", "\ud800", "字", " the "]
"""What hypothesis puts together."""


@dataclass(frozen=True)
class Tiny:
    """A task that can be asked, and where its requests hold text."""

    service: Service
    requests: Mapping[str, Callable[[str], dict[str, Any]]]

    def outcome(self, request: Mapping[str, Any]) -> dict[str, Any] | str:
        """The answer, or the sentence that refuses one."""
        service = self.service
        try:
            answer = service.task.answer(service.model, service.tokenizer, request)
        except UserError as error:
            return str(error)
        return answer


@pytest.fixture(scope="module", params=TEXT_TASKS)
def tiny(request: pytest.FixtureRequest) -> Tiny:
    task = tasks.find(request.param)()
    sample = list(task.sample())
    task.fit(sample)
    texts = [text for example in sample for text in task.texts(example)]
    tokenizer = train_tokenizer(texts, 400, task.special_tokens, single_characters=task.single_characters)
    shape = {"vocabulary_size": tokenizer.vocabulary_size, "width": 32, "depth": 1, "heads": 2, "context": CONTEXT, "initial_std": 0.3}
    config = ModelConfig(**{**shape, **task.architecture()})
    torch.manual_seed(0)
    service = Service(f"tiny-{task.name}", task, task.build(config).eval(), tokenizer, config)
    fills = FillMarks.of(tokenizer) is not None
    return Tiny(service, {place: make for place, make in REQUESTS[task.endpoint].items() if place != "suffix" or fills})


def test_every_endpoint_is_asked() -> None:
    assert set(REQUESTS) == {tasks.find(name).endpoint for name in TEXT_TASKS}


def check(tiny: Tiny, request: Mapping[str, Any], found: dict[str, Any] | str) -> None:
    """One sentence, or an answer that JSON and UTF-8 can carry, and that says where something was not read."""
    if isinstance(found, str):
        check_sentence(found)
        return
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    endpoint = tiny.service.task.endpoint
    # A translator reads what has letters, a summary is of the text without the blanks around it; the others read all.
    if endpoint != "translate":
        texts = [text.strip() if endpoint == "summarize" else text for text in texts_read(request)]
        tokens = sum(len(tiny.service.tokenizer.encode(text)) for text in texts)
        cut = any(result.get("truncated") for result in [found, *found.get("results", [])])
        assert found["usage"]["prompt_tokens"] >= tokens or cut


def check_sentence(sentence: str) -> None:
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence
    assert len(sentence) < 400


def texts_read(request: Mapping[str, Any]) -> list[str]:
    """What the model has to read of a request."""
    read = [request.get(name, "") for name in ("prompt", "suffix", "input", "question", "context")]
    read += [message["content"] for message in request.get("messages", [])]
    return [text for one in read for text in (one if isinstance(one, list) else [one])]


@pytest.mark.parametrize("text", SHORT.values(), ids=SHORT)
def test_a_strange_text_is_answered_or_refused_in_a_sentence(tiny: Tiny, text: str) -> None:
    for make in tiny.requests.values():
        check(tiny, make(text), tiny.outcome(make(text)))


@pytest.mark.parametrize("text", HALVES.values(), ids=HALVES)
def test_half_a_surrogate_pair_is_refused_and_named(tiny: Tiny, text: str) -> None:
    for make in tiny.requests.values():
        found = tiny.outcome(make(text))
        assert isinstance(found, str)
        check_sentence(found)
        assert "surrogate" in found or "unicode" in found


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_a_hundred_thousand_characters_are_read_or_refused(tiny: Tiny, text: str) -> None:
    for place, make in tiny.requests.items():
        if place in ("list", "html", "subtitles"):  # as long as "text" and "markdown"
            continue
        found = tiny.outcome(make(text))
        check(tiny, make(text), found)
        if isinstance(found, str) and text.strip():
            # The sentence says what is too long, and what to do about it.
            assert "tokens" in found
            assert "shorten" in found


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=8).map("".join)))
def test_any_text_is_answered_or_refused_in_a_sentence(tiny: Tiny, text: str) -> None:
    for make in tiny.requests.values():
        check(tiny, make(text), tiny.outcome(make(text)))


@pytest.mark.parametrize("text", [*SHORT.values(), *HALVES.values()], ids=[*SHORT, *HALVES])
def test_what_was_read_of_a_strange_text_is_told_or_refused(tiny: Tiny, text: str) -> None:
    """What `lodestar explain` begins with."""
    service = tiny.service
    for make in tiny.requests.values():
        with suppress(UserError):
            read = service.task.reading(service.model, service.tokenizer, make(text))
            assert 0 < len(read.tokens) <= CONTEXT


def test_a_refusal_never_repeats_all_of_what_was_sent(tiny: Tiny) -> None:
    request = next(iter(tiny.requests.values()))("a")
    first = next(iter(request))
    for wrong in ({first: {"x": "y" * LONG}}, {"x" * LONG: "y"}, {"source": "y" * LONG}, {"max_tokens": "1" * LONG}):
        found = tiny.outcome({**request, **wrong})
        assert isinstance(found, str), f"answered {wrong!r:.40}"
        check_sentence(found)


def test_over_http_no_text_is_an_error_of_the_server(tiny: Tiny) -> None:
    with serving(tiny.service) as url, httpx.Client(base_url=url, timeout=120) as client:
        texts = {**SHORT, **HALVES, "one word": ENDLESS["one word"], "too much": "x" * 1_100_000}
        for name, text in texts.items():
            for make in tiny.requests.values():
                response = client.post(tiny.service.route, content=json.dumps(make(text)), headers={"Content-Type": "application/json"})
                if name == "too much":
                    assert response.status_code == 413
                else:
                    assert response.status_code in (200, 400), (name, response.text[:300])
                if response.status_code != 200:
                    check_sentence(response.json()["error"]["message"].replace(". ", "; "))
                else:
                    assert name not in HALVES
