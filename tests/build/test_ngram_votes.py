"""The linear model beside the encoder: its votes against scikit-learn's, and how the two are weighed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from lodestar.build import ngram_votes
from lodestar.build.classify import class_logits
from lodestar.build.ngram_votes import FREQUENCY_C, RATIO_C, NgramVotes, VotingClassifier, fit_mix, weigh
from lodestar.model.config import ModelConfig

CONFIG = ModelConfig(50, 32, 1, 2, 16, architecture="encoder", initial_std=0.2)


def rows_of(count: int, seed: int = 0) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(2, 50, random.integers(1, 14)).tolist() for _ in range(count)]


@pytest.fixture(scope="module")
def learnt() -> tuple[NgramVotes, list[list[int]], np.ndarray]:
    rows = rows_of(200)
    truth = np.array([row[0] % 3 for row in rows])
    votes = NgramVotes(3)
    votes.learn(rows, truth)
    return votes, rows, truth


def grams_of(row: list[int]) -> list[tuple[int, ...]]:
    return [tuple(row[place : place + size]) for size in (1, 2, 3) for place in range(len(row) - size + 1)]


def test_votes_are_those_of_scikit_learn(learnt: tuple[NgramVotes, list[list[int]], np.ndarray]) -> None:
    votes, rows, truth = learnt
    true = truth == 1
    # Its own n-grams of tokens that are numbers: whatever it does with text is put aside.
    vectorizer = TfidfVectorizer(analyzer=grams_of, sublinear_tf=True)
    table = vectorizer.fit_transform(rows)
    by_frequency = LogisticRegression(C=FREQUENCY_C, max_iter=300).fit(table, true)
    present = (table > 0).astype(float).toarray()
    counts = [1 + present[rows_].sum(0) for rows_ in (true, ~true)]
    ratio = np.log(counts[0] / counts[0].sum()) - np.log(counts[1] / counts[1].sum())
    by_ratio = LogisticRegression(C=RATIO_C, max_iter=300).fit(present * ratio, true)
    fresh = rows_of(20, seed=1)
    asked = vectorizer.transform(fresh)
    found = [votes(torch.tensor([row])) for row in fresh]
    expected = by_ratio.decision_function((asked > 0).toarray() * ratio), by_frequency.decision_function(asked)
    for kind in (0, 1):
        # Two solutions of one problem, each as exact as the solver's tolerance.
        np.testing.assert_allclose([each[kind][0, 1].item() for each in found], expected[kind], atol=0.02)


def test_padding_adds_no_vote_and_repetitions_none_by_ratio(learnt: tuple[NgramVotes, list[list[int]], np.ndarray]) -> None:
    votes, rows, _ = learnt
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [rows[0][0]] * (longest - len(row)) for row in rows])
    mask = torch.arange(longest) < torch.tensor([[len(row)] for row in rows])
    together = votes(tokens, mask)
    for row, tokens_ in enumerate(rows[:20]):
        for all_, alone in zip(together, votes(torch.tensor([tokens_])), strict=True):
            torch.testing.assert_close(alone[0], all_[row], rtol=1e-4, atol=1e-5)
    once, twice = votes(torch.tensor([[5, 6, 5, 6]])), votes(torch.tensor([[5, 6, 5, 6, 5, 6]]))
    torch.testing.assert_close(once[0], twice[0])
    assert not torch.equal(once[1], twice[1])


def test_no_more_ngrams_are_known_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngram_votes, "MOST_KNOWN", 30)
    votes, rows = NgramVotes(2), rows_of(200)
    votes.learn(rows, np.array([row[0] % 2 for row in rows]))
    assert len(votes.keys) == 30
    assert (votes.keys.diff() > 0).all()
    assert votes.keys.max() < ngram_votes.UNKNOWN
    assert votes.ratio.abs().min() > 0


def test_nothing_known_is_the_bias_alone() -> None:
    votes = NgramVotes(2)
    votes.ratio_bias[1], votes.frequency_bias[0] = 2.0, -1.0
    ratio, frequency = votes(torch.tensor([[2, 3, 4]]))
    assert (ratio.tolist(), frequency.tolist()) == ([[0.0, 2.0]], [[-1.0, 0.0]])


def test_a_class_that_is_never_or_always_true_is_no_error() -> None:
    votes, rows = NgramVotes(2), rows_of(10)
    votes.learn(rows, np.stack([np.ones(10), np.arange(10) % 2], 1))
    assert votes.ratio_bias[0] == votes.frequency_bias[0] == pytest.approx(np.log(11))
    votes.learn(rows, np.zeros(10, int))
    assert votes.ratio_bias.tolist() == pytest.approx([np.log(11), -np.log(11)])


def test_the_encoder_learns_by_itself_and_answers_with_the_votes(learnt: tuple[NgramVotes, list[list[int]], np.ndarray]) -> None:
    torch.manual_seed(0)
    model = VotingClassifier(CONFIG, 3)
    model.votes.load_state_dict(learnt[0].state_dict())
    tokens = torch.tensor([learnt[1][0]])
    alone = model.train()(tokens)
    torch.testing.assert_close(alone, model.classify(model.transformer.hidden(tokens)))
    torch.testing.assert_close(model.eval()(tokens), (alone + sum(model.votes(tokens))) / 3)
    assert not any(name.startswith("votes") for name, _ in model.named_parameters()), "nothing of it is trained"


def test_what_knows_nothing_counts_nothing(learnt: tuple[NgramVotes, list[list[int]], np.ndarray]) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 4000)
    noise, knowing = random.normal(size=(4000, 3)), np.eye(3)[truth] * 2 + random.normal(size=(4000, 3))
    of_noise, of_knowing = fit_mix(np.stack([noise, knowing], 1), truth)
    assert of_noise < 0.1
    assert of_knowing > 1
    votes, rows, labels = learnt
    model = VotingClassifier(CONFIG, 3).eval()
    model.votes.load_state_dict(votes.state_dict())
    _, said = weigh(model, rows, 1, labels)
    assert "the encoder counts" in said.en
    assert model.mix[1:].sum() > model.mix[0], "the votes know these texts by heart"


def test_a_mix_is_weighed_of_one_reading_of_each_text(
    learnt: tuple[NgramVotes, list[list[int]], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    votes, rows, labels = learnt
    torch.manual_seed(0)
    model = VotingClassifier(CONFIG, 3).eval()
    model.votes.load_state_dict(votes.state_dict())
    read, hidden = list[int](), model.transformer.hidden

    def counted(tokens: torch.Tensor, **rest: Any) -> torch.Tensor:
        read.append(len(tokens))
        return hidden(tokens, **rest)

    monkeypatch.setattr(model.transformer, "hidden", counted)
    logits, _ = weigh(model, rows, 1, labels)
    assert sum(read) == len(rows)
    np.testing.assert_allclose(logits, class_logits(model, rows, 1), atol=1e-4)
    alone = []
    for part in range(3):
        model.mix.copy_(torch.arange(3) == part)
        alone.append(class_logits(model, rows, 1))
    best = fit_mix(np.stack(alone, 1), labels)
    np.testing.assert_allclose(logits, np.einsum("p,pnc->nc", best, alone), atol=1e-3)
