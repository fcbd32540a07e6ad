"""Questions over an index: the passages that may answer, the words that do, and where they stand; or that they stand nowhere.

Passages are found by their terms (BM25) and, where the index has an encoder, by their vectors; what both say is added up. A reader, where
there is one, then looks for the answer in the best of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...build.bundle import Bundle
from ...build.embed import embed
from ...build.sentences import sentences
from ...contracts.config import Config
from ...contracts.errors import UserError
from ...store.passages import Passage, PassageIndex
from ...store.terms import terms
from .indexing import PASSAGES, open_encoder
from .passages import line_of
from .question_words import QUESTION_WORDS

LONGEST_QUESTION = 2_000
"""Characters; a longer one is no question."""
CANDIDATES = 100
"""Passages that each of the two searches may name."""
VECTORS_WEIGH = 1.0
"""What the cosine similarity counts beside the BM25 score over that of the best passage. # assumed; it helps: bench/quality/retrieval
"""
READ = 5
"""Passages that the reader looks into."""
CITED = 3
"""Passages that are cited at most."""
SURE = 0.4
"""The share of what is asked for that a passage must hold to be taken for an answer. # measured: bench/quality/retrieval on validation"""
READER_SURE, HALF_SURE = 0.5, 0.2
"""A reader whose own score is at least the first is believed from the second on: a reader alone finds some words in any text. # assumed
"""

Reader = Callable[[str, list[str]], Sequence[Mapping[str, Any]]]
"""A question and texts → for each text `answer` (None where it has none), `start` and `end` in it, and `score` from 0 to 1: what the task
question-answering answers to pairs."""


class QuestionRequest(Config):
    """A question to the documents."""

    question: str


class Hit(NamedTuple):
    """A passage that was found."""

    passage: Passage
    score: float
    """Higher is better; comparable among the passages of one question alone."""
    coverage: float
    """The share of the question's terms, by their weight, that the passage holds."""


@dataclass(frozen=True)
class _Vectors:
    """All vectors of an index (N, W), and the numbers of their passages (N,)."""

    encoder: Bundle
    numbers: np.ndarray
    matrix: np.ndarray


class Library:
    """An index, opened to be asked."""

    def __init__(self, index: PassageIndex, encoder: Bundle | None = None) -> None:
        self._index = index
        self._count = len(index)
        self._vectors = None if encoder is None else _Vectors(encoder, *index.vectors())

    @classmethod
    def open(cls, folder: Path, load: Callable[[Path], Bundle]) -> Library:
        """The index in a folder.

        Args:
            load: reads the encoder's folder.

        Raises:
            UserError: there is no index, it is damaged, or of another version.
        """
        index = PassageIndex.open(folder / PASSAGES)
        return cls(index, open_encoder(folder, index, load))

    def __len__(self) -> int:
        return self._count

    def find(self, question: str, most: int = READ) -> list[Hit]:
        """The passages nearest to a question, the best first.

        Raises:
            UserError: the question is blank, too long or no text.
        """
        _check(question)
        scores = self._scores(question)
        best = sorted(scores, key=lambda number: (-scores[number], number))[:most]
        weights = self._weights(dict.fromkeys(terms(question)))
        return [
            Hit(passage, scores[number], _coverage(weights, passage.text))
            for number, passage in zip(best, self._index.passages(best), strict=True)
        ]

    def answer(self, question: str, reader: Reader | None = None) -> dict[str, Any]:
        """`answer`, its `score` and the `citations` that it rests on; where it is not in the documents, `answer` is None, there are no
        citations, and `nearest` are the passages that came nearest.

        With a reader, the answer is its words; without one, the sentence that holds most of what is asked for. The first citation has
        the lines of the answer itself, and `start` and `end`, its place in the passage; the others have those of their passages.

        Raises:
            UserError: the question is blank, too long or no text.
        """
        hits = self.find(question)
        found = self._read(question, hits, reader) if reader is not None else self._sentence(question, hits)
        if found is None:
            return {"answer": None, "score": 0.0, "citations": [], "nearest": [_cited(hit) for hit in hits[:CITED]]}
        text, start, end, place, score = found
        passage = hits[place].passage
        first = _cited(hits[place]) | {"line": line_of(passage, start), "last_line": line_of(passage, end - 1), "start": start, "end": end}
        others = [_cited(hit) for number, hit in enumerate(hits) if number != place and hit.coverage >= SURE]
        return {"answer": text, "score": score, "citations": [first, *others][:CITED], "nearest": []}

    def _scores(self, question: str) -> dict[int, float]:
        """A score for each passage that one of the two searches names."""
        by_terms = dict(self._index.search(question, CANDIDATES))
        best = max(by_terms.values(), default=0.0)
        scores = {number: score / best for number, score in by_terms.items()} if best > 0 else dict.fromkeys(by_terms, 0.0)
        if self._vectors is None or not len(self._vectors.numbers):
            return scores
        (asked_W,) = embed(self._vectors.encoder.model, self._vectors.encoder.tokenizer, [question])
        near_N = self._vectors.matrix @ asked_W
        places = {int(number): place for place, number in enumerate(self._vectors.numbers)}
        nearest = np.argpartition(-near_N, min(CANDIDATES, len(near_N)) - 1)[:CANDIDATES]
        for number in {*scores, *(int(self._vectors.numbers[place]) for place in nearest)}:
            scores[number] = scores.get(number, 0.0) + VECTORS_WEIGH * float(near_N[places[number]])
        return scores

    def _weights(self, asked: Iterable[str]) -> dict[str, float]:
        """The inverse document frequency of each term that says what is asked for: question words say how."""
        return {term: math.log(1 + (self._count + 0.5) / (self._index.holding(term) + 0.5)) for term in asked if term not in QUESTION_WORDS}

    def _read(self, question: str, hits: Sequence[Hit], reader: Reader) -> tuple[str, int, int, int, float] | None:
        """The reader's best answer: its words, their place in the passage, which passage, and the score."""
        if not hits:
            return None
        results = reader(question, [hit.passage.text for hit in hits])
        best: tuple[str, int, int, int, float] | None = None
        for place, (hit, result) in enumerate(zip(hits, results, strict=True)):
            if result["answer"] is None:
                continue
            score = float(result["score"])
            if hit.coverage < (SURE if score < READER_SURE else HALF_SURE):
                continue
            # The passage that is likelier to be the right one, and the words that are likelier to be the answer.
            weighed = score * math.exp(hit.score - hits[0].score)
            if best is None or weighed > best[4]:
                best = str(result["answer"]), int(result["start"]), int(result["end"]), place, weighed
        return best

    def _sentence(self, question: str, hits: Sequence[Hit]) -> tuple[str, int, int, int, float] | None:
        """The sentence of the best passage that holds most of what is asked for; None where no passage holds enough of it."""
        place = next((place for place, hit in enumerate(hits) if hit.coverage >= SURE), None)
        if place is None:
            return None
        weights = self._weights(dict.fromkeys(terms(question)))
        text, at = hits[place].passage.text, 0
        best = (-1.0, 0, 0)
        for sentence in sentences(text):
            covered = _coverage(weights, sentence)
            if covered > best[0]:
                best = (covered, at, at + len(sentence.rstrip()))
            at += len(sentence)
        _, start, end = best
        return text[start:end], start, end, place, hits[place].coverage


def _coverage(weights: Mapping[str, float], text: str) -> float:
    total = sum(weights.values())
    held = set(terms(text))
    return sum(weight for term, weight in weights.items() if term in held) / total if total else 0.0


def _cited(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    return {
        "file": passage.file, "page": passage.page, "line": passage.first_line, "last_line": passage.last_line, "passage": passage.text,
        "score": round(hit.coverage, 4),
    }  # fmt: skip


def _check(question: str) -> None:
    if not question.strip():
        raise UserError("the question is blank", where="request", fix="write one")
    if len(question) > LONGEST_QUESTION:
        what = f"the question has {len(question):,} characters, and at most {LONGEST_QUESTION:,} are read"
        raise UserError(what, where="request", fix="shorten it")
    try:
        question.encode()
    except UnicodeEncodeError:
        raise UserError("the question holds half of a surrogate pair, which is no text", where="request", fix="remove it") from None
