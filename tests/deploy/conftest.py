"""A tiny poet and a tiny judge with random weights, in memory: what the server does does not depend on how well they write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

from lodestar import tasks
from lodestar.build.completion import CompletionRequest, complete
from lodestar.build.heads import SequenceClassifier
from lodestar.contracts.config import Config
from lodestar.contracts.errors import UserError
from lodestar.contracts.language import Words
from lodestar.contracts.score import Score
from lodestar.contracts.symbols import EDGE, GAP, PAUSES
from lodestar.contracts.task import Batch, Example, Task
from lodestar.contracts.tokenizer import SPECIAL_TOKENS, Tokenizer
from lodestar.deploy.serve import serving
from lodestar.deploy.service import Service
from lodestar.model.config import ModelConfig
from lodestar.model.transformer import Transformer
from lodestar.prepare.tokenizer import special_tokenizer, train_tokenizer

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-quic",
]  # fmt: skip
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
DESKTOP = {"width": 1200, "height": 900}

TEXTS = [
    "The star that does not set is the one we steer by, said the captain, and the crew slept well.",
    "床前明月光，疑是地上霜。举头望明月，低头思故乡。",
    "Every harbour keeps a light for the ships that are late. 每个港口都为晚归的船留一盏灯。",
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
]


class Text(Example):
    text: str


class Question(Config):
    input: str


class _ToyTask(Task):
    example = Text
    metrics = ()
    template: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def sample(cls) -> Sequence[Text]:
        return [Text(text=text) for text in TEXTS]

    def texts(self, example: Text) -> Iterator[str]:
        yield example.text

    def encode(self, example: Text, tokenizer: Tokenizer) -> Mapping[str, Sequence[int] | int]:
        return {"tokens": tokenizer.encode(example.text)}

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        raise AssertionError("a server never trains")

    def measure(self, model: nn.Module, tokenizer: Tokenizer, examples: Sequence[Any]) -> dict[str, np.ndarray]:
        raise AssertionError("a server never measures")

    def baseline(self, train: Sequence[Any], examples: Sequence[Any]) -> tuple[str, dict[str, np.ndarray]]:
        raise AssertionError("a server never measures")


class Poet(_ToyTask):
    name = "poet"
    words = Words("Continue a poem.", "续写诗句。")
    batching = "packed"
    endpoint = "completions"

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "decoder"}

    def build(self, config: ModelConfig) -> nn.Module:
        return Transformer(config)

    def request(self, example: Text) -> dict[str, Any]:
        return {"prompt": example.text[: len(example.text) // 2], "max_tokens": 32}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        return complete(model, tokenizer, CompletionRequest.parse(request, where="request"))


class Judge(_ToyTask):
    name = "judge"
    words = Words("Tell praise from complaint.", "区分好评与差评。")
    batching = "padded"
    endpoint = "classify"
    labels = ("praise", "complaint", "question")

    def architecture(self) -> Mapping[str, Any]:
        return {"architecture": "encoder"}

    def build(self, config: ModelConfig) -> nn.Module:
        return SequenceClassifier(config, len(self.labels))

    def request(self, example: Text) -> dict[str, Any]:
        return {"input": example.text}

    def answer(self, model: nn.Module, tokenizer: Tokenizer, request: Mapping[str, Any]) -> dict[str, Any]:
        assert isinstance(model, SequenceClassifier)
        text = Question.parse(request, where="request").input
        tokens = torch.tensor([[tokenizer.end_of_text, *tokenizer.encode(text)]])
        if tokens.shape[1] > model.config.context:
            raise UserError(f"the text has {tokens.shape[1]} tokens, and the model reads {model.config.context}", fix="shorten it")
        probabilities = model(tokens, torch.ones_like(tokens, dtype=torch.bool))[0].softmax(-1).tolist()
        best = max(range(len(self.labels)), key=lambda label: probabilities[label])
        return {"label": self.labels[best], "probabilities": dict(zip(self.labels, probabilities, strict=True))}


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Byte-level, and with so few merges that a Chinese character takes two or three tokens."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    return Tokenizer(backend)


def _config(tokenizer: Tokenizer, architecture: Any, context: int = 256, width: int = 32, depth: int = 2) -> ModelConfig:
    return ModelConfig(
        vocabulary_size=tokenizer.vocabulary_size, width=width, depth=depth, heads=2, context=context, architecture=architecture,
        initial_std=0.5,
    )  # fmt: skip


def _service(task: Task, tokenizer: Tokenizer, config: ModelConfig, scores: Sequence[Score] = ()) -> Service:
    torch.manual_seed(0)
    return Service(f"tiny-{task.name}", task, task.build(config).eval(), tokenizer, config, 1_700_000_000, scores)


@pytest.fixture(scope="session")
def poet(tokenizer: Tokenizer) -> Service:
    score = Score(metric="bits_per_byte", value=2.1, low=2.0, high=2.2, confidence=0.95, count=100, unit="bits/byte", better="lower")
    return _service(Poet(), tokenizer, _config(tokenizer, "decoder", context=1024), [score])


@pytest.fixture(scope="session")
def slow_poet(tokenizer: Tokenizer) -> Service:
    """Takes half a minute for its 4,000 tokens, so that a browser on a busy machine still finds it writing."""
    return _service(Poet(), tokenizer, _config(tokenizer, "decoder", context=4096, width=512, depth=12))


@pytest.fixture(scope="session")
def judge(tokenizer: Tokenizer) -> Service:
    score = Score(metric="accuracy", value=0.91, low=0.89, high=0.93, confidence=0.95, count=400, unit="", better="higher")
    return _service(Judge(), tokenizer, _config(tokenizer, "encoder"), [score])


@pytest.fixture
def facts() -> list[dict[str, Any]]:
    """What the server told of each request."""
    return []


@pytest.fixture
def start(facts: list[dict[str, Any]]) -> Callable[..., AbstractContextManager[str]]:
    """Serve on a free port: `with start(service) as url`."""
    return lambda service, **options: serving(service, on_request=facts.append, **options)


def _untrained(name: str) -> Service:
    """A task of ours, its tokenizer and its decoder with random weights."""
    task = tasks.find(name)()
    texts = [text for example in task.sample() for text in task.texts(example)]
    tokenizer = train_tokenizer(texts, 400, task.special_tokens)
    return _service(task, tokenizer, _config(tokenizer, "decoder", context=512))


@pytest.fixture(scope="session")
def chat() -> Service:
    return _untrained("chat")


@pytest.fixture(scope="session")
def coder() -> Service:
    return _untrained("code-generation")


@pytest.fixture(scope="session")
def reader() -> Service:
    """Finds answers in texts, and may find none."""
    task = tasks.find("question-answering")()
    sample = task.sample()
    task.fit(sample)
    tokenizer = train_tokenizer([text for example in sample for text in task.texts(example)], 400, single_characters=True)
    config = replace(_config(tokenizer, "encoder", context=128), token_types=3)
    return _service(task, tokenizer, config)


@pytest.fixture(scope="session")
def reporter() -> Service:
    """Summarises documents, the long ones in windows."""
    task = tasks.find("summarization")({"summary_tokens": 12, "beams": 2})
    tokenizer = train_tokenizer([text for example in task.sample() for text in task.texts(example)], 400)
    return _service(task, tokenizer, replace(_config(tokenizer, "encoder-decoder", context=64), initial_std=0.3))


@pytest.fixture(scope="session")
def listener() -> Service:
    """Writes down whatever it hears as something or other."""
    task = tasks.find("speech-recognition")({"rate": 8000, "bands": 24, "beams": 2})
    tokenizer = train_tokenizer([text for example in task.sample() for text in task.texts(example)], 300)
    return _service(task, tokenizer, replace(_config(tokenizer, "encoder", context=64), initial_std=0.3))


@pytest.fixture(scope="session")
def narrator() -> Service:
    """Says whatever it is given somehow or other, in two voices."""
    symbols = [EDGE, GAP, *PAUSES, *"abcdefghijklmnopqrstuvwxyz'", "SH", "IR", "X", "ING", "H", "AI"]
    task = tasks.find("speech-synthesis")(
        {"rate": 8000, "bands": 24}, {"symbols": symbols, "voices": ["bass", "treble"], "measured": {"count": 2}}
    )
    tokenizer = special_tokenizer(())
    decided = {name: value for name, value in task.architecture().items() if name != "dropout"}
    return _service(task, tokenizer, replace(_config(tokenizer, "encoder", context=400), initial_std=0.1, **decided))


@pytest.fixture(scope="module")
def browser_arguments() -> list[str]:
    """What the browser is started with; a module may add to it."""
    return ARGUMENTS


@pytest.fixture(scope="module")
def browser(browser_arguments: list[str]) -> Iterator[Browser]:
    """Its absence skips a test, but fails it in CI."""
    if not CHROMIUM.exists():
        message = f"no browser at {CHROMIUM}; install Debian's package chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=browser_arguments)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page in a fresh profile; whatever the console complains of fails the test at its end."""
    complaints: list[str] = []
    contexts = []

    def open_page(url: str, *, size: dict[str, int] = DESKTOP, ready: bool = True, **options: Any) -> Page:
        context = browser.new_context(viewport=size, **{"locale": "en-US", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda request: complaints.append(request.url) if not request.url.removeprefix("blob:").startswith(url) else None
        )
        page.goto(url)
        if ready:
            expect(page.locator("#workshop")).to_be_visible()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
