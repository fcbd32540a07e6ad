"""The linear model beside the encoder: its votes against scikit-learn's, and how the two are weighed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.sparse import lil_matrix
from sklearn.linear_model import LogisticRegression

from lodestar.build.classify import class_logits
from lodestar.build.ngram_votes import REGULARISATION, NgramVotes, VotingClassifier, fit_mix, ngrams, weigh
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


def test_votes_are_those_of_naive_bayes_and_logistic_regression(learnt: tuple[NgramVotes, list[list[int]], np.ndarray]) -> None:
    votes, rows, truth = learnt
    grams = [{(token,) for token in row} | set(pairwise(row)) for row in rows]
    names = {gram: place for place, gram in enumerate(sorted(set().union(*grams)))}
    table = lil_matrix((len(rows), len(names)))
    for row, present in enumerate(grams):
        for gram in present:
            table[row, names[gram]] = 1
    dense, true = table.toarray(), truth == 1
    buckets = len(votes.weights)
    counts = [1 + dense[rows_].sum(0) for rows_ in (true, ~true)]
    # The buckets that are empty count, too: one each.
    totals = [count.sum() + buckets - len(names) for count in counts]
    ratio = np.log(counts[0] / totals[0]) - np.log(counts[1] / totals[1])
    solved = LogisticRegression(C=REGULARISATION, max_iter=300).fit(dense * ratio, true)
    for row in range(0, len(rows), 23):
        found = votes(torch.tensor([rows[row]]))[0, 1].item()
        # Two solutions of one problem, each as exact as the solver's tolerance; and few of the n-grams share a bucket.
        assert found == pytest.approx(solved.decision_function(dense[row : row + 1] * ratio)[0], abs=0.05)


def test_padding_and_repetitions_add_no_vote(learnt: tuple[NgramVotes, list[list[int]], np.ndarray]) -> None:
    votes, rows, _ = learnt
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [7] * (longest - len(row)) for row in rows])
    mask = torch.arange(longest) < torch.tensor([[len(row)] for row in rows])
    together = votes(tokens, mask)
    for row, tokens_ in enumerate(rows[:20]):
        torch.testing.assert_close(votes(torch.tensor([tokens_]))[0], together[row])
    ids, real = ngrams(torch.tensor([[5, 6, 5, 6]]), torch.ones(1, 4, dtype=torch.bool), 1 << 19)
    assert len(set(ids[real].tolist())) == 4, "5, 6, and the pairs 5 6 and 6 5"
    once, twice = votes(torch.tensor([[5, 6, 5]])), votes(torch.tensor([[5, 6, 5, 6, 5]]))
    torch.testing.assert_close(once, twice)


def test_a_class_that_is_never_or_always_true_is_no_error() -> None:
    votes, rows = NgramVotes(2), rows_of(10)
    votes.learn(rows, np.stack([np.ones(10), np.arange(10) % 2], 1))
    assert votes.bias[0] == 10
    votes.learn(rows, np.zeros(10, int))
    assert votes.bias.tolist() == [10, -10]


def test_the_encoder_learns_by_itself_and_answers_with_the_votes(learnt: tuple[NgramVotes, list[list[int]], np.ndarray]) -> None:
    torch.manual_seed(0)
    model = VotingClassifier(CONFIG, 3)
    model.votes.load_state_dict(learnt[0].state_dict())
    tokens = torch.tensor([learnt[1][0]])
    alone = model.train()(tokens)
    torch.testing.assert_close(alone, model.classify(model.transformer.hidden(tokens)))
    torch.testing.assert_close(model.eval()(tokens), 0.5 * alone + 0.5 * model.votes(tokens))
    assert not any(name.startswith("votes") for name, _ in model.named_parameters()), "nothing of it is trained"


def test_what_knows_nothing_counts_nothing(learnt: tuple[NgramVotes, list[list[int]], np.ndarray]) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 4000)
    noise, knowing = random.normal(size=(4000, 3)), np.eye(3)[truth] * 2 + random.normal(size=(4000, 3))
    of_noise, of_knowing = fit_mix((noise, knowing), truth)
    assert of_noise < 0.1
    assert of_knowing > 1
    votes, rows, labels = learnt
    model = VotingClassifier(CONFIG, 3).eval()
    model.votes.load_state_dict(votes.state_dict())
    said = weigh(model, lambda: class_logits(model, rows, 1), labels)
    assert "the encoder counts" in said[0].en
    assert model.mix[1] > model.mix[0], "the votes know these texts by heart"
