"""An answer, explained in three ways, each beside the test whether it explains anything.

Axes: T tokens, U tokens of the decoder, H heads, N words of the text, M words of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts.errors import UserError
from ..contracts.reading import Reading
from ..contracts.task import device_of
from ..contracts.tokenizer import Tokenizer
from .alignment import alignment
from .attention import AttentionMaps
from .faithfulness import ORDERS, Chance, Verdict, chance, judge
from .gradients import Attribution, integrated_gradients
from .rollout import rollout, rollout_across
from .steps import Steps
from .subject import Subject, TranslatedSubject, subject_of
from .words import Word, split_words, sum_by_word, to_words

Method = Literal["gradients", "rollout", "attention"]
METHODS: tuple[Method, ...] = get_args(Method)

MOST_TOKENS = 512
"""Of one explanation: maps grow with the square of it, and nobody reads a larger one."""


@dataclass(frozen=True)
class Attended:
    """Which words attend to which while an answer is made."""

    words: list[Word]
    """Of the text that is explained, marks of the tokenizer among them."""
    rows: list[Word]
    """What the rows of the maps are: `words`, or for an encoder-decoder the words that the decoder read."""
    maps: list[Tensor]
    """Of each layer, first to last, how the rows attend to the words: (H, M, N)."""
    layer: int | None
    head: int | None
    """What was asked for, counted from 0."""

    @property
    def chosen(self) -> Tensor:
        """(M, N): the layer and head that were asked for; the mean of all, where none was."""
        return chosen_mean(self.maps, self.layer, self.head)


@dataclass(frozen=True)
class Explanation(Attended):
    """What three methods say of an answer, and how far each may be believed."""

    answer: str
    probability: float
    """The model's own, for the answer; for a written text the geometric mean over its tokens."""
    tried: list[int]
    """Those of `words` that were removed in the tests: the marks, and the answer itself, stay."""
    flow: Tensor
    """The roll-out, (M, N)."""
    aligned: Tensor | None
    """Of an encoder-decoder: how much each word of the output was written from each word of the source."""
    output: list[Word]
    """The rows of `aligned`."""
    importance: Mapping[Method, np.ndarray]
    """Of each word, (N,); of gradients signed, and in nats."""
    attribution: Attribution
    verdicts: Mapping[Method, Verdict]
    chance: Chance


def explain(
    model: nn.Module,
    tokenizer: Tokenizer,
    reading: Reading,
    *,
    layer: int | None = None,
    head: int | None = None,
    orders: int = ORDERS,
    seed: int = 0,
    progress: bool = False,
) -> Steps[Explanation]:
    """Explain the answer of `reading`, a pass of the model at a time; `finish` makes all of them at once.

    Args:
        layer, head: whose attention is taken, from 0; the mean of all where None.
        orders: random orders that each method must beat.
        progress: show a bar where it takes long.

    Raises:
        UserError: the text is too long, there is no such layer or head, or no way to explain such a model.
    """
    check_explainable(model)
    subject, words, rows = _read(model, tokenizer, reading)
    tried = [number for number, word in enumerate(words) if not word.special and subject.fixed.isdisjoint(range(word.start, word.end))]
    if not tried:
        raise UserError("the text has no word whose part in the answer could be told", fix="explain a longer text")
    maps = subject.read()
    layers = layers_of(maps, layer, head)
    yield
    flow_TT = _flow(maps)
    attribution = yield from _gradients(subject, words, tried)
    readers_T = subject.readers()
    importance: dict[Method, np.ndarray] = {
        "gradients": sum_by_word(attribution.values, words).numpy(),
        "rollout": sum_by_word(readers_T @ flow_TT, words).numpy(),
        "attention": sum_by_word(readers_T @ chosen_mean(layers, layer, head), words).numpy(),
    }

    def answering(left: Sequence[Sequence[int]]) -> Steps[np.ndarray]:
        kept = [_places(words, {tried[number] for number in row}, tried) for row in left]
        found = yield from subject.log_probabilities(kept, progress=progress)
        return np.exp(found)

    beside = yield from chance(answering, len(tried), orders=orders, seed=seed)
    verdicts: dict[Method, Verdict] = {}
    for method in METHODS:
        verdicts[method] = yield from judge(answering, importance[method][tried], beside)
    written = reading.asked.start if isinstance(subject, TranslatedSubject) else 0  # type: ignore[union-attr] # its answers are Written
    output = split_words(tokenizer, reading.tokens[written:]) if maps.cross else []
    return Explanation(
        answer=reading.answer,
        probability=float(beside.curves[0, 0]),
        words=words, tried=tried, rows=rows,
        maps=[to_words(one, rows, words) for one in layers], layer=layer, head=head,
        flow=to_words(flow_TT, rows, words),
        aligned=alignment(maps, written, output, words) if maps.cross else None,
        output=output,
        importance=importance,
        attribution=attribution,
        verdicts=verdicts,
        chance=beside,
    )  # fmt: skip


def look(model: nn.Module, tokenizer: Tokenizer, reading: Reading, *, layer: int | None = None, head: int | None = None) -> Attended:
    """The attention alone, in one pass; its arguments and errors are those of `explain`."""
    subject, words, rows = _read(model, tokenizer, reading)
    layers = layers_of(subject.read(), layer, head)
    return Attended(words, rows, [to_words(one, rows, words) for one in layers], layer, head)


def check_explainable(model: nn.Module) -> None:
    """Refuse a model that gradients do not reach.

    Raises:
        UserError: its weights are codes.
    """
    if getattr(model, "quantization", None) is not None:
        raise UserError("the weights are codes, which have no gradients", fix="explain the model that they were made from")


def clipped(words: Sequence[Word], end: int) -> list[Word]:
    """The words of the first `end` tokens; of a word that goes on, all of its text."""
    return [Word(word.text, word.start, min(word.end, end), word.special) for word in words if word.start < end]


def attention_json(attended: Attended) -> dict[str, Any]:
    """Which words attend to which, for machines: of the layer and head that were asked for."""
    return {
        "layers": len(attended.maps),
        "heads": len(attended.maps[0]),
        "rows": [word.text for word in attended.rows],
        "columns": [word.text for word in attended.words],
        "attention": [[short(x) for x in row] for row in attended.chosen.tolist()],
    }


def to_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation for machines; numbers to six digits."""
    words = [
        {"text": word.text, "tokens": [word.start, word.end], "special": word.special}
        | {name: short(float(values[number])) for name, values in explanation.importance.items()}
        for number, word in enumerate(explanation.words)
    ]
    aligned = None if explanation.aligned is None else [[short(x) for x in row] for row in explanation.aligned.tolist()]
    return {
        "answer": explanation.answer,
        "probability": short(explanation.probability),
        "words": words,
        **attention_json(explanation),
        "rollout": [[short(x) for x in row] for row in explanation.flow.tolist()],
        "alignment": None if aligned is None else {"output": [word.text for word in explanation.output], "weights": aligned},
        **belief_json(explanation.attribution, explanation.chance, explanation.verdicts),
    }


def belief_json(attribution: Attribution, by_chance: Chance, verdicts: Mapping[Method, Verdict]) -> dict[str, Any]:
    """How far an explanation may be believed, for machines."""
    return {
        "completeness": {
            "difference": short(attribution.difference), "gap": short(attribution.gap),
            "points": attribution.points, "complete": attribution.complete,
        },
        "shares_removed": [short(x) for x in by_chance.shares],
        "random_curve": [short(x) for x in by_chance.curves.mean(0)],
        "faithfulness": {method: verdict_json(verdict) for method, verdict in verdicts.items()},
    }  # fmt: skip


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """How a method did, for machines."""
    return {
        "believed": verdict.wins,
        "p_value": short(verdict.p_value),
        "area": short(verdict.area),
        "random_area": short(verdict.chance_area),
        "random_interval": [short(verdict.chance_low), short(verdict.chance_high)],
        "random_orders": verdict.orders,
        "curve": [short(x) for x in verdict.curve],
        "comprehensiveness": short(verdict.comprehensiveness),
        "sufficiency": short(verdict.sufficiency),
    }


def short(value: float) -> float:
    """A number to six digits, which JSON can hold."""
    return float(f"{value:.6g}") if math.isfinite(value) else 0.0


def _all_tokens(subject: Subject) -> Sequence[int]:
    """With the token that was written last, and not read: the word that it ends is shown whole."""
    return subject.reading.source or subject.reading.tokens


def _places(words: Sequence[Word], left: set[int], tried: Sequence[int]) -> list[int]:
    """The tokens that remain where of the words that are tried only some are left."""
    gone = set(tried) - left
    places = [place for number, word in enumerate(words) if number not in gone for place in range(word.start, word.end)]
    return places or [0]  # a text without any mark around it: its first token stays


def _flow(maps: AttentionMaps) -> Tensor:
    encoder, decoder, cross = ([one[0].cpu() for one in layers] for layers in (maps.encoder, maps.decoder, maps.cross))
    return rollout_across(encoder, decoder, cross)[0] if cross else rollout(decoder or encoder)


def _read(model: nn.Module, tokenizer: Tokenizer, reading: Reading) -> tuple[Subject, list[Word], list[Word]]:
    """What is explained, its words, and those of the maps' rows."""
    longest = max(len(reading.tokens), len(reading.source))
    if longest > MOST_TOKENS:
        raise UserError(
            f"the model reads it as {longest} tokens, and at most {MOST_TOKENS} are explained at once", fix="explain a part of the text"
        )
    subject = subject_of(model, reading, tokenizer.pad)
    words = clipped(split_words(tokenizer.source, _all_tokens(subject)), len(subject.tokens))
    if isinstance(subject, TranslatedSubject):
        return subject, words, clipped(split_words(tokenizer, reading.tokens), len(reading.tokens) - 1)
    return subject, words, words


def layers_of(maps: AttentionMaps, layer: int | None, head: int | None) -> list[Tensor]:
    """Each layer's weights between tokens, (H, T, S): of an encoder-decoder how the decoder attends to the encoder."""
    return layers_chosen([one[0].double().cpu() for one in maps.cross or maps.decoder or maps.encoder], layer, head)


def layers_chosen(layers: list[Tensor], layer: int | None, head: int | None) -> list[Tensor]:
    """The layers, (H, …) each; raises `UserError` where the one that is asked for is not among them, or has no such head."""
    for name, asked, there in (("layer", layer, len(layers)), ("head", head, len(layers[0]))):
        if asked is not None and not 0 <= asked < there:
            raise UserError(f"there is no {name} {asked + 1}; the model has {there}", where=name, fix=f"choose one from 1 to {there}")
    return layers


def chosen_mean(layers: Sequence[Tensor], layer: int | None, head: int | None) -> Tensor:
    """Of (H, M, N) a layer, the one that is chosen, (M, N); the mean over what is not."""
    chosen = layers if layer is None else [layers[layer]]
    return torch.stack([one if head is None else one[head : head + 1] for one in chosen]).mean((0, 1))


def _gradients(subject: Subject, words: Sequence[Word], tried: Sequence[int]) -> Steps[Attribution]:
    """From a text whose words say nothing, with marks and answer as they are, to the text."""
    is_word_T = torch.zeros(len(subject.tokens), dtype=torch.bool, device=device_of(subject.model))
    for number in tried:
        is_word_T[words[number].start : words[number].end] = True

    def score(rows_ATW: Tensor) -> Tensor:
        training = subject.model.training
        subject.model.eval()
        try:
            return subject.scores_on_the_way(rows_ATW)
        finally:
            subject.model.train(training)

    return integrated_gradients(score, *subject.way(is_word_T))
