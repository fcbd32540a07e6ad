"""What is served: a release's model with its task, and what its card says, for people and for the page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from torch import nn

from ..build.bundle import CONFIG
from ..build.device import best_device
from ..build.fill import FillMarks
from ..build.opening import open_bundle
from ..contracts.errors import UserError
from ..contracts.record import Scorecard
from ..contracts.score import Score
from ..contracts.task import Task
from ..contracts.tokenizer import Tokenizer
from ..model.config import ModelConfig
from ..model.native.pages import settle
from ..store.files import read_json
from .adapters import load_adapters, through
from .documents.library import Library, QuestionRequest
from .engine import Work

UPLOADS = frozenset({"audio/transcriptions"})
"""The endpoints that are sent files, as forms."""
DATA_URL = re.compile(r"(data:\w+/([\w.+-]+);base64,)[\w+/=]+")
SOUND_PART = re.compile(r'("data": ")[\w+/=]+(", "format": "(\w+)")')
"""A file within a request: as its address, and as OpenAI's part of a message."""
SCORECARD, RELEASE = "scorecard.json", "release.json"
EXAMPLES = 6
"""Samples of the task that the page offers to try."""
GLANCE = 160
"""Characters of a prompt that the page offers."""


Explainer = Callable[[Task, nn.Module, Tokenizer, Mapping[str, Any]], Iterator[dict[str, Any] | None]]
"""What answers a body of POST /v1/explain, after a None for each step on the way. It is given, since no step imports another."""


@dataclass(frozen=True)
class Service:
    """A model in memory, ready to answer."""

    name: str
    """What the API calls it."""
    task: Task
    model: nn.Module
    tokenizer: Tokenizer
    config: ModelConfig
    created: int = 0
    """Seconds since 1970."""
    scores: Sequence[Score] = field(default=())
    """What the release was measured to do."""
    gates: Sequence[bool] = field(default=())
    """For each promise of the vision, whether the release keeps it."""
    adapters: Sequence[str] = field(default=())
    """Those beside its weights, each of which can be asked by its name as a model of its own."""
    library: Library | None = None
    """The documents that a reader is asked about where a request brings no text of its own."""
    explainer: Explainer | None = None
    """What explains the answers, where they are to be explained."""
    release: str = ""
    """The version of the venture that it is; empty for a model that is none."""

    @classmethod
    def load(cls, release: Path, task: Task, *, name: str | None = None, adapters: Mapping[str, Path] | None = None) -> Service:
        """Read a release's folder, or any folder that holds a model.

        Args:
            name: what the API calls it; where absent, the venture's name with the release's, or the folder's.
            adapters: the folders of adapters that were trained over this model, by the names that the API is to know them by.

        Raises:
            UserError: when a folder is missing or damaged, or an adapter is for another model; the sentence names the file.
        """
        bundle = open_bundle(release, task, device=best_device())
        scorecard = release / SCORECARD
        scores = Scorecard.parse(read_json(scorecard), where=scorecard).scores if scorecard.is_file() else []
        known, version, created, gates = _read_card(release)
        load_adapters(bundle.model, adapters or {}, name or known)
        settle(bundle.model)
        return cls(
            name or known, task, bundle.model, bundle.tokenizer, bundle.config, created, scores, gates, adapters=tuple(adapters or ()),
            release=version,
        )  # fmt: skip

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that can be asked for: the model's own, then its adapters'."""
        return (self.name, *self.adapters)

    def work(self, name: str, work: Work) -> Work:
        """Work for the model of this name."""
        return through(self.model, None if name == self.name else name, work) if self.adapters else work

    def with_library(self, library: Library) -> Service:
        """This service with documents to be asked about.

        Raises:
            UserError: the model reads none.
        """
        if self.task.endpoint != "answer":
            fix = "serve a release of the task question-answering, or ask the documents with `lodestar ask`"
            raise UserError(f"a model of the task {self.task.name} reads no documents", where="--index", fix=fix)
        return replace(self, library=library)

    @property
    def explains(self) -> bool:
        """Whether POST /v1/explain is served: there is what explains, and the task tells what its model read."""
        return self.explainer is not None and type(self.task).reading is not Task.reading

    def explain(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any] | None]:
        """An answer explained, after a None for each step on the way.

        Raises:
            UserError: the request is at fault, or such a model cannot be explained.
        """
        assert self.explainer is not None
        return self.explainer(self.task, self.model, self.tokenizer, request)

    @property
    def holds_files(self) -> bool:
        """Whether a request may hold pictures or recordings."""
        return self.task.endpoint in UPLOADS or bool(self.task.example.media_fields())

    @property
    def route(self) -> str:
        return f"/v1/{self.task.endpoint}"

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The whole answer to a request: the task's, or where it brings no text of its own and there are documents, from these.

        Raises:
            UserError: the request is at fault.
        """
        if self.library is None or "context" in request:
            return self.task.answer(self.model, self.tokenizer, request)
        question = QuestionRequest.parse(request, where="request").question

        def read(question: str, texts: list[str]) -> Sequence[Mapping[str, Any]]:
            asked = {"question": question, "context": texts}
            results: Sequence[Mapping[str, Any]] = self.task.answer(self.model, self.tokenizer, asked)["results"]
            return results

        found = self.library.answer(question, read)
        return {**found, "usage": {"prompt_tokens": len(self.tokenizer.encode(question))}}

    def describe(self) -> dict[str, Any]:
        """The JSON behind the page: what the model is for, how good it is, and what one may try."""
        return {
            "name": self.name,
            "task": self.task.name,
            "endpoint": self.task.endpoint,
            "form": self.task.page_form or self.task.endpoint.split("/")[0],
            "adapters": list(self.adapters),
            "words": self.task.words._asdict(),
            "created": self.created,
            "parameters": sum(parameter.numel() for name, parameter in self.model.named_parameters() if ".adapters." not in name),
            "context": self.config.context,
            "vocabulary": self.tokenizer.vocabulary_size,
            "fills": FillMarks.of(self.tokenizer) is not None,
            "scores": [self._score(score) for score in self.scores],
            "gates": list(self.gates),
            "examples": self._examples(),
            "choices": self.task.choices(),
            "explains": self.explains,
            "documents": None if self.library is None else {"passages": len(self.library)},
        }

    def _score(self, score: Score) -> dict[str, Any]:
        words = next((metric.words._asdict() for metric in self.task.metrics if metric.name == score.metric), None)
        return {**score.model_dump(), "words": words}

    def _examples(self) -> list[dict[str, Any]]:
        """A few requests from the task's own sample, spread over it, so that both languages are among them."""
        sample = self.task.shown()
        step = max(1, len(sample) // EXAMPLES)
        requests = [self.task.request(example) for example in list(sample)[::step][:EXAMPLES]]
        for request in requests:
            if "prompt" in request:
                request["prompt"] = _beginning(request["prompt"])
        return [request for request in requests if self._fits(request)]

    def _fits(self, request: Mapping[str, Any]) -> bool:
        """Whether a prompt leaves half of the context to its answer, where that is written behind it."""
        return self.task.endpoint != "completions" or len(self.tokenizer.encode(request.get("prompt", ""))) < self.config.context // 2

    def curl(self, url: str) -> str:
        """A command that asks the model once."""
        if self.task.endpoint in UPLOADS:
            return f"curl {url}{self.route} -F file=@recording.wav"
        examples = self._examples()
        body: Mapping[str, Any] = examples[0] if examples else {}
        saved = f" --output speech.{body['response_format']}" if self.task.endpoint == "audio/speech" and body else ""
        text = json.dumps(body, ensure_ascii=False)
        if DATA_URL.search(text) or SOUND_PART.search(text):
            # By standard input: a command's argument has room for a hundred kilobytes.
            filled = DATA_URL.sub(r"\g<1>$(base64 < file.\g<2> | tr -d '\\n')", text)
            filled = SOUND_PART.sub(r"\g<1>$(base64 < file.\g<3> | tr -d '\\n')\g<2>", filled)
            return f"curl {url}{self.route} -H 'Content-Type: application/json' -d @- <<JSON\n{filled}\nJSON"
        text = text.replace("'", "'\\''")
        return f"curl {url}{self.route} -H 'Content-Type: application/json' -d '{text}'{saved}"


def _beginning(prompt: str) -> str:
    """As much of a prompt as a person takes in at a glance, in whole lines where there are several."""
    if len(prompt) <= GLANCE:
        return prompt
    whole_lines = prompt[:GLANCE].rpartition("\n")[0]
    return whole_lines + "\n" if whole_lines else prompt[:GLANCE]


def _read_card(release: Path) -> tuple[str, str, int, list[bool]]:
    """The name, the version, the time of its making, and which promises it keeps; of a folder without a card, what can be told."""
    card = release / RELEASE
    if not card.is_file():
        return release.resolve().name, "", int((release / CONFIG).stat().st_mtime), []
    told = read_json(card)
    try:
        created = int(datetime.fromisoformat(told["created"]).timestamp())
        return f"{told['venture']}-{told['name']}", str(told["name"]), created, [bool(gate["kept"]) for gate in told["gates"]]
    except (KeyError, TypeError, ValueError):
        raise UserError("the release's card is damaged", where=card, fix="restore it from a backup, or release again") from None
